//! What a base model is to everything that aligns it.

use burn::tensor::Tensor;
use hyperalign_core::{
    contract::{Conditioning, Decoder, Denoiser},
    diffusion::Process,
    lora::LoraTarget,
    noise::Stream,
    schedule::{Scheduler, Solver, SolverChoice},
};

use crate::{hypernet::Perception, tokenizer::Tokenizer, vae::AutoencoderKlConfig};

/// A frozen text-to-image model. Methods and samplers see a base through this alone, so that a
/// new family of models is one implementation of it.
pub trait Base: Denoiser + Decoder + Perception + Send + Sync {
    /// Its name, for people.
    fn name(&self) -> &str;

    /// Fingerprint of its weights.
    fn hash(&self) -> &str;

    /// Keys of the file that it was read from which are known to be of no use, and were not read,
    /// those of a folder behind the name of their part
    /// ([`published::summary`](crate::weights::published::summary) counts them).
    fn passed_over(&self) -> &[String] {
        &[]
    }

    /// The process that it was trained on.
    fn process(&self) -> &Process;

    /// A time from the distribution that it was trained on, in the unit of its
    /// [`process`](Self::process).
    fn draw_timestep(&self, stream: &mut Stream) -> f64;

    /// The plan of so many steps by its own solver, for latents of
    /// [`latent_shape`](Self::latent_shape).
    ///
    /// # Errors
    ///
    /// Fails for a number of steps that the schedule cannot take.
    fn scheduler(&self, steps: usize) -> Result<Box<dyn Scheduler>, BaseError> {
        self.plan(steps, SolverChoice::default(), self.latent_shape())
    }

    /// The plan of so many steps by its own solver or the one that is chosen, for latents of
    /// `[channels, height, width]`, which some schedules depend on.
    ///
    /// # Errors
    ///
    /// Fails for a number of steps that the schedule cannot take, and for a choice that does not
    /// fit the process that the base was trained on.
    fn plan(
        &self,
        steps: usize,
        choice: SolverChoice,
        latents: [usize; 3],
    ) -> Result<Box<dyn Scheduler>, BaseError>;

    /// The solver that plans are made for: the one that is chosen, or its own.
    ///
    /// # Errors
    ///
    /// Fails where its own is not built here, and for a choice that does not fit its process.
    fn solver(&self, choice: SolverChoice) -> Result<Solver, BaseError>;

    /// How pictures are sampled from it where nobody says otherwise.
    fn preset(&self) -> Preset {
        Preset::STABLE_DIFFUSION
    }

    /// The base under guidance of a weight: away from `unconditional`, or by the weight that a
    /// network was distilled to read.
    fn guided(&self, unconditional: Conditioning, guidance_scale: f64) -> Box<dyn Denoiser + '_>;

    /// Encodes prompts.
    ///
    /// # Errors
    ///
    /// Fails for words that the model does not know, where its vocabulary is closed.
    fn encode_prompts(&self, prompts: &[String]) -> Result<Conditioning, BaseError>;

    /// The ends of prompts that do not fit into what the model's text encoders read, in the order
    /// of the prompts.
    ///
    /// # Errors
    ///
    /// Fails where [`encode_prompts`](Self::encode_prompts) does.
    fn cut_off(&self, _: &[String]) -> Result<Vec<Cut>, BaseError> {
        Ok(Vec::new())
    }

    /// The autoencoder of Stable Diffusion's kind that made its latents, if one did.
    fn autoencoder(&self) -> Option<&AutoencoderKlConfig> {
        None
    }

    /// The conditioning of the empty prompt, one row.
    fn unconditional(&self) -> Conditioning;

    /// Scaled latents of pictures.
    ///
    /// # Shapes
    ///
    /// - `images`: `[batch, 3, height, width]` in `[-1, 1]`
    /// - output: `[batch, channels, h, w]`
    fn encode_images(&self, images: Tensor<4>) -> Tensor<4>;

    /// Channels, height and width of the latents that it was made for.
    fn latent_shape(&self) -> [usize; 3];

    /// Pixels a side of a latent.
    fn downscale(&self) -> usize;

    /// Latents a side of what the network reads as one.
    fn patch(&self) -> usize {
        1
    }

    /// Height and width of the pictures that it was made for.
    fn picture_size(&self) -> [usize; 2] {
        let [_, height, width] = self.latent_shape();
        [height, width].map(|side| side * self.downscale())
    }

    /// Channels, height and width of the latents of pictures of `[height, width]`.
    ///
    /// # Errors
    ///
    /// Fails for a size that is no multiple of what the network reads as one.
    fn latents_of(&self, [height, width]: [usize; 2]) -> Result<[usize; 3], BaseError> {
        let multiple = self.downscale() * self.patch();
        let fits = |side: usize| side > 0 && side.is_multiple_of(multiple);
        if !fits(height) || !fits(width) {
            let base = self.name().to_owned();
            return Err(BaseError(Box::new(SizeError { base, height, width, multiple })));
        }
        let [channels, ..] = self.latent_shape();
        Ok([channels, height / self.downscale(), width / self.downscale()])
    }

    /// The attention projections that an adapter changes, in their stable order.
    fn lora_targets(&self) -> Vec<LoraTarget>;

    /// The attention projections of a text stream, which an adapter changes on demand, in their
    /// stable order.
    fn text_targets(&self) -> Vec<LoraTarget> {
        Vec::new()
    }

    /// Channels of [`Perception::features_at`] this depth.
    fn feature_dim(&self, depth: Option<usize>) -> usize;

    /// Channels of the text encoder's token states.
    fn context_dim(&self) -> usize;
}

/// The end of a prompt that a text encoder does not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Which of the prompts.
    pub prompt: usize,
    /// The encoder, for people.
    pub encoder: &'static str,
    /// Tokens that it reads, with those that mark the ends.
    pub tokens: usize,
    /// What is lost.
    pub text: String,
}

impl Cut {
    /// What `encoder` loses of `prompts`, whose tokens are those of `tokenizer`.
    ///
    /// # Errors
    ///
    /// Fails if the tokenizer has a closed vocabulary and a prompt has a word outside of it.
    pub(crate) fn of(
        prompts: &[String],
        tokenizer: &Tokenizer,
        encoder: &'static str,
    ) -> Result<Vec<Self>, BaseError> {
        let texts: Vec<&str> = prompts.iter().map(String::as_str).collect();
        let cut = tokenizer.encode(&texts).map_err(BaseError::of)?.cut;
        let tokens = tokenizer.context_length();
        let cuts = cut.into_iter().enumerate();
        Ok(cuts
            .filter_map(|(prompt, text)| Some(Self { prompt, encoder, tokens, text: text? }))
            .collect())
    }
}

/// How pictures are sampled from a base where nobody says otherwise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preset {
    /// Sampling steps.
    pub steps: usize,
    /// Weight of guidance.
    pub guidance_scale: f64,
}

impl Preset {
    /// Of HyperAlign's evaluation of Stable Diffusion 1.5 (arXiv:2601.15968).
    pub const STABLE_DIFFUSION: Self = Self { steps: 50, guidance_scale: 7.5 };
    /// Of its evaluation of FLUX.1-dev.
    pub const FLUX_DEV: Self = Self { steps: 50, guidance_scale: 3.5 };
    /// Of FLUX.1-schnell, which is distilled to a few steps without guidance.
    pub const FLUX_SCHNELL: Self = Self { steps: 4, guidance_scale: 1.0 };
}

/// What a base refuses, in words for the user.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct BaseError(#[from] pub Box<dyn std::error::Error + Send + Sync>);

impl BaseError {
    /// Any error, in the words of its own.
    pub(crate) fn of(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Box::new(error))
    }
}

/// A picture's size that the network cannot read.
#[derive(Debug, thiserror::Error)]
#[error(
    "pictures of {height} x {width} were asked for, but sides of pictures of `{base}` are \
     multiples of {multiple}; take {} x {}",
    nearest(*height, *multiple), nearest(*width, *multiple)
)]
struct SizeError {
    base: String,
    height: usize,
    width: usize,
    multiple: usize,
}

fn nearest(side: usize, multiple: usize) -> usize {
    ((side + multiple / 2) / multiple).max(1) * multiple
}
