//! DPM-Solver++ of order 2, multi-step, with and without the noise levels of Karras.

use burn::tensor::Tensor;

use super::{
    History, Scheduler, SigmaOptions, StepCountError, Transition,
    sigmas::{self, Node},
};
use crate::{
    contract::Prediction,
    diffusion::{Level, Process},
};

/// The plan of DPM-Solver++(2M) (Lu et al. 2022, arXiv:2211.01095, algorithm 2 in its midpoint
/// form): an exponential integrator in `lambda = -ln sigma` on estimates of the original, which
/// are extrapolated through the last two.
///
/// The first step is of order 1, and so is the last, which ends at noise level 0, where lambda is
/// infinite. Deterministic; order 2 in between at the levels of Karras. Evenly spaced timesteps
/// keep the last steps wide in lambda however many there are, which costs the order there.
#[derive(Debug, Clone)]
pub struct Dpmpp2mScheduler {
    nodes: Vec<Node>,
    prediction: Prediction,
}

impl Dpmpp2mScheduler {
    /// Plans `steps` sampling steps of a variance-preserving `process`.
    ///
    /// # Errors
    ///
    /// Fails for 0 steps and for more steps than the training schedule can give.
    ///
    /// # Panics
    ///
    /// Panics for a rectified flow.
    pub fn new(
        process: &Process,
        steps: usize,
        options: SigmaOptions,
    ) -> Result<Self, StepCountError> {
        let alphas = sigmas::alphas(process);
        let nodes = options.multi_step_nodes(alphas, steps)?;
        Ok(Self { nodes, prediction: options.prediction })
    }
}

impl Scheduler for Dpmpp2mScheduler {
    fn steps(&self) -> usize {
        self.nodes.len()
    }

    fn timestep(&self, i: usize) -> f64 {
        self.nodes[i].timestep
    }

    fn level(&self, i: usize) -> Level {
        if i == self.nodes.len() {
            Level { signal: 1.0, noise: 0.0 }
        } else {
            self.nodes[i].level()
        }
    }

    fn prediction(&self) -> Prediction {
        self.prediction
    }

    fn transition(
        &self,
        i: usize,
        model_output: Tensor<4>,
        sample: Tensor<4>,
        history: &mut History,
    ) -> Transition {
        let [level, next] = [i, i + 1].map(|i| self.level(i));
        let is_inside = i > 0 && i + 1 < self.nodes.len();
        let before = is_inside.then(|| self.nodes[i - 1].sigma);
        let pred_original = level.original(self.prediction, sample.clone(), model_output);
        midpoint(before, [level, next], sample, pred_original, history)
    }
}

/// The step of DPM-Solver++(2M) between two levels, along the estimate of the original that was made
/// at the first. It is of order 2 where `before` is the sigma at which the estimate before it was
/// made, which is the last in `history`; else of order 1.
pub(super) fn midpoint(
    before: Option<f64>,
    [level, next]: [Level; 2],
    sample: Tensor<4>,
    pred_original: Tensor<4>,
    history: &mut History,
) -> Transition {
    let extrapolated = match before.zip(history.output(0)) {
        Some((sigma, estimate)) => {
            let lambda = |sigma: f64| -sigma.ln();
            let here = lambda(level.sigma());
            let reach = (lambda(next.sigma()) - here) / (2.0 * (here - lambda(sigma)));
            pred_original.clone().mul_scalar(1.0 + reach) - estimate.clone().mul_scalar(reach)
        }
        None => pred_original.clone(),
    };
    history.push(pred_original.clone(), 1);
    let kept = next.noise / level.noise;
    let mean = sample.mul_scalar(kept) + extrapolated.mul_scalar(next.signal - kept * level.signal);
    Transition { mean, deviation: 0.0, pred_original }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{
        GaussianScheduler, SchedulerConfig, TimestepSpacing,
        gaussian_data::{error_before, ode_error, order, tensor, values},
    };

    fn plan(steps: usize, use_karras_sigmas: bool) -> Dpmpp2mScheduler {
        let options = SigmaOptions {
            prediction: Prediction::VPrediction,
            spacing: TimestepSpacing::Linspace,
            steps_offset: 1,
            use_karras_sigmas,
        };
        let process = SchedulerConfig::stable_diffusion().process().unwrap();
        Dpmpp2mScheduler::new(&process, steps, options).unwrap()
    }

    #[test]
    fn converges_at_order_two() {
        let found = order(|steps| error_before(&plan(steps, true), 1), 50, 200);
        assert!((found - 2.0).abs() < 0.3, "order {found}");
    }

    /// To the end of a run it is closer to the ODE than Euler's method at the same levels.
    #[test]
    fn is_closer_than_a_solver_of_order_one() {
        let options = SigmaOptions {
            prediction: Prediction::VPrediction,
            spacing: TimestepSpacing::Linspace,
            steps_offset: 0,
            use_karras_sigmas: true,
        };
        let process = SchedulerConfig::stable_diffusion().process().unwrap();
        let euler = GaussianScheduler::euler(&process, 20, options).unwrap();
        let scheduler = plan(20, true);
        assert!((0..=20).all(|i| {
            let [a, b] = [scheduler.level(i), euler.level(i)];
            (a.noise - b.noise).abs() < 1e-9
        }));
        let error = ode_error(&scheduler);
        assert!(error < 0.2 * ode_error(&euler), "{error} {}", ode_error(&euler));
    }

    #[test]
    fn the_last_step_ends_at_the_estimate() {
        let scheduler = plan(5, false);
        let mut history = History::default();
        history.push(tensor(vec![9.0]), 1);
        let step = scheduler.step(4, tensor(vec![0.4]), tensor(vec![0.7]), None, &mut history);
        assert!((values(step.prev_sample)[0] - values(step.pred_original)[0]).abs() < 1e-12);
    }

    #[test]
    fn timesteps() {
        let timesteps = |scheduler: Dpmpp2mScheduler| -> Vec<f64> {
            (0..scheduler.steps()).map(|i| scheduler.timestep(i)).collect()
        };
        assert_eq!(timesteps(plan(4, false)), [999.0, 749.0, 500.0, 250.0]);
        let karras = timesteps(plan(4, true));
        assert_eq!((karras[0], karras[3]), (999.0, 0.0));
        assert!(karras.iter().all(|timestep| timestep.fract() == 0.0));
    }
}
