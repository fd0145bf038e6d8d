//! Stable Diffusion 1.x and everything of its shape.

use std::sync::OnceLock;

use burn::tensor::{Device, Tensor};
use hyperalign_core::{
    contract::{Answer, Conditioning, Decoder, Denoiser, PassStart, Prediction, TextWatch},
    diffusion::Process,
    lora::LoraSet,
    schedule::SchedulerConfig,
};

use super::{
    Formats, PipelineError, Sizes,
    networks::{Stored, Weights},
    parts::{check_class, fingerprint, fit, fit_tokenizer, tokenizer},
    read_ahead::ReadAhead,
};
use crate::{
    clip::ClipTextModel,
    tokenizer::{Tokenizer, TokenizerError},
    unet::{Unet, UnetStart},
    vae::AutoencoderKl,
    weights::{self, Folder},
};

/// The class that `model_index.json` names.
pub(super) const CLASS: &str = "StableDiffusionPipeline";

/// A latent diffusion model with a CLIP text encoder (Rombach et al. 2022, arXiv:2112.10752).
///
/// Frozen: it is data of sampling and training, never part of a trained module. It is the
/// [`Denoiser`] and the [`Decoder`] of the sampling loop.
#[derive(Debug)]
pub struct StableDiffusion {
    /// Prompt to token ids.
    pub tokenizer: Tokenizer,
    /// Token ids to the context of the U-Net.
    pub text_encoder: ClipTextModel,
    /// The network that is sampled from.
    pub unet: Unet,
    /// Latents to pictures and back.
    pub vae: AutoencoderKl,
    /// The noise schedule that the network was trained on.
    pub scheduler_config: SchedulerConfig,
    name: String,
    process: Process,
    device: Device,
    hash: OnceLock<String>,
    stored: Option<Stored>,
    passed_over: Vec<String>,
    /// Once the text encoders are let go of.
    pub(super) read_ahead: Option<ReadAhead>,
}

impl StableDiffusion {
    /// Puts parts together that are on `device`; `name` stands for the whole in errors.
    ///
    /// # Errors
    ///
    /// Fails if two parts do not fit each other.
    pub fn new(
        name: &str,
        tokenizer: Tokenizer,
        text_encoder: ClipTextModel,
        unet: Unet,
        vae: AutoencoderKl,
        scheduler_config: SchedulerConfig,
        device: &Device,
    ) -> Result<Self, PipelineError> {
        let (text, net) = (text_encoder.config(), unet.config());
        let latents = vae.config().latent_channels;
        let checks = [
            fit(text.hidden_size == net.cross_attention_dim, || {
                format!(
                    "the text encoder is {} wide, the U-Net reads a context {} wide",
                    text.hidden_size, net.cross_attention_dim
                )
            }),
            fit(net.in_channels == latents && net.out_channels == net.in_channels, || {
                format!(
                    "the U-Net goes from {} to {} channels, the latents of the VAE have {latents}",
                    net.in_channels, net.out_channels
                )
            }),
            fit_tokenizer(&tokenizer, text.vocab_size, Some(text.max_position_embeddings)),
        ];
        let misfit = |reason| PipelineError::Parts { folder: name.to_owned(), reason };
        checks.into_iter().collect::<Result<(), _>>().map_err(misfit)?;
        let process = scheduler_config.process().map_err(|error| PipelineError::Parts {
            folder: name.to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Self {
            name: name.to_owned(),
            process,
            tokenizer,
            text_encoder,
            unet,
            vae,
            scheduler_config,
            device: device.clone(),
            hash: OnceLock::new(),
            stored: None,
            passed_over: Vec::new(),
            read_ahead: None,
        })
    }

    /// Reads a folder in the diffusers layout: `model_index.json`, `tokenizer`, `text_encoder`,
    /// `unet`, `vae` and `scheduler`. Other parts (a safety checker) are not read.
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
        let scheduler_config = folder.read_config("scheduler/scheduler_config.json")?;
        let sizes = Sizes {
            text_encoder: folder.read_config("text_encoder/config.json")?,
            unet: folder.read_config("unet/config.json")?,
            vae: folder.read_config("vae/config.json")?,
        };
        let weights = Weights {
            text_encoder: folder.tensors("text_encoder")?,
            unet: folder.tensors("unet")?,
            vae: folder.tensors("vae")?,
        };
        let tokenizer = tokenizer(folder, "tokenizer").map_err(|source| {
            PipelineError::TokenizerFiles { folder: folder.display("tokenizer"), source }
        })?;
        let name = folder.display("");
        Self::read(&name, tokenizer, scheduler_config, &sizes, weights, formats, device)
    }

    /// The same base, whose hash is that of the weights as they are `stored`.
    pub(super) fn with_stored(self, stored: Stored) -> Self {
        Self { stored: Some(stored), ..self }
    }

    pub(super) fn with_passed_over(self, passed_over: Vec<String>) -> Self {
        Self { passed_over, ..self }
    }

    /// Keys of its files that are known to be of no use.
    pub(super) fn passed_over(&self) -> &[String] {
        &self.passed_over
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

    /// The process that the network was trained on.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Encodes prompts. Padding is attended to, as the network was trained.
    ///
    /// A prompt that is too long is cut; `tokenizer.encode` tells what would be lost.
    ///
    /// # Errors
    ///
    /// Fails if the tokenizer has a closed vocabulary and a prompt has a word outside of it.
    pub fn encode_prompts(
        &self,
        prompts: &[impl AsRef<str>],
    ) -> Result<Conditioning, TokenizerError> {
        self.encode_with(prompts, &LoraSet::default())
    }

    /// [`encode_prompts`](Self::encode_prompts) with the layers of the text encoder shifted that
    /// `lora` names.
    pub(super) fn encode_with(
        &self,
        prompts: &[impl AsRef<str>],
        lora: &LoraSet,
    ) -> Result<Conditioning, TokenizerError> {
        assert!(self.read_ahead.is_none(), "the text encoders were let go of");
        let texts: Vec<&str> = prompts.iter().map(AsRef::as_ref).collect();
        let ids = self.tokenizer.encode(&texts)?.to_tensor(&self.device);
        let output = self.text_encoder.forward_with(ids, Some(lora));
        Ok(Conditioning { context: output.last_hidden_state, pooled: Some(output.pooled) })
    }

    /// The conditioning of `rows` empty prompts.
    pub fn unconditional(&self, rows: usize) -> Conditioning {
        let empty = self.encode_prompts(&[""]).expect("an empty text has no unknown word");
        empty.repeat(rows)
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

    /// Channels, height and width of the latents that the network was trained on.
    pub fn latent_shape(&self) -> [usize; 3] {
        let config = self.unet.config();
        [config.in_channels, config.sample_size, config.sample_size]
    }

    /// A fingerprint of all weights as they are in the files, as 64 hexadecimal digits. An adapter belongs to the base
    /// that it was trained on.
    pub fn hash(&self) -> &str {
        self.hash.get_or_init(|| {
            let stored = self.stored.as_ref().and_then(|stored| {
                let text_encoder = weights::hash_stored(&self.text_encoder, &stored.text_encoder);
                let unet = weights::hash_stored(&self.unet, &stored.unet);
                let vae = weights::hash_stored(&self.vae, &stored.vae);
                Some([text_encoder.ok()?, unet.ok()?, vae.ok()?])
            });
            let parts = stored.unwrap_or_else(|| {
                [
                    weights::hash(&self.text_encoder),
                    weights::hash(&self.unet),
                    weights::hash(&self.vae),
                ]
            });
            fingerprint(&parts)
        })
    }
}

impl Denoiser for StableDiffusion {
    fn answer_from(
        &self,
        start: Option<&PassStart>,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
        lora: Option<&LoraSet>,
        watch: Option<TextWatch>,
    ) -> Answer {
        let context = conditioning.context.clone();
        let output = match start.and_then(PassStart::get::<UnetStart>) {
            // Who looks on wants to see all of it.
            Some(start) if watch.is_none() => {
                self.unet.forward_from(start, sample, timesteps, context, lora)
            }
            _ => self.unet.forward_watched(sample, timesteps, context, lora, watch),
        };
        output.into()
    }

    fn shows_text(&self) -> bool {
        true
    }

    fn prediction(&self) -> Prediction {
        self.scheduler_config.prediction_type
    }
}

impl Decoder for StableDiffusion {
    fn decode(&self, latents: Tensor<4>) -> Tensor<4> {
        self.vae.decode(latents)
    }
}
