//! Noise in some of the steps.

use std::ops::Range;

use burn::tensor::Tensor;

use super::{History, Scheduler, Transition};
use crate::{contract::Prediction, diffusion::Level};

/// Two plans along the same noise levels: one is followed in a range of steps, the other in the rest,
/// as the SDE in the window of MixGRPO (Li et al. 2025, arXiv:2507.21802) and the ODE outside of it.
///
/// Both must be plans of one-step solvers: nothing is remembered from one to the other.
pub struct MixedScheduler {
    inside: Box<dyn Scheduler>,
    outside: Box<dyn Scheduler>,
    range: Range<usize>,
}

impl MixedScheduler {
    /// Follows `inside` in the steps of `range`, and `outside` in the others.
    ///
    /// # Panics
    ///
    /// Panics if the two differ in their levels, their times or what they read.
    pub fn new(
        inside: Box<dyn Scheduler>,
        outside: Box<dyn Scheduler>,
        range: Range<usize>,
    ) -> Self {
        let steps = inside.steps();
        assert_eq!(outside.steps(), steps, "plans of as many steps");
        assert_eq!(inside.prediction(), outside.prediction(), "plans of one network");
        let same = |i: usize| inside.level(i) == outside.level(i);
        assert!((0..=steps).all(same), "plans along the same levels");
        let same = |i: usize| inside.timestep(i) == outside.timestep(i);
        assert!((0..steps).all(same), "plans at the same times");
        Self { inside, outside, range }
    }

    fn of(&self, i: usize) -> &dyn Scheduler {
        if self.range.contains(&i) { self.inside.as_ref() } else { self.outside.as_ref() }
    }
}

impl Scheduler for MixedScheduler {
    fn steps(&self) -> usize {
        self.inside.steps()
    }

    fn timestep(&self, i: usize) -> f64 {
        self.of(i).timestep(i)
    }

    fn level(&self, i: usize) -> Level {
        self.of(i).level(i)
    }

    fn prediction(&self) -> Prediction {
        self.inside.prediction()
    }

    fn init_noise_sigma(&self) -> f64 {
        self.of(0).init_noise_sigma()
    }

    fn transition(
        &self,
        i: usize,
        model_output: Tensor<4>,
        sample: Tensor<4>,
        history: &mut History,
    ) -> Transition {
        self.of(i).transition(i, model_output, sample, history)
    }

    fn needs_noise(&self, i: usize) -> bool {
        self.of(i).needs_noise(i)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        schedule::{FlowSchedulerConfig, SchedulerConfig, Solver, SolverChoice},
        testing,
    };

    fn plans(steps: usize) -> [[Box<dyn Scheduler>; 2]; 2] {
        let diffusion = |eta| -> Box<dyn Scheduler> {
            Box::new(SchedulerConfig::stable_diffusion().ddim(steps, eta).unwrap())
        };
        let flow = |solver| -> Box<dyn Scheduler> {
            let choice = SolverChoice { solver: Some(solver), eta: None };
            FlowSchedulerConfig::flux_dev().plan(steps, 64, choice).unwrap()
        };
        [[diffusion(1.0), diffusion(0.0)], [flow(Solver::FlowSdeGrpo), flow(Solver::FlowEuler)]]
    }

    #[test]
    fn each_step_is_that_of_its_plan() {
        for (one, other) in plans(6).into_iter().zip(plans(6)) {
            let [inside, outside] = one;
            let mixed = MixedScheduler::new(inside, outside, 2..4);
            let [inside, outside] = other;
            let x = Tensor::<4>::full([1, 1, 1, 1], 0.7, &testing::device());
            for i in 0..6 {
                let plan = if i == 2 || i == 3 { &inside } else { &outside };
                assert_eq!(mixed.needs_noise(i), i == 2 || i == 3, "step {i}");
                let step = |plan: &dyn Scheduler| {
                    let found =
                        plan.transition(i, x.clone() * 0.3, x.clone(), &mut History::default());
                    (found.mean.into_scalar::<f64>(), found.deviation)
                };
                assert_eq!(step(&mixed), step(plan.as_ref()));
                assert_eq!(mixed.level(i), plan.level(i));
            }
            assert_eq!(mixed.level(6), outside.level(6));
        }
    }

    #[test]
    fn plans_of_other_levels_do_not_mix() {
        let [[noisy, _], _] = plans(6);
        let [[_, quiet], _] = plans(5);
        let mixed = std::panic::AssertUnwindSafe(|| MixedScheduler::new(noisy, quiet, 0..2));
        let Err(panic) = std::panic::catch_unwind(mixed) else { panic!("they mix") };
        assert!(panic.downcast_ref::<String>().unwrap().contains("as many steps"));
    }
}
