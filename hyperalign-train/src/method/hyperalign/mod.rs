//! HyperAlign (arXiv:2601.15968): a reward on one-step predictions along the model's own
//! trajectories, and a denoising loss on preferred data that holds it to the data.
//!
//! The paper's loss is `L = L_R + lambda L_G`. Here its whole is divided by lambda, so that the
//! regulariser has the weight 1, which changes neither the direction nor AdamW's step. The same
//! losses train a static LoRA, the control.
//!
//! The paper says nothing of how the gradient of the reward is made usable. Ours: one rollout serves
//! several updates (`states.rs`), each state's gradient is limited to the running median before they
//! are added up ([`Boundary`]), and lambda is found in the first updates from the lengths of the two
//! gradients (`memory.rs`).

mod check;
mod memory;
mod states;
mod variation;
mod views;

use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::tensor::Tensor;
use hyperalign_core::{
    contract::{Denoiser as _, PassStart},
    lora::LoraSet,
    schedule::Scheduler,
};
use hyperalign_models::hypernet::{Adapter, AdapterMeta, Emission};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::{
    memory::Memory,
    states::{Rows, States},
    variation::{VARIATION, variation},
};
use super::{Boundary, DataNeed, Method, Needs, Plan, RewardNeed, Setup};
use crate::learner::{Emit, Metric, Names, Objective, Part, SettingsError, Shard, WeighedPart};

pub use views::Views;

/// The part of the loss, and the value, of the reward.
const REWARD: &str = "reward";
/// The part of the loss on preferred pictures.
const REGULARISER: &str = "regulariser";
/// The share of the states whose gradients were shortened.
const LIMITED: &str = "limited_share";
/// The longest gradient that a state may have.
const LIMIT: &str = "gradient_limit";

/// Hyper-parameters of the losses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HyperAlignSettings {
    /// How much the denoising loss on preferred pictures weighs beside the reward, `lambda`; at 0
    /// there is the reward alone, and no data is needed. Where nothing is said it is found in the
    /// first updates from [`reward_ratio`](Self::reward_ratio).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lambda: Option<f64>,
    /// How many times as long as the regulariser's gradient the reward's is made.
    pub reward_ratio: f64,
    /// Updates that lambda is found in. It is fixed afterwards.
    pub ratio_updates: u64,
    /// Trajectories of a rollout.
    pub trajectories: usize,
    /// Steps of each trajectory that are supervised: one in each of as many equal parts.
    pub supervised_steps: usize,
    /// Updates that learn from the same rollout, each from an equal share of the supervised steps.
    /// Where nothing is said, 4 or 2 if the supervised steps can be shared so, else 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updates_per_rollout: Option<u64>,
    /// Steps whose squared signal level is below this are not supervised: the one-step
    /// prediction is a blur there, and a reward of it means nothing.
    pub min_signal: f64,
    /// Steps whose squared signal level is above this are not supervised: what the picture shows is
    /// settled there, and trajectories need not be followed so far.
    pub max_signal: f64,
    /// Longest gradient of a single state by its update, as a multiple of the running median; 0 for
    /// no limit. The gradients of single states differ by a factor of a hundred; the few long ones
    /// would decide everything.
    pub trajectory_clip: f64,
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
            lambda: None,
            reward_ratio: 3.0,
            ratio_updates: 20,
            trajectories: 16,
            supervised_steps: 4,
            updates_per_rollout: None,
            min_signal: 0.03,
            max_signal: 0.35,
            trajectory_clip: 1.0,
            views: Views::default(),
            preferred_batch: 16,
            caption_dropout: 0.1,
        }
    }
}

impl HyperAlignSettings {
    /// The steps that may be supervised.
    fn allowed(&self, scheduler: &dyn Scheduler) -> Vec<usize> {
        let may = |&i: &usize| {
            let signal = scheduler.level(i).signal.powi(2);
            signal >= self.min_signal && signal <= self.max_signal
        };
        (0..scheduler.steps()).filter(may).collect()
    }

    /// Updates that learn from the same rollout.
    pub fn updates_of_a_rollout(&self) -> u64 {
        let shared = || [4, 2].into_iter().find(|n| self.supervised_steps.is_multiple_of(*n));
        self.updates_per_rollout.unwrap_or_else(|| shared().unwrap_or(1) as u64)
    }

    fn is_regularised(&self) -> bool {
        self.lambda != Some(0.0)
    }
}

impl Method for HyperAlignSettings {
    type Objective = HyperAlign;

    const NAME: &'static str = "hyperalign";

    fn needs(&self) -> Needs {
        let data = if self.is_regularised() { DataNeed::Pictures } else { DataNeed::None };
        Needs::new(RewardNeed::Gradient, data)
    }

    fn span(&self) -> u64 {
        self.updates_of_a_rollout()
    }

    fn check(&self, plan: &Plan) -> Result<(), SettingsError> {
        check::check(self, plan)
    }

    fn objective(&self, setup: Setup) -> HyperAlign {
        HyperAlign { settings: self.clone(), setup, memory: Mutex::default() }
    }

    fn describe(&self, objective: &HyperAlign, meta: &mut AdapterMeta) {
        if let Some(reward) = &mut meta.reward {
            reward.weight = Some(objective.memory().weight(self));
        }
    }
}

/// The objective of [`HyperAlignSettings`].
pub struct HyperAlign {
    settings: HyperAlignSettings,
    setup: Setup,
    memory: Mutex<Memory>,
}

/// A rollout, by shard.
pub struct Trajectories {
    /// The update that it was made for.
    first: u64,
    states: Vec<States>,
}

impl Objective for HyperAlign {
    type Module = Adapter;
    type Batch = Trajectories;

    fn names(&self) -> Names {
        let regularised = self.settings.is_regularised().then_some(REGULARISER);
        Names {
            parts: [REWARD].into_iter().chain(regularised).collect(),
            metrics: [REWARD, LIMIT, LIMITED].into_iter().chain(VARIATION).collect(),
        }
    }

    fn span(&self) -> u64 {
        self.settings.updates_of_a_rollout()
    }

    fn prepare(&self, adapter: &Adapter, update: u64) -> Trajectories {
        let states =
            self.setup.shards(adapter, |adapter, shard| self.states(adapter, update, shard));
        Trajectories { first: update, states }
    }

    fn losses(
        &self,
        adapter: &Adapter,
        batch: &Trajectories,
        update: u64,
        shard: Shard,
        emit: &mut dyn Emit,
    ) {
        let rows = self.rows(&batch.states[shard.index], (update - batch.first) as usize);
        self.reward_loss(adapter, rows, update, shard, emit);
        if self.settings.is_regularised() {
            self.regulariser(adapter, update, shard, emit);
        }
    }

    fn weigh(&self, _: u64, parts: &mut [WeighedPart]) {
        self.memory().weigh(&self.settings, parts);
    }

    fn memory(&self) -> Option<Value> {
        Some(HyperAlign::memory(self).to_json())
    }

    fn recall(&self, memory: Option<Value>) -> Result<(), serde_json::Error> {
        let memory = memory.map(Memory::from_json).transpose()?;
        *HyperAlign::memory(self) = memory.unwrap_or_default();
        Ok(())
    }
}

impl HyperAlign {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `L_R = -mean R(D(x0hat_t), c)` over supervised steps of the model's own trajectories.
    fn reward_loss(
        &self,
        adapter: &Adapter,
        rows: Rows,
        update: u64,
        shard: Shard,
        emit: &mut dyn Emit,
    ) {
        let (source, times) = rows.source.clone();
        let Emission { lora, factors, start } =
            adapter.emit(self.setup.base(), source, times, &rows.conditioning);
        let start = start.filter(|_| rows.are_sources);
        let count = rows.steps * rows.trajectories;
        let boundary = Boundary::new(&lora, count);
        let loss = self.reward(&rows, (&boundary.lora(), start.as_ref()), update, shard).neg();
        let mut gradients = loss.backward();
        let loss = loss.detach();
        emit.metric(Metric::mean(REWARD, -f64::from(loss.clone().into_scalar::<f32>()), count));
        if let Some(factors) = factors {
            let varied = variation(factors, rows.steps, rows.trajectories);
            varied.into_iter().for_each(|metric| emit.metric(metric));
        }

        let gradients = boundary.gradients(&mut gradients);
        let norms = boundary.norms(&gradients);
        let mut shares = vec![1.0; count];
        if self.settings.trajectory_clip > 0.0 {
            let limit = self.memory().limit(&norms, self.settings.trajectory_clip);
            let share = |norm: &f64| if *norm > limit { limit / norm } else { 1.0 };
            shares = norms.iter().map(share).collect();
            emit.metric(Metric::new(LIMIT, limit));
            let limited = shares.iter().filter(|share| **share < 1.0).count();
            emit.metric(Metric { name: LIMITED, sum: limited as f64, count });
        }
        self.memory().take(shard.index, norms);
        let weight = self.memory().weight(&self.settings);
        let stand_in = boundary.pull_back(gradients, &shares);
        emit.part(Part::new(REWARD, weight, stand_in).shown_as(loss));
    }

    /// The mean reward of the one-step predictions of `rows` with an update, and with what its source
    /// has computed of them.
    fn reward(
        &self,
        rows: &Rows,
        (lora, start): (&LoraSet, Option<&PassStart>),
        update: u64,
        shard: Shard,
    ) -> Tensor<1> {
        let base = self.setup.base();
        let Rows { sample, times, levels, conditioning, prompts, .. } = rows;
        let denoiser = self.setup.guided();
        let (entering, at, lora) = (sample.clone(), times.clone(), Some(lora));
        let answer = denoiser.answer_from(start, entering, at, conditioning, lora, None);
        let pred_original = levels.original(base.prediction(), sample.clone(), answer.output);
        let image = self.setup.picture(pred_original);
        let views = &self.settings.views;
        let stream = |number| Views::stream(self.setup.seed, update, shard.index, number);
        let reward = self.setup.reward();
        let timesteps = times.clone().mul_scalar(base.prediction().timesteps_in_unit());
        let timesteps = Tensor::cat(views.prompts(vec![timesteps]), 0);
        let prompts = views.prompts(prompts.clone());
        reward.score_at(views.of(image, stream), &prompts, timesteps).mean()
    }

    /// `L_G`: the denoising loss of the adapted conditional model on preferred pictures.
    fn regulariser(&self, adapter: &Adapter, update: u64, shard: Shard, emit: &mut dyn Emit) {
        let HyperAlignSettings { preferred_batch, caption_dropout, .. } = self.settings;
        let data = self.setup.materials.data.pictures().expect("checked when the run was set up");
        let noised = self.setup.noised(data, (preferred_batch, caption_dropout), update, shard);
        let loss = self.setup.denoising_loss(adapter, &noised);
        emit.part(Part::new(REGULARISER, 1.0, loss));
    }
}
