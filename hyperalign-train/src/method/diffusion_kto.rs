//! Diffusion-KTO (Li et al. 2024, arXiv:2404.04465): from single pictures that people like or do not,
//! by a utility of how much a picture gains over the base.
//!
//! What a gain is worth is judged from a point of reference, the mean gain of the whole batch where
//! it is above 0, which stands for the divergence from the base.

use burn::{
    module::Module,
    tensor::{
        Tensor,
        activation::{log_sigmoid, sigmoid},
    },
};
use hyperalign_models::hypernet::Adapter;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    DataNeed, Method, Needs, Plan, RewardNeed, Setup, check,
    denoising::{Noised, items},
};
use crate::learner::{Emit, Metric, Names, Objective, Part, SettingsError, Shard};

/// The only part of the loss.
const UTILITY: &str = "utility";
/// How much lower the error is than the base's, of pictures that people like and of others.
const GAINS: [&str; 2] = ["desirable_gain", "undesirable_gain"];
/// The mean gain of the batch, 0 where it is below.
const DIVERGENCE: &str = "divergence";

/// What a gain `u` beyond the point of reference is worth (Kahneman & Tversky 1979).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Utility {
    /// `sigmoid(u)`: much is made of what is near the reference, in both directions.
    #[default]
    KahnemanTversky,
    /// `log sigmoid(u)`: losses count more than gains.
    LossAverse,
    /// `-log sigmoid(-u)`: gains count more than losses.
    RiskSeeking,
}

/// Hyper-parameters of the loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DiffusionKtoSettings {
    /// Pictures an update.
    pub batch: usize,
    /// How strongly the model is held to the base: the larger, the closer. The published number, for
    /// errors that are means over all numbers of a latent.
    pub beta: f64,
    /// What a gain is worth.
    pub utility: Utility,
    /// How much the pictures that people like weigh in the loss. The data bring one of each, so at
    /// 0.5 all weigh the same; the published recipe draws four of five pictures from them.
    pub desirable_share: f64,
    /// Probability that the prompt of a picture is dropped, so that guidance goes on working.
    pub caption_dropout: f64,
}

impl Default for DiffusionKtoSettings {
    fn default() -> Self {
        Self {
            batch: 16,
            beta: 1000.0,
            utility: Utility::default(),
            desirable_share: 0.8,
            caption_dropout: 0.2,
        }
    }
}

impl Method for DiffusionKtoSettings {
    type Objective = DiffusionKto;

    const NAME: &'static str = "diffusion-kto";

    fn needs(&self) -> Needs {
        Needs::new(RewardNeed::None, DataNeed::Labels)
    }

    fn check(&self, plan: &Plan) -> Result<(), SettingsError> {
        check::batch("method.batch", self.batch, plan.shards)?;
        check::positive("method.beta", self.beta)?;
        check::share("method.desirable_share", self.desirable_share)?;
        check::share("method.caption_dropout", self.caption_dropout)
    }

    fn objective(&self, setup: Setup) -> DiffusionKto {
        DiffusionKto { settings: self.clone(), setup }
    }
}

/// What is lost of each picture's utility: with `u = sign beta (gain - reference)`, which is
/// turned round for a picture that is not liked, `1 - sigmoid(u)` and its likes
/// (arXiv:2404.04465).
///
/// # Shapes
///
/// - `gains`: the base's error less the model's, `[pictures]`
/// - `signs`: 1 for a picture that is liked and -1 for another, `[pictures]`
/// - output: `[pictures]`
pub fn utility_loss(
    gains: Tensor<1>,
    signs: Tensor<1>,
    reference: f64,
    beta: f64,
    utility: Utility,
) -> Tensor<1> {
    let u = (gains - reference) * signs.mul_scalar(beta);
    match utility {
        Utility::KahnemanTversky => sigmoid(u.neg()),
        Utility::LossAverse => log_sigmoid(u).neg(),
        Utility::RiskSeeking => log_sigmoid(u.neg()),
    }
}

/// The objective of [`DiffusionKtoSettings`].
pub struct DiffusionKto {
    settings: DiffusionKtoSettings,
    setup: Setup,
}

/// What the shards of an update share.
pub struct Judged {
    shards: Vec<Pictures>,
    /// The point of reference: the mean gain of the batch, not below 0.
    reference: f64,
}

/// The pictures of a shard.
struct Pictures {
    noised: Noised,
    /// The base's error, `[pictures]`.
    error: Tensor<1>,
    desirable: Vec<bool>,
}

impl DiffusionKto {
    /// The pictures of a shard, and the sum of their gains.
    fn pictures(&self, adapter: &Adapter, update: u64, shard: Shard) -> (Pictures, f64) {
        let DiffusionKtoSettings { batch, caption_dropout, .. } = self.settings;
        let Self { setup, .. } = self;
        let data = setup.materials.data.labels().expect("checked when the run was set up");
        let rows = shard.samples(batch);
        let indices = items(batch, update, rows.clone());
        let drawn = data.labelled(&indices, &setup.materials.device);
        let conditioning = setup.dropped(drawn.prompts, caption_dropout, update, rows.clone());
        let original = setup.base().encode_images(drawn.images);
        let noised = setup.noise_up(original, conditioning, update, rows);
        // By the numerics of the tape, as the losses.
        let lora = setup.emit(&adapter.clone().train(), &noised);
        let error = setup.reference_error(&noised, &lora);
        let gains = error.clone() - setup.error(&noised, &lora).inner();
        let sum = gains.into_data().iter::<f64>().sum();
        (Pictures { noised, error, desirable: drawn.desirable }, sum)
    }
}

impl Objective for DiffusionKto {
    type Module = Adapter;
    type Batch = Judged;

    fn names(&self) -> Names {
        let metrics = GAINS.into_iter().chain([DIVERGENCE]);
        Names { parts: vec![UTILITY], metrics: metrics.collect() }
    }

    /// The point of reference is one for the whole batch, so all of it is looked at before the first
    /// shard learns.
    fn prepare(&self, adapter: &Adapter, update: u64) -> Judged {
        let pictures = |adapter: &Adapter, shard| self.pictures(adapter, update, shard);
        let shards = self.setup.shards(adapter, pictures);
        let (shards, sums): (Vec<Pictures>, Vec<f64>) = shards.into_iter().unzip();
        let mean = sums.iter().sum::<f64>() / self.settings.batch as f64;
        // Not `max`, which would make a number of what is none.
        Judged { shards, reference: if mean < 0.0 { 0.0 } else { mean } }
    }

    fn losses(
        &self,
        adapter: &Adapter,
        judged: &Judged,
        _: u64,
        shard: Shard,
        emit: &mut dyn Emit,
    ) {
        let DiffusionKtoSettings { beta, utility, desirable_share, .. } = self.settings;
        let Pictures { noised, error, desirable } = &judged.shards[shard.index];
        let gains = error.clone() - self.setup.error(noised, &self.setup.emit(adapter, noised));

        let values: Vec<f64> = gains.clone().detach().into_data().iter::<f64>().collect();
        for (name, which) in GAINS.into_iter().zip([true, false]) {
            let of = values.iter().zip(desirable).filter(|(_, liked)| **liked == which);
            let of: Vec<f64> = of.map(|(gain, _)| *gain).collect();
            emit.metric(Metric { name, sum: of.iter().sum(), count: of.len() });
        }
        emit.metric(Metric::new(DIVERGENCE, judged.reference));

        let row = |value: &dyn Fn(bool) -> f64| -> Tensor<1> {
            let values: Vec<f64> = desirable.iter().map(|liked| value(*liked)).collect();
            Tensor::from_data(&values[..], &error.device())
        };
        let signs = row(&|liked| if liked { 1.0 } else { -1.0 });
        let weights =
            row(&|liked| 2.0 * if liked { desirable_share } else { 1.0 - desirable_share });
        let loss = utility_loss(gains, signs, judged.reference, beta, utility);
        emit.part(Part::new(UTILITY, 1.0, (loss * weights).mean()));
    }
}

#[cfg(test)]
mod tests {
    use hyperalign_core::{schedule::SchedulerConfig, testing};

    use super::*;

    #[test]
    fn settings_that_cannot_be_are_named() {
        let scheduler = SchedulerConfig::stable_diffusion().ddim(10, 0.0).unwrap();
        let plan = Plan { scheduler: &scheduler, shards: 4 };
        let good = DiffusionKtoSettings::default();
        let named = |settings: DiffusionKtoSettings| settings.check(&plan).map_err(|e| e.name);
        assert_eq!(named(good.clone()), Ok(()));
        assert_eq!(named(DiffusionKtoSettings { batch: 0, ..good.clone() }), Err("method.batch"));
        assert_eq!(named(DiffusionKtoSettings { beta: 0.0, ..good.clone() }), Err("method.beta"));
        let share = DiffusionKtoSettings { desirable_share: -0.1, ..good };
        assert_eq!(named(share), Err("method.desirable_share"));
    }

    /// Kahneman and Tversky's utility is steepest at the reference, the others on one side of it.
    #[test]
    fn utilities_differ_in_what_they_make_of_losses() {
        let slopes = |utility: Utility| -> Vec<f64> {
            let gains = Tensor::<1>::from_data([-2.0, 0.0, 2.0], &testing::device()).autodiff();
            let gains = gains.require_grad();
            let loss = utility_loss(gains.clone(), gains.ones_like().inner(), 0.0, 1.0, utility);
            let gradient = gains.grad(&loss.sum().backward()).unwrap();
            gradient.into_data().iter::<f64>().collect()
        };
        let [loss, none, gain] = slopes(Utility::KahnemanTversky)[..] else { panic!() };
        assert!(none < loss && none < gain && gain < 0.0 && (none + 0.25).abs() < 1e-6);
        let [loss, none, gain] = slopes(Utility::LossAverse)[..] else { panic!() };
        assert!(loss < none && none < gain && gain < 0.0);
        let [loss, none, gain] = slopes(Utility::RiskSeeking)[..] else { panic!() };
        assert!(gain < none && none < loss && loss < 0.0);
    }
}
