//! From prompts and seeds to pictures.

use burn::tensor::Tensor;
use hyperalign_core::{
    adapter::AdapterSource,
    noise::{self, Purpose, Stream},
    sampler::{Observer, Sampler},
    schedule::{Scheduler, SolverChoice},
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
    /// The solver, and how much noise it draws.
    pub solver: SolverChoice,
    /// What guidance leads away from.
    pub negative_prompt: String,
    /// Height and width of the pictures; those that the base was made for if nothing is said.
    pub size: Option<[usize; 2]>,
}

impl<'a> TextToImage<'a> {
    /// Sampling by the base's own solver, away from the empty prompt.
    pub fn new(base: &'a dyn Base, steps: usize, guidance_scale: f64) -> Self {
        let (solver, negative_prompt) = (SolverChoice::default(), String::new());
        Self { base, steps, guidance_scale, solver, negative_prompt, size: None }
    }

    /// The plan of the steps.
    ///
    /// # Errors
    ///
    /// Fails for a number of steps that the schedule cannot take, a solver that does not fit the
    /// base, and a size that the base cannot read.
    pub fn scheduler(&self) -> Result<Box<dyn Scheduler>, BaseError> {
        self.base.plan(self.steps, self.solver, self.latent_shape()?)
    }

    fn latent_shape(&self) -> Result<[usize; 3], BaseError> {
        self.size.map_or(Ok(self.base.latent_shape()), |size| self.base.latents_of(size))
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
    /// Fails where [`scheduler`](Self::scheduler) does, and for words that a closed vocabulary does
    /// not have.
    ///
    /// # Panics
    ///
    /// Panics if there are not as many seeds as prompts.
    pub fn generate(
        &self,
        prompts: &[impl AsRef<str>],
        seeds: &[u64],
        adapter: &dyn AdapterSource,
        observer: &mut Observer,
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
        observer: &mut Observer,
    ) -> Result<Tensor<4>, BaseError> {
        assert_eq!(prompts.len(), seeds.len(), "one seed for each prompt");
        let Self { base, guidance_scale, ref negative_prompt, .. } = *self;
        let shape = self.latent_shape()?;
        let scheduler = self.scheduler()?;
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
        let noise = |i| draw(Purpose::Sampler, i);
        let sampler =
            Sampler::new(&guided, scheduler.as_ref(), &conditioning).with_adapter(adapter);
        let start = sampler.start(draw(Purpose::Start, 0));
        Ok(sampler.run(start, scheduler.steps(), Some(&noise), observer).sample)
    }
}

#[cfg(test)]
mod tests;
