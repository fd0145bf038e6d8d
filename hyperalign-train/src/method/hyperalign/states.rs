//! States of the model's own trajectories: rolled out once, learned from in several updates.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::Tensor;
use hyperalign_core::{
    contract::Conditioning,
    diffusion::{Level, Levels},
    noise::Purpose,
    schedule::Scheduler,
};
use hyperalign_models::hypernet::Adapter;
use hyperalign_rewards::Prompt;

use super::HyperAlign;
use crate::{
    learner::Shard,
    method::{TrajectorySettings, policy::Policy},
};

/// What the trajectories of one shard leave behind, off the tape.
pub(super) struct States {
    prompts: Vec<Prompt>,
    conditioning: Conditioning,
    /// Supervised steps, in order: one of each equal part of those that may be.
    steps: Vec<usize>,
    /// The samples that entered these steps and those that their updates come from,
    /// `[trajectories, channels, height, width]` each.
    samples: BTreeMap<usize, Tensor<4>>,
}

/// The states of one update: a row for each supervised step of each trajectory, step by step.
pub(super) struct Rows {
    pub(super) steps: usize,
    pub(super) trajectories: usize,
    pub(super) prompts: Vec<Prompt>,
    pub(super) conditioning: Conditioning,
    /// `[rows, channels, height, width]`.
    pub(super) sample: Tensor<4>,
    /// `[rows]`.
    pub(super) times: Tensor<1>,
    pub(super) levels: Levels,
    /// The sample that the update was emitted from, as `sample`, and its time.
    pub(super) source: (Tensor<4>, Tensor<1>),
    /// Each update was emitted from the very sample that it is used for.
    pub(super) are_sources: bool,
}

impl HyperAlign {
    /// Rolls out the trajectories of a shard, as the adapter is at `update`.
    pub(super) fn states(&self, adapter: &Adapter, update: u64, shard: Shard) -> States {
        let setup = &self.setup;
        let TrajectorySettings { variant, key_steps, .. } = &setup.trajectory;
        let rows = shard.samples(self.settings.trajectories);
        let prompts = setup.prompts(update, rows.clone());
        let conditioning = setup.encode(&Prompt::texts(&prompts));
        let scheduler = self.scheduler();
        let supervised = self.supervised(update, shard, scheduler.as_ref());
        let last = supervised.iter().copied().max().unwrap_or(0);
        let policy = Policy::new(setup, scheduler.into(), conditioning.clone());
        let rollout = policy.rollout(adapter, setup.start(update, rows), last, None);
        let sources = supervised.iter().map(|&i| variant.source_step(i, key_steps));
        let kept: BTreeSet<usize> = supervised.iter().copied().chain(sources).collect();
        let samples = kept.into_iter().map(|i| (i, rollout[i].clone())).collect();
        States { prompts, conditioning, steps: supervised, samples }
    }

    /// The states that update number `turn` of a span learns from.
    pub(super) fn rows(&self, states: &States, turn: usize) -> Rows {
        let States { prompts, conditioning, steps, samples } = states;
        let TrajectorySettings { variant, key_steps, .. } = &self.setup.trajectory;
        let scheduler = self.scheduler();
        let share = steps.len() / self.settings.updates_of_a_rollout() as usize;
        let steps = &steps[turn * share..(turn + 1) * share];
        let trajectories = prompts.len();
        let gather = |step: &dyn Fn(usize) -> usize| {
            Tensor::cat(steps.iter().map(|&i| samples[&step(i)].clone()).collect(), 0)
        };
        let times = |step: &dyn Fn(usize) -> usize| {
            let time = |&i: &usize| std::iter::repeat_n(scheduler.timestep(step(i)), trajectories);
            self.setup.times(&steps.iter().flat_map(time).collect::<Vec<f64>>())
        };
        let source = |i: usize| variant.source_step(i, key_steps);
        let levels = steps.iter().map(|&i| scheduler.level(i));
        let levels: Vec<Level> =
            levels.flat_map(|level| std::iter::repeat_n(level, trajectories)).collect();
        Rows {
            steps: steps.len(),
            trajectories,
            prompts: std::iter::repeat_n(prompts.clone(), steps.len()).flatten().collect(),
            conditioning: conditioning.repeat(steps.len()),
            sample: gather(&|i| i),
            times: times(&|i| i),
            levels: Levels::new(levels, &self.setup.materials.device),
            source: (gather(&source), times(&source)),
            are_sources: steps.iter().all(|&i| source(i) == i),
        }
    }

    /// One step of every equal part of those that may be supervised.
    fn supervised(&self, update: u64, shard: Shard, scheduler: &dyn Scheduler) -> Vec<usize> {
        let allowed = self.settings.allowed(scheduler);
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

    fn scheduler(&self) -> Box<dyn Scheduler> {
        let scheduler = self.setup.base().scheduler(self.setup.trajectory.steps);
        scheduler.expect("checked when the run was set up")
    }
}
