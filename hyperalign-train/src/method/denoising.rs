//! Pictures of a data set with noise on them, as denoising losses learn from them.

use burn::tensor::Tensor;
use hyperalign_core::{
    contract::Conditioning,
    lora::LoraSet,
    noise::{Purpose, normal},
};
use hyperalign_models::hypernet::Adapter;

use super::Setup;
use crate::{data::PreferredData, learner::Shard};

/// Latents of pictures at a random time each, and what a network is to answer for them.
pub(super) struct Noised {
    /// `[batch, channels, height, width]`.
    pub(super) sample: Tensor<4>,
    /// In the unit of the base's process, `[batch]`.
    pub(super) times: Tensor<1>,
    /// In the parameterisation of the base, as `sample`.
    pub(super) target: Tensor<4>,
    /// Of the prompts that were not dropped.
    pub(super) conditioning: Conditioning,
}

impl Setup {
    /// The shard's part of the `batch` pictures of an update, with each prompt dropped at a
    /// probability of `dropout`.
    pub(super) fn noised(
        &self,
        data: &dyn PreferredData,
        (batch, dropout): (usize, f64),
        update: u64,
        shard: Shard,
    ) -> Noised {
        let rows = shard.samples(batch);
        let first = update as u32 * batch as u32;
        let indices: Vec<u32> = rows.clone().map(|k| first + k as u32).collect();
        let (images, mut prompts) = data.batch(&indices, &self.materials.device);
        for (k, prompt) in rows.clone().zip(&mut prompts) {
            if self.stream(Purpose::Dropout, update, k).chance(dropout) {
                prompt.clear();
            }
        }
        let conditioning = self.encode(&prompts);
        let original = self.base().encode_images(images);
        let [_, channels, height, width] = original.dims();
        let streams = rows.clone().map(|k| self.stream(Purpose::Forward, update, k));
        let device = &self.materials.device;
        let noise = normal([1, channels, height, width], streams, device);
        let time = |k| self.base().draw_timestep(&mut self.stream(Purpose::Timestep, update, k));
        let timesteps: Vec<f64> = rows.map(time).collect();
        let levels = self.base().process().levels(&timesteps, device);
        Noised {
            sample: levels.mix(original.clone(), noise.clone()),
            times: self.times(&timesteps),
            target: levels.target(self.base().prediction(), original, noise),
            conditioning,
        }
    }

    /// The update of `adapter` for noised pictures.
    pub(super) fn emit(&self, adapter: &Adapter, noised: &Noised) -> LoraSet {
        let Noised { sample, times, conditioning, .. } = noised;
        adapter.emit(self.base(), sample.clone(), times.clone(), conditioning).0
    }

    /// Squared errors of the base with an update.
    ///
    /// # Shapes
    ///
    /// - output: `[batch, channels, height, width]`
    pub(super) fn squared_error(&self, noised: &Noised, lora: Option<&LoraSet>) -> Tensor<4> {
        let Noised { sample, times, target, conditioning } = noised;
        let output = self.base().predict(sample.clone(), times.clone(), conditioning, lora);
        (output - target.clone()).square()
    }
}
