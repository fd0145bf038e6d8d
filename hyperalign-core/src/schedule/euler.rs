//! Euler's method for the probability-flow ODE in sigma.

use super::{
    GaussianScheduler, SigmaOptions, StepCountError,
    gaussian::PlannedStep,
    sigmas::{self, Node},
};
use crate::diffusion::{Level, Process};

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
        options: SigmaOptions,
    ) -> Result<Self, StepCountError> {
        Self::in_sigma(process, steps, options, 0.0)
    }

    /// Euler's method with a share `eta` of the ancestral variance.
    pub(super) fn in_sigma(
        process: &Process,
        steps: usize,
        options: SigmaOptions,
        eta: f64,
    ) -> Result<Self, StepCountError> {
        let alphas = sigmas::alphas(process);
        let nodes = options.one_step_nodes(alphas, steps)?;
        let end = Level { signal: 1.0, noise: 0.0 };
        let next = nodes.iter().skip(1).copied().map(Node::level).chain([end]);
        let planned = nodes
            .iter()
            .zip(next)
            .map(|(node, next)| PlannedStep::ancestral(node.timestep, node.level(), next, eta));
        Ok(Self {
            steps: planned.collect(),
            end,
            prediction: options.prediction,
            init_noise_sigma: options.init_noise_sigma(&nodes),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        contract::Prediction,
        schedule::{
            History, Scheduler, SchedulerConfig, TimestepSpacing,
            gaussian_data::{ode_error, order, tensor, values},
        },
    };

    fn plan(steps: usize, use_karras_sigmas: bool) -> GaussianScheduler {
        let options = SigmaOptions {
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
