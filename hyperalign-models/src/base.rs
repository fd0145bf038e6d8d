//! What a base model is to everything that aligns it.

use burn::tensor::Tensor;
use hyperalign_core::{
    denoiser::{Conditioning, Decoder, Denoiser},
    diffusion::Process,
    lora::LoraTarget,
    schedule::Scheduler,
};

use crate::hypernet::Perception;

/// A frozen text-to-image model. Methods and samplers see a base through this alone, so that a
/// new family of models is one implementation of it.
pub trait Base: Denoiser + Decoder + Perception + Send + Sync {
    /// Its name, for people.
    fn name(&self) -> &str;

    /// Fingerprint of its weights.
    fn hash(&self) -> &str;

    /// The process that it was trained on.
    fn process(&self) -> &Process;

    /// Timesteps that it was trained with are uniform in `0..train_steps`.
    fn train_steps(&self) -> usize;

    /// Its default solver with so many steps, without noise.
    ///
    /// # Errors
    ///
    /// Fails for a number of steps that the schedule cannot take.
    fn scheduler(&self, steps: usize) -> Result<Box<dyn Scheduler>, BaseError>;

    /// Encodes prompts.
    ///
    /// # Errors
    ///
    /// Fails for words that the model does not know, where its vocabulary is closed.
    fn encode_prompts(&self, prompts: &[String]) -> Result<Conditioning, BaseError>;

    /// The conditioning of the empty prompt, one row.
    fn unconditional(&self) -> Conditioning;

    /// Scaled latents of pictures.
    ///
    /// # Shapes
    ///
    /// - `images`: `[batch, 3, height, width]` in `[-1, 1]`
    /// - output: `[batch, channels, h, w]`
    fn encode_images(&self, images: Tensor<4>) -> Tensor<4>;

    /// Channels, height and width of the latents.
    fn latent_shape(&self) -> [usize; 3];

    /// The attention projections that an adapter changes, in their stable order.
    fn lora_targets(&self) -> Vec<LoraTarget>;

    /// Channels of [`Perception::features`].
    fn feature_dim(&self) -> usize;

    /// Channels of the text encoder's token states.
    fn context_dim(&self) -> usize;
}

/// What a base refuses, in words for the user.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct BaseError(#[from] pub Box<dyn std::error::Error + Send + Sync>);
