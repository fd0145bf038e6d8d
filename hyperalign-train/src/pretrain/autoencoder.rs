//! Stage 1: the autoencoder.

use burn::tensor::{Device, Tensor};
use hyperalign_core::noise::{Purpose, Stream, normal};
use hyperalign_models::vae::AutoencoderKl;

use crate::{
    data::base_batch,
    learner::{Losses, Objective, Part, Shard},
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

    fn losses(&self, vae: &AutoencoderKl, update: u64, shard: Shard) -> Losses {
        let samples = shard.samples(self.batch);
        let first = update as u32 * self.batch as u32;
        let indices: Vec<u32> = samples.clone().map(|k| first + k as u32).collect();
        let (images, _) = base_batch(self.seed, &indices, &self.device);
        let posterior = vae.encode(images.clone());
        let [_, channels, height, width] = posterior.mean.dims();
        let streams =
            samples.map(|k| Stream::new(self.seed, Purpose::Posterior, update as u32, k as u32));
        let noise = normal([1, channels, height, width], streams, &self.device);
        let kl = divergence(&posterior.mean, &posterior.logvar);
        let error = vae.decode(vae.scale(posterior.sample(noise))) - images;
        let mse = error.clone().square().mean();
        let l1 = error.abs().mean();
        let metrics = vec![
            ("psnr".to_owned(), psnr(mse.clone().detach().into_scalar::<f32>().into())),
            ("kl".to_owned(), kl.clone().detach().into_scalar::<f32>().into()),
        ];
        let loss = l1 + mse + kl * self.kl_weight;
        Losses { parts: vec![Part { name: "reconstruction", weight: 1.0, loss }], metrics }
    }
}

/// `KL(N(mean, exp(logvar)) || N(0, 1))`, the mean over latent values
/// (Kingma & Welling 2014, arXiv:1312.6114, appendix B).
fn divergence(mean: &Tensor<4>, logvar: &Tensor<4>) -> Tensor<1> {
    (mean.clone().square() + logvar.clone().exp() - 1.0 - logvar.clone()).mean() * 0.5
}

/// Peak signal-to-noise ratio in decibels of a mean squared error of pixels in `[-1, 1]`.
pub fn psnr(mse: f64) -> f64 {
    10.0 * (4.0 / mse).log10()
}
