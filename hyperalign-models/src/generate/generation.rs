//! What one batch of pictures is sampled with.

use burn::tensor::Tensor;
use hyperalign_core::{
    contract::{AdapterSource, Conditioning, Denoiser},
    noise::{Purpose, Stream, normal},
    sampler::{Observer, Sampler, Trajectory},
    schedule::Scheduler,
};

use super::{Meter, Metered, Sampling};
use crate::base::{Base, BaseError};

/// The plan of the steps, the network under guidance, and the encoded prompts of one batch.
pub struct Generation<'a> {
    scheduler: Box<dyn Scheduler>,
    denoiser: Box<dyn Denoiser + 'a>,
    conditioning: Conditioning,
    /// Channels, height and width.
    latents: [usize; 3],
}

impl<'a> Generation<'a> {
    /// Prepares a batch of `prompts`.
    ///
    /// # Errors
    ///
    /// Fails for a number of steps that the schedule cannot take, a solver that does not fit the
    /// base, a size that it cannot read, and words that a closed vocabulary does not have.
    pub fn new(
        base: &'a dyn Base,
        sampling: &Sampling,
        prompts: &[String],
    ) -> Result<Self, BaseError> {
        let conditioning = base.encode_prompts(prompts)?;
        Self::of(base, sampling, conditioning)
    }

    /// Prepares a batch of prompts that are encoded.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn of(
        base: &'a dyn Base,
        sampling: &Sampling,
        conditioning: Conditioning,
    ) -> Result<Self, BaseError> {
        let latents =
            sampling.size.map_or(Ok(base.latent_shape()), |size| base.latents_of(size))?;
        let scheduler = base.plan(sampling.steps, sampling.solver, latents)?;
        let unconditional = match sampling.negative_prompt.as_str() {
            "" => base.unconditional(),
            text => base.encode_prompts(&[text.to_owned()])?,
        };
        let denoiser = base.guided(unconditional, sampling.guidance_scale);
        Ok(Self { scheduler, denoiser, conditioning, latents })
    }

    /// The same with every evaluation of the network counted by `meter`.
    #[must_use]
    pub fn metered(self, meter: &'a Meter) -> Self {
        Self { denoiser: Box::new(Metered::new(self.denoiser, meter)), ..self }
    }

    /// The plan of the steps.
    pub fn scheduler(&self) -> &dyn Scheduler {
        self.scheduler.as_ref()
    }

    /// The encoded prompts.
    pub fn conditioning(&self) -> &Conditioning {
        &self.conditioning
    }

    /// Channels, height and width of the latents.
    pub fn latent_shape(&self) -> [usize; 3] {
        self.latents
    }

    /// The sampler of the bare base.
    pub fn sampler(&self) -> Sampler<'_> {
        Sampler::new(&self.denoiser, self.scheduler(), &self.conditioning)
    }

    /// Standard normal noise of the shape of the latents, a row from each stream.
    pub fn noise(&self, streams: impl IntoIterator<Item = Stream>) -> Tensor<4> {
        let [channels, height, width] = self.latents;
        normal([1, channels, height, width], streams, &self.conditioning.context.device())
    }

    /// Takes the whole plan, each row from the noise of its own seed, until `observer` breaks off.
    /// The latents of pictures are the [`sample`](Trajectory::sample) at its end.
    ///
    /// # Panics
    ///
    /// Panics if there are not as many seeds as prompts.
    pub fn run(
        &self,
        adapter: &dyn AdapterSource,
        seeds: &[u64],
        observer: &mut Observer,
    ) -> Trajectory {
        let draw = |purpose, step: usize| {
            self.noise(seeds.iter().map(|seed| Stream::new(*seed, purpose, step as u32, 0)))
        };
        let noise = |i| draw(Purpose::Sampler, i);
        let sampler = self.sampler().with_adapter(adapter);
        let start = sampler.start(draw(Purpose::Start, 0));
        sampler.run(start, self.scheduler.steps(), Some(&noise), observer)
    }
}
