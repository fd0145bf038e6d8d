//! RAFT (Dong et al. 2023, arXiv:2304.06767): rounds of sampling, ranking by a reward, and the
//! denoising loss on the best.
//!
//! In every round several pictures of each prompt are sampled by the model as it is, and the best of
//! them is learned from. A reward is asked for numbers alone, and cannot be cheated in a direction
//! that the model does not draw by itself.

use burn::tensor::Tensor;
use hyperalign_core::{
    diffusion::Process,
    schedule::{Solver, SolverChoice},
};
use hyperalign_models::hypernet::Adapter;
use hyperalign_rewards::Prompt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    DataNeed, Method, Needs, Plan, RewardNeed, Setup, check,
    policy::{Policy, one_step_solver},
};
use crate::learner::{Emit, Metric, Names, Objective, Part, SettingsError, Shard};

/// The only part of the loss.
const DENOISING: &str = "denoising";
/// The mean score of all candidates.
const REWARD: &str = "reward";
/// The mean score of those that are learned from.
const BEST: &str = "best_reward";

/// Hyper-parameters of RAFT.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RaftSettings {
    /// Prompts of a round. Every update learns from the best picture of each.
    pub prompts: usize,
    /// Pictures of each prompt.
    pub candidates: usize,
    /// Updates that learn from a round, each at other times and with other noise.
    pub updates_per_round: u64,
    /// Probability that a prompt is dropped, so that guidance goes on working.
    pub caption_dropout: f64,
}

impl Default for RaftSettings {
    fn default() -> Self {
        Self { prompts: 16, candidates: 4, updates_per_round: 4, caption_dropout: 0.1 }
    }
}

impl Method for RaftSettings {
    type Objective = Raft;

    const NAME: &'static str = "raft";

    fn needs(&self) -> Needs {
        Needs::new(RewardNeed::Score, DataNeed::None)
    }

    fn solver(&self, process: &Process) -> SolverChoice {
        one_step_solver(process, Solver::FlowEuler, 0.0)
    }

    fn check(&self, plan: &Plan) -> Result<(), SettingsError> {
        check::batch("method.prompts", self.prompts, plan.shards)?;
        let candidates = self.candidates;
        let expected = "2 or more: the best of one is no choice";
        check::require(candidates > 1, "method.candidates", candidates, expected)?;
        check::count("method.updates_per_round", self.updates_per_round)?;
        check::share("method.caption_dropout", self.caption_dropout)
    }

    fn span(&self) -> u64 {
        self.updates_per_round
    }

    fn objective(&self, setup: Setup) -> Raft {
        Raft { settings: self.clone(), setup }
    }
}

/// The objective of [`RaftSettings`].
pub struct Raft {
    settings: RaftSettings,
    setup: Setup,
}

/// What a shard learns from in a round.
pub struct Best {
    prompts: Vec<Prompt>,
    /// The latents of the best pictures, `[prompts, channels, height, width]`.
    original: Tensor<4>,
    /// The scores of all candidates, by candidate and prompt.
    scores: Vec<Vec<f64>>,
}

impl Best {
    /// The prompts.
    pub fn prompts(&self) -> &[Prompt] {
        &self.prompts
    }

    /// The latents of the best pictures, `[prompts, channels, height, width]`.
    pub fn latents(&self) -> &Tensor<4> {
        &self.original
    }

    /// The scores of all candidates, by candidate and prompt.
    pub fn scores(&self) -> &[Vec<f64>] {
        &self.scores
    }

    /// The highest score of each prompt.
    pub fn best(&self) -> Vec<f64> {
        let of = |row: usize| self.scores.iter().map(move |scores| scores[row]);
        (0..self.prompts.len()).map(|row| of(row).fold(f64::MIN, f64::max)).collect()
    }
}

impl Raft {
    fn best(&self, adapter: &Adapter, update: u64, shard: Shard) -> Best {
        let RaftSettings { prompts: count, candidates, .. } = self.settings;
        let Self { setup, .. } = self;
        let rows = shard.samples(count);
        let prompts = setup.prompts(update, rows.clone());
        let plan = setup.plan(self.settings.solver(setup.base().process()));
        let steps = plan.steps();
        let policy = Policy::new(setup, plan.into(), setup.encode(&Prompt::texts(&prompts)));
        let mut best: Vec<(f64, Tensor<4>)> = Vec::new();
        let mut scores = Vec::new();
        for candidate in 0..candidates {
            let start = setup.start(update, rows.clone().map(|k| k * candidates + candidate));
            let samples = policy.rollout(adapter, start, steps, None);
            let end = &samples[steps];
            let found = setup.reward().measure(&setup.picture(end.clone()), &prompts);
            let found: Vec<f64> = found.into_iter().map(f64::from).collect();
            for (row, score) in found.iter().enumerate() {
                let this = || (*score, end.clone().narrow(0, row, 1));
                match best.get_mut(row) {
                    None => best.push(this()),
                    Some(held) if *score > held.0 => *held = this(),
                    Some(_) => {}
                }
            }
            scores.push(found);
        }
        let original = Tensor::cat(best.into_iter().map(|(_, latents)| latents).collect(), 0);
        Best { prompts, original, scores }
    }
}

impl Objective for Raft {
    type Module = Adapter;
    type Batch = Vec<Best>;

    fn names(&self) -> Names {
        Names { parts: vec![DENOISING], metrics: vec![REWARD, BEST] }
    }

    fn span(&self) -> u64 {
        self.settings.updates_per_round
    }

    fn prepare(&self, adapter: &Adapter, update: u64) -> Vec<Best> {
        self.setup.shards(adapter, |adapter, shard| self.best(adapter, update, shard))
    }

    fn losses(
        &self,
        adapter: &Adapter,
        round: &Vec<Best>,
        update: u64,
        shard: Shard,
        emit: &mut dyn Emit,
    ) {
        let RaftSettings { prompts, caption_dropout, .. } = self.settings;
        let best = &round[shard.index];
        let highest = best.best();
        for (name, of) in [(REWARD, best.scores.concat()), (BEST, highest)] {
            emit.metric(Metric { name, sum: of.iter().sum(), count: of.len() });
        }
        let rows = shard.samples(prompts);
        let conditioning =
            self.setup.dropped(Prompt::texts(&best.prompts), caption_dropout, update, rows.clone());
        let noised = self.setup.noise_up(best.original.clone(), conditioning, update, rows);
        let loss = self.setup.denoising_loss(adapter, &noised);
        emit.part(Part::new(DENOISING, 1.0, loss));
    }
}

#[cfg(test)]
mod tests {
    use hyperalign_core::schedule::SchedulerConfig;

    use super::*;

    #[test]
    fn settings_that_cannot_be_are_named() {
        let scheduler = SchedulerConfig::stable_diffusion().ddim(8, 0.0).unwrap();
        let plan = Plan { scheduler: &scheduler, shards: 2 };
        let good = RaftSettings::default();
        assert_eq!(good.check(&plan), Ok(()));
        let named = |settings: RaftSettings| settings.check(&plan).unwrap_err().name;
        assert_eq!(named(RaftSettings { prompts: 3, ..good.clone() }), "method.prompts");
        assert_eq!(named(RaftSettings { candidates: 1, ..good.clone() }), "method.candidates");
        let never = RaftSettings { updates_per_round: 0, ..good };
        assert_eq!(named(never), "method.updates_per_round");
    }
}
