//! DPM-Solver++ for the SDE: two stages of ancestral sampling along one path of noise.

use burn::tensor::Tensor;

use super::{
    History, Scheduler, SigmaOptions, StepCountError, Transition,
    gaussian::PlannedStep,
    sigmas::{self, Node},
};
use crate::{
    contract::Prediction,
    diffusion::{Level, Process},
};

/// The plan of DPM-Solver++(2S) with ancestral noise (Lu et al. 2022, arXiv:2211.01095, algorithm 1
/// at its midpoint; the noise as k-diffusion's `sample_dpmpp_sde` and diffusers'
/// `DPMSolverSDEScheduler` draw it).
///
/// A step goes to the midpoint in `lambda = -ln sigma` first, and then from its start once more, to
/// its end, by the estimate of the midpoint. Each of the two evaluations is a step of the plan, and
/// `n` steps evaluate the network `2 n - 1` times: the last leads to noise level 0 at once.
///
/// The noise of both stages is that of one Brownian path in sigma, so the second stage shares with
/// the first what was drawn on the way to the midpoint. Its transition is the distribution given
/// that: the part that is known stands in its mean, and noise is drawn for the rest alone. What is
/// drawn is thus distributed as in diffusers, and its density is the right one.
///
/// With eta 0 it is DPM-Solver++(2S), of order 2. A run that begins at a midpoint takes an ancestral
/// step of order 1 from there.
#[derive(Debug, Clone)]
pub struct DpmppSdeScheduler {
    passes: Vec<Pass>,
    prediction: Prediction,
    init_noise_sigma: f64,
}

/// One evaluation of the network, and what follows from it.
#[derive(Debug, Clone, Copy)]
struct Pass {
    /// An ancestral step from where the network is evaluated.
    step: PlannedStep,
    stage: Stage,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    /// To the midpoint; the start is remembered.
    Half,
    /// From the start, with the estimate of the midpoint.
    Whole(Whole),
    /// To noise level 0.
    Last,
}

/// The second stage of a step.
#[derive(Debug, Clone, Copy)]
struct Whole {
    /// The step from its start to its end.
    step: PlannedStep,
    /// Deviation of the first stage.
    half_deviation: f64,
    /// Correlation of the noise of both stages.
    correlation: f64,
}

impl Whole {
    /// Deviation of what the first stage does not say of the noise.
    fn deviation(&self) -> f64 {
        self.step.deviation * (1.0 - self.correlation * self.correlation).sqrt()
    }
}

const END: Level = Level { signal: 1.0, noise: 0.0 };

impl DpmppSdeScheduler {
    /// Plans `steps` steps of a variance-preserving `process` at the levels of
    /// [`euler`](super::GaussianScheduler::euler), with a share `eta` of the ancestral deviation.
    ///
    /// # Errors
    ///
    /// Fails for 0 steps and for more steps than the training schedule can give.
    ///
    /// # Panics
    ///
    /// Panics for a rectified flow, and for an eta outside of `[0, 1]`.
    pub fn new(
        process: &Process,
        steps: usize,
        eta: f64,
        options: SigmaOptions,
    ) -> Result<Self, StepCountError> {
        let alphas = sigmas::alphas(process);
        let nodes = options.one_step_nodes(alphas, steps)?;
        let mut passes = Vec::with_capacity(2 * nodes.len());
        for pair in nodes.windows(2) {
            let (node, next) = (pair[0], pair[1]);
            let sigma = (node.sigma * next.sigma).sqrt();
            let middle = Node { timestep: sigmas::timestep_of(alphas, sigma), sigma };
            let step = |from: Node, to: Node| {
                PlannedStep::ancestral(from.timestep, from.level(), to.level(), eta)
            };
            let half = step(node, middle);
            passes.push(Pass { step: half, stage: Stage::Half });
            let correlation = ((node.sigma - middle.sigma) / (node.sigma - next.sigma)).sqrt();
            let whole =
                Whole { step: step(node, next), half_deviation: half.deviation, correlation };
            passes.push(Pass { step: step(middle, next), stage: Stage::Whole(whole) });
        }
        let last = nodes[nodes.len() - 1];
        let step = PlannedStep::ancestral(last.timestep, last.level(), END, eta);
        passes.push(Pass { step, stage: Stage::Last });
        let init_noise_sigma = options.init_noise_sigma(&nodes);
        Ok(Self { passes, prediction: options.prediction, init_noise_sigma })
    }
}

impl Scheduler for DpmppSdeScheduler {
    fn steps(&self) -> usize {
        self.passes.len()
    }

    fn timestep(&self, i: usize) -> f64 {
        self.passes[i].step.timestep
    }

    fn level(&self, i: usize) -> Level {
        if i == self.passes.len() { END } else { self.passes[i].step.level }
    }

    fn prediction(&self) -> Prediction {
        self.prediction
    }

    fn init_noise_sigma(&self) -> f64 {
        self.init_noise_sigma
    }

    fn transition(
        &self,
        i: usize,
        model_output: Tensor<4>,
        sample: Tensor<4>,
        history: &mut History,
    ) -> Transition {
        let Pass { step, stage } = self.passes[i];
        let pred_original =
            step.level.original(self.prediction, sample.clone(), model_output.clone());
        if let Stage::Whole(whole) = stage
            && let Some((start, half_mean)) = history.take_held().zip(history.take_output())
        {
            let PlannedStep { level, mean, deviation, .. } = whole.step;
            // The noise that start and estimate imply, and the mean that follows.
            let of_start = mean.noise / level.noise;
            let of_estimate = mean.signal - of_start * level.signal;
            let mut mean =
                start.mul_scalar(of_start) + pred_original.clone().mul_scalar(of_estimate);
            if whole.half_deviation > 0.0 {
                let known = deviation * whole.correlation / whole.half_deviation;
                mean = mean + (sample - half_mean).mul_scalar(known);
            }
            return Transition { mean, deviation: whole.deviation(), pred_original };
        }
        let mean = step.level.transport(step.mean, self.prediction, sample.clone(), model_output);
        if let Stage::Half = stage {
            history.hold(sample);
            history.push(mean.clone(), 1);
        }
        Transition { mean, deviation: step.deviation, pred_original }
    }

    fn needs_noise(&self, i: usize) -> bool {
        self.passes[i].step.deviation > 0.0
    }
}

#[cfg(test)]
mod tests;
