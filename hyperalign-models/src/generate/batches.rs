//! Any number of pictures, in batches.

use std::time::Instant;

use burn::tensor::Tensor;
use hyperalign_core::stop::Stop;
use serde_json::Value;

use super::{Cost, GenerateError, Job, Shot, Way};

/// Pictures that were made together.
#[derive(Debug)]
pub struct Batch {
    /// `[batch, 3, height, width]`, clipped to `[-1, 1]`.
    pub images: Tensor<4>,
    /// Wall time of a picture, in seconds: the batch's encoding of prompts, sampling and
    /// decoding, over the number of its pictures.
    pub seconds: f64,
    /// What the batch cost.
    pub cost: Cost,
    /// What can be said of how each was made; see [`Made::notes`](super::Made::notes).
    pub notes: Vec<Value>,
}

/// What is done with each batch, and with the shots that it belongs to.
pub type OnBatch<'a, E> = dyn FnMut(&[Shot], Batch) -> Result<(), E> + 'a;

/// Makes the pictures of `job`, at most [`Way::shots_at_once`] at once, and
/// hands each batch to `each` with the shots that it belongs to. Returns whether all were made: a
/// requested `stop` ends the work after the step at hand.
///
/// # Errors
///
/// Fails if the base refuses a prompt or the sampling, for pictures that are not finite, and where
/// `each` does.
pub fn generate<E: From<GenerateError>>(
    way: &dyn Way,
    job: &Job,
    stop: &Stop,
    each: &mut OnBatch<E>,
) -> Result<bool, E> {
    for shots in job.shots.chunks(way.shots_at_once(job.sampling)) {
        if stop.is_requested() {
            return Ok(false);
        }
        let (start, before) = (Instant::now(), job.meter.read());
        let Some(made) = way.make(&Job { shots, ..*job }, stop)? else { return Ok(false) };
        // This reading also waits for a GPU to be done, before the clock stops.
        check_finite(&made.images, shots, way)?;
        let images = made.images.clamp(-1.0, 1.0);
        let seconds = start.elapsed().as_secs_f64();
        let cost = Cost { seconds, ..job.meter.read().since(before) };
        let (seconds, notes) = (seconds / shots.len() as f64, made.notes);
        each(shots, Batch { images, seconds, cost, notes })?;
    }
    Ok(true)
}

/// A picture of NaN would be clipped into a picture, and judged as merely wrong.
fn check_finite(images: &Tensor<4>, shots: &[Shot], way: &dyn Way) -> Result<(), GenerateError> {
    let sums: Tensor<2> = images.clone().flatten::<2>(1, 3).sum_dim(1);
    let sums: Vec<f32> = sums.into_data().convert::<f32>().iter::<f32>().collect();
    match sums.iter().position(|sum| !sum.is_finite()) {
        Some(k) => Err(GenerateError::NotFinite {
            way: way.name(),
            prompt: shots[k].prompt.text.clone(),
            seed: shots[k].seed,
        }),
        None => Ok(()),
    }
}
