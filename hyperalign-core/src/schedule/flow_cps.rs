//! Stochastic sampling of rectified flows that keeps the amount of noise of every level.

use super::{GaussianScheduler, gaussian::PlannedStep};
use crate::diffusion::Level;

impl GaussianScheduler {
    /// Coefficients-preserving sampling along the falling noise levels `sigmas` (Wang & Yu 2025,
    /// arXiv:2509.05952): of the noise of the next level a part is drawn anew, and the estimate has the
    /// rest, `mean = (1 - next) original + next cos(eta pi / 2) noise` and
    /// `deviation = next sin(eta pi / 2)`. It is to a flow what DDIM's eta is to a diffusion.
    ///
    /// Steps of an SDE add their noise to a mean that lies a step of finite length along the drift, so
    /// that few of them leave too much noise in the picture, which a reward then sees. Here the sum of
    /// squares is that of the level. At `eta` 0 it is Euler's method; a step to level 0 draws nothing.
    ///
    /// # Panics
    ///
    /// Panics if `sigmas` do not fall inside `[0, 1]`, for fewer than two, and for an eta outside of
    /// `[0, 1]`.
    pub fn flow_cps(sigmas: &[f64], eta: f64) -> Self {
        assert!((0.0..=1.0).contains(&eta), "eta {eta} is not in [0, 1]");
        let (drawn, kept) = (eta * std::f64::consts::FRAC_PI_2).sin_cos();
        let mut scheduler = Self::flow_match_euler(sigmas);
        for (step, next) in scheduler.steps.iter_mut().zip(&sigmas[1..]) {
            let mean = Level { signal: step.mean.signal, noise: next * kept };
            *step = PlannedStep { mean, deviation: next * drawn, ..*step };
        }
        scheduler
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Scheduler;

    const SIGMAS: [f64; 5] = [1.0, 0.9, 0.6, 0.25, 0.0];

    #[test]
    fn every_level_has_its_noise() {
        for eta in [0.0, 0.3, 0.7, 1.0] {
            let scheduler = GaussianScheduler::flow_cps(&SIGMAS, eta);
            for (i, step) in scheduler.steps.iter().enumerate() {
                let next = scheduler.level(i + 1);
                let noise = step.mean.noise.powi(2) + step.deviation.powi(2);
                assert!((noise - next.noise.powi(2)).abs() < 1e-15, "eta {eta}, step {i}");
                assert_eq!(step.mean.signal, next.signal);
                assert_eq!(scheduler.needs_noise(i), eta > 0.0 && i < 3);
            }
        }
    }

    #[test]
    fn without_noise_it_is_eulers_method() {
        let (cps, euler) = (
            GaussianScheduler::flow_cps(&SIGMAS, 0.0),
            GaussianScheduler::flow_match_euler(&SIGMAS),
        );
        for (step, expected) in cps.steps.iter().zip(&euler.steps) {
            assert_eq!((step.mean, step.deviation), (expected.mean, expected.deviation));
        }
        let all = GaussianScheduler::flow_cps(&SIGMAS, 1.0);
        assert!(all.steps.iter().all(|step| step.mean.noise < 1e-15), "all of it is drawn anew");
    }
}
