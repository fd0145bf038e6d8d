//! DDIM: deterministic at eta 0, the ancestral sampler of DDPM at eta 1.

use super::{GaussianScheduler, StepCountError, TimestepSpacing, gaussian::PlannedStep, sigmas};
use crate::{
    contract::Prediction,
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
        let alphas = sigmas::alphas(process);
        let DdimOptions { eta, prediction, spacing, steps_offset, set_alpha_to_one } = options;
        let timesteps = spacing.timesteps(alphas.len(), steps, steps_offset)?;
        let stride = alphas.len() / steps;
        let last_alpha = if set_alpha_to_one { 1.0 } else { alphas[0] };
        let previous = |timestep: usize| match timestep.checked_sub(stride) {
            Some(timestep) => alphas[timestep],
            None => last_alpha,
        };
        let end = Level::of_alpha(previous(timesteps[timesteps.len() - 1]));
        let steps = timesteps.into_iter().map(|timestep| {
            let level = sigmas::level_of_step(alphas, timestep);
            let target = Level::of_alpha(previous(timestep));
            PlannedStep::ancestral(timestep as f64, level, target, eta)
        });
        Ok(Self { steps: steps.collect(), end, prediction, init_noise_sigma: 1.0 })
    }
}

#[cfg(test)]
mod tests;
