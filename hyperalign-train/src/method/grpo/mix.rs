//! MixGRPO (Li et al. 2025, arXiv:2507.21802): noise in a window of steps that slides over the plan, and
//! the ODE elsewhere. Only the window is learned from, which makes an update cheap.

use hyperalign_core::{
    diffusion::Process,
    schedule::{Solver, SolverChoice},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    FirstNoise, Grpo, Ratios, Recipe, Spread, Summed,
    window::{Noisy, WindowSchedule},
};
use crate::{
    learner::SettingsError,
    method::{DataNeed, Method, Needs, NoiseNeed, Plan, RewardNeed, Setup},
};

/// Hyper-parameters of MixGRPO.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MixGrpoSettings {
    /// Prompts of a rollout.
    pub groups: usize,
    /// Pictures of each prompt.
    pub group_size: usize,
    /// Updates that learn from a rollout, each from an equal part of its pictures.
    pub updates_per_rollout: u64,
    /// Size of the noise: of a flow's SDE as in Flow-GRPO; of a diffusion, which the paper does not
    /// have, the share of DDIM's.
    pub eta: f64,
    /// Steps of the window.
    pub window: usize,
    /// How it moves.
    pub schedule: WindowSchedule,
    /// Rollouts that it stays at a place.
    pub rollouts_per_window: u64,
    /// How far a ratio of likelihoods may be from 1.
    pub clip_range: f64,
    /// Largest advantage.
    pub advantage_clip: f64,
    /// What the pictures of a group start from.
    pub first_noise: FirstNoise,
    /// What is added up where several rewards are trained against at once.
    pub summed: Summed,
    /// What is held in the range.
    pub ratios: Ratios,
    /// The share of the steps after the window that a rollout takes, longer ones of a solver of order
    /// 2: the flash variant, for which 0.4 is published, and 0.2 with a window that stays.
    pub tail: f64,
}

impl Default for MixGrpoSettings {
    fn default() -> Self {
        Self {
            groups: 4,
            group_size: 12,
            updates_per_rollout: 1,
            eta: 0.7,
            window: 4,
            schedule: WindowSchedule::default(),
            rollouts_per_window: 25,
            clip_range: 1e-4,
            advantage_clip: 5.0,
            first_noise: FirstNoise::Shared,
            summed: Summed::Advantages,
            ratios: Ratios::default(),
            tail: 1.0,
        }
    }
}

impl MixGrpoSettings {
    fn recipe(&self) -> Recipe {
        Recipe {
            groups: self.groups,
            group_size: self.group_size,
            updates_per_rollout: self.updates_per_rollout,
            flow: Solver::FlowSdeGrpo,
            eta: self.eta,
            noisy: Noisy::Window {
                size: self.window,
                schedule: self.schedule,
                rollouts: self.rollouts_per_window,
            },
            clip_range: self.clip_range,
            advantage_clip: self.advantage_clip,
            kl_weight: 0.0,
            first_noise: self.first_noise,
            spread: Spread::Group,
            summed: self.summed,
            ratios: self.ratios,
            tail: self.tail,
        }
    }
}

impl Method for MixGrpoSettings {
    type Objective = Grpo;

    const NAME: &'static str = "mix-grpo";

    fn needs(&self) -> Needs {
        Needs { noise: NoiseNeed::Always, ..Needs::new(RewardNeed::Score, DataNeed::None) }
    }

    fn solver(&self, process: &Process) -> SolverChoice {
        self.recipe().solver(process)
    }

    fn check(&self, plan: &Plan) -> Result<(), SettingsError> {
        self.recipe().check(plan)
    }

    fn span(&self) -> u64 {
        self.updates_per_rollout
    }

    fn objective(&self, setup: Setup) -> Grpo {
        Grpo::new(self.recipe(), setup)
    }
}

#[cfg(test)]
mod tests {
    use hyperalign_core::schedule::SchedulerConfig;

    use super::*;

    #[test]
    fn a_window_has_a_size_and_a_time() {
        let scheduler = SchedulerConfig::stable_diffusion().ddim(8, 0.7).unwrap();
        let plan = Plan { scheduler: &scheduler, shards: 2 };
        let good = MixGrpoSettings::default();
        assert_eq!(good.check(&plan), Ok(()));
        let named = |settings: MixGrpoSettings| settings.check(&plan).unwrap_err().name;
        assert_eq!(named(MixGrpoSettings { window: 8, ..good.clone() }), "method.window");
        let never = MixGrpoSettings { rollouts_per_window: 0, ..good };
        assert_eq!(named(never), "method.rollouts_per_window");
    }
}
