//! From prompts and seeds to pictures.

use burn::tensor::Tensor;
use hyperalign_core::{
    adapter::AdapterSource,
    noise::{self, Purpose, Stream},
    sampler::{StepState, sample},
};

use crate::base::{Base, BaseError};

/// A way of making pictures: a base with the settings of its solver and of guidance.
#[derive(Clone)]
pub struct TextToImage<'a> {
    /// The base.
    pub base: &'a dyn Base,
    /// Sampling steps.
    pub steps: usize,
    /// Weight of guidance; 1 is none.
    pub guidance_scale: f64,
    /// Share of noise that each step draws anew, from 0 to 1, where the solver has any.
    pub eta: f64,
    /// What guidance leads away from.
    pub negative_prompt: String,
    /// Height and width of the pictures; those that the base was made for if nothing is said.
    pub size: Option<[usize; 2]>,
}

impl<'a> TextToImage<'a> {
    /// Deterministic sampling away from the empty prompt.
    pub fn new(base: &'a dyn Base, steps: usize, guidance_scale: f64) -> Self {
        Self { base, steps, guidance_scale, eta: 0.0, negative_prompt: String::new(), size: None }
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
    /// Fails for a number of steps that the schedule cannot take, noise that the solver does not
    /// have, a size that the base cannot read, and words that a closed vocabulary does not have.
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
    ) -> Result<Tensor<4>, BaseError> {
        let latents = self.latents(prompts, seeds, adapter, observer)?;
        Ok(self.base.decode(latents))
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
    ) -> Result<Tensor<4>, BaseError> {
        assert_eq!(prompts.len(), seeds.len(), "one seed for each prompt");
        let Self { base, steps, guidance_scale, eta, ref negative_prompt, size } = *self;
        let shape = size.map_or(Ok(base.latent_shape()), |size| base.latents_of(size))?;
        let scheduler = base.solver(steps, eta, shape)?;
        let prompts: Vec<String> = prompts.iter().map(|text| text.as_ref().to_owned()).collect();
        let conditioning = base.encode_prompts(&prompts)?;
        let unconditional = base.encode_prompts(std::slice::from_ref(negative_prompt))?;
        let guided = base.guided(unconditional, guidance_scale);
        let [channels, height, width] = shape;
        let device = conditioning.context.device();
        let draw = |purpose, step: usize| {
            let streams = seeds.iter().map(|seed| Stream::new(*seed, purpose, step as u32, 0));
            noise::normal([1, channels, height, width], streams, &device)
        };
        Ok(sample(
            &guided,
            scheduler.as_ref(),
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
