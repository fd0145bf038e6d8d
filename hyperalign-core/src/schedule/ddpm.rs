//! DDPM: ancestral sampling, the reverse of the training process step by step.

use serde::{Deserialize, Serialize};

use super::{GaussianScheduler, StepCountError, TimestepSpacing, gaussian::PlannedStep, sigmas};
use crate::{
    contract::Prediction,
    diffusion::{Level, Process},
};

/// The variance of a step's noise (Ho et al. 2020, arXiv:2006.11239, section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variance {
    /// That of the posterior, right for data that are a single point.
    FixedSmall,
    /// That of the forward step, right for data that are standard normal.
    FixedLarge,
}

/// Settings of [`GaussianScheduler::ddpm`], under the names of diffusers' configuration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DdpmOptions {
    /// The variance of the noise.
    pub variance: Variance,
    /// What the network predicts.
    pub prediction: Prediction,
    /// How the steps are spread over the training schedule.
    pub spacing: TimestepSpacing,
    /// Added to every timestep of the leading spacing.
    pub steps_offset: usize,
}

impl GaussianScheduler {
    /// `steps` steps of ancestral sampling (Ho et al. 2020, arXiv:2006.11239, eqs. 6 and 7) for a
    /// variance-preserving `process`; the last ends at noise level 0.
    ///
    /// The mean is that of the posterior, `DDIM`'s at eta 1.
    ///
    /// # Errors
    ///
    /// Fails for 0 steps and for more steps than the training schedule can give.
    ///
    /// # Panics
    ///
    /// Panics for a rectified flow.
    pub fn ddpm(
        process: &Process,
        steps: usize,
        options: DdpmOptions,
    ) -> Result<Self, StepCountError> {
        let alphas = sigmas::alphas(process);
        let DdpmOptions { variance, prediction, spacing, steps_offset } = options;
        let timesteps = spacing.timesteps(alphas.len(), steps, steps_offset)?;
        let end = Level { signal: 1.0, noise: 0.0 };
        let next = timesteps.iter().skip(1).map(|timestep| alphas[*timestep]).chain([1.0]);
        let steps = timesteps.iter().zip(next).map(|(&timestep, next)| {
            let alpha = alphas[timestep];
            let (level, target) = (sigmas::level_of_step(alphas, timestep), Level::of_alpha(next));
            let step = PlannedStep::ancestral(timestep as f64, level, target, 1.0);
            match variance {
                // Training step 0 is the last of all and draws nothing.
                Variance::FixedLarge if timestep > 0 => {
                    PlannedStep { deviation: (1.0 - alpha / next).sqrt(), ..step }
                }
                _ => step,
            }
        });
        Ok(Self { steps: steps.collect(), end, prediction, init_noise_sigma: 1.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{
        Scheduler, SchedulerConfig,
        gaussian_data::{check_by_monte_carlo, end_variance, order, tensor, values, variance},
    };

    fn plan(steps: usize, variance: Variance) -> GaussianScheduler {
        let options = DdpmOptions {
            variance,
            prediction: Prediction::Epsilon,
            spacing: TimestepSpacing::Leading,
            steps_offset: 1,
        };
        let process = SchedulerConfig::stable_diffusion().process().unwrap();
        GaussianScheduler::ddpm(&process, steps, options).unwrap()
    }

    /// The posterior in its own terms, for an original and a sample.
    #[test]
    fn the_posterior() {
        for choice in [Variance::FixedSmall, Variance::FixedLarge] {
            let scheduler = plan(10, choice);
            for i in 0..10 {
                let [level, next] = [i, i + 1].map(|i| scheduler.level(i));
                let (alpha, alpha_prev) = (level.signal.powi(2), next.signal.powi(2));
                let beta = 1.0 - alpha / alpha_prev;
                let (x, epsilon) = (0.7, -0.4);
                let original = (x - level.noise * epsilon) / level.signal;
                let mean = alpha_prev.sqrt() * beta / (1.0 - alpha) * original
                    + (1.0 - beta).sqrt() * (1.0 - alpha_prev) / (1.0 - alpha) * x;
                let found = scheduler.mean(i, tensor(vec![epsilon]), tensor(vec![x]));
                assert!((values(found)[0] - mean).abs() < 1e-12, "step {i}");
                let expected = match choice {
                    Variance::FixedSmall => beta * (1.0 - alpha_prev) / (1.0 - alpha),
                    Variance::FixedLarge => beta,
                };
                assert!((scheduler.steps[i].deviation.powi(2) - expected).abs() < 1e-12);
            }
        }
    }

    /// Either variance draws from the data in the limit of many steps.
    #[test]
    fn draws_from_the_data() {
        for choice in [Variance::FixedSmall, Variance::FixedLarge] {
            let error = |steps: usize| {
                let scheduler = plan(steps, choice);
                (end_variance(&scheduler) / variance(scheduler.level(steps)) - 1.0).abs()
            };
            let order = order(error, 125, 500);
            assert!(error(500) < 0.1 && (order - 1.0).abs() < 0.3, "order {order}, {choice:?}");
        }
    }

    #[test]
    fn by_monte_carlo() {
        check_by_monte_carlo(&plan(15, Variance::FixedSmall));
        check_by_monte_carlo(&plan(15, Variance::FixedLarge));
    }
}
