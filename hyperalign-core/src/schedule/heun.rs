//! Heun's method: order 2 by a second evaluation at the end of each step.

use burn::tensor::Tensor;

use super::{
    History, Scheduler, SigmaOptions, StepCountError, Transition,
    sigmas::{self, Node},
};
use crate::{
    contract::Prediction,
    diffusion::{Level, Process},
};

/// The plan of Heun's method for the ODE (Karras et al. 2022, arXiv:2206.00364, algorithm 1 without
/// churn): Euler's step, and where it leads to another look, by whose slope the step is corrected
/// to that of the mean of both slopes.
///
/// Each evaluation is a step of the plan: the first leads to the next level, the second corrects
/// the sample there, and its level and its time are those of the step after it. The last step leads
/// to noise level 0, where nothing can be looked at, and is Euler's; so `n` steps evaluate the
/// network `2 n - 1` times, as in diffusers.
///
/// What is remembered between the two is the first slope alone: a correction moves the sample that
/// it is given, `sample + (next - here) / 2 (slope there - slope here)`. So a run that begins at a
/// correction has none to make and keeps its sample, and what was done to the sample between the
/// two evaluations is not lost.
///
/// Deterministic; order 2 but for the last step.
#[derive(Debug, Clone)]
pub struct HeunScheduler {
    passes: Vec<Pass>,
    /// Where the last step ends.
    end: Level,
    prediction: Prediction,
    /// What a network would predict whose answer is the slope.
    slope: Prediction,
    init_noise_sigma: f64,
}

/// One evaluation of the network, and what follows from it.
#[derive(Debug, Clone, Copy)]
struct Pass {
    timestep: f64,
    level: Level,
    stage: Stage,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    /// Euler's step.
    Predict { to: Level },
    /// Half the width of the step before, on the scale of samples at its end.
    Correct { half_width: f64 },
}

impl HeunScheduler {
    /// Plans `steps` steps of a variance-preserving `process`, at the levels of
    /// [`euler`](super::GaussianScheduler::euler): the slope is that of the sample over its signal,
    /// `d x / d sigma = (x - original) / sigma`, which is the noise.
    ///
    /// # Errors
    ///
    /// Fails for 0 steps and for more steps than the training schedule can give.
    ///
    /// # Panics
    ///
    /// Panics for a rectified flow.
    pub fn diffusion(
        process: &Process,
        steps: usize,
        options: SigmaOptions,
    ) -> Result<Self, StepCountError> {
        let alphas = sigmas::alphas(process);
        let nodes = options.one_step_nodes(alphas, steps)?;
        let visits: Vec<(f64, Level)> =
            nodes.iter().copied().map(|node: Node| (node.timestep, node.level())).collect();
        let half_width = |from: Level, to: Level| 0.5 * to.signal * (to.sigma() - from.sigma());
        Ok(Self {
            passes: passes(&visits, Level { signal: 1.0, noise: 0.0 }, half_width),
            end: Level { signal: 1.0, noise: 0.0 },
            prediction: options.prediction,
            slope: Prediction::Epsilon,
            init_noise_sigma: options.init_noise_sigma(&nodes),
        })
    }

    /// Plans steps along the falling noise levels `sigmas` of a rectified flow, the last of which
    /// is where the run ends; the slope is the velocity.
    ///
    /// # Panics
    ///
    /// Panics if `sigmas` do not fall inside `[0, 1]`, and for fewer than two.
    pub fn flow(sigmas: &[f64]) -> Self {
        let [visited @ .., last] = sigmas else { panic!("a run starts and ends somewhere") };
        assert!(!visited.is_empty(), "a run has a noise level to start from and one to end at");
        assert!(sigmas.windows(2).all(|pair| pair[0] > pair[1]), "noise levels fall: {sigmas:?}");
        let level = |sigma: f64| Process::RectifiedFlow.level(sigma);
        let visits: Vec<(f64, Level)> =
            visited.iter().map(|&sigma| (sigma, level(sigma))).collect();
        Self {
            passes: passes(&visits, level(*last), |from, to| 0.5 * (to.noise - from.noise)),
            end: level(*last),
            prediction: Prediction::Velocity,
            slope: Prediction::Velocity,
            init_noise_sigma: 1.0,
        }
    }
}

/// Two passes for each step but the last.
fn passes(
    visits: &[(f64, Level)],
    end: Level,
    half_width: impl Fn(Level, Level) -> f64,
) -> Vec<Pass> {
    let mut passes = Vec::with_capacity(2 * visits.len());
    for (k, &(timestep, level)) in visits.iter().enumerate() {
        let Some(&(next_timestep, next)) = visits.get(k + 1) else {
            passes.push(Pass { timestep, level, stage: Stage::Predict { to: end } });
            break;
        };
        passes.push(Pass { timestep, level, stage: Stage::Predict { to: next } });
        let stage = Stage::Correct { half_width: half_width(level, next) };
        passes.push(Pass { timestep: next_timestep, level: next, stage });
    }
    passes
}

impl Scheduler for HeunScheduler {
    fn steps(&self) -> usize {
        self.passes.len()
    }

    fn timestep(&self, i: usize) -> f64 {
        self.passes[i].timestep
    }

    fn level(&self, i: usize) -> Level {
        if i == self.passes.len() { self.end } else { self.passes[i].level }
    }

    fn prediction(&self) -> Prediction {
        self.prediction
    }

    fn init_noise_sigma(&self) -> f64 {
        self.init_noise_sigma
    }

    fn transition(
        &self,
        i: usize,
        model_output: Tensor<4>,
        sample: Tensor<4>,
        history: &mut History,
    ) -> Transition {
        let Pass { level, stage, .. } = self.passes[i];
        let estimate = |of: fn(Level, Prediction, Tensor<4>, Tensor<4>) -> Tensor<4>| {
            of(level, self.prediction, sample.clone(), model_output.clone())
        };
        let pred_original = estimate(Level::original);
        let slope = level.target(self.slope, pred_original.clone(), estimate(Level::noise));
        let mean = match stage {
            Stage::Predict { to } => {
                history.push(slope, 1);
                level.transport(to, self.prediction, sample, model_output)
            }
            Stage::Correct { half_width } => match history.take_output() {
                Some(before) => sample + (slope - before).mul_scalar(half_width),
                None => sample,
            },
        };
        Transition { mean, deviation: 0.0, pred_original }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{
        FlowSchedulerConfig, GaussianScheduler, SchedulerConfig, TimestepSpacing,
        gaussian_data::{error_before, order, tensor, values},
    };

    fn plan(steps: usize, use_karras_sigmas: bool, prediction: Prediction) -> HeunScheduler {
        let options = SigmaOptions {
            prediction,
            spacing: TimestepSpacing::Linspace,
            steps_offset: 0,
            use_karras_sigmas,
        };
        let process = SchedulerConfig::stable_diffusion().process().unwrap();
        HeunScheduler::diffusion(&process, steps, options).unwrap()
    }

    #[test]
    fn every_step_but_the_last_is_looked_at_twice() {
        let scheduler = plan(3, false, Prediction::Epsilon);
        let timesteps: Vec<f64> = (0..scheduler.steps()).map(|i| scheduler.timestep(i)).collect();
        assert_eq!(timesteps, [999.0, 499.5, 499.5, 0.0, 0.0]);
        assert_eq!(scheduler.level(1), scheduler.level(2));
        assert_eq!(plan(1, false, Prediction::Epsilon).steps(), 1);
    }

    /// The textbook step on the sample over its signal: half of each slope.
    #[test]
    fn two_passes_are_a_step_along_the_mean_slope() {
        let scheduler = plan(4, true, Prediction::Epsilon);
        let (from, to) = (scheduler.level(2), scheduler.level(3));
        let (x, first, second) = (1.7, -0.6, 0.9);
        let mut history = History::default();
        let sample = tensor(vec![x * from.signal]);
        let half = scheduler.step(2, tensor(vec![first]), sample, None, &mut history);
        let end = scheduler.step(3, tensor(vec![second]), half.prev_sample, None, &mut history);
        let expected = x + (to.sigma() - from.sigma()) * (first + second) / 2.0;
        assert!((values(end.prev_sample)[0] / to.signal - expected).abs() < 1e-12);
        assert!(history.is_empty());
    }

    #[test]
    fn converges_at_order_two() {
        for prediction in [Prediction::Epsilon, Prediction::VPrediction, Prediction::Sample] {
            let error = |steps| error_before(&plan(steps, true, prediction), 1);
            let found = order(error, 25, 100);
            assert!((found - 2.0).abs() < 0.3, "{prediction:?}: order {found}");
        }
        let sigmas = |steps| FlowSchedulerConfig::flux_dev().sigmas(steps, 1024).unwrap();
        let found = order(|steps| error_before(&HeunScheduler::flow(&sigmas(steps)), 1), 25, 100);
        // The level before the last comes nearer to the data with every step more, which helps.
        assert!(found > 1.8, "flow: order {found}");
        // With as many evaluations it is closer than Euler's method.
        let euler = error_before(&GaussianScheduler::flow_match_euler(&sigmas(40)), 1);
        assert!(error_before(&HeunScheduler::flow(&sigmas(20)), 1) < 0.2 * euler);
    }

    /// A run that begins at a correction keeps its sample there, and what was done to a sample
    /// before its correction stays in it.
    #[test]
    fn corrections_move_the_sample_that_they_are_given() {
        let scheduler = plan(4, false, Prediction::Epsilon);
        let (sample, output) = (|| tensor(vec![0.7]), || tensor(vec![0.4]));
        let mut history = History::default();
        let kept = scheduler.step(1, output(), sample(), None, &mut history);
        assert_eq!(values(kept.prev_sample), values(sample()));
        let corrected = |shift: f64| {
            let mut history = History::default();
            let half = scheduler.step(0, output(), sample(), None, &mut history).prev_sample;
            let end = scheduler.step(1, output() * 2.0, half + shift, None, &mut history);
            values(end.prev_sample)[0]
        };
        assert!((corrected(0.1) - corrected(0.0) - 0.1).abs() < 1e-12);
    }
}
