//! A plan that is cut short at its end.

use burn::tensor::Tensor;

use super::{History, Scheduler, Transition, dpmpp_2m::midpoint};
use crate::{contract::Prediction, diffusion::Level};

/// A plan that is followed up to a step and then left for fewer and longer steps through its
/// remaining levels, by DPM-Solver++(2M) (Lu et al. 2022, arXiv:2211.01095, algorithm 2 in its
/// midpoint form): the flash variant of MixGRPO (Li et al. 2025, arXiv:2507.21802, section 3.3), for
/// trajectories whose end nobody learns from.
///
/// The plan must be one of a one-step solver up to there. The first of the long steps is of order 1,
/// and so is the last.
pub struct ShortTail {
    plan: Box<dyn Scheduler>,
    /// The first step of the tail.
    from: usize,
    /// The levels of the plan at which the steps of the tail begin, and its end.
    stops: Vec<usize>,
}

impl ShortTail {
    /// Follows `plan` in the steps before `from`, and takes the share `kept` of the rest, at least one.
    ///
    /// # Panics
    ///
    /// Panics if the plan has no step `from`, or `kept` is not above 0 and at most 1.
    pub fn new(plan: Box<dyn Scheduler>, from: usize, kept: f64) -> Self {
        let rest = plan.steps().checked_sub(from).filter(|rest| *rest > 0);
        let rest = rest.expect("a tail has steps");
        assert!(kept > 0.0 && kept <= 1.0, "a share of the steps, not {kept}");
        let count = ((rest as f64 * kept) as usize).max(1);
        let stops = (0..=count).map(|k| from + (k * rest + count / 2) / count).collect();
        Self { plan, from, stops }
    }

    /// Where step `i` begins, as a level of the plan; `i` may be the number of steps.
    fn stop(&self, i: usize) -> usize {
        if i < self.from { i } else { self.stops[i - self.from] }
    }
}

impl Scheduler for ShortTail {
    fn steps(&self) -> usize {
        self.from + self.stops.len() - 1
    }

    fn timestep(&self, i: usize) -> f64 {
        self.plan.timestep(self.stop(i))
    }

    fn level(&self, i: usize) -> Level {
        self.plan.level(self.stop(i))
    }

    fn prediction(&self) -> Prediction {
        self.plan.prediction()
    }

    fn init_noise_sigma(&self) -> f64 {
        self.plan.init_noise_sigma()
    }

    fn transition(
        &self,
        i: usize,
        model_output: Tensor<4>,
        sample: Tensor<4>,
        history: &mut History,
    ) -> Transition {
        if i < self.from {
            return self.plan.transition(i, model_output, sample, history);
        }
        let [level, next] = [i, i + 1].map(|i| self.level(i));
        let is_inside = i > self.from && i + 1 < self.steps();
        let before = is_inside.then(|| self.level(i - 1).sigma());
        let pred_original = level.original(self.prediction(), sample.clone(), model_output);
        midpoint(before, [level, next], sample, pred_original, history)
    }

    fn needs_noise(&self, i: usize) -> bool {
        i < self.from && self.plan.needs_noise(i)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        schedule::{FlowSchedulerConfig, SchedulerConfig},
        testing,
    };

    fn plans(steps: usize) -> [Box<dyn Scheduler>; 2] {
        let ddim = SchedulerConfig::stable_diffusion().ddim(steps, 0.7).unwrap();
        [
            Box::new(ddim),
            Box::new(FlowSchedulerConfig::flux_dev().flow_match_euler(steps, 64).unwrap()),
        ]
    }

    /// The share that MixGRPO keeps: of the 21 steps after the first window of 4, 8 are left.
    #[test]
    fn a_share_of_the_rest_is_taken() {
        for plan in plans(25) {
            let (before, end) = (plan.timestep(3), plan.level(25));
            let short = ShortTail::new(plan, 4, 0.4);
            assert_eq!(short.steps(), 12);
            assert_eq!((short.timestep(3), short.level(12)), (before, end));
            assert_eq!(short.stops[..2], [4, 7]);
            assert!(short.stops.windows(2).all(|pair| pair[0] < pair[1]));
        }
        let [plan, _] = plans(25);
        assert_eq!(ShortTail::new(plan, 24, 0.2).steps(), 25);
    }

    /// Where the estimate of the original is always the same, every solver goes there on a straight
    /// line, through the same levels.
    #[test]
    fn a_known_original_is_reached() {
        let device = testing::device();
        let tensor = |value: f64| Tensor::<4>::full([1, 1, 1, 1], value, &device);
        for plan in plans(12) {
            let prediction = plan.prediction();
            let short = ShortTail::new(plan, 3, 0.5);
            let (original, noise) = (tensor(0.3), tensor(-0.8));
            let mut sample = short.level(3).mix(original.clone(), noise.clone());
            let mut history = History::default();
            for i in 3..short.steps() {
                let level = short.level(i);
                let expected = level.mix(original.clone(), noise.clone());
                let error = (sample.clone() - expected).abs().into_scalar::<f64>();
                assert!(error < 1e-5, "step {i}: {error}");
                let output = level.target(prediction, original.clone(), noise.clone());
                assert!(!short.needs_noise(i));
                sample = short.transition(i, output, sample, &mut history).draw(None);
            }
            // Stable Diffusion's plans end at the level of the first training step.
            let end = short.level(short.steps()).mix(original, noise);
            let error = (sample - end).abs().into_scalar::<f64>();
            assert!(error < 1e-5, "{error}");
        }
    }

    /// The steps of a whole tail are those of the solver that they are taken by.
    #[test]
    fn the_tail_is_dpm_solver() {
        use crate::schedule::{Dpmpp2mScheduler, SigmaOptions, TimestepSpacing};

        let process = SchedulerConfig::stable_diffusion().process().unwrap();
        let options = SigmaOptions {
            prediction: Prediction::Epsilon,
            spacing: TimestepSpacing::Linspace,
            steps_offset: 1,
            use_karras_sigmas: true,
        };
        let plan = Dpmpp2mScheduler::new(&process, 8, options).unwrap();
        let short = ShortTail::new(Box::new(plan.clone()), 0, 1.0);
        let device = testing::device();
        let start = Tensor::<4>::full([1, 1, 1, 1], 0.9, &device);
        let run = |plan: &dyn Scheduler| {
            let (mut sample, mut history) = (start.clone(), History::default());
            for i in 0..8 {
                let output = sample.clone().sin();
                sample = plan.transition(i, output, sample, &mut history).draw(None);
            }
            sample.into_scalar::<f64>()
        };
        assert!((run(&short) - run(&plan)).abs() < 1e-6);
    }
}
