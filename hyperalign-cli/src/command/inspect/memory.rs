//! How much memory a model will take.

use hyperalign_models::clip::ClipTextConfig;
use hyperalign_models::hypernet::HypernetConfig;
use hyperalign_models::unet::UnetConfig;
use hyperalign_models::vae::AutoencoderKlConfig;
use hyperalign_models::weights::{Folder, keys};
use serde::Serialize;

/// Bytes of a number while it is computed with.
const FLOAT: usize = 4;
/// Tensors of the size of a feature map that one layer has at once: input, output, what lies
/// between, and what the convolution unfolds.
const WORKING: usize = 8;
/// Feature maps that the tape keeps of a residual block, and of a transformer block (whose
/// feed-forward layer is eight times as wide).
const TAPE: [usize; 2] = [10, 24];
/// Copies of what is trained: value, gradient, two moments, moving average.
const TRAINED: usize = 5;

/// Estimates, good to a factor of two. Attention is counted as never holding all scores.
#[derive(Debug, Serialize)]
pub(super) struct Memory {
    /// All weights in f32, bytes.
    weights_f32: usize,
    /// Sampling one picture with guidance in f32, weights included, bytes.
    sampling: usize,
    /// Training HyperAlign's default network with one picture a step, weights included, bytes.
    training: usize,
    note: &'static str,
}

/// The networks that decide.
pub(super) struct Sizes {
    unet: UnetConfig,
    vae: AutoencoderKlConfig,
    text: ClipTextConfig,
}

impl Sizes {
    /// Those of Stable Diffusion 1.5.
    pub(super) fn sd15() -> Self {
        Self {
            unet: UnetConfig::sd15(),
            vae: AutoencoderKlConfig::sd15(),
            text: ClipTextConfig::sd15(),
        }
    }

    /// Those of a folder, if it is one of Stable Diffusion.
    pub(super) fn read(folder: &Folder) -> Option<Self> {
        Some(Self {
            unet: folder.read_config("unet/config.json").ok()?,
            vae: folder.read_config("vae/config.json").ok()?,
            text: folder.read_config("text_encoder/config.json").ok()?,
        })
    }

    /// The memory of a model with so many parameters.
    pub(super) fn memory(&self, parameters: usize) -> Memory {
        let weights = parameters * FLOAT;
        let unet_maps = self.unet_maps();
        let decoder_maps = self.decoder_maps();
        let largest = |maps: &[usize]| maps.iter().copied().max().unwrap_or_default();
        let skips: usize = unet_maps.iter().map(|map| map * (self.unet.layers_per_block + 1)).sum();
        // Guidance computes two rows.
        let denoising = 2 * (skips + WORKING * largest(&unet_maps));
        let decoding = WORKING / 2 * largest(&decoder_maps);
        let unet_blocks = 2 * self.unet.layers_per_block + 1;
        let tape = unet_maps.iter().sum::<usize>() * unet_blocks * (TAPE[0] + TAPE[1])
            + decoder_maps.iter().sum::<usize>() * (self.vae.layers_per_block + 1) * TAPE[0];
        Memory {
            weights_f32: weights,
            sampling: weights + FLOAT * denoising.max(decoding),
            training: weights + FLOAT * (TRAINED * self.trained() + tape),
            note: "estimates, good to a factor of two",
        }
    }

    /// Numbers in a feature map of each resolution of the U-Net.
    fn unet_maps(&self) -> Vec<usize> {
        let side = self.unet.sample_size;
        let maps = self.unet.block_out_channels.iter().enumerate();
        maps.map(|(level, channels)| channels * (side >> level).pow(2)).collect()
    }

    /// Numbers in the largest feature map of each resolution of the decoder, which a block begins
    /// with the channels of the coarser one.
    fn decoder_maps(&self) -> Vec<usize> {
        let channels = &self.vae.block_out_channels;
        let side = self.unet.sample_size * self.vae.downscale();
        let coarser = |level: usize| channels[(level + 1).min(channels.len() - 1)];
        (0..channels.len()).map(|level| coarser(level) * (side >> level).pow(2)).collect()
    }

    /// Parameters of HyperAlign's default network on this base.
    fn trained(&self) -> usize {
        let feature_dim = self.unet.block_out_channels.last().copied().unwrap_or_default();
        let targets = self.unet.lora_targets();
        let config = HypernetConfig::new(targets, feature_dim, self.text.hidden_size);
        let network = config.init(0, &burn::tensor::Device::default());
        network.map_or(0, |network| {
            keys(&network).iter().map(|key| key.shape.iter().product::<usize>()).sum()
        })
    }
}
