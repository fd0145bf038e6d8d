//! Gradients of a reward through the sampling of a picture: what DRaFT, AlignProp and ReFL share.
//!
//! Trajectories of the model's own are followed off the tape to some step; what comes after is on it,
//! up to the reward of the picture. The three differ in which steps these are.

mod align_prop;
mod draft;
mod refl;

use std::sync::Arc;

use burn::tensor::{Tensor, activation::relu};
use hyperalign_core::{
    contract::Conditioning,
    noise::Purpose,
    schedule::{Scheduler, SolverChoice},
};
use hyperalign_models::hypernet::Adapter;
use hyperalign_rewards::Prompt;

use super::{Setup, policy::Policy};
use crate::learner::{Emit, Metric, Names, Objective, Part, Shard};

pub use align_prop::{AlignPropSettings, Truncation};
pub use draft::{DraftLvSettings, DraftSettings};
pub use refl::ReflSettings;

/// The part of the loss, and the value, of the reward.
const REWARD: &str = "reward";
/// The part of the loss on preferred pictures.
const DENOISING: &str = "denoising";
/// Steps that the gradient leads through.
const STEPS: &str = "supervised_steps";

/// What is supervised of a trajectory.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Supervised {
    /// The last steps, all of them up to the picture.
    Last(usize),
    /// As many as are drawn for each update.
    Truncated(Truncation),
    /// The last step, from so many noisings of the finished picture.
    Renoised(usize),
    /// The one-step estimate of a step that is drawn for each update from the last part of the plan.
    OneStep {
        /// The part, as a share of the steps.
        share: f64,
    },
}

/// A denoising loss on preferred pictures beside the reward.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Data {
    batch: usize,
    caption_dropout: f64,
}

/// What one of the papers makes of the parts.
#[derive(Debug, Clone, PartialEq)]
struct Recipe {
    trajectories: usize,
    solver: SolverChoice,
    supervised: Supervised,
    /// The score above which nothing is gained.
    threshold: Option<f64>,
    /// Weight of the reward in the loss.
    weight: f64,
    data: Option<Data>,
}

/// The objective of [`DraftSettings`], [`DraftLvSettings`], [`AlignPropSettings`] and
/// [`ReflSettings`].
pub struct RewardGradient {
    recipe: Recipe,
    setup: Setup,
}

/// The trajectories of a shard up to where they are supervised.
pub struct Reached {
    prompts: Vec<Prompt>,
    conditioning: Conditioning,
    /// The samples that entered the steps, the last of which is supervised first,
    /// `[trajectories, channels, height, width]` each.
    samples: Vec<Tensor<4>>,
}

impl Reached {
    /// Steps that were taken off the tape.
    pub fn steps(&self) -> usize {
        self.samples.len() - 1
    }
}

impl RewardGradient {
    fn new(recipe: Recipe, setup: Setup) -> Self {
        Self { recipe, setup }
    }

    fn plan(&self) -> Arc<dyn Scheduler> {
        self.setup.plan(self.recipe.solver).into()
    }

    /// Steps of a plan that are taken off the tape in an update.
    fn first_supervised(&self, update: u64, steps: usize) -> usize {
        let mut stream = self.setup.update_stream(update);
        match self.recipe.supervised {
            Supervised::Last(count) => steps - count,
            Supervised::Truncated(truncation) => truncation.draw(steps, &mut stream),
            Supervised::Renoised(_) => steps,
            Supervised::OneStep { share } => {
                let allowed = allowed(steps, share);
                steps - allowed + stream.below(allowed)
            }
        }
    }

    /// The noise that step `i` draws for samples `rows` of an update.
    fn noise(&self, update: u64, rows: std::ops::Range<usize>, i: usize) -> Tensor<4> {
        let steps = self.setup.trajectory.steps;
        self.setup.noise(rows.map(|k| self.setup.stream(Purpose::Sampler, update, k * steps + i)))
    }

    fn reach(&self, adapter: &Adapter, update: u64, shard: Shard) -> Reached {
        let rows = shard.samples(self.recipe.trajectories);
        let prompts = self.setup.prompts(update, rows.clone());
        let conditioning = self.setup.encode(&Prompt::texts(&prompts));
        let policy = Policy::new(&self.setup, self.plan(), conditioning.clone());
        let to = self.first_supervised(update, policy.scheduler().steps());
        let start = self.setup.start(update, rows.clone());
        let noise = |i| self.noise(update, rows.clone(), i);
        let samples = policy.rollout(adapter, start, to, Some(&noise));
        Reached { prompts, conditioning, samples }
    }

    /// The latents whose pictures are rewarded, on the tape of `adapter`, and the part that each of
    /// them is of the loss: one batch after the other, so that one graph is held at a time.
    fn pictures(
        &self,
        adapter: &Adapter,
        reached: &Reached,
        (update, shard): (u64, Shard),
        each: &mut dyn FnMut(Tensor<4>, f64),
    ) {
        let rows = shard.samples(self.recipe.trajectories);
        let policy = Policy::new(&self.setup, self.plan(), reached.conditioning.clone());
        let i = reached.steps();
        match self.recipe.supervised {
            Supervised::Last(_) | Supervised::Truncated(_) => {
                let noise = |i| self.noise(update, rows.clone(), i);
                each(policy.finish(adapter, &reached.samples, &noise), 1.0);
            }
            Supervised::Renoised(count) => {
                let last = i - 1;
                let level = policy.scheduler().level(last);
                for draw in 0..count {
                    let streams = rows
                        .clone()
                        .map(|k| self.setup.stream(Purpose::Forward, update, k * count + draw));
                    let sample = level.mix(reached.samples[i].clone(), self.setup.noise(streams));
                    let mut samples = reached.samples[..last].to_vec();
                    samples.push(sample.clone());
                    let lora = policy.lora(adapter, &samples, last);
                    let end = policy.transition(Some(&lora), sample, last).mean;
                    each(end, 1.0 / count as f64);
                }
            }
            Supervised::OneStep { .. } => {
                let lora = policy.lora(adapter, &reached.samples, i);
                let sample = reached.samples[i].clone();
                each(policy.transition(Some(&lora), sample, i).pred_original, 1.0);
            }
        }
    }
}

/// The loss that raises `scores`, up to `threshold` if there is one: from there on nothing is gained.
///
/// # Shapes
///
/// - `scores`, output: `[pictures]`
pub fn to_raise(scores: Tensor<1>, threshold: Option<f64>) -> Tensor<1> {
    match threshold {
        Some(threshold) => relu(scores.neg().add_scalar(threshold)),
        None => scores.neg(),
    }
}

/// The steps at the end of a plan that make a share of it, at least one.
fn allowed(steps: usize, share: f64) -> usize {
    ((steps as f64 * share).round() as usize).clamp(1, steps)
}

impl Objective for RewardGradient {
    type Module = Adapter;
    type Batch = Vec<Reached>;

    fn names(&self) -> Names {
        let data = self.recipe.data.map(|_| DENOISING);
        let parts = [REWARD].into_iter().chain(data);
        Names { parts: parts.collect(), metrics: vec![REWARD, STEPS] }
    }

    fn prepare(&self, adapter: &Adapter, update: u64) -> Vec<Reached> {
        self.setup.shards(adapter, |adapter, shard| self.reach(adapter, update, shard))
    }

    fn losses(
        &self,
        adapter: &Adapter,
        reached: &Vec<Reached>,
        update: u64,
        shard: Shard,
        emit: &mut dyn Emit,
    ) {
        let Recipe { threshold, weight, data, supervised, .. } = self.recipe;
        let reached = &reached[shard.index];
        let (prompts, reward) = (&reached.prompts, self.setup.reward());
        let rows = prompts.len();
        self.pictures(adapter, reached, (update, shard), &mut |latents, part| {
            let scores = reward.score(self.setup.picture(latents), prompts);
            let mean = scores.clone().detach().mean().into_scalar::<f64>();
            emit.metric(Metric { name: REWARD, sum: mean * part * rows as f64, count: rows });
            let loss = to_raise(scores, threshold).mean();
            emit.part(Part::new(REWARD, weight, loss.mul_scalar(part)));
        });
        let steps = match supervised {
            Supervised::Last(_) | Supervised::Truncated(_) => {
                self.setup.trajectory.steps - reached.steps()
            }
            Supervised::Renoised(_) | Supervised::OneStep { .. } => 1,
        };
        emit.metric(Metric::new(STEPS, steps as f64));
        if let Some(Data { batch, caption_dropout }) = data {
            let data = self.setup.materials.data.pictures();
            let data = data.expect("checked when the run was set up");
            let noised = self.setup.noised(data, (batch, caption_dropout), update, shard);
            let loss = self.setup.denoising_loss(adapter, &noised);
            emit.part(Part::new(DENOISING, 1.0, loss));
        }
    }
}
