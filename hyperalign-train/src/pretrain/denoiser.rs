//! Stage 2: the text encoder and the denoiser, trained together.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use hyperalign_core::{
    denoiser::Prediction,
    diffusion::Process,
    noise::{Purpose, Stream, normal},
};
use hyperalign_models::{clip::ClipTextModel, unet::Unet};

use super::latents::{LatentSet, id_tensor};
use crate::learner::{Losses, Objective, Part, Shard};

/// What this stage trains. The text encoder learns from the denoiser alone, as in the
/// text-to-image model of Rombach et al. 2022 (arXiv:2112.10752, section 4.3.1).
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

    fn losses(&self, model: &TextToLatent, update: u64, shard: Shard) -> Losses {
        let samples = shard.samples(self.batch);
        let stream = |purpose, k: usize| Stream::new(self.seed, purpose, update as u32, k as u32);
        let items: Vec<usize> =
            samples.clone().map(|k| stream(Purpose::Data, k).below(self.data.len())).collect();
        let timesteps: Vec<f64> = samples
            .clone()
            .map(|k| stream(Purpose::Timestep, k).below(self.train_steps) as f64)
            .collect();
        let captions: Vec<&[u32]> = samples
            .clone()
            .zip(&items)
            .map(|(k, &item)| {
                let dropped = stream(Purpose::Dropout, k).chance(self.caption_dropout);
                if dropped { &self.empty[..] } else { self.data.ids(item) }
            })
            .collect();

        let original = self.data.latents(&items, &self.device);
        let [_, channels, height, width] = original.dims();
        let noise = normal(
            [1, channels, height, width],
            samples.map(|k| stream(Purpose::Forward, k)),
            &self.device,
        );
        let levels = self.process.levels(&timesteps, &self.device);
        let sample = levels.mix(original.clone(), noise.clone());
        let target = levels.target(self.prediction, original, noise);

        let context =
            model.text_encoder.forward(id_tensor(&captions, &self.device)).last_hidden_state;
        let times: Vec<f32> = timesteps.iter().map(|&t| t as f32).collect();
        let times = Tensor::from_data(&times[..], &self.device);
        let loss = (model.unet.forward(sample, times, context, None) - target).square().mean();
        Losses { parts: vec![Part { name: "denoising", weight: 1.0, loss }], metrics: Vec::new() }
    }
}
