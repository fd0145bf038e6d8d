//! Stage 2: the text encoder and the denoiser, trained together.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use hyperalign_core::{
    denoiser::Prediction,
    diffusion::Process,
    noise::{Purpose, Stream},
};
use hyperalign_models::{clip::ClipTextModel, unet::Unet};

use super::latents::{Draw, Drawn, LatentSet};
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
        let timesteps: Vec<f64> = samples
            .clone()
            .map(|k| Stream::new(self.seed, Purpose::Timestep, update as u32, k as u32))
            .map(|mut stream| stream.below(self.train_steps) as f64)
            .collect();
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

        let context = model.text_encoder.forward(ids).last_hidden_state;
        let times: Vec<f32> = timesteps.iter().map(|&t| t as f32).collect();
        let times = Tensor::from_data(&times[..], &self.device);
        let loss = (model.unet.forward(sample, times, context, None) - target).square().mean();
        Losses { parts: vec![Part { name: "denoising", weight: 1.0, loss }], metrics: Vec::new() }
    }
}
