//! Stable Diffusion as a base that can be aligned.

use burn::tensor::Tensor;
use hyperalign_core::{
    denoiser::Conditioning, diffusion::Process, lora::LoraTarget, schedule::Scheduler,
};

use super::StableDiffusion;
use crate::{
    base::{Base, BaseError},
    hypernet::Perception,
};

impl Perception for StableDiffusion {
    /// The middle block's output: the coarsest map, after text cross-attention.
    fn features(
        &self,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
    ) -> Tensor<4> {
        let maps = self.unet.encode(sample, timesteps, conditioning.context.clone(), true);
        maps.into_iter().next_back().expect("an encoder has blocks")
    }
}

impl Base for StableDiffusion {
    fn name(&self) -> &str {
        self.name()
    }

    fn hash(&self) -> &str {
        self.hash()
    }

    fn process(&self) -> &Process {
        self.process()
    }

    fn train_steps(&self) -> usize {
        self.scheduler_config.num_train_timesteps
    }

    fn scheduler(&self, steps: usize) -> Result<Box<dyn Scheduler>, BaseError> {
        match self.scheduler_config.ddim(steps, 0.0) {
            Ok(scheduler) => Ok(Box::new(scheduler)),
            Err(error) => Err(BaseError(Box::new(error))),
        }
    }

    fn encode_prompts(&self, prompts: &[String]) -> Result<Conditioning, BaseError> {
        self.encode_prompts(prompts).map_err(|error| BaseError(Box::new(error)))
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

    fn lora_targets(&self) -> Vec<LoraTarget> {
        self.unet.config().lora_targets()
    }

    fn feature_dim(&self) -> usize {
        self.unet.config().block_out_channels.last().copied().unwrap_or_default()
    }

    fn context_dim(&self) -> usize {
        self.unet.config().cross_attention_dim
    }
}
