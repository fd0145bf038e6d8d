//! DRaFT (Clark et al. 2023, arXiv:2309.17400): the reward of the finished picture, differentiated
//! through the last `K` steps that made it. DRaFT-LV takes the last step alone, from several noisings
//! of the same picture.

use hyperalign_core::{
    diffusion::Process,
    schedule::{Solver, SolverChoice},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Recipe, RewardGradient, Supervised};
use crate::{
    learner::SettingsError,
    method::{DataNeed, Method, Needs, Plan, RewardNeed, Setup, check, policy::one_step_solver},
};

/// Hyper-parameters of DRaFT-K.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DraftSettings {
    /// Trajectories of an update.
    pub trajectories: usize,
    /// The last steps, which the gradient leads through: `K`. With all steps of the plan it is DRaFT
    /// without truncation, whose gradients grow with every step.
    pub last_steps: usize,
}

impl Default for DraftSettings {
    fn default() -> Self {
        Self { trajectories: 8, last_steps: 1 }
    }
}

/// Euler's method or DDIM without noise.
fn deterministic(process: &Process) -> SolverChoice {
    one_step_solver(process, Solver::FlowEuler, 0.0)
}

impl Method for DraftSettings {
    type Objective = RewardGradient;

    const NAME: &'static str = "draft";

    fn needs(&self) -> Needs {
        Needs::new(RewardNeed::Gradient, DataNeed::None)
    }

    fn solver(&self, process: &Process) -> SolverChoice {
        deterministic(process)
    }

    fn check(&self, plan: &Plan) -> Result<(), SettingsError> {
        check::batch("method.trajectories", self.trajectories, plan.shards)?;
        let steps = plan.scheduler.steps();
        let given = self.last_steps;
        let expected = format!("from 1 to trajectory.steps, {steps}");
        check::require((1..=steps).contains(&given), "method.last_steps", given, expected)
    }

    fn objective(&self, setup: Setup) -> RewardGradient {
        let recipe = Recipe {
            trajectories: self.trajectories,
            solver: self.solver(setup.base().process()),
            supervised: Supervised::Last(self.last_steps),
            threshold: None,
            weight: 1.0,
            data: None,
        };
        RewardGradient::new(recipe, setup)
    }
}

/// Hyper-parameters of DRaFT-LV.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DraftLvSettings {
    /// Trajectories of an update.
    pub trajectories: usize,
    /// Noisings of each finished picture to the level of the last step, whose gradients are averaged.
    pub noises: usize,
}

impl Default for DraftLvSettings {
    fn default() -> Self {
        Self { trajectories: 8, noises: 2 }
    }
}

impl Method for DraftLvSettings {
    type Objective = RewardGradient;

    const NAME: &'static str = "draft-lv";

    fn needs(&self) -> Needs {
        Needs::new(RewardNeed::Gradient, DataNeed::None)
    }

    fn solver(&self, process: &Process) -> SolverChoice {
        deterministic(process)
    }

    fn check(&self, plan: &Plan) -> Result<(), SettingsError> {
        check::batch("method.trajectories", self.trajectories, plan.shards)?;
        check::count("method.noises", self.noises as u64)
    }

    fn objective(&self, setup: Setup) -> RewardGradient {
        let recipe = Recipe {
            trajectories: self.trajectories,
            solver: self.solver(setup.base().process()),
            supervised: Supervised::Renoised(self.noises),
            threshold: None,
            weight: 1.0,
            data: None,
        };
        RewardGradient::new(recipe, setup)
    }
}

#[cfg(test)]
mod tests {
    use hyperalign_core::schedule::SchedulerConfig;

    use super::*;

    #[test]
    fn settings_that_cannot_be_are_named() {
        let scheduler = SchedulerConfig::stable_diffusion().ddim(10, 0.0).unwrap();
        let plan = Plan { scheduler: &scheduler, shards: 2 };
        let draft = |trajectories, last_steps| {
            DraftSettings { trajectories, last_steps }.check(&plan).map_err(|error| error.name)
        };
        assert_eq!(draft(4, 10), Ok(()));
        assert_eq!(draft(3, 1), Err("method.trajectories"));
        assert_eq!(draft(4, 0), Err("method.last_steps"));
        assert_eq!(draft(4, 11), Err("method.last_steps"));
        let none = DraftLvSettings { noises: 0, ..DraftLvSettings::default() };
        assert_eq!(none.check(&plan).unwrap_err().name, "method.noises");
    }
}
