//! What pictures cost.

use std::{
    ops::{Add, AddAssign},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use burn::tensor::{Device, Tensor};
use hyperalign_core::{
    contract::{
        Answer, Conditioning, Decoder, Denoiser, PassStart, Prediction, Prompt, Reads, Reward,
        RewardTerm, ScoreError, TextWatch,
    },
    lora::LoraSet,
    sampler::StepState,
};
use image::RgbImage;
use serde::Serialize;

/// What pictures cost, in the unit of published tables: calls times rows, so that the numbers of a
/// picture do not depend on its batch. A guided evaluation counts once, though classifier-free
/// guidance runs two rows for it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Cost {
    /// Evaluations of the denoiser.
    pub denoiser_evaluations: u64,
    /// Backward passes through the denoiser.
    pub gradient_passes: u64,
    /// Latents that were decoded.
    pub decodes: u64,
    /// Pictures that a reward scored.
    pub reward_calls: u64,
    /// Wall time, in seconds.
    pub seconds: f64,
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            denoiser_evaluations: self.denoiser_evaluations + other.denoiser_evaluations,
            gradient_passes: self.gradient_passes + other.gradient_passes,
            decodes: self.decodes + other.decodes,
            reward_calls: self.reward_calls + other.reward_calls,
            seconds: self.seconds + other.seconds,
        }
    }
}

impl Cost {
    /// What came after `before`; the time stays.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            denoiser_evaluations: self.denoiser_evaluations - before.denoiser_evaluations,
            gradient_passes: self.gradient_passes - before.gradient_passes,
            decodes: self.decodes - before.decodes,
            reward_calls: self.reward_calls - before.reward_calls,
            seconds: self.seconds,
        }
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// Counts while pictures are made, by way of [`Metered`] parts.
#[derive(Default)]
pub struct Meter<'a> {
    denoiser_evaluations: AtomicU64,
    gradient_passes: AtomicU64,
    decodes: AtomicU64,
    reward_calls: AtomicU64,
    progress: Option<&'a OnProgress<'a>>,
    steps: Option<&'a OnStep<'a>>,
    best: Mutex<Option<f64>>,
}

/// What is done after every call of the denoiser, given the best score of the picture at hand if
/// one is sought.
pub type OnProgress<'a> = dyn Fn(Option<f64>) + Sync + 'a;

/// What is done with every step of a batch that is sampled plainly or with an adapter.
pub type OnStep<'a> = dyn Fn(&StepState) + Sync + 'a;

impl<'a> Meter<'a> {
    /// A meter that calls `progress` after every call of the denoiser, for a bar.
    pub fn with_progress(progress: &'a OnProgress<'a>) -> Self {
        Self { progress: Some(progress), ..Self::default() }
    }

    /// The same, showing `steps` every step of a batch, for previews and for who may want to stop.
    #[must_use]
    pub fn showing(self, steps: &'a OnStep<'a>) -> Self {
        Self { steps: Some(steps), ..self }
    }

    /// Shows a step that was taken to whoever looks on.
    pub(super) fn step(&self, state: &StepState) {
        if let Some(steps) = self.steps {
            steps(state);
        }
    }

    /// Notes a backward pass through the denoiser for so many rows.
    pub fn gradient_pass(&self, rows: usize) {
        add(&self.gradient_passes, rows);
    }

    /// Notes the best score of the picture at hand; none where another begins.
    pub(super) fn best(&self, score: Option<f64>) {
        *self.best.lock().unwrap_or_else(PoisonError::into_inner) = score;
    }

    /// What was counted so far; no time.
    pub fn read(&self) -> Cost {
        Cost {
            denoiser_evaluations: self.denoiser_evaluations.load(Ordering::Relaxed),
            gradient_passes: self.gradient_passes.load(Ordering::Relaxed),
            decodes: self.decodes.load(Ordering::Relaxed),
            reward_calls: self.reward_calls.load(Ordering::Relaxed),
            seconds: 0.0,
        }
    }
}

fn add(counter: &AtomicU64, rows: usize) {
    counter.fetch_add(rows as u64, Ordering::Relaxed);
}

/// A denoiser, a decoder or a reward whose calls a [`Meter`] counts.
pub struct Metered<'a, T> {
    inner: T,
    meter: &'a Meter<'a>,
}

impl<'a, T> Metered<'a, T> {
    /// `inner`, counted by `meter`.
    pub fn new(inner: T, meter: &'a Meter<'a>) -> Self {
        Self { inner, meter }
    }
}

impl<T: Denoiser> Denoiser for Metered<'_, T> {
    fn answer_from(
        &self,
        start: Option<&PassStart>,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
        lora: Option<&LoraSet>,
        watch: Option<TextWatch>,
    ) -> Answer {
        add(&self.meter.denoiser_evaluations, sample.dims()[0]);
        let answer = self.inner.answer_from(start, sample, timesteps, conditioning, lora, watch);
        if let Some(progress) = self.meter.progress {
            progress(*self.meter.best.lock().unwrap_or_else(PoisonError::into_inner));
        }
        answer
    }

    fn shows_text(&self) -> bool {
        self.inner.shows_text()
    }

    fn prediction(&self) -> Prediction {
        self.inner.prediction()
    }
}

impl Decoder for Metered<'_, &dyn Decoder> {
    fn decode(&self, latents: Tensor<4>) -> Tensor<4> {
        add(&self.meter.decodes, latents.dims()[0]);
        self.inner.decode(latents)
    }
}

impl Reward for Metered<'_, &dyn Reward> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn version(&self) -> String {
        self.inner.version()
    }

    fn score(&self, images: Tensor<4>, prompts: &[Prompt]) -> Tensor<1> {
        add(&self.meter.reward_calls, prompts.len());
        self.inner.score(images, prompts)
    }

    fn score_at(&self, images: Tensor<4>, prompts: &[Prompt], timesteps: Tensor<1>) -> Tensor<1> {
        add(&self.meter.reward_calls, prompts.len());
        self.inner.score_at(images, prompts, timesteps)
    }

    fn differentiable(&self) -> bool {
        self.inner.differentiable()
    }

    fn needs_prompt(&self) -> bool {
        self.inner.needs_prompt()
    }

    fn needs_rules(&self) -> bool {
        self.inner.needs_rules()
    }

    fn reads(&self) -> Reads {
        self.inner.reads()
    }

    fn terms(&self) -> Vec<RewardTerm> {
        self.inner.terms()
    }

    fn measure_terms(&self, images: &Tensor<4>, prompts: &[Prompt]) -> Vec<Vec<f32>> {
        add(&self.meter.reward_calls, prompts.len());
        self.inner.measure_terms(images, prompts)
    }

    fn score_pictures(
        &self,
        pictures: &[RgbImage],
        prompts: &[Prompt],
        device: &Device,
    ) -> Vec<f32> {
        add(&self.meter.reward_calls, prompts.len());
        self.inner.score_pictures(pictures, prompts, device)
    }

    fn memory_per_picture(&self) -> u64 {
        self.inner.memory_per_picture()
    }

    fn passed_over(&self) -> Vec<String> {
        self.inner.passed_over()
    }

    fn check(&self, size: [usize; 2], prompts: &[Prompt]) -> Result<(), ScoreError> {
        self.inner.check(size, prompts)
    }
}
