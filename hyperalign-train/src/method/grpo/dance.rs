//! DanceGRPO (Xue et al. 2025, arXiv:2505.07818): all pictures of a group from the same first noise,
//! noise in every step but the last, and a random part of the steps learned from.

use hyperalign_core::{
    diffusion::Process,
    schedule::{Solver, SolverChoice},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FirstNoise, Grpo, Ratios, Recipe, Spread, Summed, window::Noisy};
use crate::{
    learner::SettingsError,
    method::{DataNeed, Method, Needs, NoiseNeed, Plan, RewardNeed, Setup},
};

/// Hyper-parameters of DanceGRPO.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DanceGrpoSettings {
    /// Prompts of a rollout.
    pub groups: usize,
    /// Pictures of each prompt.
    pub group_size: usize,
    /// Updates that learn from a rollout, each from an equal part of its pictures.
    pub updates_per_rollout: u64,
    /// Size of the noise: the share of DDIM's, or the diffusion of a flow's SDE. Published: 1 and 0.3.
    pub eta: f64,
    /// The share of the steps that a picture learns from, drawn for each picture. Published: 0.6 for
    /// FLUX.1, 1 for Stable Diffusion.
    pub learned_steps: f64,
    /// How far a ratio of likelihoods may be from 1. It is this small because the logarithm of a
    /// likelihood is the mean over all numbers of a latent.
    pub clip_range: f64,
    /// Largest advantage.
    pub advantage_clip: f64,
    /// What the pictures of a group start from.
    pub first_noise: FirstNoise,
    /// What is added up where several rewards are trained against at once.
    pub summed: Summed,
    /// What is held in the range.
    pub ratios: Ratios,
}

impl Default for DanceGrpoSettings {
    fn default() -> Self {
        Self {
            groups: 4,
            group_size: 12,
            updates_per_rollout: 1,
            eta: 0.3,
            learned_steps: 0.6,
            clip_range: 1e-4,
            advantage_clip: 5.0,
            first_noise: FirstNoise::Shared,
            summed: Summed::default(),
            ratios: Ratios::default(),
        }
    }
}

impl DanceGrpoSettings {
    fn recipe(&self) -> Recipe {
        Recipe {
            groups: self.groups,
            group_size: self.group_size,
            updates_per_rollout: self.updates_per_rollout,
            flow: Solver::FlowSdeDance,
            eta: self.eta,
            noisy: Noisy::All { learned: self.learned_steps },
            clip_range: self.clip_range,
            advantage_clip: self.advantage_clip,
            kl_weight: 0.0,
            first_noise: self.first_noise,
            spread: Spread::Group,
            summed: self.summed,
            ratios: self.ratios,
            tail: 1.0,
        }
    }
}

impl Method for DanceGrpoSettings {
    type Objective = Grpo;

    const NAME: &'static str = "dance-grpo";

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
    fn settings_that_cannot_be_are_named() {
        let scheduler = SchedulerConfig::stable_diffusion().ddim(8, 1.0).unwrap();
        let plan = Plan { scheduler: &scheduler, shards: 2 };
        let good = DanceGrpoSettings::default();
        assert_eq!(good.check(&plan), Ok(()));
        type Change = fn(&mut DanceGrpoSettings);
        let wrong: [(&str, Change); 8] = [
            ("method.group_size", |s| s.group_size = 1),
            ("method.groups", |s| s.groups = 0),
            ("method.groups", |s| (s.groups, s.group_size) = (3, 3)),
            ("method.updates_per_rollout", |s| s.updates_per_rollout = 0),
            ("method.eta", |s| s.eta = 0.0),
            ("method.clip_range", |s| s.clip_range = -1.0),
            ("method.advantage_clip", |s| s.advantage_clip = f64::NAN),
            ("method.learned_steps", |s| s.learned_steps = 0.0),
        ];
        for (name, change) in wrong {
            let mut settings = good.clone();
            change(&mut settings);
            assert_eq!(settings.check(&plan).unwrap_err().name, name);
        }
        let single = SchedulerConfig::stable_diffusion().ddim(1, 1.0).unwrap();
        let plan = Plan { scheduler: &single, shards: 2 };
        assert_eq!(good.check(&plan).unwrap_err().name, "trajectory.steps");
    }
}
