//! The forward processes and the differential equations that reverse them.

use burn::tensor::{Device, Tensor};

use super::{Level, Levels};

/// How signal and noise depend on time. Host-side, in `f64`.
#[derive(Debug, Clone, PartialEq)]
pub enum Process {
    /// A diffusion whose total variance stays 1 (Ho et al. 2020, arXiv:2006.11239); time counts
    /// the steps of the training schedule, from 0.
    VariancePreserving {
        /// `alphas_cumprod[t]`, the squared signal at step `t`; falling, inside `(0, 1)`.
        alphas_cumprod: Vec<f64>,
    },
    /// Straight lines from data to noise (Liu et al. 2022, arXiv:2209.03003); time is the noise
    /// level in `[0, 1]`.
    RectifiedFlow,
}

impl Process {
    /// The diffusion whose betas are the squares of numbers evenly spaced from
    /// `sqrt(beta_start)` to `sqrt(beta_end)`: that of Stable Diffusion.
    ///
    /// # Panics
    ///
    /// Panics if `train_steps` is 0 or a beta is not inside `(0, 1)`.
    pub fn scaled_linear(beta_start: f64, beta_end: f64, train_steps: usize) -> Self {
        let roots = evenly_spaced(beta_start.sqrt(), beta_end.sqrt(), train_steps);
        Self::from_betas(roots.map(|root| root * root))
    }

    /// The diffusion whose betas are evenly spaced (Ho et al. 2020, section 4).
    ///
    /// # Panics
    ///
    /// Panics if `train_steps` is 0 or a beta is not inside `(0, 1)`.
    pub fn linear(beta_start: f64, beta_end: f64, train_steps: usize) -> Self {
        Self::from_betas(evenly_spaced(beta_start, beta_end, train_steps))
    }

    fn from_betas(betas: impl Iterator<Item = f64>) -> Self {
        let mut product = 1.0;
        let alphas_cumprod: Vec<f64> = betas
            .map(|beta| {
                assert!(beta > 0.0 && beta < 1.0, "beta {beta} is not inside (0, 1)");
                product *= 1.0 - beta;
                product
            })
            .collect();
        assert!(!alphas_cumprod.is_empty(), "a diffusion needs at least one training step");
        Self::VariancePreserving { alphas_cumprod }
    }

    /// The process whose last step is noise alone: the signals shifted and scaled so that the first
    /// stays and the last is 0 (Lin et al. 2023, arXiv:2305.08891, algorithm 1). The last squared
    /// signal is 2^-24 in its place, as diffusers has it, so that every level has a picture. A flow
    /// ends in noise anyway.
    #[must_use]
    pub fn with_zero_terminal_snr(self) -> Self {
        let Self::VariancePreserving { mut alphas_cumprod } = self else { return self };
        let signals: Vec<f64> = alphas_cumprod.iter().map(|alpha| alpha.sqrt()).collect();
        if let [first, .., last] = signals[..] {
            for (alpha, signal) in alphas_cumprod.iter_mut().zip(&signals) {
                *alpha = ((signal - last) * first / (first - last)).powi(2);
            }
            let before = alphas_cumprod[signals.len() - 2];
            alphas_cumprod[signals.len() - 1] = SMALLEST_ALPHA.min(before / 2.0);
        }
        Self::VariancePreserving { alphas_cumprod }
    }

    /// Signal and noise at `timestep`.
    ///
    /// Between two steps of a diffusion the logarithm of sigma is linear in time, as k-diffusion
    /// and the solvers with fractional timesteps take it.
    ///
    /// # Panics
    ///
    /// Panics if `timestep` lies outside the process.
    pub fn level(&self, timestep: f64) -> Level {
        match self {
            Self::VariancePreserving { alphas_cumprod } => {
                let last = (alphas_cumprod.len() - 1) as f64;
                assert!(
                    (0.0..=last).contains(&timestep),
                    "timestep {timestep} is not in the training schedule 0..={last}"
                );
                let (below, above) = (timestep.floor() as usize, timestep.ceil() as usize);
                if below == above {
                    return Level::of_alpha(alphas_cumprod[below]);
                }
                let (low, high) =
                    (log_sigma(alphas_cumprod[below]), log_sigma(alphas_cumprod[above]));
                Level::of_sigma((low + (high - low) * (timestep - below as f64)).exp())
            }
            Self::RectifiedFlow => {
                assert!((0.0..=1.0).contains(&timestep), "timestep {timestep} is not in [0, 1]");
                Level { signal: 1.0 - timestep, noise: timestep }
            }
        }
    }

    /// The levels of a batch whose rows are at `timesteps`.
    ///
    /// # Panics
    ///
    /// Panics if a timestep lies outside the process.
    pub fn levels(&self, timesteps: &[f64], device: &Device) -> Levels {
        Levels::new(timesteps.iter().map(|timestep| self.level(*timestep)).collect(), device)
    }

    /// Derivatives of signal and noise with respect to time.
    ///
    /// With `m` the slope of `ln sigma`, a variance-preserving process has
    /// `signal' = -m signal noise^2` and `noise' = m noise signal^2`.
    fn rate(&self, timestep: f64) -> Level {
        match self {
            Self::VariancePreserving { alphas_cumprod } => {
                let last = alphas_cumprod.len() - 1;
                // On a step of the schedule the mean slope of both sides, else that of its piece.
                let below = ((timestep.ceil() - 1.0).max(0.0) as usize).min(last);
                let above = (timestep.floor() as usize + 1).min(last);
                let rise = log_sigma(alphas_cumprod[above]) - log_sigma(alphas_cumprod[below]);
                let slope = rise / (above - below).max(1) as f64;
                let Level { signal, noise } = self.level(timestep);
                Level {
                    signal: -slope * signal * noise * noise,
                    noise: slope * noise * signal * signal,
                }
            }
            Self::RectifiedFlow => Level { signal: -1.0, noise: 1.0 },
        }
    }

    /// The right-hand side of the probability-flow ODE, `d sample / d time` along a trajectory
    /// without noise: `signal' original + noise' noise` (Song et al. 2021, arXiv:2011.13456,
    /// eq. 13, written with the two estimates in place of the score).
    pub fn flow_drift(&self, timestep: f64, original: Tensor<4>, noise: Tensor<4>) -> Tensor<4> {
        self.rate(timestep).mix(original, noise)
    }

    /// The diffusion coefficient `g` of the forward SDE,
    /// `g^2 = 2 noise (noise' - noise signal' / signal)` (Song et al. 2021, section 3).
    /// It is infinite where a flow has no signal left.
    pub fn diffusion(&self, timestep: f64) -> f64 {
        let (level, rate) = (self.level(timestep), self.rate(timestep));
        (2.0 * level.noise * (rate.noise - level.sigma() * rate.signal)).sqrt()
    }
}

fn log_sigma(alpha_cumprod: f64) -> f64 {
    0.5 * ((1.0 - alpha_cumprod) / alpha_cumprod).ln()
}

fn evenly_spaced(start: f64, end: f64, count: usize) -> impl Iterator<Item = f64> {
    let gaps = (count.max(2) - 1) as f64;
    (0..count).map(move |k| start + (end - start) * k as f64 / gaps)
}

/// The squared signal that stands for none.
pub(crate) const SMALLEST_ALPHA: f64 = 1.0 / (1 << 24) as f64;

#[cfg(test)]
mod tests {
    use crate::testing;
    use burn::tensor::{DType, TensorData};

    use super::*;

    fn stable_diffusion() -> Process {
        Process::scaled_linear(0.00085, 0.012, 1000)
    }

    #[test]
    fn schedule_of_stable_diffusion() {
        let Process::VariancePreserving { alphas_cumprod } = stable_diffusion() else {
            panic!("a diffusion");
        };
        assert_eq!(alphas_cumprod.len(), 1000);
        assert!(alphas_cumprod.windows(2).all(|pair| pair[0] > pair[1]));
        // Its ends: 1 - beta_start, and the well-known signal that is left at the end.
        assert!((alphas_cumprod[0] - 0.99915).abs() < 1e-12);
        assert!((alphas_cumprod[999] - 0.00466).abs() < 1e-5);
    }

    #[test]
    fn levels_between_steps() {
        let process = stable_diffusion();
        for timestep in [0.0, 0.5, 400.25, 998.9, 999.0] {
            let level = process.level(timestep);
            assert!((level.signal.powi(2) + level.noise.powi(2) - 1.0).abs() < 1e-12);
        }
        let sigma = |timestep| process.level(timestep).sigma();
        assert!((sigma(400.5).powi(2) - sigma(400.0) * sigma(401.0)).abs() < 1e-9);
    }

    /// The rates are the derivatives of the levels, by central differences inside a piece.
    #[test]
    fn rates_are_derivatives() {
        for (process, timestep) in [(stable_diffusion(), 700.5), (Process::RectifiedFlow, 0.4)] {
            let h = 1e-4;
            let (left, right) = (process.level(timestep - h), process.level(timestep + h));
            let rate = process.rate(timestep);
            assert!(((right.signal - left.signal) / (2.0 * h) - rate.signal).abs() < 1e-8);
            assert!(((right.noise - left.noise) / (2.0 * h) - rate.noise).abs() < 1e-8);
        }
    }

    /// Both equations carry the marginals of Gaussian data: for data of deviation `d` the ODE
    /// scales a sample in proportion to `sqrt((signal d)^2 + noise^2)`, and the SDE keeps this
    /// variance, `d(variance)/dt = 2 drift variance / sample - g^2` in reverse time.
    #[test]
    fn equations_keep_gaussian_marginals() {
        let deviation = 0.6_f64;
        let one = |value: f64| {
            Tensor::<4>::from_data(
                TensorData::new(vec![value], [1; 4]),
                (&testing::cpu(), DType::F64),
            )
        };
        for (process, timestep) in [(stable_diffusion(), 500.5), (Process::RectifiedFlow, 0.4)] {
            let variance = |timestep: f64| {
                let level = process.level(timestep);
                (level.signal * deviation).powi(2) + level.noise.powi(2)
            };
            let level = process.level(timestep);
            // Estimates of the exact denoiser for the sample 1.
            let original = level.signal * deviation.powi(2) / variance(timestep);
            let noise = level.noise / variance(timestep);
            let growth = (variance(timestep + 1e-4) - variance(timestep - 1e-4)) / 2e-4;

            let drift: f64 = process.flow_drift(timestep, one(original), one(noise)).into_scalar();
            assert!((2.0 * drift * variance(timestep) - growth).abs() < 1e-8);
            // The reverse-time SDE drifts by half its squared diffusion along the score more (Song
            // et al. 2021, eq. 6), and so has the same marginals.
            let squared = process.diffusion(timestep).powi(2);
            let drift = drift + squared * noise / (2.0 * level.noise);
            assert!((2.0 * drift * variance(timestep) - squared - growth).abs() < 1e-8);
        }
    }

    /// Numbers of diffusers' `rescale_zero_terminal_snr`, which do not need its code: the ends are
    /// known, and between them the signals keep their proportions.
    #[test]
    fn the_last_step_of_a_rescaled_schedule_is_noise() {
        let Process::VariancePreserving { alphas_cumprod: before } = stable_diffusion() else {
            panic!("a diffusion")
        };
        let rescaled = stable_diffusion().with_zero_terminal_snr();
        let Process::VariancePreserving { alphas_cumprod: after } = &rescaled else {
            panic!("a diffusion")
        };
        assert!(after.windows(2).all(|pair| pair[0] > pair[1]));
        assert!((after[0] - before[0]).abs() < 1e-12);
        assert_eq!(after[999], SMALLEST_ALPHA);
        let share = |alphas: &[f64], last: f64| {
            let signal = |t: usize| alphas[t].sqrt();
            (signal(500) - last) / (signal(0) - last)
        };
        assert!((share(&before, before[999].sqrt()) - share(after, 0.0)).abs() < 1e-12);
    }
}
