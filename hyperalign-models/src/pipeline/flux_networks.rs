//! The networks of FLUX.1, as they are read.

use burn::tensor::Device;
use hyperalign_core::schedule::FlowSchedulerConfig;

use super::{Flux, FluxParts, Formats, PipelineError, flux::CLASS, networks::in_part};
use crate::{
    clip::ClipTextConfig,
    flux::FluxConfig,
    t5::T5Config,
    tokenizer::Tokenizer,
    vae::AutoencoderKlConfig,
    weights::{
        Tensors, load_in,
        published::{Kind, without_extras},
    },
};

/// What can be given a number format.
const PARTS: &[&str] = &["text_encoder", "text_encoder_2", "transformer", "vae"];

/// The sizes of the networks.
pub(super) struct FluxSizes {
    pub text_encoder: ClipTextConfig,
    pub text_encoder_2: T5Config,
    pub transformer: FluxConfig,
    pub vae: AutoencoderKlConfig,
}

/// The weights of the networks: the transformer's and the autoencoder's in any layout, then, when
/// they are kept for the hash, under our names.
#[derive(Debug)]
pub(super) struct FluxWeights {
    pub text_encoder: Tensors,
    pub text_encoder_2: Tensors,
    pub transformer: Tensors,
    pub vae: Tensors,
}

/// Everything that a [`Flux`] is read from.
pub(super) struct FluxFiles {
    pub tokenizer: Tokenizer,
    pub tokenizer_2: Tokenizer,
    pub scheduler_config: FlowSchedulerConfig,
    pub sizes: FluxSizes,
    pub weights: FluxWeights,
}

impl Flux {
    /// Fills the networks of `files`, a tensor at a time.
    pub(super) fn read(
        name: &str,
        files: FluxFiles,
        formats: &Formats,
        device: &Device,
    ) -> Result<Self, PipelineError> {
        formats.check(CLASS, PARTS, device)?;
        let FluxFiles { tokenizer, tokenizer_2, scheduler_config, sizes, weights } = files;
        let (vae, transformer) = (sizes.vae.init(device), sizes.transformer.init(device));
        let (text_encoder, extras) = without_extras(Kind::ClipText, weights.text_encoder);
        let (text_encoder_2, extras_2) = without_extras(Kind::T5, weights.text_encoder_2);
        let passed_over =
            in_part("text_encoder", extras).chain(in_part("text_encoder_2", extras_2)).collect();
        let stored = FluxWeights {
            text_encoder,
            text_encoder_2,
            transformer: transformer.arrange(&weights.transformer)?,
            vae: vae.arrange(&weights.vae)?,
        };
        // The small parts first: what is wrong with them is then said before minutes of reading.
        let vae = load_in(vae, &stored.vae, formats.of("vae"))?;
        let (text_encoder, text_encoder_2) =
            (sizes.text_encoder.init(device), sizes.text_encoder_2.init(device));
        let parts = FluxParts {
            tokenizer,
            tokenizer_2,
            scheduler_config,
            vae,
            text_encoder: load_in(text_encoder, &stored.text_encoder, formats.of("text_encoder"))?,
            text_encoder_2: load_in(
                text_encoder_2,
                &stored.text_encoder_2,
                formats.of("text_encoder_2"),
            )?,
            transformer: load_in(transformer, &stored.transformer, formats.of("transformer"))?,
        };
        let base = Self::new(name, parts, device)?.with_passed_over(passed_over);
        // Rounded weights have another hash than the files that adapters belong to.
        Ok(if *formats == Formats::default() { base } else { base.with_stored(stored) })
    }
}
