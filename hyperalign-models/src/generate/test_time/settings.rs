//! The methods by name, with their settings.

use hyperalign_core::{
    contract::Reward,
    guidance::{Dymo, Freedom},
    one_picture::{Found, OnePicture, SettingError},
    schedule::{Scheduler, Solver, SolverChoice},
    search::{BestOfN, Das, NoiseSearch},
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
    /// Zero-order search over the noise of each step.
    ZeroOrder(NoiseSearch),
    /// The same with candidates from anywhere.
    EpsilonGreedy(NoiseSearch),
    /// Sequential Monte Carlo towards the reward.
    Das(Das),
    /// Steps that are moved along the gradient of the reward.
    Freedom(Freedom),
    /// Steps that are moved by a preference and by attention.
    Dymo(Dymo),
}

/// The alpha of das by the name of the reward: of the authors' configurations, in the unit that a
/// score has here; HPSv2's after PickScore's, whose cosines spread alike; and of the embedded
/// world's, chosen on tuning prompts.
const ALPHAS: [(&str, f64); 7] = [
    ("aesthetic", 0.005),
    ("clip_score", 0.01),
    ("pick_score", 0.01),
    ("hps_v2", 0.0001),
    ("hps_v2.1", 0.0001),
    ("emoji-proxy", 0.3),
    ("emoji-heldout", 0.3),
];

/// The settings of every method, a table of a file for each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TestTimeSettings {
    /// Of the best of N.
    pub best_of_n: BestOfN,
    /// Of zero-order search.
    pub zero_order: NoiseSearch,
    /// Of epsilon-greedy search.
    pub epsilon_greedy: NoiseSearch,
    /// Of sequential Monte Carlo.
    pub das: Das,
    /// Of energy guidance.
    pub freedom: Freedom,
    /// Of guidance by a preference and by attention.
    pub dymo: Dymo,
}

impl Default for TestTimeSettings {
    fn default() -> Self {
        Self {
            best_of_n: BestOfN::default(),
            zero_order: NoiseSearch::zero_order(),
            epsilon_greedy: NoiseSearch::epsilon_greedy(),
            das: Das::default(),
            freedom: Freedom::default(),
            dymo: Dymo::default(),
        }
    }
}

impl TestTimeSettings {
    /// All methods, with these settings.
    pub fn all(&self) -> Vec<TestTime> {
        vec![
            TestTime::BestOfN(self.best_of_n),
            TestTime::ZeroOrder(self.zero_order),
            TestTime::EpsilonGreedy(self.epsilon_greedy),
            TestTime::Das(self.das),
            TestTime::Freedom(self.freedom),
            TestTime::Dymo(self.dymo),
        ]
    }

    /// The method called `name`, with its settings.
    pub fn method(&self, name: &str) -> Option<TestTime> {
        self.all().into_iter().find(|method| method.name() == name)
    }
}

impl TestTime {
    /// Their names.
    pub const NAMES: [&'static str; 6] =
        ["best-of-n", "zero-order", "epsilon-greedy", "das", "freedom", "dymo"];

    /// Its name, as `--method` has it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::BestOfN(_) => "best-of-n",
            Self::ZeroOrder(_) => "zero-order",
            Self::EpsilonGreedy(_) => "epsilon-greedy",
            Self::Das(_) => "das",
            Self::Freedom(_) => "freedom",
            Self::Dymo(_) => "dymo",
        }
    }

    /// Whether it reads the gradient of the reward.
    pub fn needs_gradient(&self) -> bool {
        match self {
            Self::BestOfN(_) | Self::ZeroOrder(_) | Self::EpsilonGreedy(_) => false,
            Self::Das(_) | Self::Freedom(_) | Self::Dymo(_) => true,
        }
    }

    /// Whether it reads which things a prompt names.
    pub fn reads_nouns(&self) -> bool {
        matches!(self, Self::Dymo(_))
    }

    /// Whether it has nothing to do where no step draws noise.
    pub fn needs_noise(&self) -> bool {
        match self {
            Self::BestOfN(_) | Self::Freedom(_) | Self::Dymo(_) => false,
            Self::ZeroOrder(_) | Self::EpsilonGreedy(_) | Self::Das(_) => true,
        }
    }

    /// The solver that it is published with, where nobody chooses one; `None` if it works with
    /// the base's own.
    pub(super) fn solver(&self, is_flow: bool) -> Option<SolverChoice> {
        let choice = |solver, eta| Some(SolverChoice { solver: Some(solver), eta: Some(eta) });
        match (self, is_flow) {
            (Self::BestOfN(_), _) | (Self::Freedom(_) | Self::Dymo(_), true) => None,
            (_, false) => choice(Solver::Ddim, 1.0),
            (_, true) => choice(Solver::FlowSdeGrpo, 0.3),
        }
    }

    /// The method with what its settings leave to whoever knows the reward: the alpha of das.
    ///
    /// # Errors
    ///
    /// Fails for a reward that nobody has found one for, or that has no gradient.
    pub fn fitted(&self, reward: &dyn Reward) -> Result<Self, TestTimeError> {
        let Self::Das(das @ Das { alpha: None, .. }) = self else { return Ok(self.clone()) };
        let (has_gradient, reward) = (reward.differentiable(), reward.name());
        if !has_gradient {
            let (method, reward) = (self.name(), reward.to_owned());
            return Err(TestTimeError::NoGradient { method, reward });
        }
        let known = ALPHAS.into_iter().find(|(name, _)| *name == reward);
        let missing = || TestTimeError::NoAlpha { reward: reward.to_owned() };
        let (_, alpha) = known.ok_or_else(missing)?;
        Ok(Self::Das(Das { alpha: Some(alpha), ..*das }))
    }

    /// Checks that its settings mean something, alone and with the plan and the reward.
    ///
    /// # Errors
    ///
    /// Fails for a setting out of range, a plan without noise and a reward without gradient where
    /// it needs them.
    pub fn check(&self, plan: &dyn Scheduler, reward: &dyn Reward) -> Result<(), TestTimeError> {
        let method = self.name();
        self.check_settings(plan.steps())
            .map_err(|error| TestTimeError::Setting { method, error })?;
        if self.needs_gradient() && !reward.differentiable() {
            return Err(TestTimeError::NoGradient { method, reward: reward.name().to_owned() });
        }
        if self.needs_noise() && !plan.is_stochastic() {
            return Err(TestTimeError::NoNoise { method });
        }
        Ok(())
    }

    fn check_settings(&self, steps: usize) -> Result<(), SettingError> {
        match self {
            Self::BestOfN(method) => method.check(),
            Self::ZeroOrder(method) => {
                let explores = method.exploration != 0.0;
                let expected = "0: with more it is epsilon-greedy";
                SettingError::unless(!explores, "exploration", method.exploration, expected)?;
                method.check()
            }
            Self::EpsilonGreedy(method) => method.check(),
            Self::Das(method) => method.check(),
            Self::Freedom(method) => method.check(steps),
            Self::Dymo(method) => method.check(),
        }
    }

    /// Makes `picture`; `None` if an end is wanted before there is any.
    pub fn run(&self, picture: &OnePicture) -> Option<Found> {
        match self {
            Self::BestOfN(method) => method.run(picture),
            Self::ZeroOrder(method) | Self::EpsilonGreedy(method) => Some(method.run(picture)),
            Self::Das(method) => Some(method.run(picture)),
            Self::Freedom(method) => Some(method.run(picture)),
            Self::Dymo(method) => Some(method.run(picture)),
        }
    }
}
