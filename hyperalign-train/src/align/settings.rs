//! What an alignment run can be told; one TOML file.

use hyperalign_rewards::MixTerm;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{NetworkSettings, network::OWN};
use crate::{
    learner::{AdamW, Schedule, Settings},
    method::{MethodSettings, TrajectorySettings},
    watch::WatchSettings,
};

/// All settings of a run. Whatever is left out has the value of [`Default`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AlignSettings {
    /// The losses.
    pub method: MethodSettings,
    /// How the model is sampled while it learns.
    pub trajectory: TrajectorySettings,
    /// The rewards that are trained against, as a weighted sum; those that flags name if there are
    /// none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rewards: Vec<MixTerm>,
    /// What is trained.
    pub network: NetworkSettings,
    /// How it is trained.
    pub training: Settings,
    /// Pictures along the way.
    pub samples: SampleSettings,
    /// Evaluations along the way.
    pub watch: WatchSettings,
    /// The table at the end.
    pub evaluation: EvaluationSettings,
}

impl Default for AlignSettings {
    fn default() -> Self {
        Self {
            method: MethodSettings::default(),
            trajectory: TrajectorySettings::default(),
            rewards: Vec::new(),
            network: NetworkSettings::default(),
            training: Settings {
                updates: 800,
                optimizer: AdamW {
                    lr: 1e-3,
                    weight_decay: 1e-4,
                    // At the same rate a hypernetwork's own layers drift to the same update for all
                    // prompts and steps before the outer factors, which start at zero, make any use
                    // of how they differ.
                    lr_factors: [(OWN.to_owned(), 0.1)].into(),
                    ..AdamW::default()
                },
                schedule: Schedule::Constant { warmup: 20 },
                clip_to_mean: Some(4.0),
                ema: Some(0.995),
                shards: 2,
                agreement_every: Some(50),
                checkpoint_every: 50,
                log_every: 10,
                ..Settings::default()
            },
            samples: SampleSettings::default(),
            watch: WatchSettings::default(),
            evaluation: EvaluationSettings::default(),
        }
    }
}

impl AlignSettings {
    /// The same run with the parts of a batch one after the other in place of threads at once: for a
    /// device that all threads would share, where the tapes of all would lie in one memory. The parts,
    /// and so the results, stay what they are.
    #[must_use]
    pub fn in_turn(mut self) -> Self {
        self.training.accumulate *= self.training.shards;
        self.training.shards = 1;
        self
    }
}

/// Grids of sample pictures: the base beside the model as it is, same prompts and seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SampleSettings {
    /// Updates between grids; 0 for none.
    pub every: u64,
    /// Prompts of a grid.
    pub prompts: usize,
}

impl Default for SampleSettings {
    fn default() -> Self {
        Self { every: 100, prompts: 8 }
    }
}

/// What the base and the trained model are compared on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluationSettings {
    /// Rows of held-out prompts. A task that has fewer prompts has them again, with other seeds.
    pub prompts: usize,
    /// Pictures of each.
    pub seeds: usize,
    /// Seed of the choice of prompts and of the pictures.
    #[serde(with = "crate::learner::seed")]
    #[schemars(with = "crate::learner::seed::Written")]
    pub seed: u64,
    /// How many key steps P has.
    pub key_steps: usize,
}

impl Default for EvaluationSettings {
    fn default() -> Self {
        // So many rows have 200 different prompts of the embedded world.
        Self { prompts: 660, seeds: 1, seed: 0, key_steps: 3 }
    }
}

/// Keys that files of settings had once, and what to write instead.
pub const REMOVED: &[(&str, &str)] = &[
    ("method.reward_weight", WEIGHTS),
    ("method.regulariser_weight", WEIGHTS),
    ("method.reward_every", "leave it out: the reward has a share in every update"),
    ("method.reward_clip", "write `method.trajectory_clip`, a multiple of the running median"),
    ("method.steps", "write `trajectory.steps`"),
    ("method.guidance_scale", "write `trajectory.guidance_scale`"),
    ("method.variant", "write `trajectory.variant`"),
    ("method.key_steps", "write `trajectory.key_steps`"),
    ("network.own_rate", "write `training.optimizer.lr_factors.own`"),
];

const WEIGHTS: &str = "write `method.lambda`, which is regulariser_weight / reward_weight: 0 for the \
                       reward alone; for preferred pictures alone, `method.name = \"fine-tuning\"`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_turn_a_batch_has_the_parts_that_it_had() {
        let settings = AlignSettings::default();
        let parts = |settings: &AlignSettings| {
            (settings.training.shards, settings.training.shards * settings.training.accumulate)
        };
        let (threads, count) = parts(&settings);
        assert!(threads > 1, "nothing to test");
        assert_eq!(parts(&settings.in_turn()), (1, count));
    }
}
