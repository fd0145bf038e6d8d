//! Flow-GRPO (Liu et al. 2025, arXiv:2505.05470): few steps, each with noise, advantages by the spread
//! of the whole rollout, and the divergence from the base in the loss. With a window it is the fast
//! variant, which draws noise and learns in a few early steps alone.

use hyperalign_core::{
    diffusion::Process,
    schedule::{Solver, SolverChoice},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FirstNoise, Grpo, Ratios, Recipe, Spread, Summed, window::Noisy};
use crate::{
    learner::SettingsError,
    method::{BaseNeed, DataNeed, Method, Needs, NoiseNeed, Plan, RewardNeed, Setup},
};

/// How the steps of a flow draw noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FlowSampling {
    /// By the paper's SDE. In few steps it leaves noise in pictures.
    #[default]
    Sde,
    /// By coefficients-preserving sampling (arXiv:2509.05952), which does not.
    Cps,
}

impl FlowSampling {
    fn solver(self) -> Solver {
        match self {
            Self::Sde => Solver::FlowSdeGrpo,
            Self::Cps => Solver::FlowCps,
        }
    }
}

/// Hyper-parameters of Flow-GRPO.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FlowGrpoSettings {
    /// Prompts of a rollout.
    pub groups: usize,
    /// Pictures of each prompt. Published: 24.
    pub group_size: usize,
    /// Updates that learn from a rollout, each from an equal part of its pictures.
    pub updates_per_rollout: u64,
    /// Size of the noise, which grows with the noise level. Published: 0.7 for SD 3.5, 0.9 for FLUX.1.
    pub eta: f64,
    /// How a step draws its noise.
    pub sampling: FlowSampling,
    /// Steps that draw noise and are learned from, next to each other in the first half of the plan:
    /// the fast variant. Where nothing is said, all but the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<usize>,
    /// How far a ratio of likelihoods may be from 1.
    pub clip_range: f64,
    /// Largest advantage.
    pub advantage_clip: f64,
    /// Weight of the divergence of a step from the base's. The published 0.04 and 0.01 belong to a
    /// divergence that is divided by the variance of the noise per unit of time, not by that of the
    /// step: about a tenth of ours in ten steps.
    pub kl_weight: f64,
    /// What the pictures of a group start from.
    pub first_noise: FirstNoise,
    /// What is added up where several rewards are trained against at once.
    pub summed: Summed,
    /// What is held in the range.
    pub ratios: Ratios,
    /// What advantages are divided by.
    pub spread: Spread,
}

impl Default for FlowGrpoSettings {
    fn default() -> Self {
        Self {
            groups: 4,
            group_size: 12,
            updates_per_rollout: 2,
            eta: 0.7,
            sampling: FlowSampling::default(),
            window: None,
            clip_range: 1e-4,
            advantage_clip: 5.0,
            kl_weight: 0.004,
            first_noise: FirstNoise::Own,
            summed: Summed::default(),
            ratios: Ratios::default(),
            spread: Spread::Rollout,
        }
    }
}

impl FlowGrpoSettings {
    fn recipe(&self) -> Recipe {
        Recipe {
            groups: self.groups,
            group_size: self.group_size,
            updates_per_rollout: self.updates_per_rollout,
            flow: self.sampling.solver(),
            eta: self.eta,
            noisy: match self.window {
                Some(size) => Noisy::FirstHalf { size },
                None => Noisy::All { learned: 1.0 },
            },
            clip_range: self.clip_range,
            advantage_clip: self.advantage_clip,
            kl_weight: self.kl_weight,
            first_noise: self.first_noise,
            spread: self.spread,
            summed: self.summed,
            ratios: self.ratios,
            tail: 1.0,
        }
    }
}

impl Method for FlowGrpoSettings {
    type Objective = Grpo;

    const NAME: &'static str = "flow-grpo";

    fn needs(&self) -> Needs {
        let needs = Needs::new(RewardNeed::Score, DataNeed::None);
        Needs { noise: NoiseNeed::Always, base: BaseNeed::Flow, ..needs }
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
    use hyperalign_core::schedule::FlowSchedulerConfig;

    use super::*;

    #[test]
    fn a_window_lies_inside_of_the_plan() {
        let scheduler = FlowSchedulerConfig::flux_dev().flow_match_euler(8, 64).unwrap();
        let plan = Plan { scheduler: &scheduler, shards: 2 };
        let named = |window| {
            let settings = FlowGrpoSettings { window, ..FlowGrpoSettings::default() };
            settings.check(&plan).map_err(|error| error.name)
        };
        assert_eq!((named(None), named(Some(1)), named(Some(7))), (Ok(()), Ok(()), Ok(())));
        assert_eq!((named(Some(0)), named(Some(8))), (Err("method.window"), Err("method.window")));
        let heavy = FlowGrpoSettings { kl_weight: -1.0, ..FlowGrpoSettings::default() };
        assert_eq!(heavy.check(&plan).unwrap_err().name, "method.kl_weight");
    }
}
