//! Euler's method for the probability-flow ODE in sigma.

use super::{
    GaussianScheduler, StepCountError, TimestepSpacing,
    gaussian::PlannedStep,
    sigmas::{self, Node},
};
use crate::{
    contract::Prediction,
    diffusion::{Level, Process},
};

/// Settings of [`GaussianScheduler::euler`] and [`GaussianScheduler::euler_ancestral`], under the
/// names of diffusers' configuration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EulerOptions {
    /// What the network predicts.
    pub prediction: Prediction,
    /// How the steps are spread over the training schedule.
    pub spacing: TimestepSpacing,
    /// Added to every timestep of the leading spacing.
    pub steps_offset: usize,
    /// Whether the levels between the ends are those of Karras et al. 2022 (arXiv:2206.00364).
    pub use_karras_sigmas: bool,
}

impl GaussianScheduler {
    /// `steps` steps of Euler's method for `d x / d sigma = (x - original) / sigma`, `x` being the
    /// sample over its signal (Karras et al. 2022, arXiv:2206.00364, algorithm 2 without churn);
    /// the last ends at noise level 0.
    ///
    /// A step is that of DDIM at eta 0 between the same levels; the levels differ: they may lie
    /// between training steps. Converges at order 1.
    ///
    /// # Errors
    ///
    /// Fails for 0 steps and for more steps than the training schedule can give.
    ///
    /// # Panics
    ///
    /// Panics for a rectified flow.
    pub fn euler(
        process: &Process,
        steps: usize,
        options: EulerOptions,
    ) -> Result<Self, StepCountError> {
        Self::in_sigma(process, steps, options, 0.0)
    }

    /// Euler's method with a share `eta` of the ancestral variance.
    pub(super) fn in_sigma(
        process: &Process,
        steps: usize,
        options: EulerOptions,
        eta: f64,
    ) -> Result<Self, StepCountError> {
        let alphas = sigmas::alphas(process);
        let EulerOptions { prediction, spacing, steps_offset, use_karras_sigmas } = options;
        let mut nodes = sigmas::euler_nodes(alphas, steps, spacing, steps_offset)?;
        if use_karras_sigmas {
            nodes = sigmas::karras(alphas, &nodes);
        }
        let end = Level { signal: 1.0, noise: 0.0 };
        let next = nodes.iter().skip(1).copied().map(Node::level).chain([end]);
        let steps = nodes
            .iter()
            .zip(next)
            .map(|(node, next)| PlannedStep::ancestral(node.timestep, node.level(), next, eta));
        // These two spacings begin at the last training step, and the sample there has no signal.
        let init_noise_sigma = match spacing {
            TimestepSpacing::Linspace | TimestepSpacing::Trailing => nodes[0].level().noise,
            TimestepSpacing::Leading => 1.0,
        };
        Ok(Self { steps: steps.collect(), end, prediction, init_noise_sigma })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{
        History, Scheduler, SchedulerConfig,
        gaussian_data::{ode_error, order, tensor, values},
    };

    fn plan(steps: usize, use_karras_sigmas: bool) -> GaussianScheduler {
        let options = EulerOptions {
            prediction: Prediction::Epsilon,
            spacing: TimestepSpacing::Linspace,
            steps_offset: 1,
            use_karras_sigmas,
        };
        let process = SchedulerConfig::stable_diffusion().process().unwrap();
        GaussianScheduler::euler(&process, steps, options).unwrap()
    }

    /// The step as it is written in sigma, on a sample over its signal.
    #[test]
    fn a_step_follows_the_slope() {
        let scheduler = plan(7, false);
        for i in 0..7 {
            let [level, next] = [i, i + 1].map(|i| scheduler.level(i));
            let (x, epsilon) = (1.7, -0.6);
            let expected = x + (next.sigma() - level.sigma()) * epsilon;
            let sample = tensor(vec![x * level.signal]);
            let history = &mut History::default();
            let step = scheduler.step(i, tensor(vec![epsilon]), sample, None, history);
            let found = values(step.prev_sample)[0] / next.signal;
            assert!((found - expected).abs() < 1e-12, "step {i}");
        }
    }

    #[test]
    fn converges_at_order_one() {
        for karras in [false, true] {
            let order = order(|steps| ode_error(&plan(steps, karras)), 50, 200);
            assert!((order - 1.0).abs() < 0.15, "order {order}");
        }
    }

    #[test]
    fn starts_at_the_level_of_the_first_step() {
        let scheduler = plan(7, false);
        assert_eq!(scheduler.init_noise_sigma(), scheduler.level(0).noise);
        assert_eq!(scheduler.timestep(0), 999.0);
        assert_eq!(scheduler.timestep(1), 832.5);
    }
}
