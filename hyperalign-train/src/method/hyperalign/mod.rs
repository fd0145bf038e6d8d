//! HyperAlign (arXiv:2601.15968): a reward on one-step predictions along the model's own
//! trajectories, and a denoising loss on preferred data that holds it to the data.
//!
//! The paper's loss is `L = L_R + lambda L_G`. Here its whole is divided by lambda, so that the
//! regulariser has the weight 1, which changes neither the direction nor AdamW's step. The same
//! losses train a static LoRA, the control.

mod check;
mod variation;
mod views;

use burn::tensor::Tensor;
use hyperalign_core::{
    denoiser::Denoiser as _,
    diffusion::{Level, Levels},
    noise::Purpose,
    schedule::Scheduler,
};
use hyperalign_models::hypernet::Adapter;
use hyperalign_rewards::Prompt;
use serde::{Deserialize, Serialize};

use self::variation::{VARIATION, variation};
use super::{
    DataNeed, Method, Needs, Plan, RewardNeed, Setup, TrajectorySettings,
    rollout::{Rollout, guided, start_stream},
};
use crate::learner::{Emit, Metric, Names, Objective, Part, SettingsError, Shard};

pub use views::Views;

/// The part of the loss, and the value, of the reward.
const REWARD: &str = "reward";
/// The part of the loss on preferred pictures.
const REGULARISER: &str = "regulariser";

/// Hyper-parameters of the losses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HyperAlignSettings {
    /// How much the denoising loss on preferred pictures weighs beside the reward, `lambda`; at 0
    /// there is the reward alone, and no data is needed.
    pub lambda: f64,
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
            // With the clip below the reward's gradient is as long as the regulariser's.
            lambda: 20.0,
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
    /// The weight of the reward where the regulariser's is 1.
    fn reward_weight(&self) -> f64 {
        if self.lambda == 0.0 { 1.0 } else { 1.0 / self.lambda }
    }
}

impl Method for HyperAlignSettings {
    type Objective = HyperAlign;

    const NAME: &'static str = "hyperalign";

    fn needs(&self) -> Needs {
        Needs {
            reward: RewardNeed::Gradient,
            data: if self.lambda == 0.0 { DataNeed::None } else { DataNeed::Pictures },
            stochastic: false,
            variant: true,
        }
    }

    fn check(&self, plan: &Plan) -> Result<(), SettingsError> {
        check::check(self, plan)
    }

    fn objective(&self, setup: Setup) -> HyperAlign {
        HyperAlign { settings: self.clone(), setup }
    }
}

/// The objective of [`HyperAlignSettings`].
pub struct HyperAlign {
    settings: HyperAlignSettings,
    setup: Setup,
}

impl Objective for HyperAlign {
    type Module = Adapter;
    type Batch = ();

    fn names(&self) -> Names {
        let regularised = (self.settings.lambda != 0.0).then_some(REGULARISER);
        Names {
            parts: [REWARD].into_iter().chain(regularised).collect(),
            metrics: [REWARD].into_iter().chain(VARIATION).collect(),
        }
    }

    fn prepare(&self, _: &Adapter, _: u64) {}

    fn losses(&self, adapter: &Adapter, (): &(), update: u64, shard: Shard, emit: &mut dyn Emit) {
        self.reward_loss(adapter, update, shard, emit);
        if self.settings.lambda != 0.0 {
            self.regulariser(adapter, update, shard, emit);
        }
    }
}

impl HyperAlign {
    /// `L_R = -mean R(D(x0hat_t), c)` over supervised steps of the model's own trajectories.
    fn reward_loss(&self, adapter: &Adapter, update: u64, shard: Shard, emit: &mut dyn Emit) {
        let Setup { materials, trajectory, .. } = &self.setup;
        let TrajectorySettings { variant, key_steps, steps, guidance_scale } = trajectory;
        let base = self.setup.base();
        let rows = shard.samples(self.settings.trajectories);
        let prompts: Vec<String> = rows
            .clone()
            .map(|k| self.setup.stream(Purpose::Data, update, k).pick(&materials.prompts).clone())
            .collect();
        let conditioning = self.setup.encode(&prompts);
        let scheduler = base.scheduler(*steps);
        let scheduler = scheduler.expect("checked when the run was set up");
        let supervised = self.supervised(update, shard, scheduler.as_ref());
        let last = supervised.iter().copied().max().unwrap_or(0);

        // Off the tape: the rollout sees a plain copy, and keeps nothing for a backward pass.
        let plain = burn::module::Module::valid(adapter);
        let rollout = Rollout::run(
            base,
            &plain,
            *variant,
            key_steps,
            *steps,
            *guidance_scale,
            &conditioning,
            rows.clone().map(|k| start_stream(self.setup.seed, update, k)),
            last,
        );

        // All supervised steps of all trajectories in one batch, step by step.
        let count = rows.len();
        let gather = |step: &dyn Fn(usize) -> usize| {
            let samples = supervised.iter().map(|&i| rollout.sample(step(i)).clone());
            Tensor::cat(samples.collect(), 0)
        };
        let times = |step: &dyn Fn(usize) -> usize| {
            let time = |&i: &usize| scheduler.timestep(step(i));
            let each = supervised.iter().map(time).flat_map(|t| std::iter::repeat_n(t, count));
            self.setup.times(&each.collect::<Vec<f64>>())
        };
        let source = |i: usize| variant.source_step(i, key_steps);
        let conditioning = conditioning.repeat(supervised.len());
        let (lora, factors) = adapter.emit(base, gather(&source), times(&source), &conditioning);
        let sample = gather(&|i| i);
        let output = guided(base, &base.unconditional(), *guidance_scale).predict(
            sample.clone(),
            times(&|i| i),
            &conditioning,
            Some(&lora),
        );
        let levels = supervised.iter().map(|&i| scheduler.level(i));
        let levels: Vec<Level> = levels.flat_map(|l| std::iter::repeat_n(l, count)).collect();
        let levels = Levels::new(levels, &materials.device);
        let pred_original = levels.original(base.prediction(), sample, output);
        let image = self.setup.picture(pred_original);
        let prompts: Vec<String> =
            std::iter::repeat_n(prompts, supervised.len()).flatten().collect();
        let views = &self.settings.views;
        let stream = |number| Views::stream(self.setup.seed, update, shard.index, number);
        let reward = self.setup.reward();
        let prompts = Prompt::of(&views.prompts(prompts));
        let reward = reward.score(views.of(image, stream), &prompts).mean();

        let score = reward.clone().detach().into_scalar::<f32>();
        emit.metric(Metric::mean(REWARD, score.into(), count * supervised.len()));
        if let Some(factors) = factors {
            let varied = variation(factors, supervised.len(), count);
            varied.into_iter().for_each(|metric| emit.metric(metric));
        }
        let weight = self.settings.reward_weight();
        emit.part(Part::new(REWARD, weight, reward.neg()).clipped(self.settings.reward_clip));
    }

    /// `L_G`: the denoising loss of the adapted conditional model on preferred pictures.
    fn regulariser(&self, adapter: &Adapter, update: u64, shard: Shard, emit: &mut dyn Emit) {
        let HyperAlignSettings { preferred_batch, caption_dropout, .. } = self.settings;
        let data = self.setup.materials.data.pictures().expect("checked when the run was set up");
        let noised = self.setup.noised(data, (preferred_batch, caption_dropout), update, shard);
        let lora = self.setup.emit(adapter, &noised);
        let loss = self.setup.squared_error(&noised, Some(&lora)).mean();
        emit.part(Part::new(REGULARISER, 1.0, loss));
    }

    /// One step of every equal part of those that may be supervised.
    fn supervised(&self, update: u64, shard: Shard, scheduler: &dyn Scheduler) -> Vec<usize> {
        let allowed: Vec<usize> = (0..scheduler.steps())
            .filter(|&i| {
                let signal = scheduler.level(i).signal.powi(2);
                signal >= self.settings.min_signal && signal <= self.settings.max_signal
            })
            .collect();
        let parts = self.settings.supervised_steps.min(allowed.len()).max(1);
        let mut stream = self.setup.stream(Purpose::Timestep, update, usize::MAX - shard.index);
        (0..parts)
            .map(|part| {
                let (low, high) =
                    (part * allowed.len() / parts, (part + 1) * allowed.len() / parts);
                allowed[low + stream.below((high - low).max(1))]
            })
            .collect()
    }
}
