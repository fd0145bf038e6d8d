//! The training set of the denoiser: pictures as latents, with their captions as tokens.

use burn::tensor::{Device, Int, Tensor, TensorData};
use hyperalign_models::{
    tokenizer::{Encoded, Tokenizer},
    vae::AutoencoderKl,
};

use crate::data::base_batch;

/// Encoded once: the encoder would otherwise cost as much as the denoiser's own update.
#[derive(Debug, Clone)]
pub struct LatentSet {
    latents: Vec<f32>,
    ids: Vec<Vec<u32>>,
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
        let mut set = Self { latents: Vec::new(), ids: Vec::with_capacity(size), shape: [0; 3] };
        let indices: Vec<u32> = (0..size as u32).collect();
        for chunk in indices.chunks(CHUNK) {
            let (images, captions) = base_batch(seed, chunk, device);
            let latents = vae.scale(vae.encode(images).mean);
            let [_, channels, height, width] = latents.dims();
            set.shape = [channels, height, width];
            set.latents.extend(latents.into_data().iter::<f32>());
            let captions: Vec<&str> = captions.iter().map(String::as_str).collect();
            set.ids.extend(tokenizer.encode(&captions).expect("the world's own words").ids);
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

/// Rows of token ids as a tensor, `[rows, tokens]`.
pub(super) fn id_tensor(rows: &[&[u32]], device: &Device) -> Tensor<2, Int> {
    let ids = rows.iter().map(|row| row.to_vec()).collect();
    Encoded { ids, cut: vec![None; rows.len()] }.to_tensor(device)
}
