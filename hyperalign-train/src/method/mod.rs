//! Alignment methods, one paper a file: its settings, what it needs, its checks, its objective.
//!
//! A method is a [`Method`]: settings that can be read from TOML and turned into an
//! [`Objective`]. What several of them do is a piece of its own: the model as a policy (`policy.rs`),
//! noised pictures, the [`Setup`] that all get. The engine in [`learner`](crate::learner) is one
//! for all.

mod boundary;
mod check;
mod denoising;
mod diffusion_dpo;
mod diffusion_kto;
mod fine_tuning;
mod grpo;
mod hyperalign;
mod needs;
mod policy;
mod raft;
mod reward_gradient;
mod setup;
mod spo;
mod srpo;
mod trajectory;

use hyperalign_core::{diffusion::Process, schedule::SolverChoice};
use hyperalign_models::hypernet::{Adapter, AdapterMeta};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::learner::{Objective, SettingsError};

pub use boundary::{Boundary, SampleGradients};
pub use diffusion_dpo::{DiffusionDpo, DiffusionDpoSettings, preference_loss};
pub use diffusion_kto::{DiffusionKto, DiffusionKtoSettings, Utility, utility_loss};
pub use fine_tuning::{FineTuning, FineTuningSettings};
pub use grpo::{
    DanceGrpoSettings, Drawn, Experience, Experiences, FirstNoise, FlowGrpoSettings, FlowSampling,
    Grpo, MixGrpoSettings, Ratios, Spread, Summed, WindowSchedule, advantages, advantages_of_each,
    guarded, policy_loss,
};
pub use hyperalign::{HyperAlign, HyperAlignSettings, Views};
pub use needs::{BaseNeed, DataNeed, Needs, NoiseNeed, RewardNeed};
pub use raft::{Best, Raft, RaftSettings};
pub use reward_gradient::{
    AlignPropSettings, DraftLvSettings, DraftSettings, Reached, ReflSettings, RewardGradient,
    Truncation, to_raise,
};
pub use setup::{Materials, Setup};
pub use spo::{Spo, SpoSettings, StepPairs, step_preference_loss};
pub use srpo::{Finished, Srpo, SrpoSettings, recovered};
pub use trajectory::{KeyStepChoice, Plan, TrajectorySettings};

/// A method: its settings, and what can be said and made of them.
pub trait Method: Clone + Send + Sync + 'static {
    /// What it trains towards.
    type Objective: Objective<Module = Adapter>;

    /// What `[method] name` in a file of settings calls it.
    const NAME: &'static str;

    /// What it cannot do without.
    fn needs(&self) -> Needs;

    /// What its trajectories are solved with, where it is not the base's own solver.
    fn solver(&self, _: &Process) -> SolverChoice {
        SolverChoice::default()
    }

    /// Checks every number.
    ///
    /// # Errors
    ///
    /// Fails at the first setting that no run can be made with.
    fn check(&self, plan: &Plan) -> Result<(), SettingsError>;

    /// What its reward is asked of a prompt, where that is not the prompt itself.
    fn reward_prompts(&self, _: &str) -> Vec<String> {
        Vec::new()
    }

    /// Updates that learn from one batch: [`Objective::span`] of its objective.
    fn span(&self) -> u64 {
        1
    }

    /// The objective, on materials that meet its needs.
    fn objective(&self, setup: Setup) -> Self::Objective;

    /// Writes into the metadata of a trained adapter what only the method knows.
    fn describe(&self, _: &Self::Objective, _: &mut AdapterMeta) {}
}

/// Work that is the same for every method.
pub trait MethodVisitor {
    /// What comes of it.
    type Output;

    /// Does it for `method`.
    fn visit<M: Method>(self, method: &M) -> Self::Output;
}

/// The table of methods: a line here is all that a new one changes outside of its own file.
macro_rules! methods {
    ($($(#[$doc:meta])* $method:ident($settings:ty),)*) => {
        /// The methods and their settings, told apart by `name`.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(tag = "name", rename_all = "kebab-case")]
        pub enum MethodSettings {
            $($(#[$doc])* $method($settings),)*
        }

        impl MethodSettings {
            /// The names of all methods.
            pub const NAMES: &'static [&'static str] = &[$(<$settings as Method>::NAME),*];

            /// Shows the method to `visitor`.
            pub fn accept<V: MethodVisitor>(&self, visitor: V) -> V::Output {
                match self {
                    $(Self::$method(method) => visitor.visit(method),)*
                }
            }
        }

        $(impl From<$settings> for MethodSettings {
            fn from(settings: $settings) -> Self {
                Self::$method(settings)
            }
        })*
    };
}

methods! {
    /// A reward along the model's own trajectories, held to preferred pictures.
    Hyperalign(HyperAlignSettings),
    /// The denoising loss on preferred pictures alone.
    FineTuning(FineTuningSettings),
    /// Pairs of pictures: the preferred one is to gain more over the base than the other.
    DiffusionDpo(DiffusionDpoSettings),
    /// Single pictures that people like or do not.
    DiffusionKto(DiffusionKtoSettings),
    /// A reward of the finished picture, through its last steps.
    Draft(DraftSettings),
    /// A reward of the finished picture, through the last step, from several noisings of it.
    DraftLv(DraftLvSettings),
    /// A reward of the finished picture, through a random number of its last steps.
    AlignProp(AlignPropSettings),
    /// A reward of a one-step estimate from a late step, held to preferred pictures.
    Refl(ReflSettings),
    /// Groups of pictures with noise in every step, and a random part of the steps learned from.
    DanceGrpo(DanceGrpoSettings),
    /// Groups of pictures of a flow in few steps, held to the base.
    FlowGrpo(FlowGrpoSettings),
    /// Groups of pictures with noise in a window that slides over the steps.
    MixGrpo(MixGrpoSettings),
    /// Rounds of sampling, and the denoising loss on the best by a reward.
    Raft(RaftSettings),
    /// Pairs of samples of one step, told apart by a reward.
    Spo(SpoSettings),
    /// A reward of a picture that is recovered from noise in one step, relative to its opposite.
    Srpo(SrpoSettings),
}

impl Default for MethodSettings {
    fn default() -> Self {
        HyperAlignSettings::default().into()
    }
}

impl MethodSettings {
    /// What `[method] name` calls it.
    pub fn name(&self) -> &'static str {
        struct Name;
        impl MethodVisitor for Name {
            type Output = &'static str;
            fn visit<M: Method>(self, _: &M) -> &'static str {
                M::NAME
            }
        }
        self.accept(Name)
    }

    /// See [`Method::needs`].
    pub fn needs(&self) -> Needs {
        struct Asked;
        impl MethodVisitor for Asked {
            type Output = Needs;
            fn visit<M: Method>(self, method: &M) -> Needs {
                method.needs()
            }
        }
        self.accept(Asked)
    }

    /// See [`Method::span`].
    pub fn span(&self) -> u64 {
        struct Span;
        impl MethodVisitor for Span {
            type Output = u64;
            fn visit<M: Method>(self, method: &M) -> u64 {
                method.span()
            }
        }
        self.accept(Span)
    }

    /// See [`Method::solver`].
    pub fn solver(&self, process: &Process) -> SolverChoice {
        struct Solver<'a>(&'a Process);
        impl MethodVisitor for Solver<'_> {
            type Output = SolverChoice;
            fn visit<M: Method>(self, method: &M) -> SolverChoice {
                method.solver(self.0)
            }
        }
        self.accept(Solver(process))
    }

    /// See [`Method::reward_prompts`].
    pub fn reward_prompts(&self, prompt: &str) -> Vec<String> {
        struct Asked<'a>(&'a str);
        impl MethodVisitor for Asked<'_> {
            type Output = Vec<String>;
            fn visit<M: Method>(self, method: &M) -> Vec<String> {
                method.reward_prompts(self.0)
            }
        }
        self.accept(Asked(prompt))
    }

    /// See [`Method::check`].
    ///
    /// # Errors
    ///
    /// Fails at the first setting that no run can be made with.
    pub fn check(&self, plan: &Plan) -> Result<(), SettingsError> {
        struct Check<'a>(&'a Plan<'a>);
        impl MethodVisitor for Check<'_> {
            type Output = Result<(), SettingsError>;
            fn visit<M: Method>(self, method: &M) -> Self::Output {
                method.check(self.0)
            }
        }
        self.accept(Check(plan))
    }
}
