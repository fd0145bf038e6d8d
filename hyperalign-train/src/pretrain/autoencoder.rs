//! Stage 1: the autoencoder.

use burn::tensor::{Device, Tensor};
use hyperalign_core::noise::{Purpose, Stream, normal};
use hyperalign_models::vae::AutoencoderKl;

use super::recipe;
use crate::{
    data::base_batch,
    learner::{Emit, Metric, Names, Objective, Part, Shard},
};

/// L1 + MSE reconstruction with a light pull of the posterior to the standard normal
/// (Rombach et al. 2022, arXiv:2112.10752, section 3.1, without the adversarial part).
#[derive(Debug, Clone)]
pub struct AutoencoderObjective {
    /// Seed of the pictures and of the posterior's noise.
    pub seed: u64,
    /// Pictures an update.
    pub batch: usize,
    /// Weight of the divergence, taken as a mean over all latent values.
    pub kl_weight: f64,
    /// The autodiff device.
    pub device: Device,
}

impl Objective for AutoencoderObjective {
    type Module = AutoencoderKl;
    type Batch = ();

    fn names(&self) -> Names {
        Names { parts: vec!["reconstruction"], metrics: vec!["psnr", "kl"] }
    }

    fn prepare(&self, _: &AutoencoderKl, _: u64) {}

    fn losses(&self, vae: &AutoencoderKl, (): &(), update: u64, shard: Shard, emit: &mut dyn Emit) {
        let samples = shard.samples(self.batch);
        let first = update as u32 * self.batch as u32;
        let indices: Vec<u32> = samples.clone().map(|k| first + k as u32).collect();
        let (images, _) = base_batch(recipe::WORLD, self.seed, &indices, &self.device);
        let posterior = vae.encode(images.clone());
        let [_, channels, height, width] = posterior.mean.dims();
        let streams =
            samples.map(|k| Stream::new(self.seed, Purpose::Posterior, update as u32, k as u32));
        let noise = normal([1, channels, height, width], streams, &self.device);
        let values = (channels * height * width) as f64;
        let kl = posterior.kl().mean() / values;
        let error = vae.decode(vae.scale(posterior.sample(noise))) - images;
        let mse = error.clone().square().mean();
        let l1 = error.abs().mean();
        let value = |loss: &Tensor<1>| f64::from(loss.clone().detach().into_scalar::<f32>());
        emit.metric(Metric::new("psnr", psnr(value(&mse))));
        emit.metric(Metric::new("kl", value(&kl)));
        emit.part(Part::new("reconstruction", 1.0, l1 + mse + kl * self.kl_weight));
    }
}

/// Peak signal-to-noise ratio in decibels of a mean squared error of pixels in `[-1, 1]`.
pub fn psnr(mse: f64) -> f64 {
    10.0 * (4.0 / mse).log10()
}
