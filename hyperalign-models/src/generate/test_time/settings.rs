//! The methods by name, with their settings.

use hyperalign_core::{
    contract::Reward,
    one_picture::{Found, OnePicture, SettingError},
    schedule::{Scheduler, Solver, SolverChoice},
    search::BestOfN,
};
use serde::{Deserialize, Serialize};

use super::TestTimeError;

/// A method that works while a picture is sampled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TestTime {
    /// The best of N pictures.
    BestOfN(BestOfN),
}

/// The settings of every method, a table of a file for each.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TestTimeSettings {
    /// Of the best of N.
    pub best_of_n: BestOfN,
}

impl TestTimeSettings {
    /// All methods, with these settings.
    pub fn all(&self) -> Vec<TestTime> {
        vec![TestTime::BestOfN(self.best_of_n)]
    }

    /// The method called `name`, with its settings.
    pub fn method(&self, name: &str) -> Option<TestTime> {
        self.all().into_iter().find(|method| method.name() == name)
    }
}

impl TestTime {
    /// Their names.
    pub const NAMES: [&'static str; 1] = ["best-of-n"];

    /// Its name, as `--method` has it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::BestOfN(_) => "best-of-n",
        }
    }

    /// Whether it reads the gradient of the reward.
    pub fn needs_gradient(&self) -> bool {
        match self {
            Self::BestOfN(_) => false,
        }
    }

    /// Whether it has nothing to do where no step draws noise.
    pub fn needs_noise(&self) -> bool {
        match self {
            Self::BestOfN(_) => false,
        }
    }

    /// The solver that it is published with, where nobody chooses one; `None` if it works with
    /// the base's own.
    pub(super) fn solver(&self, is_flow: bool) -> Option<SolverChoice> {
        let choice = |solver, eta| Some(SolverChoice { solver: Some(solver), eta: Some(eta) });
        match (self.needs_noise(), is_flow) {
            (false, _) => None,
            (true, false) => choice(Solver::Ddim, 1.0),
            (true, true) => choice(Solver::FlowSdeGrpo, 0.3),
        }
    }

    /// Checks that its settings mean something, alone and with the plan and the reward.
    ///
    /// # Errors
    ///
    /// Fails for a setting out of range, a plan without noise and a reward without gradient where
    /// it needs them.
    pub fn check(&self, plan: &dyn Scheduler, reward: &dyn Reward) -> Result<(), TestTimeError> {
        let method = self.name();
        self.check_settings().map_err(|error| TestTimeError::Setting { method, error })?;
        if self.needs_gradient() && !reward.differentiable() {
            return Err(TestTimeError::NoGradient { method, reward: reward.name().to_owned() });
        }
        if self.needs_noise() && !plan.is_stochastic() {
            return Err(TestTimeError::NoNoise { method });
        }
        Ok(())
    }

    fn check_settings(&self) -> Result<(), SettingError> {
        match self {
            Self::BestOfN(method) => method.check(),
        }
    }

    /// Makes `picture`; `None` if an end is wanted before there is any.
    pub(super) fn run(&self, picture: &OnePicture) -> Option<Found> {
        match self {
            Self::BestOfN(method) => method.run(picture),
        }
    }
}
