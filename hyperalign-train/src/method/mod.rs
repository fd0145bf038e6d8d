//! Alignment methods, one paper a file: its settings, what it needs, its checks, its objective.
//!
//! A method is a [`Method`]: settings that can be read from TOML and turned into an
//! [`Objective`]. What several of them do is a piece of its own: trajectories ([`Rollout`]),
//! noised pictures, the [`Setup`] that all get. The engine in [`learner`](crate::learner) is one
//! for all.

mod boundary;
mod denoising;
mod fine_tuning;
mod hyperalign;
mod needs;
mod rollout;
mod setup;
mod trajectory;

use hyperalign_models::hypernet::{Adapter, AdapterMeta};
use serde::{Deserialize, Serialize};

use crate::learner::{Objective, SettingsError};

pub use boundary::{Boundary, SampleGradients};
pub use fine_tuning::{FineTuning, FineTuningSettings};
pub use hyperalign::{HyperAlign, HyperAlignSettings, Views};
pub use needs::{DataNeed, Needs, RewardNeed};
pub use rollout::{Rollout, guided};
pub use setup::{Materials, Setup};
pub use trajectory::{KeyStepChoice, Plan, TrajectorySettings};

/// A method: its settings, and what can be said and made of them.
pub trait Method: Clone {
    /// What it trains towards.
    type Objective: Objective<Module = Adapter>;

    /// What `[method] name` in a file of settings calls it.
    const NAME: &'static str;

    /// What it cannot do without.
    fn needs(&self) -> Needs;

    /// Checks every number.
    ///
    /// # Errors
    ///
    /// Fails at the first setting that no run can be made with.
    fn check(&self, plan: &Plan) -> Result<(), SettingsError>;

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
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "name", rename_all = "kebab-case")]
        pub enum MethodSettings {
            $($(#[$doc])* $method($settings),)*
        }

        impl MethodSettings {
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
