//! SPO (Liang et al. 2024, arXiv:2406.04314): preferences between samples of one step.
//!
//! From each sample of a trajectory several next samples are drawn. The one whose one-step estimate is
//! the best and the one whose is the worst make a pair, and the first is to become more likely than
//! the second, beside the base. One of them, any of them, is gone on with.
//!
//! The paper's preference model is step-aware: it is told the timestep of a one-step estimate
//! ([`Reward::score_at`](hyperalign_rewards::Reward::score_at)). Any other reward scores estimates as the
//! pictures that they are.

mod branches;

use burn::tensor::{Tensor, activation::log_sigmoid};
use hyperalign_core::{
    diffusion::Process,
    schedule::{Solver, SolverChoice},
};
use hyperalign_models::hypernet::Adapter;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::branches::Branches;
use super::{
    DataNeed, Method, Needs, NoiseNeed, Plan, RewardNeed, Setup, check, denoising::switched_off,
    policy::one_step_solver,
};
use crate::learner::{Emit, Metric, Names, Objective, Part, SettingsError, Shard};

/// The only part of the loss.
const PREFERENCE: &str = "preference";
/// The mean score of all candidates.
const REWARD: &str = "reward";
/// The share of steps whose candidates differ enough to make a pair.
const DECIDED: &str = "decided_share";
/// The share of pairs of which the better sample has become more likely than the worse.
const ACCURACY: &str = "implicit_accuracy";

/// Hyper-parameters of SPO.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SpoSettings {
    /// Trajectories of an update.
    pub trajectories: usize,
    /// Samples that are drawn of each step.
    pub candidates: usize,
    /// The part at the beginning of the plan whose steps make no pairs, as a share: one-step estimates
    /// are blurs there. Published: 4 of 20 steps.
    pub skipped_share: f64,
    /// Size of the noise: the share of DDIM's, or the diffusion of a flow's SDE.
    pub eta: f64,
    /// What a difference of scores is multiplied with before it is a log-odds: 100 for a cosine, as
    /// CLIP's own, 1 for a score that is one.
    pub score_scale: f64,
    /// How much more probable it must be that the better of a pair is preferred than the worse.
    pub least_preference: f64,
    /// How strongly the model is held to the base: the larger, the closer.
    pub beta: f64,
    /// How far the ratio of a likelihood to the base's may be from 1; beyond, a sample teaches nothing.
    pub clip_range: f64,
}

impl Default for SpoSettings {
    fn default() -> Self {
        Self {
            trajectories: 8,
            candidates: 4,
            skipped_share: 0.2,
            eta: 1.0,
            score_scale: 100.0,
            least_preference: 0.3,
            beta: 10.0,
            clip_range: 0.1,
        }
    }
}

impl SpoSettings {
    /// The steps of a plan of `steps` that make pairs, where they draw noise.
    fn first_step(&self, steps: usize) -> usize {
        (steps as f64 * self.skipped_share) as usize
    }
}

impl Method for SpoSettings {
    type Objective = Spo;

    const NAME: &'static str = "spo";

    fn needs(&self) -> Needs {
        Needs { noise: NoiseNeed::Always, ..Needs::new(RewardNeed::Score, DataNeed::None) }
    }

    fn solver(&self, process: &Process) -> SolverChoice {
        one_step_solver(process, Solver::FlowSdeDance, self.eta)
    }

    fn check(&self, plan: &Plan) -> Result<(), SettingsError> {
        check::batch("method.trajectories", self.trajectories, plan.shards)?;
        let candidates = self.candidates;
        let expected = "2 or more: a pair has two samples";
        check::require(candidates > 1, "method.candidates", candidates, expected)?;
        check::positive("method.eta", self.eta)?;
        check::share("method.skipped_share", self.skipped_share)?;
        let steps = plan.scheduler.steps();
        let left = (self.first_step(steps)..steps).any(|i| plan.scheduler.needs_noise(i));
        let expected = "small enough for a step that draws noise to be left";
        check::require(left, "method.skipped_share", self.skipped_share, expected)?;
        check::positive("method.score_scale", self.score_scale)?;
        let least = self.least_preference;
        let is_difference = (0.0..1.0).contains(&least);
        let expected = "at least 0 and below 1";
        check::require(is_difference, "method.least_preference", least, expected)?;
        check::positive("method.beta", self.beta)?;
        check::positive("method.clip_range", self.clip_range)
    }

    fn objective(&self, setup: Setup) -> Spo {
        Spo { settings: self.clone(), setup }
    }
}

/// `-log sigmoid(beta (ln r_better - ln r_worse))` of each pair, with the ratios of likelihoods to the
/// base's held in a range (arXiv:2406.04314), and the argument of the sigmoid.
///
/// # Shapes
///
/// - `better`, `worse`: logarithms of the ratios, `[pairs]`
/// - output: `[pairs]` each
pub fn step_preference_loss(
    better: Tensor<1>,
    worse: Tensor<1>,
    beta: f64,
    clip_range: f64,
) -> (Tensor<1>, Tensor<1>) {
    // The logarithm of a clamped ratio; a clamp has no gradient outside of its range.
    let [least, most] = [1.0 - clip_range, 1.0 + clip_range];
    let held = |log: Tensor<1>| log.exp().clamp(least, most).log();
    let margin = (held(better) - held(worse)).mul_scalar(beta);
    (log_sigmoid(margin.clone()).neg(), margin)
}

/// The objective of [`SpoSettings`].
pub struct Spo {
    settings: SpoSettings,
    setup: Setup,
}

/// What the shards of an update learn from.
pub struct StepPairs {
    shards: Vec<Branches>,
}

impl StepPairs {
    /// Pairs of all shards.
    pub fn len(&self) -> usize {
        self.shards.iter().map(Branches::pairs).sum()
    }

    /// Whether no candidates differed enough.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Objective for Spo {
    type Module = Adapter;
    type Batch = StepPairs;

    fn names(&self) -> Names {
        Names { parts: vec![PREFERENCE], metrics: vec![REWARD, DECIDED, ACCURACY] }
    }

    fn prepare(&self, adapter: &Adapter, update: u64) -> StepPairs {
        let branches = |adapter: &Adapter, shard| self.branches(adapter, update, shard);
        StepPairs { shards: self.setup.shards(adapter, branches) }
    }

    fn losses(
        &self,
        adapter: &Adapter,
        pairs: &StepPairs,
        _: u64,
        shard: Shard,
        emit: &mut dyn Emit,
    ) {
        let SpoSettings { beta, clip_range, .. } = self.settings;
        let branches = &pairs.shards[shard.index];
        let scores = &branches.scores;
        emit.metric(Metric { name: REWARD, sum: scores.iter().sum(), count: scores.len() });
        let (decided, count) = (branches.pairs() as f64, branches.steps);
        emit.metric(Metric { name: DECIDED, sum: decided, count });
        // A shard without a pair has a loss all the same: 0, on the tape.
        let policy = self.policy(branches.conditioning.clone());
        let lora = policy.lora(adapter, &branches.samples, 0);
        let nothing = lora.iter().map(|(_, delta)| delta.last().clone().sum().mul_scalar(0.0));
        let nothing = nothing.reduce(|sum, one| sum + one).expect("an update has layers");
        emit.part(Part::new(PREFERENCE, 1.0, nothing));
        // A mean over the pairs of all shards, of which there may be more in one than in another.
        let share = shard.count as f64 / pairs.len().max(1) as f64;
        for step in &branches.decided {
            let i = step.i;
            let policy = policy.select(&step.rows);
            let samples: Vec<Tensor<4>> =
                branches.samples[..=i].iter().map(|sample| step.select(sample)).collect();
            let lora = policy.lora(adapter, &samples, i);
            let own = policy.transition(Some(&lora), samples[i].clone(), i);
            let base = policy.transition(Some(&switched_off(&lora)), samples[i].clone(), i);
            let base = base.detach();
            let log_ratio = |sample: &Tensor<4>| {
                let of = |transition: &hyperalign_core::schedule::Transition| {
                    transition.log_prob(sample.clone()).expect("a step of candidates draws noise")
                };
                of(&own) - of(&base).inner()
            };
            let (loss, margin) = step_preference_loss(
                log_ratio(&step.better),
                log_ratio(&step.worse),
                beta,
                clip_range,
            );
            let margins = margin.detach().into_data();
            let right = margins.iter::<f64>().filter(|margin| *margin > 0.0).count();
            let count = step.rows.len();
            emit.metric(Metric { name: ACCURACY, sum: right as f64, count });
            emit.part(Part::new(PREFERENCE, 1.0, loss.sum().mul_scalar(share)));
        }
    }
}

#[cfg(test)]
mod tests {
    use hyperalign_core::{schedule::SchedulerConfig, testing};

    use super::*;

    #[test]
    fn settings_that_cannot_be_are_named() {
        let scheduler = SchedulerConfig::stable_diffusion().ddim(8, 1.0).unwrap();
        let plan = Plan { scheduler: &scheduler, shards: 2 };
        let good = SpoSettings::default();
        assert_eq!(good.check(&plan), Ok(()));
        type Change = fn(&mut SpoSettings);
        let wrong: [(&str, Change); 8] = [
            ("method.trajectories", |s| s.trajectories = 3),
            ("method.candidates", |s| s.candidates = 1),
            ("method.eta", |s| s.eta = 0.0),
            ("method.skipped_share", |s| s.skipped_share = 1.0),
            ("method.score_scale", |s| s.score_scale = -1.0),
            ("method.least_preference", |s| s.least_preference = 1.0),
            ("method.beta", |s| s.beta = 0.0),
            ("method.clip_range", |s| s.clip_range = 0.0),
        ];
        for (name, change) in wrong {
            let mut settings = good.clone();
            change(&mut settings);
            assert_eq!(settings.check(&plan).unwrap_err().name, name);
        }
    }

    #[test]
    fn a_sample_that_has_gone_far_enough_teaches_nothing() {
        let row = |values: [f64; 3]| {
            Tensor::<1>::from_data(values, &testing::device()).autodiff().require_grad()
        };
        let (better, worse) = (row([0.0, 0.5, 0.0]), row([0.0, 0.0, -0.5]));
        let (loss, margin) = step_preference_loss(better.clone(), worse.clone(), 10.0, 0.1);
        let losses: Vec<f64> = loss.clone().detach().into_data().iter::<f64>().collect();
        assert!((losses[0] - std::f64::consts::LN_2).abs() < 1e-6, "{losses:?}");
        let margins: Vec<f64> = margin.detach().into_data().iter::<f64>().collect();
        assert!((margins[1] - 10.0 * 1.1f64.ln()).abs() < 1e-5, "{margins:?}");
        let gradients = loss.sum().backward();
        let of = |leaf: &Tensor<1>| -> Vec<f64> {
            leaf.grad(&gradients).unwrap().into_data().iter::<f64>().collect()
        };
        let (better, worse) = (of(&better), of(&worse));
        assert!((better[0] + 5.0).abs() < 1e-5 && (worse[0] - 5.0).abs() < 1e-5);
        assert_eq!((better[1], worse[2]), (0.0, 0.0));
    }
}
