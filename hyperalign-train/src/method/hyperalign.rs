//! HyperAlign (arXiv:2601.15968): a reward on one-step predictions along the model's own
//! trajectories, and a denoising loss on preferred data that holds it to the data.
//!
//! `L = reward_weight * L_R + regulariser_weight * L_G`. The same losses train a static LoRA, the
//! control.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use hyperalign_core::{
    denoiser::{Conditioning, Decoder, Denoiser as _},
    diffusion::{Level, Levels},
    noise::{Purpose, Stream, normal},
};
use hyperalign_models::{
    base::Base,
    hypernet::{Adapter, Variant},
};
use hyperalign_rewards::Reward;
use serde::{Deserialize, Serialize};

use super::{
    rollout::{Rollout, guided, start_stream},
    variation::variation,
    views::Views,
};
use crate::{
    data::PreferredData,
    learner::{Losses, Objective, Part, Shard},
};

/// Preferred pictures that the variation is measured on where there are no trajectories.
const PROBED: usize = 4;

/// Hyper-parameters of the losses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HyperAlignSettings {
    /// When the update is refreshed along a trajectory.
    pub variant: Variant,
    /// Key steps of P.
    pub key_steps: Vec<usize>,
    /// Sampling steps of a trajectory.
    pub steps: usize,
    /// Weight of classifier-free guidance in trajectories and one-step predictions.
    pub guidance_scale: f64,
    /// Weight of the reward loss; 0 leaves it out (the regulariser-only control).
    pub reward_weight: f64,
    /// Updates for each one that has the reward loss in it, with so many times its weight: the same
    /// objective on average, with less time for trajectories and more for preferred data. Without
    /// the regulariser every update has it.
    pub reward_every: u64,
    /// Weight of the regulariser, lambda; 0 leaves it out (the reward-only control).
    pub regulariser_weight: f64,
    /// Trajectories an update.
    pub trajectories: usize,
    /// Steps of each trajectory that are supervised: one in each of as many equal parts.
    pub supervised_steps: usize,
    /// Steps whose squared signal level is below this are not supervised: the one-step
    /// prediction is a blur there, and a reward of it means nothing.
    pub min_signal: f64,
    /// Steps whose squared signal level is above this are not supervised: what the picture shows is
    /// settled there, and trajectories need not be followed so far.
    pub max_signal: f64,
    /// Longest gradient of the reward loss in one shard, without its weight. The gradients of
    /// single trajectories differ by a factor of a hundred; the few long ones would decide
    /// everything.
    pub reward_clip: Option<f64>,
    /// What the reward is shown of a predicted picture.
    pub views: Views,
    /// Preferred pictures an update.
    pub preferred_batch: usize,
    /// Probability that the prompt of a preferred picture is dropped.
    pub caption_dropout: f64,
}

impl Default for HyperAlignSettings {
    fn default() -> Self {
        Self {
            variant: Variant::S,
            key_steps: Vec::new(),
            steps: 10,
            guidance_scale: 4.0,
            // With the clip below the reward's gradient is as long as the regulariser's.
            reward_weight: 0.05,
            reward_every: 1,
            regulariser_weight: 1.0,
            trajectories: 4,
            supervised_steps: 2,
            min_signal: 0.03,
            max_signal: 0.35,
            reward_clip: Some(0.2),
            views: Views::default(),
            preferred_batch: 16,
            caption_dropout: 0.1,
        }
    }
}

impl HyperAlignSettings {
    /// [`Self::reward_every`], or 1 where nothing else is learned from.
    fn updates_a_reward(&self) -> u64 {
        if self.regulariser_weight == 0.0 { 1 } else { self.reward_every }
    }
}

/// The objective of [`HyperAlignSettings`] for one base, reward and data set.
pub struct HyperAlign {
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// The frozen base, on the plain device.
    pub base: Arc<dyn Base>,
    /// The reward to maximise, on the plain device.
    pub reward: Arc<dyn Reward>,
    /// What makes the pictures that the reward is shown, in place of the base's own decoder.
    pub reward_decoder: Option<Arc<dyn Decoder + Send + Sync>>,
    /// Prompts of trajectories.
    pub prompts: Vec<String>,
    /// Preferred pictures.
    pub preferred: Arc<dyn PreferredData>,
    /// The numbers.
    pub settings: HyperAlignSettings,
    /// The plain device.
    pub device: Device,
}

impl Objective for HyperAlign {
    type Module = Adapter;

    fn losses(&self, adapter: &Adapter, update: u64, shard: Shard) -> Losses {
        let mut losses = Losses { parts: Vec::new(), metrics: Vec::new() };
        if self.has_reward(update) {
            self.reward_loss(adapter, update, shard, &mut losses);
        }
        if self.settings.regulariser_weight != 0.0 {
            self.regulariser(adapter, update, shard, &mut losses);
        }
        losses
    }
}

impl HyperAlign {
    /// Whether the reward has a share in this update.
    fn has_reward(&self, update: u64) -> bool {
        let every = self.settings.updates_a_reward();
        self.settings.reward_weight != 0.0 && update.is_multiple_of(every)
    }

    /// Whether the [`variation`] of this update has to be measured on data: without trajectories, or
    /// with a single one, it is not known from them.
    fn varies_on_data(&self, update: u64, shard: Shard) -> bool {
        let compared = || shard.samples(self.settings.trajectories).len() > 1;
        self.settings.regulariser_weight != 0.0 && !(self.has_reward(update) && compared())
    }

    /// `L_R = -mean R(D(x0hat_t), c)` over supervised steps of the model's own trajectories.
    fn reward_loss(&self, adapter: &Adapter, update: u64, shard: Shard, losses: &mut Losses) {
        let HyperAlignSettings { variant, key_steps, steps, guidance_scale, .. } = &self.settings;
        let rows = shard.samples(self.settings.trajectories);
        let prompts: Vec<String> = rows
            .clone()
            .map(|k| self.stream(Purpose::Data, update, k).pick(&self.prompts).clone())
            .collect();
        let conditioning = self.encode(&prompts);
        let scheduler = self.base.scheduler(*steps);
        let scheduler = scheduler.expect("checked when the run was set up");
        let supervised = self.supervised(update, shard, scheduler.as_ref());
        let last = supervised.iter().copied().max().unwrap_or(0);

        // Off the tape: the rollout sees a plain copy, and keeps nothing for a backward pass.
        let plain = burn::module::Module::valid(adapter);
        let rollout = Rollout::run(
            self.base.as_ref(),
            &plain,
            *variant,
            key_steps,
            scheduler.as_ref(),
            *guidance_scale,
            &conditioning,
            rows.clone().map(|k| start_stream(self.seed, update, k)),
            last,
        );

        // All supervised steps of all trajectories in one batch, step by step.
        let count = rows.len();
        let gather = |step: &dyn Fn(usize) -> usize| {
            let samples = supervised.iter().map(|&i| rollout.sample(step(i)).clone());
            Tensor::cat(samples.collect(), 0)
        };
        let times = |step: &dyn Fn(usize) -> usize| -> Vec<f64> {
            let time = |&i: &usize| scheduler.timestep(step(i));
            supervised.iter().map(time).flat_map(|t| std::iter::repeat_n(t, count)).collect()
        };
        let source = |i: usize| variant.source_step(i, key_steps);
        let conditioning = conditioning.repeat(supervised.len());
        let (lora, factors) = adapter.emit(
            self.base.as_ref(),
            gather(&source),
            self.times(&times(&source)),
            &conditioning,
        );
        let sample = gather(&|i| i);
        let timesteps = times(&|i| i);
        let output = guided(self.base.as_ref(), &self.base.unconditional(), *guidance_scale)
            .predict(sample.clone(), self.times(&timesteps), &conditioning, Some(&lora));
        let levels = supervised.iter().map(|&i| scheduler.level(i));
        let levels: Vec<Level> = levels.flat_map(|l| std::iter::repeat_n(l, count)).collect();
        let levels = Levels::new(levels, &self.device);
        let pred_original = levels.original(self.base.prediction(), sample, output);
        let image = match &self.reward_decoder {
            Some(decoder) => decoder.decode(pred_original),
            None => self.base.decode(pred_original),
        };
        let image = image.clamp(-1.0, 1.0);
        let prompts: Vec<String> =
            std::iter::repeat_n(prompts, supervised.len()).flatten().collect();
        let views = &self.settings.views;
        let stream = |number| Views::stream(self.seed, update, shard.index, number);
        let reward = self.reward.score(views.of(image, stream), &views.prompts(prompts)).mean();

        let score = reward.clone().detach().into_scalar::<f32>();
        losses.metrics.push(("reward".to_owned(), score.into()));
        if let Some(factors) = factors.filter(|_| !self.varies_on_data(update, shard)) {
            losses.metrics.extend(variation(factors, supervised.len(), count));
        }
        let weight = self.settings.reward_weight * self.settings.updates_a_reward() as f64;
        losses
            .parts
            .push(Part::new("reward", weight, reward.neg()).clipped(self.settings.reward_clip));
    }

    /// `L_G`: the denoising loss of the adapted conditional model on preferred pictures.
    fn regulariser(&self, adapter: &Adapter, update: u64, shard: Shard, losses: &mut Losses) {
        let rows = shard.samples(self.settings.preferred_batch);
        let stream = |purpose, k: usize| self.stream(purpose, update, k);
        let first = update as u32 * self.settings.preferred_batch as u32;
        let indices: Vec<u32> = rows.clone().map(|k| first + k as u32).collect();
        let (images, mut prompts) = self.preferred.batch(&indices, &self.device);
        if let Some(passed_over) = self.preferred.passed_over(&indices) {
            let share = passed_over as f64 / (passed_over as f64 + indices.len() as f64);
            losses.metrics.push(("passed_over".to_owned(), share));
        }
        for (k, prompt) in rows.clone().zip(&mut prompts) {
            if stream(Purpose::Dropout, k).chance(self.settings.caption_dropout) {
                prompt.clear();
            }
        }
        let conditioning = self.encode(&prompts);
        let original = self.base.encode_images(images);
        let [_, channels, height, width] = original.dims();
        let streams = rows.clone().map(|k| stream(Purpose::Forward, k));
        let noise = normal([1, channels, height, width], streams, &self.device);
        let timesteps: Vec<f64> =
            rows.map(|k| self.base.draw_timestep(&mut stream(Purpose::Timestep, k))).collect();
        let levels = self.base.process().levels(&timesteps, &self.device);
        let sample = levels.mix(original.clone(), noise.clone());
        let target = levels.target(self.base.prediction(), original.clone(), noise.clone());

        let times = self.times(&timesteps);
        if adapter.hypernet().is_some() && self.varies_on_data(update, shard) {
            let data = (&original, &noise, &conditioning);
            losses.metrics.extend(self.variation_on_data(adapter, data, update, shard));
        }
        let (lora, _) =
            adapter.emit(self.base.as_ref(), sample.clone(), times.clone(), &conditioning);
        let output = self.base.predict(sample, times, &conditioning, Some(&lora));
        let loss = (output - target).square().mean();
        let weight = self.settings.regulariser_weight;
        losses.parts.push(Part::new("regulariser", weight, loss));
    }

    /// The [`variation`] at the supervised steps of noised data, where trajectories are not known.
    fn variation_on_data(
        &self,
        adapter: &Adapter,
        (original, noise, conditioning): (&Tensor<4>, &Tensor<4>, &Conditioning),
        update: u64,
        shard: Shard,
    ) -> Vec<(String, f64)> {
        let HyperAlignSettings { variant, key_steps, steps, .. } = &self.settings;
        let scheduler = self.base.scheduler(*steps).expect("checked when the run was set up");
        let [available, ..] = original.dims();
        let rows = available.min(PROBED);
        let conditioning = conditioning.slice(0..rows);
        let (mut samples, mut times) = (Vec::new(), Vec::new());
        let supervised = self.supervised(update, shard, scheduler.as_ref());
        for i in supervised.iter().map(|&i| variant.source_step(i, key_steps)) {
            let levels = Levels::new(vec![scheduler.level(i); rows], &self.device);
            let first = |tensor: &Tensor<4>| tensor.clone().narrow(0, 0, rows);
            samples.push(levels.mix(first(original), first(noise)));
            times.extend(std::iter::repeat_n(scheduler.timestep(i), rows));
        }
        let (_, factors) = burn::module::Module::valid(adapter).emit(
            self.base.as_ref(),
            Tensor::cat(samples, 0),
            self.times(&times),
            &conditioning.repeat(supervised.len()),
        );
        factors.map_or_else(Vec::new, |factors| variation(factors, supervised.len(), rows))
    }

    /// One step of every equal part of those that may be supervised.
    fn supervised(
        &self,
        update: u64,
        shard: Shard,
        scheduler: &dyn hyperalign_core::schedule::Scheduler,
    ) -> Vec<usize> {
        let allowed: Vec<usize> = (0..scheduler.steps())
            .filter(|&i| {
                let signal = scheduler.level(i).signal.powi(2);
                signal >= self.settings.min_signal && signal <= self.settings.max_signal
            })
            .collect();
        let parts = self.settings.supervised_steps.min(allowed.len()).max(1);
        let mut stream = self.stream(Purpose::Timestep, update, usize::MAX - shard.index);
        (0..parts)
            .map(|part| {
                let (low, high) =
                    (part * allowed.len() / parts, (part + 1) * allowed.len() / parts);
                allowed[low + stream.below((high - low).max(1))]
            })
            .collect()
    }

    fn stream(&self, purpose: Purpose, update: u64, k: usize) -> Stream {
        Stream::new(self.seed, purpose, update as u32, k as u32)
    }

    fn encode(&self, prompts: &[String]) -> Conditioning {
        self.base.encode_prompts(prompts).expect("prompts were checked when the run was set up")
    }

    fn times(&self, timesteps: &[f64]) -> Tensor<1> {
        let values: Vec<f32> = timesteps.iter().map(|&t| t as f32).collect();
        Tensor::from_data(&values[..], &self.device)
    }
}
