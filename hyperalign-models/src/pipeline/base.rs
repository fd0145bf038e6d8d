//! Stable Diffusion as a base that can be aligned.

use burn::tensor::Tensor;
use hyperalign_core::{
    denoiser::{Conditioning, Denoiser},
    diffusion::Process,
    guidance::ClassifierFreeGuidance,
    lora::LoraTarget,
    noise::Stream,
    schedule::{Scheduler, Solver, SolverChoice},
};

use super::StableDiffusion;
use crate::{
    base::{Base, BaseError, Cut},
    hypernet::Perception,
    vae::AutoencoderKlConfig,
};

impl Perception for StableDiffusion {
    /// Without a depth the middle block's output: the coarsest map, after text cross-attention.
    fn features_at(
        &self,
        depth: Option<usize>,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
    ) -> Tensor<4> {
        let depth = depth.unwrap_or(self.depths());
        self.unet.encode(sample, timesteps, conditioning.context.clone(), depth)
    }

    fn depths(&self) -> usize {
        self.unet.depths()
    }
}

impl Base for StableDiffusion {
    fn name(&self) -> &str {
        self.name()
    }

    fn hash(&self) -> &str {
        self.hash()
    }

    fn passed_over(&self) -> &[String] {
        self.passed_over()
    }

    fn process(&self) -> &Process {
        self.process()
    }

    fn draw_timestep(&self, stream: &mut Stream) -> f64 {
        stream.below(self.scheduler_config.num_train_timesteps) as f64
    }

    fn plan(
        &self,
        steps: usize,
        choice: SolverChoice,
        _: [usize; 3],
    ) -> Result<Box<dyn Scheduler>, BaseError> {
        self.scheduler_config.plan(steps, choice).map_err(BaseError::of)
    }

    fn solver(&self, choice: SolverChoice) -> Result<Solver, BaseError> {
        self.scheduler_config.solver(choice).map_err(BaseError::of)
    }

    fn guided(&self, unconditional: Conditioning, guidance_scale: f64) -> Box<dyn Denoiser + '_> {
        Box::new(ClassifierFreeGuidance::new(self, unconditional, guidance_scale))
    }

    fn encode_prompts(&self, prompts: &[String]) -> Result<Conditioning, BaseError> {
        self.encode_prompts(prompts).map_err(|error| BaseError(Box::new(error)))
    }

    fn cut_off(&self, prompts: &[String]) -> Result<Vec<Cut>, BaseError> {
        Cut::of(prompts, &self.tokenizer, "CLIP")
    }

    fn autoencoder(&self) -> Option<&AutoencoderKlConfig> {
        Some(self.vae.config())
    }

    fn unconditional(&self) -> Conditioning {
        self.unconditional(1)
    }

    fn encode_images(&self, images: Tensor<4>) -> Tensor<4> {
        self.encode_pictures(images)
    }

    fn latent_shape(&self) -> [usize; 3] {
        self.latent_shape()
    }

    fn downscale(&self) -> usize {
        self.vae.config().downscale()
    }

    fn lora_targets(&self) -> Vec<LoraTarget> {
        self.unet.config().lora_targets()
    }

    fn feature_dim(&self, depth: Option<usize>) -> usize {
        let channels = &self.unet.config().block_out_channels;
        // The middle has the channels of the last block.
        let block = depth.unwrap_or(channels.len()).clamp(1, channels.len());
        channels[block - 1]
    }

    fn context_dim(&self) -> usize {
        self.unet.config().cross_attention_dim
    }
}
