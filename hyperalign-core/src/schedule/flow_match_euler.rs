//! Euler's method for rectified flows: FLUX's own solver.

use super::{GaussianScheduler, gaussian::PlannedStep};
use crate::{contract::Prediction, diffusion::Process};

impl GaussianScheduler {
    /// Euler's method `sample + (next - sigma) velocity` along the falling noise levels `sigmas`,
    /// the last of which is where the run ends (Liu et al. 2022, arXiv:2209.03003, section 2.1).
    ///
    /// Converges at order 1 to the flow's ODE.
    ///
    /// # Panics
    ///
    /// Panics if `sigmas` do not fall inside `[0, 1]`, and for fewer than two.
    pub fn flow_match_euler(sigmas: &[f64]) -> Self {
        assert!(sigmas.len() > 1, "a run has a noise level to start from and one to end at");
        let steps = sigmas.windows(2).map(|pair| {
            assert!(pair[0] > pair[1], "noise levels fall: {sigmas:?}");
            let [level, mean] = [pair[0], pair[1]].map(|sigma| Process::RectifiedFlow.level(sigma));
            PlannedStep { timestep: pair[0], level, mean, deviation: 0.0 }
        });
        Self {
            steps: steps.collect(),
            end: Process::RectifiedFlow.level(sigmas[sigmas.len() - 1]),
            prediction: Prediction::Velocity,
            // A run may start below the level of pure noise only from a noised original.
            init_noise_sigma: 1.0,
        }
    }
}

#[cfg(test)]
mod tests;
