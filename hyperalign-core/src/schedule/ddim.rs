//! DDIM: deterministic at eta 0, the ancestral sampler of DDPM at eta 1.

use super::{GaussianScheduler, StepCountError, TimestepSpacing, gaussian::Transition};
use crate::{
    denoiser::Prediction,
    diffusion::{Level, Process},
};

/// Settings of [`GaussianScheduler::ddim`], under the names of diffusers' configuration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DdimOptions {
    /// Share of the variance of the posterior that is drawn anew in each step, from 0 to 1.
    pub eta: f64,
    /// What the network predicts.
    pub prediction: Prediction,
    /// How the steps are spread over the training schedule.
    pub spacing: TimestepSpacing,
    /// Added to every timestep of the leading spacing.
    pub steps_offset: usize,
    /// Whether the last step ends at noise level 0, or at that of training step 0.
    pub set_alpha_to_one: bool,
}

impl GaussianScheduler {
    /// `steps` steps of DDIM (Song et al. 2021, arXiv:2010.02502, eqs. 12 and 16) for a
    /// variance-preserving `process`.
    ///
    /// Converges at order 1 to the probability-flow ODE for eta 0.
    ///
    /// # Errors
    ///
    /// Fails for 0 steps and for more steps than the training schedule can give.
    ///
    /// # Panics
    ///
    /// Panics for a rectified flow, which has no training steps to choose from, and for an eta
    /// outside of `[0, 1]`.
    pub fn ddim(
        process: &Process,
        steps: usize,
        options: DdimOptions,
    ) -> Result<Self, StepCountError> {
        let Process::VariancePreserving { alphas_cumprod } = process else {
            panic!("DDIM needs a variance-preserving process");
        };
        let DdimOptions { eta, prediction, spacing, steps_offset, set_alpha_to_one } = options;
        assert!((0.0..=1.0).contains(&eta), "eta {eta} is not in [0, 1]");
        let timesteps = spacing.timesteps(alphas_cumprod.len(), steps, steps_offset)?;
        let stride = alphas_cumprod.len() / steps;
        let last_alpha = if set_alpha_to_one { 1.0 } else { alphas_cumprod[0] };
        let previous = |timestep: usize| match timestep.checked_sub(stride) {
            Some(timestep) => alphas_cumprod[timestep],
            None => last_alpha,
        };
        let end = previous(timesteps[timesteps.len() - 1]);
        let steps = timesteps.into_iter().map(|timestep| {
            let (alpha, alpha_prev) = (alphas_cumprod[timestep], previous(timestep));
            let variance = (1.0 - alpha_prev) / (1.0 - alpha) * (1.0 - alpha / alpha_prev);
            // Training step 0 is its own predecessor: nothing is drawn there.
            let deviation = eta * variance.max(0.0).sqrt();
            // Rounding must not make the root of a tiny difference imaginary.
            let kept = (1.0 - alpha_prev - deviation * deviation).max(0.0).sqrt();
            Transition {
                timestep: timestep as f64,
                level: Level::of_alpha(alpha),
                mean: Level { signal: alpha_prev.sqrt(), noise: kept },
                deviation,
            }
        });
        let steps = steps.collect();
        Ok(Self { steps, end: Level::of_alpha(end), prediction, init_noise_sigma: 1.0 })
    }
}

#[cfg(test)]
mod tests;
