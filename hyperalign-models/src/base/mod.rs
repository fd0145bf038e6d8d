//! What a base model is to everything that aligns it.
//!
//! A base is several things at once, each a trait of its own with as little in it as can be asked
//! for: who it is ([`Identity`]), what it was noised by and is solved with ([`Plans`]), how it reads
//! prompts ([`PromptEncoder`]), what its latents are ([`LatentSpace`]), what can be adapted in it
//! ([`Adaptable`]); and it denoises, decodes and is guided. [`Base`] is all of them. Whoever needs
//! one of them takes that one, and a test has no more to make up.

mod adaptable;
mod error;
mod identity;
mod latents;
mod plans;
mod prompts;

use hyperalign_core::{
    contract::{Conditioning, Decoder, Denoiser},
    guidance::ClassifierFreeGuidance,
    schedule::{Scheduler, SolverChoice},
};

pub use adaptable::Adaptable;
pub use error::BaseError;
pub use identity::Identity;
pub use latents::LatentSpace;
pub use plans::{Plans, Preset, logit_normal};
pub(crate) use prompts::token_places;
pub use prompts::{Cut, PromptEncoder};

/// A network that can be guided towards its prompt.
pub trait Guided: Denoiser {
    /// The network under guidance of a weight: away from `unconditional`, or by the weight that a
    /// network was distilled to read.
    fn guided(&self, unconditional: Conditioning, guidance_scale: f64) -> Box<dyn Denoiser + '_> {
        Box::new(ClassifierFreeGuidance::new(self, unconditional, guidance_scale))
    }

    /// Whether [`guided`](Self::guided) reads what it is led away from, and a negative prompt has a
    /// meaning.
    fn reads_unconditional(&self) -> bool {
        true
    }
}

/// A frozen text-to-image model. Methods and samplers see a base through this alone, so that a
/// new family of models is one implementation of each of its parts.
pub trait Base:
    Identity + Plans + PromptEncoder + LatentSpace + Adaptable + Guided + Decoder + Send + Sync
{
    /// The plan of so many steps by its own solver, for latents of
    /// [`latent_shape`](LatentSpace::latent_shape).
    ///
    /// # Errors
    ///
    /// Fails for a number of steps that the schedule cannot take.
    fn scheduler(&self, steps: usize) -> Result<Box<dyn Scheduler>, BaseError> {
        self.plan(steps, SolverChoice::default(), self.latent_shape())
    }

    /// Bytes that decoding one picture of `[height, width]` takes at the very least: one feature map
    /// of the autoencoder in front of a layer and one behind it.
    fn decoding_memory(&self, [height, width]: [usize; 2]) -> u64 {
        let channels = self.autoencoder().map_or(3, |config| config.block_out_channels[0]) as u64;
        let pixels = (height as u64).saturating_mul(width as u64);
        pixels.saturating_mul(2 * 4 * channels)
    }

    /// Checks that a picture of `[height, width]` can be decoded in `free` bytes of memory.
    ///
    /// # Errors
    ///
    /// Fails with what it takes at the very least.
    fn check_memory(&self, [height, width]: [usize; 2], free: u64) -> Result<(), BaseError> {
        match self.decoding_memory([height, width]) {
            least if least > free => {
                Err(BaseError::of(error::MemoryError { height, width, least, free }))
            }
            _ => Ok(()),
        }
    }

    /// Channels, height and width of the latents of pictures of `[height, width]`.
    ///
    /// # Errors
    ///
    /// Fails for a size that is no multiple of what the network reads as one, and for one that no
    /// memory suffices for.
    fn latents_of(&self, [height, width]: [usize; 2]) -> Result<[usize; 3], BaseError> {
        let multiple = self.downscale() * self.patch();
        let fits = |side: usize| side > 0 && side.is_multiple_of(multiple);
        if !fits(height) || !fits(width) {
            let base = self.name().to_owned();
            return Err(BaseError::of(error::SizeError { base, height, width, multiple }));
        }
        self.check_memory([height, width], MOST_MEMORY)?;
        let [channels, ..] = self.latent_shape();
        Ok([channels, height / self.downscale(), width / self.downscale()])
    }
}

/// More memory than a device has: a tebibyte.
const MOST_MEMORY: u64 = 1 << 40;

impl<T> Base for T where
    T: Identity + Plans + PromptEncoder + LatentSpace + Adaptable + Guided + Decoder + Send + Sync
{
}
