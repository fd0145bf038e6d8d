//! Policy gradients within groups (GRPO, Shao et al. 2024, arXiv:2402.03300, eq. 3) for samplers that
//! draw noise: what DanceGRPO, Flow-GRPO and MixGRPO share.
//!
//! Several pictures of a prompt are sampled and scored; a picture's advantage is how much better it is
//! than the others. Then the steps that made a good picture are made more likely, and those of a bad
//! one less, as far as the ratio to the likelihood under which they were drawn stays in a range. A
//! reward is asked for numbers alone.

mod advantages;
mod dance;
mod experience;
mod flow;
mod mix;
mod window;

use burn::tensor::Tensor;
use hyperalign_core::{
    contract::Prediction,
    diffusion::Process,
    schedule::{Solver, SolverChoice, Transition},
};
use hyperalign_models::hypernet::Adapter;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::{advantages::spread_within, window::Noisy};
use super::{Plan, Setup, check, denoising::switched_off, policy::one_step_solver};
use crate::learner::{Emit, Metric, Names, Objective, Part, SettingsError, Shard};

pub use advantages::{Spread, Summed, advantages, advantages_of_each};
pub use dance::DanceGrpoSettings;
pub use experience::{Drawn, Experience, Experiences};
pub use flow::{FlowGrpoSettings, FlowSampling};
pub use mix::MixGrpoSettings;
pub use window::WindowSchedule;

/// The only part of the loss.
const POLICY: &str = "policy";
/// The mean score.
const REWARD: &str = "reward";
/// The standard deviation of scores within groups.
const SPREAD: &str = "reward_spread";
/// How far ratios of likelihoods are from 1.
const RATIO: &str = "ratio_deviation";
/// The share of steps whose ratio has left its range, and that teach nothing.
const CLIPPED: &str = "clipped_share";
/// The divergence of a step from the base's.
const DIVERGENCE: &str = "divergence";

/// What the pictures of a group start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FirstNoise {
    /// The same noise: what differs is what the steps draw.
    #[default]
    Shared,
    /// Noise of their own.
    Own,
}

/// What is held in a range: the ratio of likelihoods of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Ratios {
    /// As it is. The steps of low noise deviate from 1 by far more than those of high noise, and all
    /// of them are below 1 on average: the range stops few of the steps that go too far.
    #[default]
    Plain,
    /// Normalised to the same mean and deviation at every step, and its loss weighed by the length of
    /// the step (GRPO-Guard, Wang et al. 2025, arXiv:2510.22319). For flows. Ratios are smaller by the
    /// deviation of the step's noise, and so is the range that suits them.
    Guarded,
}

/// What one of the papers makes of the parts.
#[derive(Debug, Clone, PartialEq)]
struct Recipe {
    groups: usize,
    group_size: usize,
    updates_per_rollout: u64,
    /// The solver of flows.
    flow: Solver,
    eta: f64,
    noisy: Noisy,
    clip_range: f64,
    advantage_clip: f64,
    kl_weight: f64,
    first_noise: FirstNoise,
    spread: Spread,
    /// What of several rewards is added up.
    summed: Summed,
    /// What the range of ratios is of.
    ratios: Ratios,
    /// The share of the steps after the window that a rollout takes.
    tail: f64,
}

impl Recipe {
    /// The solver that the steps with noise are taken by.
    fn solver(&self, process: &Process) -> SolverChoice {
        self.solver_with(process, self.eta)
    }

    /// The same with noise of another size.
    fn solver_with(&self, process: &Process, eta: f64) -> SolverChoice {
        one_step_solver(process, self.flow, eta)
    }

    /// Pictures of a rollout.
    fn pictures(&self) -> usize {
        self.groups * self.group_size
    }

    fn check(&self, plan: &Plan) -> Result<(), SettingsError> {
        let Self { groups, group_size, updates_per_rollout: updates, eta, .. } = *self;
        check::count("method.groups", groups as u64)?;
        let expected = "2 or more: a picture is compared with the others of its prompt";
        check::require(group_size > 1, "method.group_size", group_size, expected)?;
        check::count("method.updates_per_rollout", updates)?;
        let parts = plan.shards * updates as usize;
        let expected = format!(
            "chosen so that groups * group_size, {}, is a multiple of training.shards * \
             training.accumulate * method.updates_per_rollout, {parts}",
            self.pictures()
        );
        let fits = self.pictures().is_multiple_of(parts);
        check::require(fits, "method.groups", groups, expected)?;
        check::positive("method.eta", eta)?;
        check::positive("method.clip_range", self.clip_range)?;
        check::positive("method.advantage_clip", self.advantage_clip)?;
        check::weight("method.kl_weight", self.kl_weight)?;
        let is_flow = plan.scheduler.prediction() == Prediction::Velocity;
        let expected = "`plain` for a diffusion: `guarded` is defined for rectified flows";
        let fits = is_flow || self.ratios == Ratios::Plain;
        check::require(fits, "method.ratios", "guarded", expected)?;
        let fits = self.tail > 0.0 && self.tail <= 1.0;
        check::require(fits, "method.tail", self.tail, "above 0 and at most 1")?;
        let steps = plan.scheduler.steps();
        check::require(steps > 1, "trajectory.steps", steps, "2 or more: the last draws no noise")?;
        match self.noisy {
            Noisy::All { learned } => {
                let is_share = learned > 0.0 && learned <= 1.0;
                let expected = "above 0 and at most 1";
                check::require(is_share, "method.learned_steps", learned, expected)
            }
            Noisy::Window { size, rollouts, .. } => {
                check::count("method.rollouts_per_window", rollouts)?;
                check_window(size, steps)
            }
            Noisy::FirstHalf { size } => check_window(size, steps),
        }
    }
}

fn check_window(size: usize, steps: usize) -> Result<(), SettingsError> {
    let expected = format!("from 1 to trajectory.steps - 1, {}", steps - 1);
    check::require((1..steps).contains(&size), "method.window", size, expected)
}

/// `max(-A r, -A clamp(r, 1 - range, 1 + range))` of each step with its ratio of likelihoods
/// `r = exp(log_prob - old)` (Schulman et al. 2017, arXiv:1707.06347, eq. 7), and the ratios. At a ratio
/// of 1 its gradient is that of REINFORCE, `-A` times that of the log-likelihood.
///
/// # Shapes
///
/// - all: `[rows]`
pub fn policy_loss(
    log_prob: Tensor<1>,
    old: Tensor<1>,
    advantages: &[f64],
    clip_range: f64,
) -> (Tensor<1>, Tensor<1>) {
    let device = old.device();
    let row = |value: &dyn Fn(f64) -> f64| -> Tensor<1> {
        let values: Vec<f64> = advantages.iter().map(|advantage| value(*advantage)).collect();
        Tensor::from_data(&values[..], &device)
    };
    let ratio = (log_prob - old).exp();
    // The range is closed on one side only: where a ratio has gone the wrong way it is led back.
    let most =
        row(&|advantage| if advantage > 0.0 { 1.0 + clip_range } else { f64::from(f32::MAX) });
    let least = row(&|advantage| if advantage > 0.0 { 0.0 } else { 1.0 - clip_range });
    let bounded = ratio.clone().min_pair(most).max_pair(least);
    (bounded * row(&|advantage| -advantage), ratio)
}

/// The logarithm of a guarded ratio, `s (log p - log p_old + |mu - mu_old|^2 / (2 s^2))` for the
/// deviation `s` of the step's noise (GRPO-Guard, Wang et al. 2025, arXiv:2510.22319, eq. 8). With the
/// noise `z` that was drawn it is the mean of `(mu - mu_old) z` over all numbers of a latent: 0 on
/// average, and of the same size at every step.
///
/// # Shapes
///
/// - `log_prob`, output: `[rows]`
///
/// # Panics
///
/// Panics for a deterministic step.
pub fn guarded(log_prob: Tensor<1>, new: &Transition, old: &Drawn) -> Tensor<1> {
    let moved = new.kl(&old.transition).expect("what is learned from was drawn");
    (log_prob - old.log_prob.clone() + moved).mul_scalar(new.deviation)
}

/// The objective of [`DanceGrpoSettings`], [`FlowGrpoSettings`] and [`MixGrpoSettings`].
pub struct Grpo {
    recipe: Recipe,
    setup: Setup,
}

impl Grpo {
    fn new(recipe: Recipe, setup: Setup) -> Self {
        Self { recipe, setup }
    }
}

impl Objective for Grpo {
    type Module = Adapter;
    type Batch = Experiences;

    fn names(&self) -> Names {
        let divergence = (self.recipe.kl_weight > 0.0).then_some(DIVERGENCE);
        let metrics = [REWARD, SPREAD, RATIO, CLIPPED].into_iter().chain(divergence);
        Names { parts: vec![POLICY], metrics: metrics.collect() }
    }

    fn span(&self) -> u64 {
        self.recipe.updates_per_rollout
    }

    fn prepare(&self, adapter: &Adapter, update: u64) -> Experiences {
        self.experiences(adapter, update)
    }

    fn losses(
        &self,
        adapter: &Adapter,
        batch: &Experiences,
        update: u64,
        shard: Shard,
        emit: &mut dyn Emit,
    ) {
        let Recipe { clip_range, kl_weight, group_size, .. } = self.recipe;
        let turn = (update - batch.first) as usize;
        let experience = &batch.turns[turn][shard.index];
        let policy = self.policy(experience, batch.noisy.clone());
        let learned: usize = experience.learned.iter().map(|learned| learned.rows.len()).sum();
        let rows = experience.scores.len();
        emit.metric(Metric { name: REWARD, sum: experience.scores.iter().sum(), count: rows });
        emit.metric(Metric::new(SPREAD, spread_within(&batch.scores, group_size)));
        for step in &experience.learned {
            let i = step.i;
            let (policy, samples) = experience.of_rows(&policy, &step.rows, i);
            let lora = policy.lora(adapter, &samples, i);
            let transition = policy.transition(Some(&lora), samples[i].clone(), i);
            let log_prob = transition.log_prob(samples[i + 1].clone());
            let log_prob = log_prob.expect("what is learned from was drawn");
            // Before the first update the model is the one that drew.
            let old = step.old.clone().unwrap_or_else(|| Drawn::of(&transition, &samples[i + 1]));
            let advantages: Vec<f64> =
                step.rows.iter().map(|row| experience.advantages[*row]).collect();
            let (mut loss, ratio) = match self.recipe.ratios {
                Ratios::Plain => policy_loss(log_prob, old.log_prob, &advantages, clip_range),
                Ratios::Guarded => {
                    let scheduler = policy.scheduler();
                    let length = scheduler.level(i).noise - scheduler.level(i + 1).noise;
                    let log_ratio = guarded(log_prob, &transition, &old);
                    let none = old.log_prob.zeros_like();
                    let (loss, ratio) = policy_loss(log_ratio, none, &advantages, clip_range);
                    (loss.div_scalar(length), ratio)
                }
            };
            if kl_weight > 0.0 {
                let base = policy.transition(Some(&switched_off(&lora)), samples[i].clone(), i);
                let divergence = transition.kl(&base.detach());
                let divergence = divergence.expect("what is learned from was drawn");
                let sum = divergence.clone().detach().sum().into_scalar::<f64>();
                emit.metric(Metric { name: DIVERGENCE, sum, count: step.rows.len() });
                loss = loss + divergence * kl_weight;
            }
            watch(&ratio, &advantages, clip_range, emit);
            emit.part(Part::new(POLICY, 1.0, loss.sum().div_scalar(learned as f64)));
        }
    }
}

/// Logs what has become of the ratios of a step.
fn watch(ratio: &Tensor<1>, advantages: &[f64], clip_range: f64, emit: &mut dyn Emit) {
    let ratios: Vec<f64> = ratio.clone().detach().into_data().iter::<f64>().collect();
    let count = ratios.len();
    let sum = ratios.iter().map(|ratio| (ratio - 1.0).abs()).sum();
    emit.metric(Metric { name: RATIO, sum, count });
    let has_left = |(ratio, advantage): &(&f64, &f64)| match **advantage > 0.0 {
        true => **ratio > 1.0 + clip_range,
        false => **ratio < 1.0 - clip_range,
    };
    let clipped = ratios.iter().zip(advantages).filter(has_left).count();
    emit.metric(Metric { name: CLIPPED, sum: clipped as f64, count });
}

#[cfg(test)]
mod tests {
    use hyperalign_core::testing;

    use super::*;

    fn gradient(log_ratios: &[f64], advantages: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let device = testing::device();
        let old = Tensor::<1>::from_data([-1.5f64, 0.3, 2.0, -0.2], &device);
        let new = old.clone() + Tensor::<1>::from_data(log_ratios, &device);
        let new = new.autodiff().require_grad();
        let (loss, _) = policy_loss(new.clone(), old, advantages, 0.1);
        let values = loss.clone().detach().into_data().iter::<f64>().collect();
        let gradient = new.grad(&loss.sum().backward()).unwrap();
        (values, gradient.into_data().iter::<f64>().collect())
    }

    #[test]
    fn at_a_ratio_of_one_the_gradient_is_reinforce() {
        let advantages = [1.5, -0.5, 0.0, 3.0];
        let (values, gradient) = gradient(&[0.0; 4], &advantages);
        for ((value, slope), advantage) in values.iter().zip(gradient).zip(advantages) {
            assert!((value + advantage).abs() < 1e-6 && (slope + advantage).abs() < 1e-6);
        }
    }

    /// By the definition: the mean of the product of what moved and what was drawn.
    #[test]
    fn a_guarded_ratio_is_centred_and_of_one_size() {
        let device = testing::device();
        let tensor =
            |values: [f64; 4]| Tensor::<1>::from_data(values, &device).reshape([2, 2, 1, 1]);
        let (mean, moved) = (tensor([0.3, -0.2, 0.1, 0.5]), tensor([0.02, -0.01, 0.03, 0.04]));
        let z = tensor([1.2, -0.3, 0.4, -1.5]);
        for deviation in [0.1, 0.7] {
            let of = |mean: Tensor<4>| Transition { pred_original: mean.clone(), mean, deviation };
            let (old, new) = (of(mean.clone()), of(mean.clone() + moved.clone()));
            let sample = old.draw(Some(z.clone()));
            let drawn = Drawn::of(&old, &sample);
            let found = guarded(new.log_prob(sample).unwrap(), &new, &drawn);
            let found: Vec<f64> = found.into_data().iter::<f64>().collect();
            let expected = [(0.02 * 1.2 + 0.01 * 0.3) / 2.0, (0.03 * 0.4 - 0.04 * 1.5) / 2.0];
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-5, "{deviation}: {found}, not {expected}");
            }
        }
    }

    /// A good step that has become much more likely teaches nothing, one that has become less likely
    /// does; of a bad one it is the other way round.
    #[test]
    fn steps_that_have_gone_far_enough_teach_nothing() {
        let (values, gradient) = gradient(&[0.5, -0.5, 0.5, -0.5], &[1.0, 1.0, -1.0, -1.0]);
        let expected = [-1.1, -(-0.5f64).exp(), 0.5f64.exp(), 0.9];
        for (value, expected) in values.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-6, "{values:?}");
        }
        assert_eq!((gradient[0], gradient[3]), (0.0, 0.0));
        assert!(gradient[1] < -0.5 && gradient[2] > 1.5, "{gradient:?}");
    }
}
