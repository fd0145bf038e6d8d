//! How much memory a model will take.

mod work;

use std::collections::BTreeMap;

use hyperalign_models::clip::ClipTextConfig;
use hyperalign_models::flux::FluxConfig;
use hyperalign_models::hypernet::HypernetConfig;
use hyperalign_models::t5::T5Config;
use hyperalign_models::unet::UnetConfig;
use hyperalign_models::vae::AutoencoderKlConfig;
use hyperalign_models::weights::{Folder, Format, parameters};
use serde::Serialize;

use self::work::{TAPE, Tape, WORKING, flux_numbers, largest, unet_numbers};

/// Bytes of an f32, in which everything that is trained is kept.
const FLOAT: usize = 4;
/// Copies of what is trained: value, gradient, two moments, moving average.
const TRAINED: usize = 5;

/// The formats that are told of.
pub(super) const FORMATS: [&str; 3] = ["f32", "bf16", "q8"];

/// Estimates for the base in each of [`FORMATS`]. Weights are exact, and the rest is good to a factor
/// of two: attention is counted as never holding all scores, and of large frozen blocks only what
/// the tape keeps of them.
#[derive(Debug, Serialize)]
pub(super) struct Memory {
    /// Height and width of the picture in pixels.
    pub(super) size: [usize; 2],
    #[serde(flatten)]
    pub(super) formats: BTreeMap<&'static str, Bytes>,
    pub(super) note: &'static str,
}

/// Bytes in one number format.
#[derive(Debug, Serialize)]
pub(super) struct Bytes {
    /// Weights of each part.
    pub(super) parts: BTreeMap<&'static str, usize>,
    /// All weights.
    pub(super) weights: usize,
    /// The largest matrix that is held in 8 bits, as the numbers that it is computed with.
    pub(super) dense_matrix: usize,
    /// At work in a step of sampling.
    pub(super) denoising: usize,
    /// At work while the picture is decoded, when no step is taken any more.
    pub(super) decoding: usize,
    /// Sampling one picture with guidance: weights, the matrix, and the larger of both works.
    pub(super) sampling: usize,
    /// The same where the text encoders are let go of before the first step: at most what there is
    /// while they read, or what there is after.
    pub(super) sampling_released: usize,
    /// Training HyperAlign's default network, which is always f32, with one picture a step; weights
    /// included, a reward not.
    pub(super) training: usize,
}

/// The networks of a model.
pub(super) struct Sizes {
    denoiser: Denoiser,
    text_encoder: ClipTextConfig,
    vae: AutoencoderKlConfig,
}

/// What predicts.
enum Denoiser {
    Unet(UnetConfig),
    /// With the second text encoder.
    Flux(FluxConfig, T5Config),
}

impl Sizes {
    /// Those of Stable Diffusion 1.5.
    pub(super) fn sd15() -> Self {
        Self {
            denoiser: Denoiser::Unet(UnetConfig::sd15()),
            text_encoder: ClipTextConfig::sd15(),
            vae: AutoencoderKlConfig::sd15(),
        }
    }

    /// Those of a published FLUX.1 with this transformer.
    pub(super) fn flux1(transformer: FluxConfig) -> Self {
        Self {
            denoiser: Denoiser::Flux(transformer, T5Config::xxl()),
            text_encoder: ClipTextConfig::sd15(),
            vae: AutoencoderKlConfig::flux1(),
        }
    }

    /// Those of a folder, if it is one of Stable Diffusion or of FLUX.1.
    pub(super) fn read(folder: &Folder) -> Option<Self> {
        let denoiser = if folder.contains("transformer/config.json") {
            let t5 = folder.read_config("text_encoder_2/config.json").ok()?;
            Denoiser::Flux(folder.read_config("transformer/config.json").ok()?, t5)
        } else {
            Denoiser::Unet(folder.read_config("unet/config.json").ok()?)
        };
        let text_encoder = folder.read_config("text_encoder/config.json").ok()?;
        Some(Self { denoiser, text_encoder, vae: folder.read_config("vae/config.json").ok()? })
    }

    /// The memory that the model takes.
    pub(super) fn memory(&self) -> Memory {
        let side = self.latent_side() * self.vae.downscale();
        let trained = self.trained();
        let formats = FORMATS.into_iter().filter_map(|name| {
            let format = name.parse().ok()?;
            Some((name, self.bytes(format, trained)))
        });
        Memory {
            size: [side, side],
            formats: formats.collect(),
            note: "weights are exact, the rest is good to a factor of two",
        }
    }

    /// The memory in `format`, with so many parameters that are trained.
    fn bytes(&self, format: Format, trained: usize) -> Bytes {
        let float = format.float_bytes();
        let decoder_maps = self.decoder_maps();
        let decoding = float * WORKING / 2 * largest(&decoder_maps);
        let (denoising, tape) = match &self.denoiser {
            Denoiser::Unet(unet) => unet_numbers(unet),
            Denoiser::Flux(flux, _) => flux_numbers(flux, self.latent_side() / 2),
        };
        let denoising = float * denoising;
        // A resolution of the decoder ends with a change of resolution, a block of its own.
        let blocks = self.vae.layers_per_block + 2;
        let decoder = decoder_maps.iter().map(|&map| Tape::of(map, blocks, 1, TAPE[0]));
        let tape = decoder.fold(tape, Tape::and);
        let trained = FLOAT * TRAINED * trained;
        let (parts, widest) = self.parts(format);
        let weights: usize = parts.values().sum();
        // It comes out in f32 and is rounded then.
        let text: usize = parts
            .iter()
            .filter_map(|(part, bytes)| part.starts_with("text_encoder").then_some(bytes))
            .sum();
        let dense_matrix = widest * if float == FLOAT { FLOAT } else { FLOAT + float };
        let sampling = weights + dense_matrix + denoising.max(decoding);
        Bytes {
            parts,
            weights,
            dense_matrix,
            denoising,
            decoding,
            sampling,
            sampling_released: (weights + dense_matrix).max(sampling - text),
            training: weights + dense_matrix + trained + float * tape.numbers(),
        }
    }

    /// Bytes of the weights of each part in `format`, and numbers in the largest matrix in 8 bits.
    fn parts(&self, format: Format) -> (BTreeMap<&'static str, usize>, usize) {
        let device = burn::tensor::Device::default();
        let mut held = vec![
            ("text_encoder", format.held(&self.text_encoder.init(&device))),
            ("vae", format.held(&self.vae.init(&device))),
        ];
        match &self.denoiser {
            Denoiser::Unet(unet) => held.push(("unet", format.held(&unet.init(&device)))),
            Denoiser::Flux(flux, t5) => {
                held.push(("transformer", format.held(&flux.init(&device))));
                held.push(("text_encoder_2", format.held(&t5.init(&device))));
            }
        }
        let widest = held.iter().map(|(_, held)| held.largest_matrix).max().unwrap_or_default();
        (held.into_iter().map(|(part, held)| (part, held.bytes)).collect(), widest)
    }

    /// Latents along a side of the picture that the model is made for.
    fn latent_side(&self) -> usize {
        match &self.denoiser {
            Denoiser::Unet(unet) => unet.sample_size,
            Denoiser::Flux(..) => self.vae.sample_size / self.vae.downscale(),
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
            Denoiser::Unet(unet) => {
                let features = unet.block_out_channels.last().copied().unwrap_or_default();
                (unet.lora_targets(), features, self.text_encoder.hidden_size)
            }
            Denoiser::Flux(flux, _) => (flux.lora_targets(), flux.dim(), flux.joint_attention_dim),
        };
        let config = HypernetConfig::new(targets, feature_dim, context_dim);
        let network = config.init(0, &burn::tensor::Device::default());
        network.map_or(0, |network| parameters(&network))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_those_of_all_parts() {
        // Parameters as published: transformer, CLIP's text encoder, T5's encoder, autoencoder.
        let published = [11_901_408_320, 123_060_480, 4_762_310_656, 83_819_683];
        let memory = Sizes::flux1(FluxConfig::dev()).memory();
        let all: usize = published.iter().sum();
        let of = |format: &str| &memory.formats[format];
        assert_eq!((of("f32").weights, of("bf16").weights), (4 * all, 2 * all));
        for bytes in memory.formats.values() {
            assert!(bytes.sampling > bytes.weights && bytes.training > bytes.sampling);
            assert_eq!(bytes.parts.values().sum::<usize>(), bytes.weights);
        }
        // Nine bits of nearly all of them.
        let eight = of("q8").weights as f64 / all as f64;
        assert!((1.125..1.16).contains(&eight), "{eight} bytes a weight");
        assert!(of("q8").parts["vae"] == of("bf16").parts["vae"]);
    }

    /// What `configs/flux-24gb-sample.toml` is for.
    #[test]
    fn flux_in_8_bits_is_sampled_in_24_gb() {
        let memory = Sizes::flux1(FluxConfig::dev()).memory();
        assert_eq!(memory.size, [1024, 1024]);
        let sampling = |format: &str| memory.formats[format].sampling;
        assert!(sampling("q8") < 24_000_000_000, "{}", sampling("q8"));
        let released = memory.formats["q8"].sampling_released;
        assert!(released < 20_000_000_000, "{released}");
        assert!(memory.formats["bf16"].parts["transformer"] > 23_000_000_000);
    }

    /// An update of Stable Diffusion 1.5 was measured at 11.1 GiB, of which 7.6 are the weights of the
    /// base and of a ViT-H/14 (measurements.md).
    #[test]
    fn training_is_what_was_measured_to_a_factor_of_two() {
        let memory = Sizes::sd15().memory();
        let (f32, bf16) = (&memory.formats["f32"], &memory.formats["bf16"]);
        let gib = |bytes: usize| bytes as f64 / f64::from(1 << 30);
        let beside = gib(f32.training - f32.weights);
        assert!((3.5 / 2.0..3.5 * 2.0).contains(&beside), "{beside} GiB");
        assert!(gib(f32.training) < 1.5 * (11.1 - 3.7), "{} GiB", gib(f32.training));
        // What is trained stays in f32.
        assert!(bf16.training < f32.training && 2 * bf16.training > f32.training);
    }
}
