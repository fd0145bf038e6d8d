//! The training set of the denoiser: pictures as latents, with their captions as tokens.

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};
use hyperalign_core::{
    device,
    noise::{Purpose, Stream, normal},
};
use hyperalign_models::{
    tokenizer::{Encoded, Tokenizer},
    vae::AutoencoderKl,
};
use hyperalign_rewards::emoji::Caption;

use super::{
    places::{Places, sides},
    recipe,
};
use crate::{data::base_batch, learner::parallel};

/// Encoded once: the encoder would otherwise cost as much as the denoiser's own update.
#[derive(Debug, Clone)]
pub struct LatentSet {
    latents: Vec<f32>,
    ids: Vec<Vec<u32>>,
    /// Items whose caption relates two things, and the sides that it speaks of.
    related: Vec<(usize, Places)>,
    shape: [usize; 3],
}

/// Pictures that go through the encoder at a time.
const CHUNK: usize = 64;

impl LatentSet {
    /// Encodes items `0..size` of the base's training data.
    pub fn build(
        vae: &AutoencoderKl,
        tokenizer: &Tokenizer,
        seed: u64,
        size: usize,
        device: &Device,
    ) -> Self {
        let indices: Vec<u32> = (0..size as u32).collect();
        let chunks: Vec<&[u32]> = indices.chunks(CHUNK).collect();
        // Small pictures keep a processor busy, and not more than one.
        let workers = match device::is_cpu(device) {
            true => std::thread::available_parallelism().map_or(1, usize::from),
            false => 1,
        };
        let works = chunks.chunks(chunks.len().div_ceil(workers).max(1)).map(|chunks| {
            let vae = vae.clone();
            parallel::pooled(workers, move || {
                chunks.iter().map(|chunk| encode(&vae, seed, chunk, device)).collect::<Vec<_>>()
            })
        });
        let mut set =
            Self { latents: Vec::new(), ids: Vec::new(), related: Vec::new(), shape: [0; 3] };
        for (latents, captions) in parallel::all(works.collect()).into_iter().flatten() {
            let [_, channels, height, width] = latents.dims();
            set.shape = [channels, height, width];
            set.latents.extend(latents.into_data().iter::<f32>());
            let captions: Vec<&str> = captions.iter().map(String::as_str).collect();
            let first = set.ids.len();
            set.ids.extend(tokenizer.encode(&captions).expect("the world's own words").ids);
            let said = captions
                .iter()
                .map(|caption| Caption::parse(caption).expect("the world's own grammar"));
            let said = said.map(|caption| sides(&caption)).enumerate();
            let related = said.filter(|(_, sides)| !sides.is_empty());
            set.related.extend(related.map(|(k, sides)| (first + k, sides)));
        }
        set
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The latents of `items`, `[items, channels, height, width]`.
    pub fn latents(&self, items: &[usize], device: &Device) -> Tensor<4> {
        let [channels, height, width] = self.shape;
        let size = channels * height * width;
        let values: Vec<f32> = items
            .iter()
            .flat_map(|&item| self.latents[item * size..(item + 1) * size].iter().copied())
            .collect();
        Tensor::from_data(TensorData::new(values, [items.len(), channels, height, width]), device)
    }

    /// The caption of `item` as token ids.
    pub fn ids(&self, item: usize) -> &[u32] {
        &self.ids[item]
    }
}

/// The latents of training items, `[items, channels, height, width]`, and their captions.
fn encode(
    vae: &AutoencoderKl,
    seed: u64,
    indices: &[u32],
    device: &Device,
) -> (Tensor<4>, Vec<String>) {
    let (images, captions) = base_batch(recipe::WORLD, seed, indices, device);
    (vae.scale(vae.encode(images).mean), captions)
}

/// Rows of token ids as a tensor, `[rows, tokens]`.
pub(super) fn id_tensor(rows: &[&[u32]], device: &Device) -> Tensor<2, Int> {
    let ids: Vec<Vec<u32>> = rows.iter().map(|row| row.to_vec()).collect();
    let lengths = ids.iter().map(Vec::len).collect();
    Encoded { ids, lengths, cut: vec![None; rows.len()] }.to_tensor(device)
}

/// What an update of a denoiser learns from.
pub(super) struct Drawn {
    /// `[samples, channels, height, width]`
    pub original: Tensor<4>,
    /// Standard normal, of the shape of `original`.
    pub noise: Tensor<4>,
    /// Captions as token ids, some of them empty, `[samples, tokens]`.
    pub ids: Tensor<2, Int>,
}

/// How a [`Drawn`] is drawn from a [`LatentSet`].
pub(super) struct Draw<'a> {
    /// The data.
    pub data: &'a LatentSet,
    /// Seed of the choice and of the noise.
    pub seed: u64,
    /// Probability that a caption is replaced by the empty one, for classifier-free guidance
    /// (Ho & Salimans 2022, arXiv:2207.12598).
    pub caption_dropout: f64,
    /// Token ids of the empty caption.
    pub empty: &'a [u32],
    /// The autodiff device.
    pub device: &'a Device,
}

impl Draw<'_> {
    /// Draws captions that relate two things, and the sides that they speak of.
    pub fn related(&self, update: u64, samples: Range<usize>) -> (Tensor<2, Int>, Vec<&Places>) {
        let Self { data, seed, device, .. } = *self;
        let (ids, sides): (Vec<&[u32]>, Vec<&Places>) = samples
            .map(|k| Stream::new(seed, Purpose::Caption, update as u32, k as u32))
            .map(|mut stream| stream.pick(&data.related))
            .map(|(item, sides)| (data.ids(*item), sides))
            .unzip();
        (id_tensor(&ids, device), sides)
    }

    /// Draws `samples` of the batch of `update`.
    pub fn draw(&self, update: u64, samples: Range<usize>) -> Drawn {
        let Self { data, seed, caption_dropout, empty, device } = *self;
        let stream = |purpose, k: usize| Stream::new(seed, purpose, update as u32, k as u32);
        let items: Vec<usize> =
            samples.clone().map(|k| stream(Purpose::Data, k).below(data.len())).collect();
        let captions: Vec<&[u32]> = samples
            .clone()
            .zip(&items)
            .map(|(k, &item)| {
                let dropped = stream(Purpose::Dropout, k).chance(caption_dropout);
                if dropped { empty } else { data.ids(item) }
            })
            .collect();
        let original = data.latents(&items, device);
        let [_, channels, height, width] = original.dims();
        let streams = samples.map(|k| stream(Purpose::Forward, k));
        let noise = normal([1, channels, height, width], streams, device);
        Drawn { original, noise, ids: id_tensor(&captions, device) }
    }
}
