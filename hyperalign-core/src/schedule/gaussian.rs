//! Solvers of one evaluation a step and no memory.

use burn::tensor::Tensor;

use super::{History, Scheduler, Transition};
use crate::{contract::Prediction, diffusion::Level};

/// The plan of a one-step solver: each step draws from a normal distribution around a mix of the
/// two estimates that the network's answer implies,
/// `prev_sample ~ N(mean.signal * original + mean.noise * noise, deviation^2)`.
///
/// Solvers differ in the levels that they visit and in these three numbers, so each has a
/// constructor and no other code of its own: [`ddim`](Self::ddim), [`ddpm`](Self::ddpm),
/// [`euler`](Self::euler), [`euler_ancestral`](Self::euler_ancestral),
/// [`flow_match_euler`](Self::flow_match_euler), [`flow_sde`](Self::flow_sde).
#[derive(Debug, Clone)]
pub struct GaussianScheduler {
    pub(super) steps: Vec<PlannedStep>,
    /// Where the last step ends.
    pub(super) end: Level,
    pub(super) prediction: Prediction,
    pub(super) init_noise_sigma: f64,
}

/// One step of the plan.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlannedStep {
    /// What the network is told.
    pub(super) timestep: f64,
    /// Where the step starts.
    pub(super) level: Level,
    /// Factors of the two estimates in the mean. What they lack to the level where the step ends
    /// is the variance of the noise.
    pub(super) mean: Level,
    /// Standard deviation of the noise that is added; 0 in a deterministic step.
    pub(super) deviation: f64,
}

impl PlannedStep {
    /// A step of a variance-preserving diffusion from `level` to `target` that draws the share
    /// `eta` of the deviation of the posterior,
    /// `target.noise^2 (1 - (target.sigma / level.sigma)^2)`, anew.
    ///
    /// # Panics
    ///
    /// Panics for an eta outside of `[0, 1]`.
    pub(super) fn ancestral(timestep: f64, level: Level, target: Level, eta: f64) -> Self {
        assert!((0.0..=1.0).contains(&eta), "eta {eta} is not in [0, 1]");
        let ratio = target.sigma() / level.sigma();
        // A level may be its own successor, but for rounding: nothing is drawn there.
        let deviation = eta * target.noise * (1.0 - ratio * ratio).max(0.0).sqrt();
        // Rounding must not make the root of a tiny difference imaginary either.
        let noise = (target.noise * target.noise - deviation * deviation).max(0.0).sqrt();
        Self { timestep, level, mean: Level { signal: target.signal, noise }, deviation }
    }
}

impl GaussianScheduler {
    /// The mean of the sample after step `i`.
    pub(super) fn mean(&self, i: usize, model_output: Tensor<4>, sample: Tensor<4>) -> Tensor<4> {
        let PlannedStep { level, mean, .. } = &self.steps[i];
        level.transport(*mean, self.prediction, sample, model_output)
    }
}

impl Scheduler for GaussianScheduler {
    fn steps(&self) -> usize {
        self.steps.len()
    }

    fn timestep(&self, i: usize) -> f64 {
        self.steps[i].timestep
    }

    fn level(&self, i: usize) -> Level {
        if i == self.steps.len() { self.end } else { self.steps[i].level }
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
        _: &mut History,
    ) -> Transition {
        let pred_original =
            self.level(i).original(self.prediction, sample.clone(), model_output.clone());
        let mean = self.mean(i, model_output, sample);
        Transition { mean, deviation: self.steps[i].deviation, pred_original }
    }

    fn needs_noise(&self, i: usize) -> bool {
        self.steps[i].deviation > 0.0
    }
}
