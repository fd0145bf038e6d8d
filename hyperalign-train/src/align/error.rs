//! Why a run cannot be made.

use std::path::PathBuf;

use hyperalign_core::{movement::KeyStepError, schedule::Solver};
use hyperalign_models::{base::BaseError, hypernet::ConfigError, weights::SaveError};
use hyperalign_rewards::ScoreError;

use crate::{
    data::PreferenceError,
    learner::{FitError, SettingsError},
    method::DataNeed,
    watch::WatchError,
};

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AlignError {
    /// The network cannot be built.
    #[error(transparent)]
    Network(#[from] ConfigError),
    /// The base refuses a prompt or a number of steps.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// A setting is unusable.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Training failed.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// The preferred pictures cannot be read any more.
    #[error("{0}; what was learned before is saved: mend the data and resume")]
    Data(PreferenceError),
    /// The adapter cannot be written.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// Key steps cannot be chosen.
    #[error(transparent)]
    KeySteps(#[from] KeyStepError),
    /// The first pictures cannot be made.
    #[error("cannot make the first sample pictures: {0}")]
    Samples(Box<dyn std::error::Error + Send + Sync>),
    /// The base's own solver draws noise.
    #[error(
        "the scheduler of the base `{base}` draws noise in its steps; training follows \
         deterministic trajectories: name another class (DDIMScheduler) in its \
         scheduler_config.json"
    )]
    Stochastic {
        /// The base.
        base: String,
    },
    /// The base's own solver evaluates the network twice in a step.
    #[error(
        "the scheduler of the base `{base}`, {solver}, evaluates the network twice in each step, \
         and training learns at steps of one: name another class (DDIMScheduler) in its \
         scheduler_config.json; pictures may be sampled with any"
    )]
    TwoEvaluations {
        /// The base.
        base: String,
        /// Its solver.
        solver: Solver,
    },
    /// The base's own solver draws no noise.
    #[error(
        "the method `{method}` learns from noise that its trajectories draw, and the scheduler of \
         the base `{base}` draws none"
    )]
    Deterministic {
        /// The method.
        method: &'static str,
        /// The base.
        base: String,
    },
    /// The reward has no gradient.
    #[error(
        "the reward `{name}` has no gradient, and the method `{method}` learns from it; name a \
         reward that has one"
    )]
    NotDifferentiable {
        /// The reward.
        name: String,
        /// The method.
        method: &'static str,
    },
    /// The method is for rectified flows.
    #[error(
        "the method `{method}` is defined for rectified flows such as FLUX.1, and `{base}` is a \
         diffusion; take `dance-grpo`, which is for both, or a base that is a flow"
    )]
    NoFlow {
        /// The method.
        method: &'static str,
        /// The base.
        base: String,
    },
    /// There is no reward.
    #[error("the method `{method}` needs a reward, and there is none")]
    NoReward {
        /// The method.
        method: &'static str,
    },
    /// There is no data of the kind that the method learns from.
    #[error("the method `{method}` learns from {needed}, and there are none in the data at hand")]
    NoData {
        /// The method.
        method: &'static str,
        /// What it learns from.
        needed: DataNeed,
    },
    /// The reward cannot read what the method asks of it.
    #[error("the reward cannot be asked what the method asks: {0}")]
    Reward(#[from] ScoreError),
    /// A run is to end where its reward is hacked, and nobody is there to tell.
    #[error(
        "`watch.stop` ends a run whose reward rises while held-out ones fall, and there is nothing \
         held out; name a reward that is only looked at (`--held-out REWARD`)"
    )]
    NothingHeldOut,
    /// The reward that is trained against is looked at as a held-out one.
    #[error(
        "`{name}` is trained against and cannot tell whether it is hacked; hold out another reward"
    )]
    HeldOutIsTrained {
        /// The reward.
        name: String,
    },
    /// The method limits the gradient of each sample by factors of its own.
    #[error(
        "the method `{method}` gives every sample an update of its own while it learns, and cannot \
         train whole weights; take `network.kind = \"hypernet\"` or `\"static-lora\"`, or another method"
    )]
    NotFull {
        /// The method.
        method: &'static str,
    },
    /// The model folder cannot be written.
    #[error("{source}; the trained weights are in `{}`, which `--adapter` takes", adapter.display())]
    Model {
        /// Why.
        source: BaseError,
        /// The adapter file.
        adapter: PathBuf,
    },
    /// The best adapter cannot be kept.
    #[error("{0}; `adapter.safetensors` is the last one")]
    Watch(#[from] WatchError),
    /// There is no prompt to learn from.
    #[error("there are no prompts to learn from")]
    NoPrompts,
}
