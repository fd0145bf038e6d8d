//! FLUX.1 and everything of its shape.

use std::sync::OnceLock;

use burn::tensor::{Device, Tensor};
use hyperalign_core::{
    contract::{Conditioning, Decoder},
    lora::LoraSet,
    schedule::FlowSchedulerConfig,
};

use super::{
    Formats, PipelineError,
    flux_networks::{FluxFiles, FluxSizes, FluxWeights},
    parts::{check_class, fingerprint, fit, fit_tokenizer, tokenizer},
    read_ahead::ReadAhead,
};
use crate::{
    clip::ClipTextModel,
    flux::{FluxTransformer, PATCH},
    t5::T5EncoderModel,
    tokenizer::{Tokenizer, TokenizerError},
    vae::AutoencoderKl,
    weights::{self, Folder},
};

/// The class that `model_index.json` names.
pub(super) const CLASS: &str = "FluxPipeline";

/// A rectified flow with two text encoders: T5's token states for the attention, and CLIP's pooled
/// state beside the time (Black Forest Labs 2024).
///
/// Frozen: it is data of sampling and training, never part of a trained module. It is the
/// [`Denoiser`](hyperalign_core::contract::Denoiser) and the [`Decoder`] of the sampling loop.
#[derive(Debug)]
pub struct Flux {
    /// Prompt to the token ids of `text_encoder`.
    pub tokenizer: Tokenizer,
    /// Prompt to the token ids of `text_encoder_2`.
    pub tokenizer_2: Tokenizer,
    /// Token ids to the pooled text.
    pub text_encoder: ClipTextModel,
    /// Token ids to the context.
    pub text_encoder_2: T5EncoderModel,
    /// The network that is sampled from.
    pub transformer: FluxTransformer,
    /// Latents to pictures and back.
    pub vae: AutoencoderKl,
    /// How noise levels are spread over a run.
    pub scheduler_config: FlowSchedulerConfig,
    name: String,
    device: Device,
    hash: OnceLock<String>,
    stored: Option<FluxWeights>,
    passed_over: Vec<String>,
    /// Once the text encoders are let go of.
    pub(super) read_ahead: Option<ReadAhead>,
}

/// The parts of a [`Flux`].
#[derive(Debug)]
pub struct FluxParts {
    /// Prompt to the token ids of `text_encoder`.
    pub tokenizer: Tokenizer,
    /// Prompt to the token ids of `text_encoder_2`.
    pub tokenizer_2: Tokenizer,
    /// Token ids to the pooled text.
    pub text_encoder: ClipTextModel,
    /// Token ids to the context.
    pub text_encoder_2: T5EncoderModel,
    /// The network that is sampled from.
    pub transformer: FluxTransformer,
    /// Latents to pictures and back.
    pub vae: AutoencoderKl,
    /// How noise levels are spread over a run.
    pub scheduler_config: FlowSchedulerConfig,
}

impl Flux {
    /// Puts parts together that are on `device`; `name` stands for the whole in errors.
    ///
    /// # Errors
    ///
    /// Fails if two parts do not fit each other.
    pub fn new(name: &str, parts: FluxParts, device: &Device) -> Result<Self, PipelineError> {
        let net = parts.transformer.config();
        let (clip, t5, vae) =
            (parts.text_encoder.config(), parts.text_encoder_2.config(), parts.vae.config());
        let whole = PATCH * vae.downscale();
        let checks = [
            fit(clip.hidden_size == net.pooled_projection_dim, || {
                format!(
                    "the first text encoder is {} wide, the transformer reads a pooled text {} \
                     wide",
                    clip.hidden_size, net.pooled_projection_dim
                )
            }),
            fit(t5.d_model == net.joint_attention_dim, || {
                format!(
                    "the second text encoder is {} wide, the transformer reads a context {} wide",
                    t5.d_model, net.joint_attention_dim
                )
            }),
            fit(
                net.in_channels == PATCH * PATCH * vae.latent_channels
                    && net.d_output() == net.in_channels,
                || {
                    format!(
                        "the transformer goes from tokens of {} numbers to {}, four latents of \
                         the VAE have {}",
                        net.in_channels,
                        net.d_output(),
                        PATCH * PATCH * vae.latent_channels
                    )
                },
            ),
            fit(vae.sample_size > 0 && vae.sample_size.is_multiple_of(whole), || {
                format!(
                    "the VAE is for pictures of {0} x {0}, which the transformer cannot cut into \
                     patches of {whole} pixels",
                    vae.sample_size
                )
            }),
            fit_tokenizer(&parts.tokenizer, clip.vocab_size, Some(clip.max_position_embeddings)),
            fit_tokenizer(&parts.tokenizer_2, t5.vocab_size, None),
        ];
        let misfit = |reason| PipelineError::Parts { folder: name.to_owned(), reason };
        checks.into_iter().collect::<Result<(), _>>().map_err(misfit)?;
        // Settings that are not built here are found now and not in the middle of a run.
        parts.scheduler_config.sigmas(1, 1)?;
        let FluxParts {
            tokenizer,
            tokenizer_2,
            text_encoder,
            text_encoder_2,
            transformer,
            vae,
            scheduler_config,
        } = parts;
        Ok(Self {
            tokenizer,
            tokenizer_2,
            text_encoder,
            text_encoder_2,
            transformer,
            vae,
            scheduler_config,
            name: name.to_owned(),
            device: device.clone(),
            hash: OnceLock::new(),
            stored: None,
            passed_over: Vec::new(),
            read_ahead: None,
        })
    }

    /// The same base, whose hash is that of the weights as they are `stored`.
    pub(super) fn with_stored(self, stored: FluxWeights) -> Self {
        Self { stored: Some(stored), ..self }
    }

    pub(super) fn with_passed_over(self, passed_over: Vec<String>) -> Self {
        Self { passed_over, ..self }
    }

    /// Keys of its files that are known to be of no use.
    pub(super) fn passed_over(&self) -> &[String] {
        &self.passed_over
    }

    /// Reads a folder in the diffusers layout: `model_index.json`, `tokenizer`, `tokenizer_2`,
    /// `text_encoder`, `text_encoder_2`, `transformer`, `vae` and `scheduler`.
    ///
    /// # Errors
    ///
    /// Fails if a part is missing or wrong, or the folder is another kind of pipeline.
    pub fn from_folder(folder: &Folder, device: &Device) -> Result<Self, PipelineError> {
        Self::from_folder_in(folder, &Formats::default(), device)
    }

    /// [`from_folder`](Self::from_folder) with the parts in given number formats.
    ///
    /// # Errors
    ///
    /// Fails where [`from_folder`](Self::from_folder) does, for a format that the device does not
    /// know, and for a weight that is too large for its format.
    pub fn from_folder_in(
        folder: &Folder,
        formats: &Formats,
        device: &Device,
    ) -> Result<Self, PipelineError> {
        check_class(folder, CLASS)?;
        let files = FluxFiles {
            scheduler_config: folder.read_config("scheduler/scheduler_config.json")?,
            tokenizer: tokenizer(folder, "tokenizer")?,
            tokenizer_2: tokenizer(folder, "tokenizer_2")?,
            sizes: FluxSizes {
                text_encoder: folder.read_config("text_encoder/config.json")?,
                text_encoder_2: folder.read_config("text_encoder_2/config.json")?,
                transformer: folder.read_config("transformer/config.json")?,
                vae: folder.read_config("vae/config.json")?,
            },
            weights: FluxWeights {
                text_encoder: folder.tensors("text_encoder")?,
                text_encoder_2: folder.tensors("text_encoder_2")?,
                transformer: folder.tensors("transformer")?,
                vae: folder.tensors("vae")?,
            },
        };
        Self::read(&folder.display(""), files, formats, device)
    }

    /// The device that its weights are on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What it was called when it was put together.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same model under another name.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// Encodes prompts. Padding is attended to, as the network was trained.
    ///
    /// A prompt that is too long is cut, for each encoder at its own length; `tokenizer_2.encode`
    /// tells what would be lost.
    ///
    /// # Errors
    ///
    /// Fails if a tokenizer has a closed vocabulary and a prompt has a word outside of it.
    pub fn encode_prompts(
        &self,
        prompts: &[impl AsRef<str>],
    ) -> Result<Conditioning, TokenizerError> {
        self.encode_with(prompts, &LoraSet::default())
    }

    /// [`encode_prompts`](Self::encode_prompts) with the layers of the text encoders shifted that
    /// `lora` names.
    pub(super) fn encode_with(
        &self,
        prompts: &[impl AsRef<str>],
        lora: &LoraSet,
    ) -> Result<Conditioning, TokenizerError> {
        assert!(self.read_ahead.is_none(), "the text encoders were let go of");
        let texts: Vec<&str> = prompts.iter().map(AsRef::as_ref).collect();
        let pooled = self.tokenizer.encode(&texts)?.to_tensor(&self.device);
        let context = self.tokenizer_2.encode(&texts)?.to_tensor(&self.device);
        let (clip, t5) = (lora.below("text_encoder."), lora.below("text_encoder_2."));
        Ok(Conditioning {
            context: self.text_encoder_2.forward_with(context, None, Some(&t5)),
            pooled: Some(self.text_encoder.forward_with(pooled, Some(&clip)).pooled),
        })
    }

    /// The scaled latents of pictures: the middle of their distribution.
    ///
    /// # Shapes
    ///
    /// - `pictures`: `[batch, 3, height, width]`, in `[-1, 1]`
    /// - output: `[batch, channels, height / f, width / f]`
    pub fn encode_pictures(&self, pictures: Tensor<4>) -> Tensor<4> {
        self.vae.scale(self.vae.encode(pictures).mode())
    }

    /// Channels, height and width of the latents of the pictures that the VAE was made for.
    pub fn latent_shape(&self) -> [usize; 3] {
        let config = self.vae.config();
        let side = config.sample_size / config.downscale();
        [config.latent_channels, side, side]
    }

    /// A fingerprint of all weights as they are in the files, as 64 hexadecimal digits. An adapter
    /// belongs to the base that it was trained on.
    pub fn hash(&self) -> &str {
        self.hash.get_or_init(|| {
            let stored = self.stored.as_ref().and_then(|stored| {
                let clip = weights::hash_stored(&self.text_encoder, &stored.text_encoder);
                let t5 = weights::hash_stored(&self.text_encoder_2, &stored.text_encoder_2);
                let transformer = weights::hash_stored(&self.transformer, &stored.transformer);
                let vae = weights::hash_stored(&self.vae, &stored.vae);
                Some([clip.ok()?, t5.ok()?, transformer.ok()?, vae.ok()?])
            });
            let parts = stored.unwrap_or_else(|| {
                [
                    weights::hash(&self.text_encoder),
                    weights::hash(&self.text_encoder_2),
                    weights::hash(&self.transformer),
                    weights::hash(&self.vae),
                ]
            });
            fingerprint(&parts)
        })
    }
}

impl Decoder for Flux {
    fn decode(&self, latents: Tensor<4>) -> Tensor<4> {
        self.vae.decode(latents)
    }
}
