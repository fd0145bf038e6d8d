//! Plain fine-tuning on preferred pictures: the denoising loss alone, without a reward.
//!
//! It is HyperAlign's regulariser by itself, the control that says what the data give without the
//! reward, and the shortest example of a method.

use hyperalign_models::hypernet::Adapter;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DataNeed, Method, Needs, Plan, RewardNeed, Setup, check};
use crate::learner::{Emit, Names, Objective, Part, SettingsError, Shard};

/// The only part of the loss.
const DENOISING: &str = "denoising";

/// Hyper-parameters of the loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FineTuningSettings {
    /// Preferred pictures an update.
    pub batch: usize,
    /// Probability that a prompt is dropped, so that guidance goes on working
    /// (Ho & Salimans 2022, arXiv:2207.12598).
    pub caption_dropout: f64,
}

impl Default for FineTuningSettings {
    fn default() -> Self {
        Self { batch: 16, caption_dropout: 0.1 }
    }
}

impl Method for FineTuningSettings {
    type Objective = FineTuning;

    const NAME: &'static str = "fine-tuning";

    fn needs(&self) -> Needs {
        Needs::new(RewardNeed::None, DataNeed::Pictures)
    }

    fn check(&self, plan: &Plan) -> Result<(), SettingsError> {
        check::batch("method.batch", self.batch, plan.shards)?;
        check::share("method.caption_dropout", self.caption_dropout)
    }

    fn objective(&self, setup: Setup) -> FineTuning {
        FineTuning { settings: self.clone(), setup }
    }
}

/// The objective of [`FineTuningSettings`]: `mean |f(x_t, t, c) - target|^2` at random times
/// (Ho et al. 2020, arXiv:2006.11239, eq. 14), in the parameterisation of the base.
pub struct FineTuning {
    settings: FineTuningSettings,
    setup: Setup,
}

impl Objective for FineTuning {
    type Module = Adapter;
    type Batch = ();

    fn names(&self) -> Names {
        Names { parts: vec![DENOISING], metrics: Vec::new() }
    }

    fn prepare(&self, _: &Adapter, _: u64) {}

    fn losses(&self, adapter: &Adapter, (): &(), update: u64, shard: Shard, emit: &mut dyn Emit) {
        let FineTuningSettings { batch, caption_dropout } = self.settings;
        let data = self.setup.materials.data.pictures().expect("checked when the run was set up");
        let noised = self.setup.noised(data, (batch, caption_dropout), update, shard);
        let loss = self.setup.denoising_loss(adapter, &noised);
        emit.part(Part::new(DENOISING, 1.0, loss));
    }
}

#[cfg(test)]
mod tests {
    use hyperalign_core::schedule::SchedulerConfig;

    use super::*;

    #[test]
    fn settings_that_cannot_be_are_named() {
        let scheduler = SchedulerConfig::stable_diffusion().ddim(10, 0.0).unwrap();
        let plan = Plan { scheduler: &scheduler, shards: 4 };
        let named = |batch, caption_dropout| {
            let settings = FineTuningSettings { batch, caption_dropout };
            settings.check(&plan).map_err(|error| error.name)
        };
        assert_eq!(named(8, 0.1), Ok(()));
        assert_eq!(named(6, 0.1), Err("method.batch"));
        assert_eq!(named(8, 1.1), Err("method.caption_dropout"));
    }
}
