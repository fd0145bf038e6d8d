//! The sampling loop. There is no other.
//!
//! Guidance is a [`Denoiser`] around a denoiser, a hypernetwork an [`AdapterSource`], randomness
//! and progress are the caller's.

use std::ops::Range;

use burn::tensor::Tensor;

use crate::{
    adapter::AdapterSource,
    denoiser::{Conditioning, Denoiser},
    lora::LoraSet,
    schedule::{History, Scheduler, Step},
};

/// What an observer sees of a step that has been taken.
#[derive(Debug)]
pub struct StepState<'a> {
    /// Index of the step.
    pub i: usize,
    /// The network's time.
    pub timestep: f64,
    /// The sample that entered the step, `[batch, channels, height, width]`.
    pub sample: &'a Tensor<4>,
    /// What the network answered (after guidance).
    pub model_output: &'a Tensor<4>,
    /// The one-step estimate of the original.
    pub pred_original: &'a Tensor<4>,
    /// The sample that the step returned.
    pub prev_sample: &'a Tensor<4>,
    /// The low-rank update that was in use, if any.
    pub lora: Option<&'a LoraSet>,
}

/// Takes the steps `range` of `scheduler`'s plan from `start`, and returns the sample after them.
///
/// The whole plan is `0..scheduler.steps()`. A training rollout takes `0..k`. A range that starts
/// later starts with an empty history and with the bare base until `adapter` gives an update.
/// Where the tensors are tracked the result is too: nothing is detached here.
///
/// # Arguments
///
/// - `start`: `[batch, channels, height, width]`; for step 0 standard normal noise times
///   [`Scheduler::init_noise_sigma`]
/// - `conditioning`: the conditional rows, `batch` of them
/// - `noise`: standard normal noise for step `i`, of the shape of `start`; asked only for steps
///   that [need it](Scheduler::needs_noise)
/// - `observer`: called after each step
///
/// # Panics
///
/// Panics if `denoiser` does not predict what `scheduler` reads, if the rows of `conditioning`
/// are not those of `start`, and if `range` leaves the plan.
pub fn sample(
    denoiser: &dyn Denoiser,
    scheduler: &dyn Scheduler,
    adapter: &dyn AdapterSource,
    start: Tensor<4>,
    conditioning: &Conditioning,
    noise: &dyn Fn(usize) -> Tensor<4>,
    range: Range<usize>,
    observer: &mut dyn FnMut(&StepState),
) -> Tensor<4> {
    assert_eq!(denoiser.prediction(), scheduler.prediction(), "network and scheduler disagree");
    let batch = start.dims()[0];
    assert_eq!(conditioning.batch(), batch, "one prompt for each row of the batch");
    let mut history = History::default();
    let mut lora: Option<LoraSet> = None;
    range.fold(start, |sample, i| {
        let timestep = scheduler.timestep(i);
        if let Some(update) = adapter.refresh(i, &sample, timestep, conditioning) {
            lora = Some(update);
        }
        let timesteps = Tensor::full([batch], timestep, &sample.device());
        let model_output = denoiser.predict(sample.clone(), timesteps, conditioning, lora.as_ref());
        let noise = scheduler.needs_noise(i).then(|| noise(i));
        let Step { prev_sample, pred_original } =
            scheduler.step(i, model_output.clone(), sample.clone(), noise, &mut history);
        observer(&StepState {
            i,
            timestep,
            sample: &sample,
            model_output: &model_output,
            pred_original: &pred_original,
            prev_sample: &prev_sample,
            lora: lora.as_ref(),
        });
        prev_sample
    })
}

#[cfg(test)]
mod tests;
