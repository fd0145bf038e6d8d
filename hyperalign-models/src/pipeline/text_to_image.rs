//! From prompts and seeds to pictures.

use burn::tensor::Tensor;
use hyperalign_core::{
    adapter::AdapterSource,
    guidance::ClassifierFreeGuidance,
    noise::{self, Purpose, Stream},
    sampler::{StepState, sample},
    schedule::Scheduler,
};

use super::{PipelineError, StableDiffusion};

/// A way of making pictures: a pipeline with the settings of DDIM and of guidance.
#[derive(Debug, Clone)]
pub struct TextToImage<'a> {
    /// The base.
    pub pipeline: &'a StableDiffusion,
    /// Sampling steps.
    pub steps: usize,
    /// Weight of classifier-free guidance; 1 is none.
    pub guidance_scale: f64,
    /// Share of noise that each step draws anew, from 0 to 1.
    pub eta: f64,
    /// What guidance leads away from.
    pub negative_prompt: String,
}

impl<'a> TextToImage<'a> {
    /// Deterministic sampling away from the empty prompt.
    pub fn new(pipeline: &'a StableDiffusion, steps: usize, guidance_scale: f64) -> Self {
        Self { pipeline, steps, guidance_scale, eta: 0.0, negative_prompt: String::new() }
    }

    /// Makes a picture for each prompt, from the seed beside it. A picture depends on its own
    /// prompt, seed and these settings, and not on what else is in the batch.
    ///
    /// # Shapes
    ///
    /// - output: `[prompts, 3, height, width]`, nominally in `[-1, 1]`, not clamped
    ///
    /// # Errors
    ///
    /// Fails for a number of steps that the schedule cannot take, and for words that a closed
    /// vocabulary does not have.
    ///
    /// # Panics
    ///
    /// Panics if there are not as many seeds as prompts.
    pub fn generate(
        &self,
        prompts: &[impl AsRef<str>],
        seeds: &[u64],
        adapter: &dyn AdapterSource,
        observer: &mut dyn FnMut(&StepState),
    ) -> Result<Tensor<4>, PipelineError> {
        let latents = self.latents(prompts, seeds, adapter, observer)?;
        Ok(self.pipeline.vae.decode(latents))
    }

    /// The scaled latents of [`generate`](Self::generate), not decoded.
    ///
    /// # Shapes
    ///
    /// - output: `[prompts, channels, height, width]`
    ///
    /// # Errors
    ///
    /// Fails where [`generate`](Self::generate) does.
    ///
    /// # Panics
    ///
    /// Panics if there are not as many seeds as prompts.
    pub fn latents(
        &self,
        prompts: &[impl AsRef<str>],
        seeds: &[u64],
        adapter: &dyn AdapterSource,
        observer: &mut dyn FnMut(&StepState),
    ) -> Result<Tensor<4>, PipelineError> {
        assert_eq!(prompts.len(), seeds.len(), "one seed for each prompt");
        let Self { pipeline, steps, guidance_scale, eta, ref negative_prompt } = *self;
        let scheduler = pipeline.scheduler_config.ddim(steps, eta)?;
        let conditioning = pipeline.encode_prompts(prompts)?;
        let unconditional = pipeline.encode_prompts(&[negative_prompt])?;
        let guided = ClassifierFreeGuidance::new(pipeline, unconditional, guidance_scale);
        let [channels, height, width] = pipeline.latent_shape();
        let row = [1, channels, height, width];
        let draw = |purpose, step: usize| {
            let streams = seeds.iter().map(|seed| Stream::new(*seed, purpose, step as u32, 0));
            noise::normal(row, streams, pipeline.device())
        };
        Ok(sample(
            &guided,
            &scheduler,
            adapter,
            draw(Purpose::Start, 0) * scheduler.init_noise_sigma(),
            &conditioning,
            &|i| draw(Purpose::Sampler, i),
            0..scheduler.steps(),
            observer,
        ))
    }
}

#[cfg(test)]
mod tests;
