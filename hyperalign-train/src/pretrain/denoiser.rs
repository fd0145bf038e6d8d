//! Stage 2: the text encoder and the denoiser, trained together.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use hyperalign_core::{
    contract::Prediction,
    diffusion::Process,
    noise::{Purpose, Stream},
};
use hyperalign_models::{clip::ClipTextModel, unet::Unet};

use super::{
    latents::{Draw, Drawn, LatentSet},
    places::{fixed_readout, places_loss},
};
use crate::learner::{Emit, Metric, Names, Objective, Part, Shard};

/// What this stage trains. The text encoder learns from the denoiser, as in the text-to-image
/// model of Rombach et al. 2022 (arXiv:2112.10752, section 4.3.1), and from the sides that
/// captions speak of.
#[derive(Module, Debug)]
pub struct TextToLatent {
    /// The text encoder.
    pub text_encoder: ClipTextModel,
    /// The denoiser.
    pub unet: Unet,
}

/// The denoising loss at a uniform timestep (Ho et al. 2020, arXiv:2006.11239, algorithm 1).
#[derive(Debug)]
pub struct DenoiserObjective {
    /// Seed of the batches and their noise.
    pub seed: u64,
    /// Latents an update.
    pub batch: usize,
    /// Probability that a caption is replaced by the empty one, for classifier-free guidance
    /// (Ho & Salimans 2022, arXiv:2207.12598).
    pub caption_dropout: f64,
    /// Captions with a relation an update, for the sides that they speak of.
    pub related: usize,
    /// Weight of the sides that the pooled text tells; without it the text encoder stays blind
    /// to relations.
    pub sides_weight: f64,
    /// The data.
    pub data: LatentSet,
    /// Token ids of the empty caption.
    pub empty: Vec<u32>,
    /// The diffusion process.
    pub process: Process,
    /// What the network predicts.
    pub prediction: Prediction,
    /// Timesteps of the training schedule.
    pub train_steps: usize,
    /// The autodiff device.
    pub device: Device,
}

impl Objective for DenoiserObjective {
    type Module = TextToLatent;
    type Batch = ();

    fn names(&self) -> Names {
        Names { parts: vec!["denoising"], metrics: vec!["denoising", "sides"] }
    }

    fn prepare(&self, _: &TextToLatent, _: u64) {}

    fn losses(
        &self,
        model: &TextToLatent,
        (): &(),
        update: u64,
        shard: Shard,
        emit: &mut dyn Emit,
    ) {
        let samples = shard.samples(self.batch);
        let timesteps: Vec<f64> = samples
            .clone()
            .map(|k| Stream::new(self.seed, Purpose::Timestep, update as u32, k as u32))
            .map(|mut stream| stream.below(self.train_steps) as f64)
            .collect();
        let related = shard.samples(self.related);
        let draw = Draw {
            data: &self.data,
            seed: self.seed,
            caption_dropout: self.caption_dropout,
            empty: &self.empty,
            device: &self.device,
        };
        let Drawn { original, noise, ids } = draw.draw(update, samples);
        let levels = self.process.levels(&timesteps, &self.device);
        let sample = levels.mix(original.clone(), noise.clone());
        let target = levels.target(self.prediction, original, noise);

        let (related, sides) = draw.related(update, related);
        let pooled = model.text_encoder.forward(related).pooled;
        let [_, features] = pooled.dims();
        let told = pooled.matmul(fixed_readout(self.seed, features, &self.device));
        let sides = places_loss(told, sides);

        let context = model.text_encoder.forward(ids).last_hidden_state;
        let times: Vec<f32> = timesteps.iter().map(|&t| t as f32).collect();
        let times = Tensor::from_data(&times[..], &self.device);
        let output = model.unet.forward(sample, times, context, None);
        let denoising = (output - target).square().mean();
        let value = |loss: &Tensor<1>| f64::from(loss.clone().detach().into_scalar::<f32>());
        emit.metric(Metric::new("denoising", value(&denoising)));
        emit.metric(Metric::new("sides", value(&sides)));
        emit.part(Part::new("denoising", 1.0, denoising + sides * self.sides_weight));
    }
}
