//! UniPC of order 2: a multi-step predictor, corrected by the evaluation that follows it.

use burn::tensor::Tensor;

use super::{History, Scheduler, SigmaOptions, StepCountError, Transition, sigmas};
use crate::{
    contract::Prediction,
    diffusion::{Level, Process},
};

/// The plan of UniPC-2 in its `B(h) = e^h - 1` form on estimates of the original (Zhao et al. 2023,
/// arXiv:2302.04867, algorithms 5 and 6; diffusers' `bh2` with `predict_x0`).
///
/// Like DPM-Solver++ it is an exponential integrator in `lambda = ln(signal / noise)`: the predictor
/// of a step is that of its midpoint form. The evaluation at the end of a step, which the next step
/// needs anyway, first corrects the sample there, so that order 3 costs no evaluation. The estimate
/// is not taken again at the corrected sample.
///
/// A correction moves the sample that it is given by the difference to what was predicted, so that
/// nothing but the last two estimates has to be remembered, and a run that begins in the middle
/// begins without a correction.
///
/// The first step is of order 1, and so is the last, which ends at noise level 0, where lambda is
/// infinite. Deterministic.
#[derive(Debug, Clone)]
pub struct UniPcScheduler {
    timesteps: Vec<f64>,
    /// Where the steps start, and where the last one ends.
    levels: Vec<Level>,
    prediction: Prediction,
}

/// How many estimates a step reads beside its own.
const REMEMBERED: usize = 2;

/// A flow's level without any signal has no finite lambda; diffusers stays below it by as much.
const SMALLEST_SIGNAL: f64 = 1e-6;

impl UniPcScheduler {
    /// Plans `steps` sampling steps of a variance-preserving `process`, at the levels of
    /// [`Dpmpp2mScheduler`](super::Dpmpp2mScheduler).
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
        let nodes = options.multi_step_nodes(sigmas::alphas(process), steps)?;
        let end = Level { signal: 1.0, noise: 0.0 };
        Ok(Self {
            timesteps: nodes.iter().map(|node| node.timestep).collect(),
            levels: nodes.iter().map(|node| node.level()).chain([end]).collect(),
            prediction: options.prediction,
        })
    }

    /// Plans steps along the falling noise levels `sigmas` of a rectified flow, the last of which
    /// is where the run ends. A first level of 1 is taken a millionth lower.
    ///
    /// # Panics
    ///
    /// Panics if `sigmas` do not fall inside `[0, 1]`, and for fewer than two.
    pub fn flow(sigmas: &[f64]) -> Self {
        assert!(sigmas.len() > 1, "a run has a noise level to start from and one to end at");
        assert!(sigmas.windows(2).all(|pair| pair[0] > pair[1]), "noise levels fall: {sigmas:?}");
        let below_one = sigmas.iter().map(|sigma| sigma.min(1.0 - SMALLEST_SIGNAL));
        let levels: Vec<Level> =
            below_one.map(|sigma| Process::RectifiedFlow.level(sigma)).collect();
        let timesteps = levels[..levels.len() - 1].iter().map(|level| level.noise).collect();
        Self { timesteps, levels, prediction: Prediction::Velocity }
    }

    fn lambda(&self, i: usize) -> f64 {
        let Level { signal, noise } = self.levels[i];
        (signal / noise).ln()
    }

    /// The slope of the estimates before step `i`, `newest` being that of its start: over the step
    /// that ended there, in units of step `i`.
    fn slope(&self, i: usize, newest: &Tensor<4>, before: &Tensor<4>) -> Tensor<4> {
        let here = self.lambda(i);
        let ratio = (self.lambda(i - 1) - here) / (self.lambda(i + 1) - here);
        (before.clone() - newest.clone()).div_scalar(ratio)
    }

    /// What the estimate at the end of step `i`, together with those that the step was predicted
    /// from, adds to the sample there; nothing without any of those.
    fn correction(&self, i: usize, estimate: &Tensor<4>, history: &History) -> Option<Tensor<4>> {
        let newest = history.output(0)?;
        let change = estimate.clone() - newest.clone();
        // The functions of the integrator, at minus the width of the step.
        let width = self.lambda(i) - self.lambda(i + 1);
        let growth = width.exp_m1();
        let first = (growth / width - 1.0) / growth;
        let second = 2.0 * ((growth / width - 1.0) / width - 0.5) / growth;
        let moved = match history.output(1) {
            None => change.mul_scalar(0.5),
            Some(before) => {
                let ratio = (self.lambda(i - 1) - self.lambda(i)) / -width;
                let of_slope = (first - second) / (1.0 - ratio);
                let slope = self.slope(i, newest, before);
                // The predictor had half of the slope.
                slope.mul_scalar(of_slope - 0.5) + change.mul_scalar(first - of_slope)
            }
        };
        Some(moved.mul_scalar(-self.levels[i + 1].signal * growth))
    }
}

impl Scheduler for UniPcScheduler {
    fn steps(&self) -> usize {
        self.timesteps.len()
    }

    fn timestep(&self, i: usize) -> f64 {
        self.timesteps[i]
    }

    fn level(&self, i: usize) -> Level {
        self.levels[i]
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
        let [level, next] = [i, i + 1].map(|i| self.levels[i]);
        let pred_original = level.original(self.prediction, sample.clone(), model_output);
        let correction = match i.checked_sub(1) {
            Some(before) => self.correction(before, &pred_original, history),
            None => None,
        };
        let sample = match correction {
            Some(correction) => sample + correction,
            None => sample,
        };
        let last = i + 1 == self.steps();
        let slope = match history.output(0) {
            Some(before) if !last => Some(self.slope(i, &pred_original, before)),
            _ => None,
        };
        history.push(pred_original.clone(), REMEMBERED);
        let kept = next.noise / level.noise;
        let gained = next.signal - kept * level.signal;
        let extrapolated = match slope {
            Some(slope) => pred_original.clone() + slope.mul_scalar(0.5),
            None => pred_original.clone(),
        };
        let mean = sample.mul_scalar(kept) + extrapolated.mul_scalar(gained);
        Transition { mean, deviation: 0.0, pred_original }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{
        Dpmpp2mScheduler, FlowSchedulerConfig, GaussianScheduler, SchedulerConfig, TimestepSpacing,
        gaussian_data::{error_before, order, tensor, values},
    };

    const OPTIONS: SigmaOptions = SigmaOptions {
        prediction: Prediction::VPrediction,
        spacing: TimestepSpacing::Linspace,
        steps_offset: 0,
        use_karras_sigmas: true,
    };

    fn plan(steps: usize) -> UniPcScheduler {
        let process = SchedulerConfig::stable_diffusion().process().unwrap();
        UniPcScheduler::diffusion(&process, steps, OPTIONS).unwrap()
    }

    /// The corrector lifts the order of the predictor, which is 2.
    #[test]
    fn converges_at_order_three() {
        let found = order(|steps| error_before(&plan(steps), 2), 50, 200);
        assert!((found - 3.0).abs() < 0.4, "order {found}");
    }

    #[test]
    fn is_closer_than_solvers_of_as_many_evaluations() {
        let process = SchedulerConfig::stable_diffusion().process().unwrap();
        let dpmpp = Dpmpp2mScheduler::new(&process, 20, OPTIONS).unwrap();
        assert!(error_before(&plan(20), 1) < 0.5 * error_before(&dpmpp, 1));
        let sigmas = FlowSchedulerConfig::flux_dev().sigmas(20, 1024).unwrap();
        let euler = GaussianScheduler::flow_match_euler(&sigmas);
        let unipc = UniPcScheduler::flow(&sigmas);
        let errors = [error_before(&unipc, 1), error_before(&euler, 1)];
        assert!(errors[0] < 0.4 * errors[1], "{errors:?}");
    }

    /// A constant estimate needs no correction and no extrapolation: the sample goes straight to
    /// its mix at every level.
    #[test]
    fn a_known_original_is_reached_along_its_line() {
        let scheduler = plan(6);
        let (original, noise) = (tensor(vec![0.3]), tensor(vec![-1.2]));
        let mut history = History::default();
        let mut sample = scheduler.level(0).mix(original.clone(), noise.clone());
        for i in 0..6 {
            let level = scheduler.level(i);
            let output = level.target(Prediction::VPrediction, original.clone(), noise.clone());
            sample = scheduler.step(i, output, sample, None, &mut history).prev_sample;
            let expected = scheduler.level(i + 1).mix(original.clone(), noise.clone());
            assert!((values(sample.clone())[0] - values(expected)[0]).abs() < 1e-12, "step {i}");
        }
    }

    #[test]
    fn a_flow_starts_just_below_pure_noise() {
        let scheduler = UniPcScheduler::flow(&[1.0, 0.6, 0.3, 0.0]);
        assert_eq!(scheduler.steps(), 3);
        assert_eq!(scheduler.timestep(0), 1.0 - SMALLEST_SIGNAL);
        assert_eq!(scheduler.level(3), Level { signal: 1.0, noise: 0.0 });
    }
}
