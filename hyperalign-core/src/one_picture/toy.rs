//! Pictures of no networks: a denoiser that is known in closed form, and rewards of pixels.

use std::cell::RefCell;

use burn::tensor::{Tensor, TensorData};

use super::{Account, Draws, Noun, OnePicture};
use crate::{
    contract::{
        Answer, Conditioning, Decoder, Denoiser, PassStart, Prediction, Prompt, Reads, Reward,
        TextWatch,
    },
    lora::LoraSet,
    sampler::{Sampler, unobserved},
    schedule::{FlowSchedulerConfig, Scheduler, SchedulerConfig, Solver, SolverChoice},
    testing,
};

/// Data are normal around 0 with this variance; [`Gaussian`] is the best network for them.
pub const VARIANCE: f64 = 0.25;

/// The best network for normal data under the plan, by the time that it is told.
pub struct Gaussian<'a>(pub &'a dyn Scheduler, pub RefCell<usize>);

impl Denoiser for Gaussian<'_> {
    fn answer_from(
        &self,
        _: Option<&PassStart>,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        _: &Conditioning,
        _: Option<&LoraSet>,
        _: Option<TextWatch>,
    ) -> Answer {
        *self.1.borrow_mut() += sample.dims()[0];
        let time: f64 =
            timesteps.inner().slice(0..1).into_data().convert::<f64>().iter::<f64>().sum();
        let step = (0..self.0.steps()).find(|&i| (self.0.timestep(i) - time).abs() < 1e-5);
        let level = self.0.level(step.expect("a time of the plan"));
        let variance = level.signal * level.signal * VARIANCE + level.noise * level.noise;
        let original = sample.clone().mul_scalar(level.signal * VARIANCE / variance);
        let noise = sample.mul_scalar(level.noise / variance);
        Answer::from(level.target(self.0.prediction(), original, noise))
    }

    fn prediction(&self) -> Prediction {
        self.0.prediction()
    }
}

/// Latents as pictures, a tenth as large, so that none is clipped.
pub struct Tenth(pub RefCell<usize>);

impl Decoder for Tenth {
    fn decode(&self, latents: Tensor<4>) -> Tensor<4> {
        *self.0.borrow_mut() += latents.dims()[0];
        latents.mul_scalar(0.1).mean_dim(1).repeat_dim(1, 3)
    }
}

/// The function `score` of the mean of the latents.
pub struct OfMean {
    pub score: fn(Tensor<1>) -> Tensor<1>,
    pub calls: std::sync::atomic::AtomicUsize,
}

impl OfMean {
    pub fn new(score: fn(Tensor<1>) -> Tensor<1>) -> Self {
        Self { score, calls: 0.into() }
    }
}

impl Reward for OfMean {
    fn name(&self) -> &str {
        "of-mean"
    }

    fn version(&self) -> String {
        "1".to_owned()
    }

    fn score(&self, images: Tensor<4>, _: &[Prompt]) -> Tensor<1> {
        self.calls.fetch_add(images.dims()[0], std::sync::atomic::Ordering::Relaxed);
        let rows: Tensor<2> = images.mul_scalar(10.0).flatten(1, 3);
        (self.score)(rows.mean_dim(1).squeeze_dim(1))
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn reads(&self) -> Reads {
        Reads::Tensors
    }
}

/// Lets so many evaluations pass, and keeps the books.
#[derive(Default)]
pub struct Books {
    pub limit: Option<usize>,
    pub stopped: bool,
    pub spent: RefCell<usize>,
    pub gradient_passes: RefCell<usize>,
    pub skipped: RefCell<usize>,
    pub best: RefCell<Vec<f64>>,
}

impl Account for Books {
    fn allows(&self, evaluations: usize) -> bool {
        let spent = *self.spent.borrow() + evaluations;
        !self.stopped && self.limit.is_none_or(|limit| spent <= limit)
    }

    fn is_stopped(&self) -> bool {
        self.stopped
    }

    fn gradient_pass(&self, rows: usize) {
        *self.gradient_passes.borrow_mut() += rows;
    }

    fn skipped(&self, count: usize) {
        *self.skipped.borrow_mut() += count;
    }

    fn best(&self, score: f64) {
        self.best.borrow_mut().push(score);
    }
}

/// What a run has cost.
#[derive(Debug, PartialEq, Eq)]
pub struct Counted {
    pub evaluations: usize,
    pub gradient_passes: usize,
    pub decodes: usize,
    pub scores: usize,
}

/// The plan of Stable Diffusion with full noise.
pub fn ancestral(steps: usize) -> Box<dyn Scheduler> {
    Box::new(SchedulerConfig::stable_diffusion().ddim(steps, 1.0).expect("a plan"))
}

/// Another solver's plan.
pub fn plan(solver: Solver, eta: Option<f64>, steps: usize) -> Box<dyn Scheduler> {
    let choice = SolverChoice { solver: Some(solver), eta };
    if solver.is_for_flows() {
        return FlowSchedulerConfig::flux_dev().plan(steps, 16, choice).expect("a plan");
    }
    SchedulerConfig::stable_diffusion().plan(steps, choice).expect("a plan")
}

/// A place to sample one picture of `shape` in, by `plan`, towards `reward`.
pub struct Place<'a> {
    pub plan: &'a dyn Scheduler,
    pub reward: &'a OfMean,
    pub books: Books,
    pub shape: [usize; 3],
    pub batch: usize,
    /// Each channel is a token of the prompt, and is looked at where it is large.
    pub nouns: Vec<Noun>,
}

impl<'a> Place<'a> {
    pub fn new(plan: &'a dyn Scheduler, reward: &'a OfMean) -> Self {
        Self {
            plan,
            reward,
            books: Books::default(),
            shape: [2, 2, 2],
            batch: 3,
            nouns: Vec::new(),
        }
    }

    /// What `run` makes of the picture of `seed`, and what that cost.
    pub fn run<T>(&self, seed: u64, run: impl FnOnce(&OnePicture) -> T) -> (T, Counted) {
        let before = self.reward.calls.load(std::sync::atomic::Ordering::Relaxed);
        let network =
            Counting { inner: Gaussian(self.plan, RefCell::default()), books: &self.books };
        let decoder = Tenth(RefCell::default());
        let device = testing::device();
        let data = TensorData::new(vec![0.0_f32], [1, 1, 1]);
        let conditioning = Conditioning { context: Tensor::from_data(data, &device), pooled: None };
        let prompt = Prompt::from("a heart");
        let made = run(&OnePicture {
            sampler: Sampler::new(&network, self.plan, &conditioning),
            conditioning: &conditioning,
            decoder: &decoder,
            reward: self.reward,
            prompt: &prompt,
            nouns: &self.nouns,
            draws: Draws::new(seed, self.shape, &device),
            batch: self.batch,
            account: &self.books,
        });
        let after = self.reward.calls.load(std::sync::atomic::Ordering::Relaxed);
        let counted = Counted {
            evaluations: *network.inner.1.borrow(),
            gradient_passes: *self.books.gradient_passes.borrow(),
            decodes: *decoder.0.borrow(),
            scores: after - before,
        };
        (made, counted)
    }

    /// The latents of plain sampling.
    pub fn plain(&self, seed: u64) -> Vec<f32> {
        self.run(seed, |picture| {
            let noise = |i| picture.draws.step(i, 0..1);
            let start = picture.sampler.start(picture.draws.start(0..1));
            values(
                picture.sampler.run(start, picture.steps(), Some(&noise), &mut unobserved).sample,
            )
        })
        .0
    }
}

/// Tells the books of every evaluation.
struct Counting<'a> {
    inner: Gaussian<'a>,
    books: &'a Books,
}

impl Denoiser for Counting<'_> {
    fn answer_from(
        &self,
        _: Option<&PassStart>,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
        lora: Option<&LoraSet>,
        watch: Option<TextWatch>,
    ) -> Answer {
        if let Some(watch) = watch {
            watch(looks(sample.clone()));
        }
        *self.books.spent.borrow_mut() += sample.dims()[0];
        self.inner.answer(sample, timesteps, conditioning, lora, None)
    }

    fn shows_text(&self) -> bool {
        true
    }

    fn prediction(&self) -> Prediction {
        self.inner.prediction()
    }
}

pub fn mean(values: &[f32]) -> f32 {
    values.iter().sum::<f32>() / values.len() as f32
}

pub fn values(tensor: Tensor<4>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().iter::<f32>().collect()
}

/// A row of numbers in f64.
pub fn tensor(values: &[f64]) -> Tensor<4> {
    let data = TensorData::new(values.to_vec(), [1, values.len(), 1, 1]);
    Tensor::from_data(data, (&testing::cpu(), burn::tensor::DType::F64))
}

/// Where the toy's picture looks at its tokens, which are its channels.
pub fn looks(sample: Tensor<4>) -> Tensor<4> {
    burn::tensor::activation::sigmoid(sample)
}
