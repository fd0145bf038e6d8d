//! Stable Diffusion as a base that can be aligned.

use std::{ops::Range, path::Path};

use burn::tensor::Tensor;
use hyperalign_core::{
    contract::{Conditioning, PassStart},
    diffusion::Process,
    lora::{LoraSet, LoraTarget},
    schedule::{Scheduler, Solver, SolverChoice},
};

use super::StableDiffusion;
use crate::{
    base::{
        Adaptable, BaseError, Cut, Guided, Identity, LatentSpace, Plans, PromptEncoder,
        token_places,
    },
    hypernet::Perception,
    lora::Layers,
    vae::AutoencoderKlConfig,
    weights::FileFloat,
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
        self.start_at(depth, sample, timesteps, conditioning).0
    }

    fn start_at(
        &self,
        depth: Option<usize>,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
    ) -> (Tensor<4>, Option<PassStart>) {
        let (depth, context) = (depth.unwrap_or(self.depths()), conditioning.context.clone());
        let (features, start) = self.unet.encode_start(sample, timesteps, context, depth);
        (features, Some(PassStart::new(start)))
    }

    fn comes_behind(&self, depth: Option<usize>, path: &str) -> bool {
        self.unet.comes_behind(depth.unwrap_or(self.depths()), path)
    }

    fn depths(&self) -> usize {
        self.unet.depths()
    }
}

impl Identity for StableDiffusion {
    fn name(&self) -> &str {
        self.name()
    }

    fn hash(&self) -> &str {
        self.hash()
    }

    fn passed_over(&self) -> &[String] {
        self.passed_over()
    }
}

impl Plans for StableDiffusion {
    fn process(&self) -> &Process {
        self.process()
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
}

impl Guided for StableDiffusion {}

impl PromptEncoder for StableDiffusion {
    fn encode_prompts(&self, prompts: &[String]) -> Result<Conditioning, BaseError> {
        self.encode_prompts_with(prompts, &LoraSet::default())
    }

    fn encode_prompts_with(
        &self,
        prompts: &[String],
        lora: &LoraSet,
    ) -> Result<Conditioning, BaseError> {
        match &self.read_ahead {
            Some(read) => read.rows(prompts).map_err(BaseError::of),
            None => self.encode_with(prompts, &lora.below("text_encoder.")).map_err(BaseError::of),
        }
    }

    fn read_ahead(&mut self, prompts: &[String], lora: &LoraSet) -> Result<(), BaseError> {
        self.read_prompts_ahead(prompts, &lora.below("text_encoder.")).map_err(BaseError::of)
    }

    fn cut_off(&self, prompts: &[String]) -> Result<Vec<Cut>, BaseError> {
        Cut::of(prompts, &self.tokenizer, "CLIP")
    }

    fn token_places(&self, before: &str, through: &str) -> Range<usize> {
        token_places(&self.tokenizer, before, through)
    }

    fn context_dim(&self) -> usize {
        self.unet.config().cross_attention_dim
    }
}

impl LatentSpace for StableDiffusion {
    fn latent_shape(&self) -> [usize; 3] {
        self.latent_shape()
    }

    fn downscale(&self) -> usize {
        self.vae.config().downscale()
    }

    fn encode_images(&self, images: Tensor<4>) -> Tensor<4> {
        self.encode_pictures(images)
    }

    fn autoencoder(&self) -> Option<&AutoencoderKlConfig> {
        Some(self.vae.config())
    }
}

impl Adaptable for StableDiffusion {
    fn lora_targets(&self) -> Vec<LoraTarget> {
        self.unet.config().lora_targets()
    }

    fn lora_layers(&self) -> Option<Layers> {
        Some(Layers::stable_diffusion(&self.unet, &self.text_encoder))
    }

    fn save_changed(&self, update: &LoraSet, path: &Path) -> Result<(), BaseError> {
        self.save_with(path, FileFloat::F32, update).map_err(BaseError::of)
    }

    fn feature_dim(&self, depth: Option<usize>) -> usize {
        let channels = &self.unet.config().block_out_channels;
        // The middle has the channels of the last block.
        let block = depth.unwrap_or(channels.len()).clamp(1, channels.len());
        channels[block - 1]
    }
}
