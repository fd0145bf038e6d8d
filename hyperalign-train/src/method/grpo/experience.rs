//! What a rollout leaves to learn from.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use burn::{module::Module, tensor::Tensor};
use hyperalign_core::{
    contract::Conditioning,
    noise::Purpose,
    rows::select_rows,
    schedule::{MixedScheduler, Scheduler, ShortTail, Transition},
};
use hyperalign_models::hypernet::Adapter;
use hyperalign_rewards::{Prompt, RewardTerm};

use super::{FirstNoise, Grpo, Recipe, Summed, advantages, advantages_of_each};
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
    /// The scores of each of the rewards that `scores` are of, where their advantages are summed.
    terms: Vec<Vec<f64>>,
    pub(super) advantages: Vec<f64>,
    /// In the order of steps.
    pub(super) learned: Vec<Learned>,
}

/// A step that is learned from.
pub(super) struct Learned {
    pub(super) i: usize,
    /// The trajectories that learn from it.
    pub(super) rows: Vec<usize>,
    /// What it was drawn from; none for the first update, whose model drew it.
    pub(super) old: Option<Drawn>,
}

/// What the samples of a step were drawn from, off the tape.
#[derive(Debug, Clone)]
pub struct Drawn {
    /// Their log-likelihoods, `[rows]`.
    pub log_prob: Tensor<1>,
    /// Their distributions.
    pub transition: Transition,
}

impl Drawn {
    /// Of `samples` that were drawn from `transition`.
    ///
    /// # Panics
    ///
    /// Panics for a deterministic step.
    pub fn of(transition: &Transition, samples: &Tensor<4>) -> Self {
        let log_prob = transition.log_prob(samples.clone());
        let log_prob = log_prob.expect("what is learned from was drawn");
        Self { log_prob: log_prob.detach().inner(), transition: transition.detach().inner() }
    }
}

impl Experience {
    /// How much better the pictures are than the others of their groups.
    pub fn advantages(&self) -> &[f64] {
        &self.advantages
    }

    /// Steps that the trajectories took.
    pub fn steps(&self) -> usize {
        self.samples.len() - 1
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
        let end = noisy.end;
        let plan = MixedScheduler::new(plan(self.recipe.eta), plan(0.0), noisy);
        let plan: Arc<dyn Scheduler> = match self.recipe.tail {
            1.0 => Arc::new(plan),
            kept => Arc::new(ShortTail::new(Box::new(plan), end, kept)),
        };
        Policy::new(&self.setup, plan, conditioning)
    }

    /// Rolls out and scores the groups that the span of updates from `update` on learns from.
    pub(super) fn experiences(&self, adapter: &Adapter, update: u64) -> Experiences {
        let Recipe { updates_per_rollout, group_size, advantage_clip: clip, spread, .. } =
            self.recipe;
        let noisy = self.recipe.noisy;
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
        let advantages = match self.recipe.summed {
            Summed::Scores => advantages(&scores, group_size, spread, clip),
            Summed::Advantages => {
                let of_term = |(k, term): (usize, RewardTerm)| {
                    let of = |experience: &Experience| experience.terms[k].clone();
                    (term.weight, turns.iter().flatten().flat_map(of).collect())
                };
                let terms = self.setup.reward().terms().into_iter().enumerate();
                let terms: Vec<(f64, Vec<f64>)> = terms.map(of_term).collect();
                advantages_of_each(&terms, group_size, spread, clip)
            }
        };
        let mut advantages = advantages.into_iter();
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
        let (scores, terms) = self.scored(&images, &prompts);
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
            scores,
            terms,
            advantages: Vec::new(),
            learned: learned.collect(),
        };
        if turn > 0 {
            self.remember(adapter, &policy, &mut experience);
        }
        experience
    }

    /// The scores of pictures, and those of each reward where they are wanted.
    fn scored(&self, images: &Tensor<4>, prompts: &[Prompt]) -> (Vec<f64>, Vec<Vec<f64>>) {
        let reward = self.setup.reward();
        let wide = |scores: Vec<f32>| scores.into_iter().map(f64::from).collect::<Vec<f64>>();
        if self.recipe.summed == Summed::Scores {
            return (wide(reward.measure(images, prompts)), Vec::new());
        }
        let terms: Vec<Vec<f64>> =
            reward.measure_terms(images, prompts).into_iter().map(wide).collect();
        let weights: Vec<f64> = reward.terms().iter().map(|term| term.weight).collect();
        let sum = |picture: usize| -> f64 {
            terms.iter().zip(&weights).map(|(scores, weight)| weight * scores[picture]).sum()
        };
        ((0..prompts.len()).map(sum).collect(), terms)
    }

    /// Writes down the likelihoods that steps were drawn under, for updates whose model will be
    /// another. They are computed as the loss computes them, on the tape and for the same rows: where
    /// nothing is tracked kernels add up in another order, and ranges of ratios are narrower than
    /// what that makes of a likelihood in half precision.
    fn remember(&self, adapter: &Adapter, policy: &Policy, experience: &mut Experience) {
        let adapter = adapter.clone().train();
        let drawn = |step: &Learned| {
            let (policy, samples) = experience.of_rows(policy, &step.rows, step.i);
            let lora = policy.lora(&adapter, &samples, step.i);
            let transition = policy.transition(Some(&lora), samples[step.i].clone(), step.i);
            Drawn::of(&transition, &samples[step.i + 1])
        };
        let old: Vec<_> = experience.learned.iter().map(drawn).collect();
        for (step, old) in experience.learned.iter_mut().zip(old) {
            step.old = Some(old);
        }
    }
}
