//! Diffusion-DPO (Wallace et al. 2023, arXiv:2311.12908): direct preference optimisation, with the
//! denoising error in the place of the likelihood.
//!
//! Of two pictures of a prompt the preferred one is to gain more over the frozen base than the other.
//! Both are noised to the same time with the same noise, so that the pair differs in nothing else.
//! No picture is sampled and no reward is asked.

use burn::tensor::{Tensor, activation::log_sigmoid};
use hyperalign_models::hypernet::Adapter;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DataNeed, Method, Needs, Plan, RewardNeed, Setup, check, denoising::items};
use crate::learner::{Emit, Metric, Names, Objective, Part, SettingsError, Shard};

/// The only part of the loss.
const PREFERENCE: &str = "preference";
/// The share of pairs whose preferred picture gains more over the base than the other.
const ACCURACY: &str = "implicit_accuracy";
/// How much lower the error is than the base's, of preferred and of rejected pictures.
const GAINS: [&str; 2] = ["preferred_gain", "rejected_gain"];

/// Hyper-parameters of the loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DiffusionDpoSettings {
    /// Pairs an update.
    pub batch: usize,
    /// How strongly the model is held to the base: the larger, the closer. It is the published number,
    /// which belongs to errors that are means over all numbers of a latent; the paper's formula has
    /// sums.
    pub beta: f64,
    /// Probability that the prompt of a pair is dropped, so that guidance goes on working.
    pub caption_dropout: f64,
}

impl Default for DiffusionDpoSettings {
    fn default() -> Self {
        Self { batch: 16, beta: 5000.0, caption_dropout: 0.2 }
    }
}

impl Method for DiffusionDpoSettings {
    type Objective = DiffusionDpo;

    const NAME: &'static str = "diffusion-dpo";

    fn needs(&self) -> Needs {
        Needs::new(RewardNeed::None, DataNeed::Pairs)
    }

    fn check(&self, plan: &Plan) -> Result<(), SettingsError> {
        check::batch("method.batch", self.batch, plan.shards)?;
        check::positive("method.beta", self.beta)?;
        check::share("method.caption_dropout", self.caption_dropout)
    }

    fn objective(&self, setup: Setup) -> DiffusionDpo {
        DiffusionDpo { settings: self.clone(), setup }
    }
}

/// `-log sigmoid(beta / 2 (gain_preferred - gain_rejected))` of each pair, where a gain is the base's
/// error less the model's (arXiv:2311.12908, eq. 14), and the argument of the sigmoid.
///
/// # Shapes
///
/// - `preferred`, `rejected`: gains, `[pairs]`
/// - output: `[pairs]` each
pub fn preference_loss(
    preferred: Tensor<1>,
    rejected: Tensor<1>,
    beta: f64,
) -> (Tensor<1>, Tensor<1>) {
    let margin = (preferred - rejected).mul_scalar(beta / 2.0);
    (log_sigmoid(margin.clone()).neg(), margin)
}

/// The objective of [`DiffusionDpoSettings`].
pub struct DiffusionDpo {
    settings: DiffusionDpoSettings,
    setup: Setup,
}

impl Objective for DiffusionDpo {
    type Module = Adapter;
    type Batch = ();

    fn names(&self) -> Names {
        let metrics = [ACCURACY].into_iter().chain(GAINS);
        Names { parts: vec![PREFERENCE], metrics: metrics.collect() }
    }

    fn prepare(&self, _: &Adapter, _: u64) {}

    fn losses(&self, adapter: &Adapter, (): &(), update: u64, shard: Shard, emit: &mut dyn Emit) {
        let DiffusionDpoSettings { batch, beta, caption_dropout } = self.settings;
        let Self { setup, .. } = self;
        let data = setup.materials.data.pairs().expect("checked when the run was set up");
        let rows = shard.samples(batch);
        let pairs = rows.len();
        let indices = items(batch, update, rows.clone());
        let drawn = data.pairs(&indices, &setup.materials.device);
        let conditioning = setup.dropped(drawn.prompts, caption_dropout, update, rows.clone());
        let noised = [drawn.preferred, drawn.rejected].map(|images| {
            let original = setup.base().encode_images(images);
            setup.noise_up(original, conditioning.clone(), update, rows.clone())
        });
        let [preferred, rejected] = noised;
        let both = preferred.concat(rejected);
        let lora = setup.emit(adapter, &both);
        let gains = setup.reference_error(&both, &lora) - setup.error(&both, &lora);
        let (preferred, rejected) =
            (gains.clone().narrow(0, 0, pairs), gains.narrow(0, pairs, pairs));

        for (name, gain) in GAINS.into_iter().zip([&preferred, &rejected]) {
            let mean = gain.clone().detach().mean().into_scalar::<f64>();
            emit.metric(Metric::mean(name, mean, pairs));
        }
        let (loss, margin) = preference_loss(preferred, rejected, beta);
        let margins = margin.detach().into_data();
        let right = margins.iter::<f64>().filter(|margin| *margin > 0.0).count();
        emit.metric(Metric { name: ACCURACY, sum: right as f64, count: pairs });
        emit.part(Part::new(PREFERENCE, 1.0, loss.mean()));
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
        let good = DiffusionDpoSettings::default();
        let named = |settings: DiffusionDpoSettings| settings.check(&plan).map_err(|e| e.name);
        assert_eq!(named(good.clone()), Ok(()));
        assert_eq!(named(DiffusionDpoSettings { batch: 6, ..good.clone() }), Err("method.batch"));
        for beta in [0.0, -1.0, f64::NAN] {
            assert_eq!(named(DiffusionDpoSettings { beta, ..good.clone() }), Err("method.beta"));
        }
        let dropout = DiffusionDpoSettings { caption_dropout: 1.5, ..good };
        assert_eq!(named(dropout), Err("method.caption_dropout"));
    }
}
