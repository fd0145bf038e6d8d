//! A way of making pictures.

use std::{fmt, ops::ControlFlow};

use burn::tensor::Tensor;
use hyperalign_core::{
    contract::{AdapterSource, Decoder, NoAdapter, Prompt},
    stop::Stop,
};
use serde_json::Value;

use super::{Adapted, Generation, Meter, Metered, Sampling, Shot, TestTimeError};
use crate::base::{Base, BaseError};

/// The pictures that are wanted, and what they are made with.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// The base.
    pub base: &'a dyn Base,
    /// How its pictures are sampled.
    pub sampling: &'a Sampling,
    /// The pictures; those of one batch where a way is asked.
    pub shots: &'a [Shot],
    /// What decodes latents in place of the base.
    pub decoder: Option<&'a dyn Decoder>,
    /// Counts what the pictures cost.
    pub meter: &'a Meter<'a>,
}

impl<'a> Job<'a> {
    /// What the batch is sampled with, counted.
    ///
    /// # Errors
    ///
    /// As [`Generation::new`].
    pub fn generation(&self) -> Result<Generation<'a>, BaseError> {
        let prompts: Vec<String> = self.shots.iter().map(|shot| shot.prompt.text.clone()).collect();
        Ok(Generation::new(self.base, self.sampling, &prompts)?.metered(self.meter))
    }

    /// The seeds of the batch.
    pub fn seeds(&self) -> Vec<u64> {
        self.shots.iter().map(|shot| shot.seed).collect()
    }

    /// The prompts of the batch.
    pub fn prompts(&self) -> Vec<Prompt> {
        self.shots.iter().map(|shot| shot.prompt.clone()).collect()
    }

    /// Pictures of `latents`, counted.
    ///
    /// # Shapes
    ///
    /// As of [`Decoder::decode`].
    pub fn decode(&self, latents: Tensor<4>) -> Tensor<4> {
        match self.decoder {
            Some(decoder) => Metered::new(decoder, self.meter).decode(latents),
            None => Metered::new(self.base as &dyn Decoder, self.meter).decode(latents),
        }
    }

    /// Samples the batch with the updates of `adapter` and decodes it; `None` if `stop` was
    /// requested on the way.
    ///
    /// # Errors
    ///
    /// As [`Generation::new`].
    pub fn sample(
        &self,
        adapter: &dyn AdapterSource,
        stop: &Stop,
    ) -> Result<Option<Made>, BaseError> {
        let generation = self.generation()?;
        let end = generation.run(adapter, &self.seeds(), &mut |state| {
            self.meter.step(state);
            if stop.is_requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if end.i < generation.scheduler().steps() {
            return Ok(None);
        }
        Ok(Some(Made::new(self.decode(end.sample).detach())))
    }
}

/// Pictures that a way has made.
#[derive(Debug, Clone)]
pub struct Made {
    /// `[batch, 3, height, width]`, nominally in `[-1, 1]`, not clipped.
    pub images: Tensor<4>,
    /// What can be said of how each was made, for reports; nothing by ways that have nothing to
    /// say.
    pub notes: Vec<Value>,
}

impl Made {
    /// Pictures of which nothing is said.
    pub fn new(images: Tensor<4>) -> Self {
        Self { images, notes: Vec::new() }
    }

    /// These pictures and then those of `other`.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.images = Tensor::cat(vec![self.images, other.images.clone()], 0);
        self.notes.extend_from_slice(&other.notes);
        self
    }
}

/// A way of making pictures of a base: as it is, with an adapter, by a search, under guidance.
///
/// A picture depends on its own shot, the sampling and the way, and not on its batch.
pub trait Way: fmt::Debug {
    /// Its name, as tables have it.
    fn name(&self) -> String;

    /// Everything that its pictures depend on beside the base, the sampling and the shots: what
    /// results are kept under.
    fn identity(&self) -> Value;

    /// The adapter that it samples with, if that is what it does.
    fn adapted(&self) -> Option<&Adapted<'_>> {
        None
    }

    /// The most pictures that it is asked for at once.
    fn shots_at_once(&self, sampling: &Sampling) -> usize {
        sampling.batch.max(1)
    }

    /// Whether a requested `stop` may make it return pictures that are not what they would have
    /// been.
    fn settles_for_less(&self) -> bool {
        false
    }

    /// Makes the pictures of one batch; `None` if `stop` was requested before there are any. A
    /// search may return the best that it has by then.
    ///
    /// # Errors
    ///
    /// Fails if the base refuses a prompt or the sampling.
    fn make(&self, job: &Job, stop: &Stop) -> Result<Option<Made>, GenerateError>;
}

/// The base as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plain;

impl Way for Plain {
    fn name(&self) -> String {
        "base".to_owned()
    }

    fn identity(&self) -> Value {
        Value::Null
    }

    fn make(&self, job: &Job, stop: &Stop) -> Result<Option<Made>, GenerateError> {
        Ok(job.sample(&NoAdapter, stop)?)
    }
}

/// Why there are no pictures.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// The base refuses a prompt or the sampling.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// The method cannot make it.
    #[error(transparent)]
    TestTime(#[from] TestTimeError),
    /// A picture has values that are no numbers: weights are broken, or overflow.
    #[error(
        "the picture of `{prompt}` (seed {seed}) by `{way}` has values that are no numbers; the \
         weights of the base or the adapter are damaged, or overflow here"
    )]
    NotFinite {
        /// The way.
        way: String,
        /// The prompt.
        prompt: String,
        /// The seed.
        seed: u64,
    },
}
