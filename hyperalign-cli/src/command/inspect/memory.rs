//! How much memory a model will take.

use hyperalign_models::blocks::KEPT_NUMBERS;
use hyperalign_models::clip::ClipTextConfig;
use hyperalign_models::flux::FluxConfig;
use hyperalign_models::hypernet::HypernetConfig;
use hyperalign_models::t5::T5Config;
use hyperalign_models::unet::UnetConfig;
use hyperalign_models::vae::AutoencoderKlConfig;
use hyperalign_models::weights::{Folder, parameters};
use serde::Serialize;

/// Bytes of an f32, in which everything that is trained is kept.
const FLOAT: usize = 4;
/// Bytes of a bf16.
const HALF: usize = 2;
/// Tensors of the size of a feature map that one layer has at once: input, output, what lies
/// between, and what the convolution unfolds.
const WORKING: usize = 8;
/// Feature maps that the tape keeps of a residual block, and of a transformer block (whose
/// feed-forward layer is eight times as wide).
const TAPE: [usize; 2] = [10, 24];
/// Copies of what is trained: value, gradient, two moments, moving average.
const TRAINED: usize = 5;

/// Tokens of a prompt that FLUX.1's transformer reads.
const FLUX_TEXT_TOKENS: usize = 512;

/// Estimates for the base in two number formats, good to a factor of two. Attention is counted as
/// never holding all scores, and of large frozen blocks only what the tape keeps of them.
#[derive(Debug, Serialize)]
pub(super) struct Memory {
    f32: Bytes,
    bf16: Bytes,
    note: &'static str,
}

/// Bytes in one number format.
#[derive(Debug, Serialize)]
struct Bytes {
    /// All weights.
    weights: usize,
    /// Sampling one picture with guidance, weights included.
    sampling: usize,
    /// Training HyperAlign's default network, which is always f32, with one picture a step; weights
    /// included, a reward not.
    training: usize,
}

/// The networks that decide.
pub(super) struct Sizes {
    denoiser: Denoiser,
    vae: AutoencoderKlConfig,
}

/// What predicts, with what it reads of the text.
enum Denoiser {
    Unet { unet: UnetConfig, text_width: usize },
    Flux(FluxConfig),
}

impl Sizes {
    /// Those of Stable Diffusion 1.5.
    pub(super) fn sd15() -> Self {
        let text_width = ClipTextConfig::sd15().hidden_size;
        let denoiser = Denoiser::Unet { unet: UnetConfig::sd15(), text_width };
        Self { denoiser, vae: AutoencoderKlConfig::sd15() }
    }

    /// Those of a published FLUX.1 with this transformer.
    pub(super) fn flux1(transformer: FluxConfig) -> Self {
        let denoiser = Denoiser::Flux(transformer);
        Self { denoiser, vae: AutoencoderKlConfig::flux1() }
    }

    /// Those of a folder, if it is one of Stable Diffusion or of FLUX.1.
    pub(super) fn read(folder: &Folder) -> Option<Self> {
        let vae = folder.read_config("vae/config.json").ok()?;
        let denoiser = if folder.contains("transformer/config.json") {
            Denoiser::Flux(folder.read_config("transformer/config.json").ok()?)
        } else {
            let text: ClipTextConfig = folder.read_config("text_encoder/config.json").ok()?;
            let unet = folder.read_config("unet/config.json").ok()?;
            Denoiser::Unet { unet, text_width: text.hidden_size }
        };
        Some(Self { denoiser, vae })
    }

    /// The memory of a model with so many parameters.
    pub(super) fn memory(&self, parameters: usize) -> Memory {
        let decoder_maps = self.decoder_maps();
        let decoding = WORKING / 2 * largest(&decoder_maps);
        let (denoising, tape) = match &self.denoiser {
            Denoiser::Unet { unet, .. } => unet_numbers(unet),
            Denoiser::Flux(flux) => flux_numbers(flux, self.latent_side() / 2),
        };
        // A resolution of the decoder ends with a change of resolution, a block of its own.
        let blocks = self.vae.layers_per_block + 2;
        let decoder = decoder_maps.iter().map(|&map| Tape::of(map, blocks, 1, TAPE[0]));
        let tape = decoder.fold(tape, Tape::and);
        let trained = FLOAT * TRAINED * self.trained();
        let bytes = |float: usize| {
            let weights = float * parameters;
            Bytes {
                weights,
                sampling: weights + float * denoising.max(decoding),
                training: weights + trained + float * tape.numbers(),
            }
        };
        Memory { f32: bytes(FLOAT), bf16: bytes(HALF), note: "estimates, good to a factor of two" }
    }

    /// The memory of a FLUX.1 whose transformer has so many parameters, together with the published
    /// text encoders and autoencoder, which are files of their own.
    pub(super) fn memory_beside_others(&self, transformer: usize) -> Memory {
        let device = burn::tensor::Device::default();
        let others = [
            parameters(&ClipTextConfig::sd15().init(&device)),
            parameters(&T5Config::xxl().init(&device)),
            parameters(&self.vae.init(&device)),
        ];
        let memory = self.memory(transformer + others.iter().sum::<usize>());
        let note =
            "estimates, good to a factor of two, with both text encoders and the autoencoder";
        Memory { note, ..memory }
    }

    /// Latents along a side of the picture that the model is made for.
    fn latent_side(&self) -> usize {
        match &self.denoiser {
            Denoiser::Unet { unet, .. } => unet.sample_size,
            Denoiser::Flux(_) => self.vae.sample_size / self.vae.downscale(),
        }
    }

    /// Numbers in the largest feature map of each resolution of the decoder, which a block begins
    /// with the channels of the coarser one.
    fn decoder_maps(&self) -> Vec<usize> {
        let channels = &self.vae.block_out_channels;
        let side = self.latent_side() * self.vae.downscale();
        let coarser = |level: usize| channels[(level + 1).min(channels.len() - 1)];
        (0..channels.len()).map(|level| coarser(level) * (side >> level).pow(2)).collect()
    }

    /// Parameters of HyperAlign's default network on this base.
    fn trained(&self) -> usize {
        let (targets, feature_dim, context_dim) = match &self.denoiser {
            Denoiser::Unet { unet, text_width } => {
                let features = unet.block_out_channels.last().copied().unwrap_or_default();
                (unet.lora_targets(), features, *text_width)
            }
            Denoiser::Flux(flux) => (flux.lora_targets(), flux.dim(), flux.joint_attention_dim),
        };
        let config = HypernetConfig::new(targets, feature_dim, context_dim);
        let network = config.init(0, &burn::tensor::Device::default());
        network.map_or(0, |network| parameters(&network))
    }
}

fn largest(maps: &[usize]) -> usize {
    maps.iter().copied().max().unwrap_or_default()
}

/// Numbers that the tape of a training step holds.
#[derive(Debug, Clone, Copy, Default)]
struct Tape {
    /// From the forward pass to the backward pass.
    kept: usize,
    /// While the dearest block is computed again.
    again: usize,
}

impl Tape {
    /// Of `blocks` frozen blocks on feature maps of `map` numbers in each of `rows` rows, which have
    /// `working` such maps at work. Large ones keep their input and are computed again.
    fn of(map: usize, blocks: usize, rows: usize, working: usize) -> Self {
        match map >= KEPT_NUMBERS {
            true => Self { kept: rows * map * blocks, again: rows * map * working },
            false => Self { kept: rows * map * blocks * working, again: 0 },
        }
    }

    fn and(self, other: Self) -> Self {
        Self { kept: self.kept + other.kept, again: self.again.max(other.again) }
    }

    fn numbers(self) -> usize {
        self.kept + self.again
    }
}

/// Numbers at work in a guided step of a U-Net, and on the tape of a pass.
fn unet_numbers(unet: &UnetConfig) -> (usize, Tape) {
    // A feature map of each resolution.
    let levels = unet.block_out_channels.iter().enumerate();
    let maps: Vec<usize> =
        levels.map(|(level, channels)| channels * (unet.sample_size >> level).pow(2)).collect();
    let skips: usize = maps.iter().map(|map| map * (unet.layers_per_block + 1)).sum();
    // Guidance computes two rows.
    let denoising = 2 * (skips + WORKING * largest(&maps));
    let blocks = 2 * unet.layers_per_block + 1;
    let tape =
        |&map: &usize| Tape::of(map, blocks, 2, TAPE[0]).and(Tape::of(map, blocks, 2, TAPE[1]));
    (denoising, maps.iter().map(tape).fold(Tape::default(), Tape::and))
}

/// The same of a FLUX.1 whose picture has `side` tokens along a side.
fn flux_numbers(flux: &FluxConfig, side: usize) -> (usize, Tape) {
    let stream = (side.pow(2) + FLUX_TEXT_TOKENS) * flux.dim();
    // Told its guidance, it computes one row; the feed-forward layers are four times as wide.
    let rows = if flux.guidance_embeds { 1 } else { 2 };
    let blocks = flux.num_layers + flux.num_single_layers;
    (rows * 2 * WORKING * stream, Tape::of(stream, blocks, rows, TAPE[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flux_in_one_file_needs_its_other_networks_too() {
        // Parameters as published: transformer, CLIP's text encoder, T5's encoder, autoencoder.
        let [transformer, others] =
            [11_901_408_320, 123_060_480 + 4_762_310_656 + 83_819_683].map(|n: usize| n * FLOAT);
        let memory = Sizes::flux1(FluxConfig::dev()).memory_beside_others(transformer / FLOAT);
        let Memory { f32, bf16, note } = memory;
        assert_eq!((f32.weights, bf16.weights), (transformer + others, (transformer + others) / 2));
        for bytes in [f32, bf16] {
            assert!(bytes.sampling > bytes.weights && bytes.training > bytes.sampling);
        }
        assert!(note.contains("autoencoder"));
    }

    /// An update of Stable Diffusion 1.5 was measured at 11.1 GiB, of which 7.6 are the weights of the
    /// base and of a ViT-H/14 (measurements.md).
    #[test]
    fn training_is_what_was_measured_to_a_factor_of_two() {
        let parameters = 859_520_964 + 83_653_863 + 123_060_480;
        let Memory { f32, bf16, .. } = Sizes::sd15().memory(parameters);
        let gib = |bytes: usize| bytes as f64 / f64::from(1 << 30);
        let beside = gib(f32.training - f32.weights);
        assert!((3.5 / 2.0..3.5 * 2.0).contains(&beside), "{beside} GiB");
        assert!(gib(f32.training) < 1.5 * (11.1 - 3.7), "{} GiB", gib(f32.training));
        // What is trained stays in f32.
        assert!(bf16.training < f32.training && 2 * bf16.training > f32.training);
    }

    /// A block that is computed again keeps one map.
    #[test]
    fn large_blocks_are_not_kept() {
        let (small, large) = (KEPT_NUMBERS - 1, KEPT_NUMBERS);
        assert_eq!(Tape::of(small, 3, 1, 10).numbers(), 30 * small);
        assert_eq!(Tape::of(large, 3, 1, 10).numbers(), 13 * large);
        assert_eq!(Tape::of(large, 3, 1, 10).and(Tape::of(large, 3, 2, 10)).again, 20 * large);
    }
}
