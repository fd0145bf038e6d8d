//! Solvers: how a sample goes from one noise level to the next.
//!
//! A scheduler is one sampling run's plan: immutable, host-side `f64`, free of any random state.
//! It is asked by step index and knows neither networks nor guidance. What a multi-step solver
//! remembers is a [`History`] that the sampler owns, so one scheduler serves any number of
//! trajectories at once.
//!
//! Samples are always `signal * original + noise * standard_normal` with the factors of
//! [`Scheduler::level`], also in the solvers that are written with an unscaled
//! `original + sigma * standard_normal` in the literature. Whatever looks at a trajectory (a
//! one-step estimate, a search, a loss) then needs to know the level and not the solver.

mod config;
mod ddim;
mod ddpm;
mod dpmpp_2m;
mod dpmpp_sde;
mod error;
mod euler;
mod euler_ancestral;
mod flow_config;
mod flow_cps;
mod flow_match_euler;
mod flow_sde;
mod gaussian;
mod heun;
mod mixed;
mod pndm;
mod short_tail;
mod sigmas;
mod solver;
mod spacing;
mod transition;
mod unipc;

use burn::tensor::Tensor;

pub use config::{BetaSchedule, SchedulerConfig};
pub use ddim::DdimOptions;
pub use ddpm::{DdpmOptions, Variance};
pub use dpmpp_2m::Dpmpp2mScheduler;
pub use dpmpp_sde::DpmppSdeScheduler;
pub use error::{SchedulerConfigError, StepCountError};
pub use flow_config::{FlowSchedulerConfig, TimeShift};
pub use flow_sde::{FlowDiffusion, FlowSdeOptions};
pub use gaussian::GaussianScheduler;
pub use heun::HeunScheduler;
pub use mixed::MixedScheduler;
pub use pndm::{PndmOptions, PndmScheduler};
pub use short_tail::ShortTail;
pub use sigmas::SigmaOptions;
pub use solver::{Solver, SolverChoice, UnknownSolver};
pub use spacing::TimestepSpacing;
pub use transition::Transition;
pub use unipc::UniPcScheduler;

use crate::{contract::Prediction, diffusion::Level, rows::select_rows};

/// The outcome of a step.
#[derive(Debug, Clone)]
pub struct Step {
    /// The sample at the next noise level.
    pub prev_sample: Tensor<4>,
    /// The one-step estimate of the original from this step's input.
    pub pred_original: Tensor<4>,
}

/// What a solver remembers of the steps before: written and read by schedulers, owned by the
/// sampler, empty at the start of a trajectory. One-step solvers leave it empty.
#[derive(Debug, Clone, Default)]
pub struct History {
    outputs: std::collections::VecDeque<Tensor<4>>,
    sample: Option<Tensor<4>>,
}

impl History {
    /// Remembers `output` as the newest and forgets all but the newest `keep`.
    pub fn push(&mut self, output: Tensor<4>, keep: usize) {
        self.outputs.push_front(output);
        self.outputs.truncate(keep);
    }

    /// The output remembered `back` pushes ago; 0 is the newest.
    pub fn output(&self, back: usize) -> Option<&Tensor<4>> {
        self.outputs.get(back)
    }

    /// Takes the newest output and forgets all of them.
    pub fn take_output(&mut self) -> Option<Tensor<4>> {
        let newest = self.outputs.pop_front();
        self.outputs.clear();
        newest
    }

    /// Number of outputs remembered.
    pub fn len(&self) -> usize {
        self.outputs.len()
    }

    /// Whether no output is remembered.
    pub fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }

    /// Lays aside a sample that a later step starts from again.
    pub fn hold(&mut self, sample: Tensor<4>) {
        self.sample = Some(sample);
    }

    /// Takes the sample back that was laid aside.
    pub fn take_held(&mut self) -> Option<Tensor<4>> {
        self.sample.take()
    }

    /// What is remembered of these rows of the batch, in this order.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        self.map(|tensor| select_rows(tensor, rows))
    }

    /// The same values, cut off from any autodiff graph.
    #[must_use]
    pub fn detach(&self) -> Self {
        self.map(Tensor::detach)
    }

    /// What is remembered of several batches that have come equally far, as of one.
    pub(crate) fn join(parts: &[&Self]) -> Self {
        let cat = |tensors: Vec<Tensor<4>>| Tensor::cat(tensors, 0);
        let kept = parts.iter().map(|part| part.len()).min().unwrap_or(0);
        let output =
            |back: usize| cat(parts.iter().filter_map(|part| part.output(back).cloned()).collect());
        let samples: Option<Vec<Tensor<4>>> =
            parts.iter().map(|part| part.sample.clone()).collect();
        Self {
            outputs: (0..kept).map(output).collect(),
            sample: samples.filter(|samples| !samples.is_empty()).map(cat),
        }
    }

    /// The same values without autodiff.
    #[must_use]
    pub fn inner(self) -> Self {
        self.map(Tensor::inner)
    }

    fn map(&self, f: impl Fn(Tensor<4>) -> Tensor<4>) -> Self {
        Self {
            outputs: self.outputs.iter().cloned().map(&f).collect(),
            sample: self.sample.clone().map(&f),
        }
    }
}

/// The plan of a sampling run over `steps()` steps, from noise to data.
///
/// Methods that take a step index `i` panic if it is not below [`steps`](Self::steps), but for
/// [`level`](Self::level), which has one more.
pub trait Scheduler: Send + Sync {
    /// Number of steps, each one evaluation of the network. A solver that evaluates twice in a step
    /// has each evaluation as a step here, so a plan may have more than it was asked for.
    fn steps(&self) -> usize;

    /// What the network is told as the time of step `i`: a timestep of the training schedule for
    /// diffusion, the noise level in `[0, 1]` for flows.
    fn timestep(&self, i: usize) -> f64;

    /// The timestep of step `i` among the thousand that diffusion is trained with.
    fn training_timestep(&self, i: usize) -> f64 {
        self.prediction().timesteps_in_unit() * self.timestep(i)
    }

    /// The noise level of the sample that enters step `i`; for `steps()` that of the last sample.
    fn level(&self, i: usize) -> Level;

    /// How this scheduler reads the network's output.
    fn prediction(&self) -> Prediction;

    /// What standard normal noise is multiplied with to give the sample that step 0 starts from.
    fn init_noise_sigma(&self) -> f64 {
        1.0
    }

    /// Where step `i` leads to: the distribution of the next sample, given the network's answer.
    /// Differentiable in every tensor.
    ///
    /// # Shapes
    ///
    /// - `model_output`, `sample`: `[batch, channels, height, width]`
    fn transition(
        &self,
        i: usize,
        model_output: Tensor<4>,
        sample: Tensor<4>,
        history: &mut History,
    ) -> Transition;

    /// Takes step `i`: a draw from its [`transition`](Self::transition).
    ///
    /// # Shapes
    ///
    /// - `model_output`, `sample`, `noise`: `[batch, channels, height, width]`
    ///
    /// # Panics
    ///
    /// Panics if the step [needs noise](Self::needs_noise) and there is none.
    fn step(
        &self,
        i: usize,
        model_output: Tensor<4>,
        sample: Tensor<4>,
        noise: Option<Tensor<4>>,
        history: &mut History,
    ) -> Step {
        let transition = self.transition(i, model_output, sample, history);
        Step { prev_sample: transition.draw(noise), pred_original: transition.pred_original }
    }

    /// Whether step `i` adds noise.
    fn needs_noise(&self, i: usize) -> bool {
        let _ = i;
        false
    }

    /// Whether any step adds noise.
    fn is_stochastic(&self) -> bool {
        (0..self.steps()).any(|i| self.needs_noise(i))
    }
}

#[cfg(test)]
mod gaussian_data;
