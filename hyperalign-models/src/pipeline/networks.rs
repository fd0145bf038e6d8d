//! The networks of a base, as they are read.

use burn::tensor::Device;
use hyperalign_core::schedule::SchedulerConfig;

use super::{Formats, PipelineError, StableDiffusion, stable_diffusion::CLASS};
use crate::{
    clip::ClipTextConfig,
    tokenizer::Tokenizer,
    unet::UnetConfig,
    vae::AutoencoderKlConfig,
    weights::{
        Tensors, load_in,
        published::{Kind, with_text_level, without_extras},
    },
};

/// The sizes of the networks of Stable Diffusion.
#[derive(Debug, Clone)]
pub struct Sizes {
    /// Of the U-Net.
    pub unet: UnetConfig,
    /// Of the autoencoder.
    pub vae: AutoencoderKlConfig,
    /// Of the text encoder.
    pub text_encoder: ClipTextConfig,
}

impl Sizes {
    /// Stable Diffusion 1.1 to 1.5 and everything fine-tuned from them.
    pub fn sd15() -> Self {
        Self {
            unet: UnetConfig::sd15(),
            vae: AutoencoderKlConfig::sd15(),
            text_encoder: ClipTextConfig::sd15(),
        }
    }
}

/// The weights of the networks, in the layout of diffusers, but for the autoencoder's, which may
/// be in any.
pub(super) struct Weights {
    pub unet: Tensors,
    pub vae: Tensors,
    pub text_encoder: Tensors,
}

/// The weights under our names, from which a base in another format than theirs was read.
#[derive(Debug)]
pub(super) struct Stored {
    pub unet: Tensors,
    pub vae: Tensors,
    pub text_encoder: Tensors,
}

/// The keys `extras` of the part `part`, as they are told.
pub(super) fn in_part(part: &str, extras: Vec<String>) -> impl Iterator<Item = String> {
    extras.into_iter().map(move |key| format!("{part}/{key}"))
}

/// What can be given a number format.
const PARTS: &[&str] = &["text_encoder", "unet", "vae"];

impl StableDiffusion {
    /// Fills networks of `sizes` from `weights`, a tensor at a time.
    pub(super) fn read(
        name: &str,
        tokenizer: Tokenizer,
        scheduler: SchedulerConfig,
        sizes: &Sizes,
        weights: Weights,
        formats: &Formats,
        device: &Device,
    ) -> Result<Self, PipelineError> {
        formats.check(CLASS, PARTS, device)?;
        let vae = sizes.vae.init(device);
        let text_encoder = with_text_level(weights.text_encoder, "");
        let (text_encoder, extras) = without_extras(Kind::ClipText, text_encoder);
        let stored = Stored { unet: weights.unet, vae: vae.arrange(&weights.vae)?, text_encoder };
        let text_encoder = load_in(
            sizes.text_encoder.init(device),
            &stored.text_encoder,
            formats.of("text_encoder"),
        )?;
        let unet = load_in(sizes.unet.init(device), &stored.unet, formats.of("unet"))?;
        let vae = load_in(vae, &stored.vae, formats.of("vae"))?;
        let base = Self::new(name, tokenizer, text_encoder, unet, vae, scheduler, device)?
            .with_passed_over(in_part("text_encoder", extras).collect());
        // Rounded weights have another hash than the files that adapters belong to.
        Ok(if *formats == Formats::default() { base } else { base.with_stored(stored) })
    }
}
