//! PNDM in its linear multi-step form (PLMS): Stable Diffusion 1.5's own solver.

use burn::tensor::Tensor;

use super::{History, Scheduler, StepCountError, TimestepSpacing, Transition, sigmas};
use crate::{
    contract::Prediction,
    diffusion::{Level, Process},
};

/// Settings of a [`PndmScheduler`], under the names of diffusers' configuration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PndmOptions {
    /// What the network predicts.
    pub prediction: Prediction,
    /// How the steps are spread over the training schedule.
    pub spacing: TimestepSpacing,
    /// Added to every timestep of the leading spacing.
    pub steps_offset: usize,
    /// Whether the last step ends at noise level 0, or at that of training step 0.
    pub set_alpha_to_one: bool,
}

/// The plan of a pseudo linear multi-step run (Liu et al. 2022, arXiv:2202.09778, eqs. 9 and 12):
/// DDIM's step along an Adams-Bashforth mean of the last four outputs.
///
/// There is no history at the start: the first step is taken twice, first as DDIM and then again
/// from the same sample along the mean of the outputs at both of its ends, as diffusers does with
/// `skip_prk_steps`. So a run evaluates the network once more than it was asked for, and the
/// second and the third evaluation have the same timestep. The orders of the means then rise to
/// four.
///
/// Deterministic. Outputs are averaged as the network gives them and read afterwards, as diffusers
/// does; for networks that do not predict epsilon this costs the higher order.
#[derive(Debug, Clone)]
pub struct PndmScheduler {
    passes: Vec<Pass>,
    /// Where the last step ends.
    end: Level,
    prediction: Prediction,
}

/// One evaluation of the network, and the step that follows it.
#[derive(Debug, Clone)]
struct Pass {
    timestep: usize,
    /// Where the network is evaluated.
    level: Level,
    /// Where the step starts: `level`, but for the repetition of the first step.
    from: Level,
    to: Level,
}

/// The evaluation after which the first step is taken again.
const AGAIN: usize = 1;

impl PndmScheduler {
    /// Plans `steps` sampling steps of a variance-preserving `process`.
    ///
    /// # Errors
    ///
    /// Fails for 0 steps and for more steps than the training schedule can give.
    ///
    /// # Panics
    ///
    /// Panics for a rectified flow.
    pub fn new(
        process: &Process,
        steps: usize,
        options: PndmOptions,
    ) -> Result<Self, StepCountError> {
        let alphas = sigmas::alphas(process);
        let PndmOptions { prediction, spacing, steps_offset, set_alpha_to_one } = options;
        let mut timesteps = spacing.timesteps(alphas.len(), steps, steps_offset)?;
        if let Some(second) = timesteps.get(AGAIN) {
            timesteps.insert(AGAIN, *second);
        }
        let stride = alphas.len() / steps;
        let last_alpha = if set_alpha_to_one { 1.0 } else { alphas[0] };
        let level = |timestep: usize| Level::of_alpha(alphas[timestep]);
        let previous = |timestep: usize| match timestep.checked_sub(stride) {
            Some(timestep) => level(timestep),
            None => Level::of_alpha(last_alpha),
        };
        let pass = |(i, &timestep): (usize, &usize)| {
            let level_here = level(timestep);
            let (from, to) = match i {
                AGAIN => (level((timestep + stride).min(alphas.len() - 1)), level_here),
                _ => (level_here, previous(timestep)),
            };
            Pass { timestep, level: level_here, from, to }
        };
        let passes: Vec<Pass> = timesteps.iter().enumerate().map(pass).collect();
        let end = passes[passes.len() - 1].to;
        Ok(Self { passes, end, prediction })
    }
}

/// The Adams-Bashforth mean of the remembered outputs, of the order that their number allows.
fn mean_output(history: &History) -> Tensor<4> {
    let weights: &[f64] = match history.len() {
        1 => &[1.0],
        2 => &[3.0 / 2.0, -1.0 / 2.0],
        3 => &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
        _ => &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
    };
    let parts = weights.iter().enumerate().filter_map(|(back, weight)| {
        history.output(back).map(|output| output.clone().mul_scalar(*weight))
    });
    parts.reduce(|sum, part| sum + part).expect("the newest output is remembered")
}

impl Scheduler for PndmScheduler {
    fn steps(&self) -> usize {
        self.passes.len()
    }

    fn timestep(&self, i: usize) -> f64 {
        self.passes[i].timestep as f64
    }

    fn level(&self, i: usize) -> Level {
        if i == self.passes.len() { self.end } else { self.passes[i].level }
    }

    fn prediction(&self) -> Prediction {
        self.prediction
    }

    fn transition(
        &self,
        i: usize,
        model_output: Tensor<4>,
        sample: Tensor<4>,
        history: &mut History,
    ) -> Transition {
        let Pass { level, from, to, .. } = self.passes[i];
        let pred_original = level.original(self.prediction, sample.clone(), model_output.clone());
        let (sample, output) = if i == AGAIN {
            // A run that begins here has its sample where the repeated step would lead to.
            let Some((start, before)) = history.take_held().zip(history.output(0)) else {
                return Transition { mean: sample, deviation: 0.0, pred_original };
            };
            (start, (model_output + before.clone()).div_scalar(2.0))
        } else {
            if i == 0 {
                history.hold(sample.clone());
            }
            history.push(model_output, 4);
            (sample, mean_output(history))
        };
        let mean = from.transport(to, self.prediction, sample, output);
        Transition { mean, deviation: 0.0, pred_original }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{
        SchedulerConfig,
        gaussian_data::{exact_output, ode_error, order, run, tensor, values},
    };

    fn plan(steps: usize, spacing: TimestepSpacing) -> PndmScheduler {
        let options = PndmOptions {
            prediction: Prediction::Epsilon,
            spacing,
            steps_offset: 1,
            set_alpha_to_one: false,
        };
        let process = SchedulerConfig::stable_diffusion().process().unwrap();
        PndmScheduler::new(&process, steps, options).unwrap()
    }

    #[test]
    fn the_second_timestep_comes_twice() {
        let timesteps = |steps| -> Vec<f64> {
            let scheduler = plan(steps, TimestepSpacing::Leading);
            (0..scheduler.steps()).map(|i| scheduler.timestep(i)).collect()
        };
        assert_eq!(timesteps(4), [751.0, 501.0, 501.0, 251.0, 1.0]);
        assert_eq!(timesteps(2), [501.0, 1.0, 1.0]);
        assert_eq!(timesteps(1), [1.0]);
    }

    /// The error against the ODE falls faster than that of any one-step solver here. The first
    /// steps are of lower order, and the last leads to a level that is not a stride away.
    #[test]
    fn converges_at_higher_order() {
        let error = |steps| ode_error(&plan(steps, TimestepSpacing::Leading));
        let found = order(error, 25, 100);
        assert!(found > 1.7, "order {found}");
        let ddim =
            |steps| ode_error(&SchedulerConfig::stable_diffusion().ddim(steps, 0.0).unwrap());
        assert!(error(50) < 0.1 * ddim(50), "{} {}", error(50), ddim(50));
    }

    #[test]
    fn other_spacings_end_where_they_should() {
        for spacing in [TimestepSpacing::Linspace, TimestepSpacing::Trailing] {
            for steps in [1, 2, 3, 50] {
                let end = values(run(&plan(steps, spacing), tensor(vec![1.0]), || panic!("none")));
                assert!(end[0].is_finite(), "{spacing:?} {steps}");
            }
            assert!(ode_error(&plan(100, spacing)) < 0.05, "{spacing:?}");
        }
    }

    /// A run that begins later begins as DDIM does, with what it has.
    #[test]
    fn begins_anywhere() {
        let scheduler = plan(10, TimestepSpacing::Leading);
        for begin in 0..scheduler.steps() {
            let mut history = History::default();
            let end = (begin..scheduler.steps()).fold(tensor(vec![1.0]), |sample, i| {
                let output = exact_output(&scheduler, i, sample.clone());
                scheduler.step(i, output, sample, None, &mut history).prev_sample
            });
            assert!(values(end)[0].is_finite());
        }
        let mut history = History::default();
        let (output, sample) = (tensor(vec![0.4]), tensor(vec![0.7]));
        let step = scheduler.step(AGAIN, output, sample.clone(), None, &mut history);
        assert_eq!(values(step.prev_sample), values(sample));
        assert!(history.is_empty());
    }
}
