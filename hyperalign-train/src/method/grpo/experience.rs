//! What a rollout leaves to learn from.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use burn::{module::Module, tensor::Tensor};
use hyperalign_core::{
    contract::Conditioning, noise::Purpose, rows::select_rows, schedule::MixedScheduler,
};
use hyperalign_models::hypernet::Adapter;
use hyperalign_rewards::Prompt;

use super::{FirstNoise, Grpo, Recipe, advantages::advantages};
use crate::{learner::Shard, method::policy::Policy};

/// A rollout, shared out to the updates that learn from it and to their shards.
pub struct Experiences {
    /// The update that it was made for.
    pub(super) first: u64,
    /// The steps that drew noise.
    pub(super) noisy: Range<usize>,
    /// The scores of all pictures, group by group.
    pub(super) scores: Vec<f64>,
    /// By update and shard.
    pub(super) turns: Vec<Vec<Experience>>,
}

impl Experiences {
    /// The scores of all pictures, group by group.
    pub fn scores(&self) -> &[f64] {
        &self.scores
    }

    /// What each shard of update number `turn` of the span learns from.
    pub fn of_update(&self, turn: usize) -> &[Experience] {
        &self.turns[turn]
    }
}

/// The trajectories that a shard learns from, off the tape.
pub struct Experience {
    conditioning: Conditioning,
    /// The samples that entered the steps, and the last one, `[rows, channels, height, width]` each.
    samples: Vec<Tensor<4>>,
    pub(super) scores: Vec<f64>,
    pub(super) advantages: Vec<f64>,
    /// In the order of steps.
    pub(super) learned: Vec<Learned>,
}

/// A step that is learned from.
pub(super) struct Learned {
    pub(super) i: usize,
    /// The trajectories that learn from it.
    pub(super) rows: Vec<usize>,
    /// The log-likelihoods that it was drawn under, `[rows]`; none for the first update, whose model
    /// drew it.
    pub(super) old: Option<Tensor<1>>,
}

impl Experience {
    /// How much better the pictures are than the others of their groups.
    pub fn advantages(&self) -> &[f64] {
        &self.advantages
    }

    /// The steps that are learned from, and by how many trajectories.
    pub fn learned(&self) -> impl Iterator<Item = (usize, usize)> {
        self.learned.iter().map(|learned| (learned.i, learned.rows.len()))
    }

    /// The policy and the samples up to the end of step `i` of these trajectories.
    pub(super) fn of_rows<'a>(
        &self,
        policy: &Policy<'a>,
        rows: &[usize],
        i: usize,
    ) -> (Policy<'a>, Vec<Tensor<4>>) {
        let samples = &self.samples[..i + 2];
        if rows.len() == self.scores.len() {
            return (policy.clone(), samples.to_vec());
        }
        let select = |sample: &Tensor<4>| select_rows(sample.clone(), rows);
        (policy.select(rows), samples.iter().map(select).collect())
    }
}

impl Grpo {
    /// The plan of a rollout, with noise in the steps `noisy`, and the prompts of an experience.
    pub(super) fn policy(&self, experience: &Experience, noisy: Range<usize>) -> Policy<'_> {
        self.policy_of(experience.conditioning.clone(), noisy)
    }

    fn policy_of(&self, conditioning: Conditioning, noisy: Range<usize>) -> Policy<'_> {
        let process = self.setup.base().process();
        let plan = |eta| self.setup.plan(self.recipe.solver_with(process, eta));
        let plan = MixedScheduler::new(plan(self.recipe.eta), plan(0.0), noisy);
        Policy::new(&self.setup, Arc::new(plan), conditioning)
    }

    /// Rolls out and scores the groups that the span of updates from `update` on learns from.
    pub(super) fn experiences(&self, adapter: &Adapter, update: u64) -> Experiences {
        let Recipe { updates_per_rollout, group_size, advantage_clip, spread, noisy, .. } =
            self.recipe;
        let mut stream = self.setup.update_stream(update);
        let steps = self.setup.trajectory.steps;
        let noisy = noisy.steps(update / updates_per_rollout, steps, &mut stream);
        let of_turn = |turn: usize| {
            self.setup.shards(adapter, |adapter, shard| {
                self.experience(adapter, update, turn, shard, noisy.clone())
            })
        };
        let mut turns: Vec<Vec<Experience>> =
            (0..updates_per_rollout as usize).map(of_turn).collect();
        let scores: Vec<f64> =
            turns.iter().flatten().flat_map(|experience| experience.scores.clone()).collect();
        let mut advantages = advantages(&scores, group_size, spread, advantage_clip).into_iter();
        for experience in turns.iter_mut().flatten() {
            experience.advantages = advantages.by_ref().take(experience.scores.len()).collect();
        }
        Experiences { first: update, noisy, scores, turns }
    }

    fn experience(
        &self,
        adapter: &Adapter,
        update: u64,
        turn: usize,
        shard: Shard,
        noisy: Range<usize>,
    ) -> Experience {
        let Recipe { group_size, updates_per_rollout, first_noise, .. } = self.recipe;
        let setup = &self.setup;
        let pictures = self.recipe.pictures() / updates_per_rollout as usize;
        let rows: Vec<usize> = shard.samples(pictures).map(|row| turn * pictures + row).collect();
        let prompts = setup.prompts(update, rows.iter().map(|k| k / group_size));
        let conditioning = setup.encode(&Prompt::texts(&prompts));
        let policy = self.policy_of(conditioning.clone(), noisy.clone());
        let steps = policy.scheduler().steps();
        let first = |k: &usize| match first_noise {
            FirstNoise::Shared => k / group_size,
            FirstNoise::Own => *k,
        };
        let start = setup.start(update, rows.iter().map(first));
        let noise = |i: usize| {
            let stream = |k: &usize| setup.stream(Purpose::Sampler, update, k * steps + i);
            setup.noise(rows.iter().map(stream))
        };
        let samples = policy.rollout(adapter, start, steps, Some(&noise));
        let images = setup.picture(samples[steps].clone());
        let scores = setup.reward().measure(&images, &prompts);
        let mut of_step: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (row, k) in rows.iter().enumerate() {
            let mut stream = setup.stream(Purpose::Timestep, update, *k);
            for i in self.recipe.noisy.learned(noisy.clone(), &mut stream) {
                of_step.entry(i).or_default().push(row);
            }
        }
        let learned = of_step.into_iter().map(|(i, rows)| Learned { i, rows, old: None });
        let mut experience = Experience {
            conditioning,
            samples,
            scores: scores.into_iter().map(f64::from).collect(),
            advantages: Vec::new(),
            learned: learned.collect(),
        };
        if turn > 0 {
            self.remember(adapter, &policy, &mut experience);
        }
        experience
    }

    /// Writes down the likelihoods that steps were drawn under, for updates whose model will be
    /// another. They are computed as the loss computes them, on the tape and for the same rows: where
    /// nothing is tracked kernels add up in another order, and ranges of ratios are narrower than
    /// what that makes of a likelihood in half precision.
    fn remember(&self, adapter: &Adapter, policy: &Policy, experience: &mut Experience) {
        let adapter = adapter.clone().train();
        let log_prob = |step: &Learned| {
            let (policy, samples) = experience.of_rows(policy, &step.rows, step.i);
            let lora = policy.lora(&adapter, &samples, step.i);
            let transition = policy.transition(Some(&lora), samples[step.i].clone(), step.i);
            transition.log_prob(samples[step.i + 1].clone()).map(|old| old.detach().inner())
        };
        let old: Vec<_> = experience.learned.iter().map(log_prob).collect();
        for (step, old) in experience.learned.iter_mut().zip(old) {
            step.old = old;
        }
    }
}
