//! AlignProp (Prabhudesai et al. 2023, arXiv:2310.03739): the reward of the finished picture,
//! differentiated through as many of its last steps as are drawn anew for each batch.

use hyperalign_core::{
    diffusion::Process,
    noise::Stream,
    schedule::{Solver, SolverChoice},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Recipe, RewardGradient, Supervised};
use crate::{
    learner::SettingsError,
    method::{
        DataNeed, Method, Needs, NoiseNeed, Plan, RewardNeed, Setup, check, policy::one_step_solver,
    },
};

/// Where the gradient ends on its way back, in steps of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Truncation {
    /// A normal number around 84 % of the plan, with a deviation of 10 %: about the last sixth is
    /// supervised.
    #[default]
    Gaussian,
    /// Any step but the first.
    Uniform,
    /// The last step.
    LastStep,
}

/// Centre and deviation of [`Truncation::Gaussian`], as shares of the plan: 42 and 5 of 50 steps.
const GAUSSIAN: [f64; 2] = [0.84, 0.1];

impl Truncation {
    /// The first step that the gradient reaches, from 1 to `steps - 1`.
    pub(super) fn draw(self, steps: usize, stream: &mut Stream) -> usize {
        match self {
            Self::Gaussian => {
                let [centre, deviation] = GAUSSIAN.map(|share| share * steps as f64);
                let drawn = std::iter::repeat_with(|| centre + deviation * stream.normal());
                let mut inside = drawn.filter(|tau| (1.0..steps as f64).contains(tau));
                inside.next().map_or(steps - 1, |tau| tau as usize)
            }
            Self::Uniform => 1 + stream.below(steps - 1),
            Self::LastStep => steps - 1,
        }
    }
}

/// Hyper-parameters of AlignProp.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AlignPropSettings {
    /// Trajectories of an update.
    pub trajectories: usize,
    /// How many steps the gradient leads through.
    pub truncation: Truncation,
    /// The share of noise that the steps of a trajectory draw: of DDIM, or the diffusion of a flow's
    /// SDE. The published recipe for diffusions has 1.
    pub eta: f64,
}

impl Default for AlignPropSettings {
    fn default() -> Self {
        Self { trajectories: 8, truncation: Truncation::default(), eta: 0.0 }
    }
}

impl Method for AlignPropSettings {
    type Objective = RewardGradient;

    const NAME: &'static str = "align-prop";

    fn needs(&self) -> Needs {
        let needs = Needs::new(RewardNeed::Gradient, DataNeed::None);
        Needs { noise: NoiseNeed::Either, ..needs }
    }

    fn solver(&self, process: &Process) -> SolverChoice {
        one_step_solver(process, Solver::FlowSdeDance, self.eta)
    }

    fn check(&self, plan: &Plan) -> Result<(), SettingsError> {
        check::batch("method.trajectories", self.trajectories, plan.shards)?;
        let steps = plan.scheduler.steps();
        check::require(
            steps > 1,
            "trajectory.steps",
            steps,
            "2 or more: the first is not supervised",
        )
    }

    fn objective(&self, setup: Setup) -> RewardGradient {
        let recipe = Recipe {
            trajectories: self.trajectories,
            solver: self.solver(setup.base().process()),
            supervised: Supervised::Truncated(self.truncation),
            threshold: None,
            weight: 1.0,
            data: None,
        };
        RewardGradient::new(recipe, setup)
    }
}

#[cfg(test)]
mod tests {
    use hyperalign_core::{noise::Purpose, schedule::SchedulerConfig};

    use super::*;

    #[test]
    fn the_gradient_ends_inside_of_the_plan() {
        for steps in [2, 10, 50] {
            for truncation in [Truncation::Gaussian, Truncation::Uniform, Truncation::LastStep] {
                let draw = |k| truncation.draw(steps, &mut Stream::new(3, Purpose::Timestep, k, 0));
                let drawn: Vec<usize> = (0..2000).map(draw).collect();
                assert!(drawn.iter().all(|tau| (1..steps).contains(tau)), "{truncation:?} {steps}");
                let mean = drawn.iter().sum::<usize>() as f64 / drawn.len() as f64;
                let expected = match (truncation, steps) {
                    (Truncation::Gaussian, 50) => 41.5,
                    (Truncation::Uniform, 50) => 25.0,
                    (Truncation::LastStep, 50) => 49.0,
                    _ => continue,
                };
                // Less than four standard errors of the widest.
                assert!((mean - expected).abs() < 1.3, "{truncation:?}: {mean}");
            }
        }
    }

    #[test]
    fn settings_that_cannot_be_are_named() {
        let scheduler = SchedulerConfig::stable_diffusion().ddim(1, 0.0).unwrap();
        let plan = Plan { scheduler: &scheduler, shards: 1 };
        let error = AlignPropSettings::default().check(&plan).unwrap_err();
        assert_eq!(error.name, "trajectory.steps");
    }
}
