//! Pictures of a data set with noise on them, as denoising losses learn from them.

use std::ops::Range;

use burn::tensor::Tensor;
use hyperalign_core::{
    contract::Conditioning,
    lora::{LoraDelta, LoraSet},
    noise::{Purpose, normal},
};
use hyperalign_models::hypernet::{Adapter, Emission};

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

impl Noised {
    /// The rows of `self` followed by those of `other`.
    pub(super) fn concat(self, other: Self) -> Self {
        let both = |a, b| Tensor::cat(vec![a, b], 0);
        Self {
            sample: both(self.sample, other.sample),
            times: Tensor::cat(vec![self.times, other.times], 0),
            target: both(self.target, other.target),
            conditioning: self.conditioning.concat(other.conditioning),
        }
    }
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
        let indices = items(batch, update, rows.clone());
        let (images, prompts) = data.batch(&indices, &self.materials.device);
        let conditioning = self.dropped(prompts, dropout, update, rows.clone());
        self.noise_up(self.base().encode_images(images), conditioning, update, rows)
    }

    /// The prompts of samples `rows` of an update, each dropped at a probability of `dropout`.
    pub(super) fn dropped(
        &self,
        mut prompts: Vec<String>,
        dropout: f64,
        update: u64,
        rows: Range<usize>,
    ) -> Conditioning {
        for (k, prompt) in rows.zip(&mut prompts) {
            if self.stream(Purpose::Dropout, update, k).chance(dropout) {
                prompt.clear();
            }
        }
        self.encode(&prompts)
    }

    /// Latents at the times and with the noise of samples `rows` of an update: the same for every
    /// call.
    ///
    /// # Shapes
    ///
    /// - `original`: `[rows, channels, height, width]`
    pub(super) fn noise_up(
        &self,
        original: Tensor<4>,
        conditioning: Conditioning,
        update: u64,
        rows: Range<usize>,
    ) -> Noised {
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
        adapter.emit(self.base(), sample.clone(), times.clone(), conditioning).lora
    }

    /// The mean squared error of the base with the update of `adapter`: the denoising loss.
    pub(super) fn denoising_loss(&self, adapter: &Adapter, noised: &Noised) -> Tensor<1> {
        let Noised { sample, times, target, conditioning } = noised;
        let (sample, times) = (sample.clone(), times.clone());
        let Emission { lora, start, .. } =
            adapter.emit(self.base(), sample.clone(), times.clone(), conditioning);
        let (start, lora) = (start.as_ref(), Some(&lora));
        let answer = self.base().answer_from(start, sample, times, conditioning, lora, None);
        (answer.output - target.clone()).square().mean()
    }

    /// Squared errors of the base with an update.
    ///
    /// # Shapes
    ///
    /// - output: `[batch, channels, height, width]`
    fn squared_error(&self, noised: &Noised, lora: &LoraSet) -> Tensor<4> {
        let Noised { sample, times, target, conditioning } = noised;
        let output = self.base().predict(sample.clone(), times.clone(), conditioning, Some(lora));
        (output - target.clone()).square()
    }

    /// The mean squared error of each row with an update, `[batch]`.
    pub(super) fn error(&self, noised: &Noised, lora: &LoraSet) -> Tensor<1> {
        mean_of_rows(self.squared_error(noised, lora))
    }

    /// The mean squared error of each row of the base itself, `[batch]`: with `lora` at a scale of 0,
    /// by the same operations on the same tape. Kernels add up in another order where nothing is
    /// tracked, and a preference loss makes a difference in the last digits large.
    pub(super) fn reference_error(&self, noised: &Noised, lora: &LoraSet) -> Tensor<1> {
        self.error(noised, &switched_off(lora)).detach().inner()
    }
}

/// The same update at a scale of 0.
pub(super) fn switched_off(lora: &LoraSet) -> LoraSet {
    let off = |(path, delta): (&str, &LoraDelta)| {
        (path.to_owned(), LoraDelta { scale: 0.0, ..delta.clone() })
    };
    LoraSet::new(lora.iter().map(off))
}

/// The items of a data set that samples `rows` of an update are.
pub(super) fn items(batch: usize, update: u64, rows: Range<usize>) -> Vec<u32> {
    let first = update as u32 * batch as u32;
    rows.map(|k| first + k as u32).collect()
}

/// The mean of each row, `[batch]`.
pub(super) fn mean_of_rows(x: Tensor<4>) -> Tensor<1> {
    x.flatten::<2>(1, 3).mean_dim(1).squeeze_dim(1)
}
