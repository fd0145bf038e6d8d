//! FLUX.1 as a base that can be aligned.

use std::{ops::Range, path::Path};

use burn::tensor::Tensor;
use hyperalign_core::{
    contract::{Conditioning, Denoiser, PassStart},
    diffusion::Process,
    guidance::ClassifierFreeGuidance,
    lora::{LoraSet, LoraTarget},
    schedule::{Scheduler, Solver, SolverChoice},
};

use super::{Flux, flux_denoiser::Distilled};
use crate::{
    base::{
        Adaptable, BaseError, Cut, Guided, Identity, LatentSpace, Plans, Preset, PromptEncoder,
        token_places,
    },
    flux::PATCH,
    hypernet::Perception,
    lora::Layers,
    vae::AutoencoderKlConfig,
    weights::FileFloat,
};

impl Perception for Flux {
    /// The image stream after the double blocks, a patch a pixel.
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
        let blocks = depth.unwrap_or(self.depths());
        assert!(blocks <= self.depths(), "{blocks} of {} double blocks", self.depths());
        let (features, start) = self.encode(blocks, sample, timesteps, conditioning);
        (features, Some(PassStart::new(start)))
    }

    fn comes_behind(&self, depth: Option<usize>, path: &str) -> bool {
        self.transformer.comes_behind(depth.unwrap_or(self.depths()), path)
    }

    fn depths(&self) -> usize {
        self.transformer.config().num_layers
    }

    fn time_scale(&self) -> f64 {
        1000.0
    }
}

impl Identity for Flux {
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

impl Plans for Flux {
    fn process(&self) -> &Process {
        &Process::RectifiedFlow
    }

    fn plan(
        &self,
        steps: usize,
        choice: SolverChoice,
        [_, height, width]: [usize; 3],
    ) -> Result<Box<dyn Scheduler>, BaseError> {
        let tokens = height / PATCH * (width / PATCH);
        self.scheduler_config.plan(steps, tokens, choice).map_err(BaseError::of)
    }

    fn solver(&self, choice: SolverChoice) -> Result<Solver, BaseError> {
        self.scheduler_config.solver(choice).map_err(BaseError::of)
    }

    fn preset(&self) -> Preset {
        match self.transformer.config().guidance_embeds {
            true => Preset::FLUX_DEV,
            false => Preset::FLUX_SCHNELL,
        }
    }
}

impl Guided for Flux {
    /// A network with a guidance embedding was distilled from its own guided answers and is told
    /// the weight; any other is guided by an unconditional answer of its own.
    fn guided(&self, unconditional: Conditioning, guidance_scale: f64) -> Box<dyn Denoiser + '_> {
        match self.transformer.config().guidance_embeds {
            true => Box::new(Distilled::new(self, guidance_scale)),
            false => Box::new(ClassifierFreeGuidance::new(self, unconditional, guidance_scale)),
        }
    }

    fn reads_unconditional(&self) -> bool {
        !self.transformer.config().guidance_embeds
    }
}

impl PromptEncoder for Flux {
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
            None => self.encode_with(prompts, lora).map_err(BaseError::of),
        }
    }

    fn read_ahead(&mut self, prompts: &[String], lora: &LoraSet) -> Result<(), BaseError> {
        self.read_prompts_ahead(prompts, lora).map_err(BaseError::of)
    }

    /// Each encoder has its own length; CLIP's is the shorter one in FLUX.1, and what it does not
    /// read the other may.
    fn cut_off(&self, prompts: &[String]) -> Result<Vec<Cut>, BaseError> {
        let mut cuts = Cut::of(prompts, &self.tokenizer, "CLIP, the first text encoder")?;
        cuts.extend(Cut::of(prompts, &self.tokenizer_2, "T5, the second text encoder")?);
        cuts.sort_by_key(|cut| cut.prompt);
        Ok(cuts)
    }

    /// Of the second encoder, whose tokens are the context.
    fn token_places(&self, before: &str, through: &str) -> Range<usize> {
        token_places(&self.tokenizer_2, before, through)
    }

    fn context_dim(&self) -> usize {
        self.transformer.config().joint_attention_dim
    }
}

impl LatentSpace for Flux {
    fn latent_shape(&self) -> [usize; 3] {
        self.latent_shape()
    }

    fn downscale(&self) -> usize {
        self.vae.config().downscale()
    }

    fn patch(&self) -> usize {
        PATCH
    }

    fn encode_images(&self, images: Tensor<4>) -> Tensor<4> {
        self.encode_pictures(images)
    }

    fn autoencoder(&self) -> Option<&AutoencoderKlConfig> {
        Some(self.vae.config())
    }
}

impl Adaptable for Flux {
    fn lora_targets(&self) -> Vec<LoraTarget> {
        self.transformer.config().lora_targets()
    }

    fn text_targets(&self) -> Vec<LoraTarget> {
        self.transformer.config().text_targets()
    }

    fn lora_layers(&self) -> Option<Layers> {
        Some(Layers::flux(&self.transformer, &self.text_encoder, &self.text_encoder_2))
    }

    fn save_changed(&self, update: &LoraSet, path: &Path) -> Result<(), BaseError> {
        self.save_with(path, FileFloat::F32, update).map_err(BaseError::of)
    }

    fn feature_dim(&self, _: Option<usize>) -> usize {
        self.transformer.config().dim()
    }
}
