//! Stochastic sampling of rectified flows, for search and policy gradients.

use std::ops::Range;

use super::{GaussianScheduler, gaussian::PlannedStep};
use crate::diffusion::Level;

/// How the diffusion coefficient `g` depends on the noise level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowDiffusion {
    /// `g = eta` (Xue et al. 2025, DanceGRPO, arXiv:2505.07818, eq. 9).
    Constant,
    /// `g = eta sqrt(sigma / (1 - sigma))` (Liu et al. 2025, Flow-GRPO, arXiv:2505.05470, section
    /// 4.2); at sigma 1 the next level stands in the denominator.
    Ratio,
}

/// Settings of [`GaussianScheduler::flow_sde`].
#[derive(Debug, Clone, PartialEq)]
pub struct FlowSdeOptions {
    /// How `g` depends on the noise level.
    pub diffusion: FlowDiffusion,
    /// The scale of `g`; not negative. 0 is the ODE.
    pub eta: f64,
    /// The steps that draw noise; the others are Euler's. All but the last is what DanceGRPO
    /// decodes: a step of the ODE to level 0 ends at the one-step estimate.
    pub stochastic: Range<usize>,
}

impl GaussianScheduler {
    /// Steps of the Euler-Maruyama method along the falling noise levels `sigmas` for the reverse
    /// SDE with the marginals of the flow, drift `velocity - g^2 score / 2` and diffusion `g`:
    /// with `d = next - sigma < 0` and `score = -noise_estimate / sigma`,
    /// `mean = sample + d velocity - g^2 score d / 2` and `deviation = g sqrt(-d)`.
    ///
    /// # Panics
    ///
    /// Panics if `sigmas` do not fall inside `[0, 1]`, for fewer than two, and for an eta that is
    /// negative or no number.
    pub fn flow_sde(sigmas: &[f64], options: &FlowSdeOptions) -> Self {
        let FlowSdeOptions { diffusion, eta, ref stochastic } = *options;
        assert!(eta >= 0.0 && eta.is_finite(), "eta {eta} is not a number from 0");
        let mut scheduler = Self::flow_match_euler(sigmas);
        for (i, step) in scheduler.steps.iter_mut().enumerate() {
            if stochastic.contains(&i) {
                let (sigma, next) = (sigmas[i], sigmas[i + 1]);
                let g = match diffusion {
                    FlowDiffusion::Constant => eta,
                    FlowDiffusion::Ratio => {
                        let below_one = if sigma < 1.0 { sigma } else { next };
                        eta * (sigma / (1.0 - below_one)).sqrt()
                    }
                };
                let signal = step.mean.signal;
                let noise = next - g * g * (sigma - next) / (2.0 * sigma);
                let deviation = g * (sigma - next).sqrt();
                *step = PlannedStep { mean: Level { signal, noise }, deviation, ..*step };
            }
        }
        scheduler
    }
}

#[cfg(test)]
mod tests;
