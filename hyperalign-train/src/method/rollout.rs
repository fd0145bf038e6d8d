//! Trajectories that a method learns from.

use std::ops::ControlFlow;

use burn::tensor::Tensor;
use hyperalign_core::{
    contract::{Conditioning, Denoiser},
    noise::{Purpose, Stream},
};
use hyperalign_models::{
    base::Base,
    generate::{Generation, Sampling},
    hypernet::{Adapter, Variant},
};

/// The base under guidance.
pub fn guided<'a>(
    base: &'a dyn Base,
    unconditional: &Conditioning,
    guidance_scale: f64,
) -> Box<dyn Denoiser + 'a> {
    base.guided(unconditional.clone(), guidance_scale)
}

/// The samples that entered the steps of a trajectory, `[batch, channels, height, width]` each.
#[derive(Debug)]
pub struct Rollout {
    samples: Vec<Tensor<4>>,
}

impl Rollout {
    /// Samples with the adapter as it is, off the tape, up to the sample that enters `last_step`.
    ///
    /// `starts` give the noise that each row begins from; `steps` are those of the whole plan.
    ///
    /// # Panics
    ///
    /// Panics if the base refuses that number of steps.
    pub fn run(
        base: &dyn Base,
        adapter: &Adapter,
        variant: Variant,
        key_steps: &[usize],
        steps: usize,
        guidance_scale: f64,
        conditioning: &Conditioning,
        starts: impl IntoIterator<Item = Stream>,
        last_step: usize,
    ) -> Self {
        let source = adapter.source(base, variant, key_steps.to_vec());
        let sampling = Sampling::new(steps, guidance_scale);
        let generation = Generation::of(base, &sampling, conditioning.clone());
        let generation = generation.expect("checked when the run was set up");
        let sampler = generation.sampler().with_adapter(source.as_ref());
        let start = sampler.start(generation.noise(starts));
        let mut samples = Vec::with_capacity(last_step + 1);
        let end = sampler.run(start, last_step, None, &mut |state| {
            samples.push(state.sample.clone());
            ControlFlow::Continue(())
        });
        samples.push(end.sample);
        Self { samples }
    }

    /// The sample that enters step `i`.
    pub fn sample(&self, i: usize) -> &Tensor<4> {
        &self.samples[i]
    }
}

/// The stream that a training trajectory starts from.
pub(super) fn start_stream(seed: u64, update: u64, k: usize) -> Stream {
    Stream::new(seed, Purpose::Start, update as u32, k as u32)
}
