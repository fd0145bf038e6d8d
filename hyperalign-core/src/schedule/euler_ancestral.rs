//! Euler's method with ancestral noise.

use super::{GaussianScheduler, SigmaOptions, StepCountError};
use crate::diffusion::Process;

impl GaussianScheduler {
    /// `steps` steps of Euler's method down to a lower level than the next, from where noise leads
    /// up to it: `up^2 = eta^2 next^2 (sigma^2 - next^2) / sigma^2` and `down^2 = next^2 - up^2` in
    /// terms of sigma (k-diffusion's ancestral step; its variance is that of the posterior of Ho
    /// et al. 2020, arXiv:2006.11239, eq. 7). Eta 0 is [`euler`](Self::euler).
    ///
    /// # Errors
    ///
    /// Fails for 0 steps and for more steps than the training schedule can give.
    ///
    /// # Panics
    ///
    /// Panics for a rectified flow, and for an eta outside of `[0, 1]`.
    pub fn euler_ancestral(
        process: &Process,
        steps: usize,
        eta: f64,
        options: SigmaOptions,
    ) -> Result<Self, StepCountError> {
        Self::in_sigma(process, steps, options, eta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        contract::Prediction,
        schedule::{
            Scheduler, SchedulerConfig, TimestepSpacing,
            gaussian_data::{
                check_by_monte_carlo, end_variance, ode_error, order, tensor, values, variance,
            },
        },
    };

    fn plan(steps: usize, eta: f64) -> GaussianScheduler {
        let options = SigmaOptions {
            prediction: Prediction::VPrediction,
            spacing: TimestepSpacing::Linspace,
            steps_offset: 0,
            use_karras_sigmas: false,
        };
        let process = SchedulerConfig::stable_diffusion().process().unwrap();
        GaussianScheduler::euler_ancestral(&process, steps, eta, options).unwrap()
    }

    /// Up and down in terms of sigma.
    #[test]
    fn a_step_down_and_up() {
        let eta = 0.8;
        let scheduler = plan(6, eta);
        for i in 0..6 {
            let [level, next] = [i, i + 1].map(|i| scheduler.level(i));
            let [from, to] = [level, next].map(|level| level.sigma());
            let up = eta * (to * to * (from * from - to * to) / (from * from)).sqrt();
            let down = (to * to - up * up).sqrt();
            let (original, epsilon) = (0.3, -1.2);
            let [sample, output] = [
                level.mix(tensor(vec![original]), tensor(vec![epsilon])),
                level.target(
                    Prediction::VPrediction,
                    tensor(vec![original]),
                    tensor(vec![epsilon]),
                ),
            ];
            let mean = values(scheduler.mean(i, output, sample))[0] / next.signal;
            assert!((mean - (original + down * epsilon)).abs() < 1e-12, "step {i}");
            assert!((scheduler.steps[i].deviation / next.signal - up).abs() < 1e-12, "step {i}");
        }
        assert!(!scheduler.needs_noise(5));
    }

    #[test]
    fn eta_zero_is_the_ode() {
        let order = order(|steps| ode_error(&plan(steps, 0.0)), 50, 200);
        assert!((order - 1.0).abs() < 0.15, "order {order}");
    }

    #[test]
    fn eta_one_draws_from_the_data() {
        let error = |steps: usize| {
            let scheduler = plan(steps, 1.0);
            (end_variance(&scheduler) / variance(scheduler.level(steps)) - 1.0).abs()
        };
        let order = order(error, 125, 500);
        assert!(error(500) < 0.05 && (order - 1.0).abs() < 0.3, "order {order}");
    }

    #[test]
    fn by_monte_carlo() {
        check_by_monte_carlo(&plan(15, 1.0));
    }
}
