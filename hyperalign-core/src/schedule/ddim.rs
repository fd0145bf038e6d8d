//! DDIM: deterministic at eta 0, the ancestral sampler of DDPM at eta 1.

use burn::tensor::Tensor;

use super::{History, Scheduler, Step, StepCountError, TimestepSpacing, mean_log_density};
use crate::{
    denoiser::Prediction,
    diffusion::{Level, Process},
};

/// Settings of a [`DdimScheduler`], under the names of diffusers' configuration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DdimOptions {
    /// Share of the variance of the posterior that is drawn anew in each step, from 0 to 1.
    pub eta: f64,
    /// What the network predicts.
    pub prediction: Prediction,
    /// How the steps are spread over the training schedule.
    pub spacing: TimestepSpacing,
    /// Added to every timestep of the leading spacing.
    pub steps_offset: usize,
    /// Whether the last step ends at noise level 0, or at that of training step 0.
    pub set_alpha_to_one: bool,
}

/// The plan of a DDIM run (Song et al. 2021, arXiv:2010.02502, eqs. 12 and 16).
///
/// Converges at order 1 to the probability-flow ODE for eta 0. Immutable, host-side `f64`.
#[derive(Debug, Clone)]
pub struct DdimScheduler {
    steps: Vec<Transition>,
    prediction: Prediction,
}

/// One step of the plan.
#[derive(Debug, Clone)]
struct Transition {
    timestep: usize,
    level: Level,
    prev: Level,
    /// Standard deviation of the noise that is added.
    deviation: f64,
}

impl DdimScheduler {
    /// Plans `steps` sampling steps of a variance-preserving `process`.
    ///
    /// # Errors
    ///
    /// Fails for 0 steps and for more steps than the training schedule can give.
    ///
    /// # Panics
    ///
    /// Panics for a rectified flow, which has no training steps to choose from, and for an eta
    /// outside of `[0, 1]`.
    pub fn new(
        process: &Process,
        steps: usize,
        options: DdimOptions,
    ) -> Result<Self, StepCountError> {
        let Process::VariancePreserving { alphas_cumprod } = process else {
            panic!("DDIM needs a variance-preserving process");
        };
        let DdimOptions { eta, prediction, spacing, steps_offset, set_alpha_to_one } = options;
        assert!((0.0..=1.0).contains(&eta), "eta {eta} is not in [0, 1]");
        let timesteps = timesteps(alphas_cumprod.len(), steps, spacing, steps_offset)?;
        let stride = alphas_cumprod.len() / steps;
        let last_alpha = if set_alpha_to_one { 1.0 } else { alphas_cumprod[0] };
        let steps = timesteps.into_iter().map(|timestep| {
            let alpha = alphas_cumprod[timestep];
            let alpha_prev = match timestep.checked_sub(stride) {
                Some(timestep) => alphas_cumprod[timestep],
                None => last_alpha,
            };
            let variance = (1.0 - alpha_prev) / (1.0 - alpha) * (1.0 - alpha / alpha_prev);
            Transition {
                timestep,
                level: level_of(alpha),
                prev: level_of(alpha_prev),
                // Training step 0 is its own predecessor: nothing is drawn there.
                deviation: eta * variance.max(0.0).sqrt(),
            }
        });
        Ok(Self { steps: steps.collect(), prediction })
    }

    /// The mean of the next sample, and the estimate of the original.
    fn mean(&self, i: usize, model_output: Tensor<4>, sample: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let Transition { level, prev, deviation, .. } = &self.steps[i];
        let pred_original = level.original(self.prediction, sample.clone(), model_output.clone());
        let epsilon = level.noise(self.prediction, sample, model_output);
        // Rounding must not make the root of a tiny difference imaginary.
        let kept = (prev.noise * prev.noise - deviation * deviation).max(0.0).sqrt();
        let target = Level { signal: prev.signal, noise: kept };
        (target.mix(pred_original.clone(), epsilon), pred_original)
    }
}

impl Scheduler for DdimScheduler {
    fn steps(&self) -> usize {
        self.steps.len()
    }

    fn timestep(&self, i: usize) -> f64 {
        self.steps[i].timestep as f64
    }

    fn level(&self, i: usize) -> Level {
        self.steps[i].level
    }

    fn prediction(&self) -> Prediction {
        self.prediction
    }

    fn step(
        &self,
        i: usize,
        model_output: Tensor<4>,
        sample: Tensor<4>,
        noise: Option<Tensor<4>>,
        _: &mut History,
    ) -> Step {
        let (mean, pred_original) = self.mean(i, model_output, sample);
        let prev_sample = if self.needs_noise(i) {
            let noise = noise.expect("a step with eta above 0 is given its noise");
            mean + noise.mul_scalar(self.steps[i].deviation)
        } else {
            mean
        };
        Step { prev_sample, pred_original }
    }

    fn needs_noise(&self, i: usize) -> bool {
        self.steps[i].deviation > 0.0
    }

    fn log_prob(
        &self,
        i: usize,
        model_output: Tensor<4>,
        sample: Tensor<4>,
        prev_sample: Tensor<4>,
    ) -> Option<Tensor<1>> {
        let deviation = self.steps[i].deviation;
        (deviation > 0.0).then(|| {
            let (mean, _) = self.mean(i, model_output, sample);
            mean_log_density(prev_sample, mean, deviation)
        })
    }
}

fn level_of(alpha_cumprod: f64) -> Level {
    Level { signal: alpha_cumprod.sqrt(), noise: (1.0 - alpha_cumprod).sqrt() }
}

/// `steps` timesteps of a schedule of `train_steps`, falling.
fn timesteps(
    train_steps: usize,
    steps: usize,
    spacing: TimestepSpacing,
    offset: usize,
) -> Result<Vec<usize>, StepCountError> {
    if steps == 0 {
        return Err(StepCountError::Zero);
    }
    let too_many =
        |most| StepCountError::TooMany { given: steps, train_steps, spacing: spacing.name(), most };
    if steps > train_steps {
        return Err(too_many(train_steps));
    }
    let rising: Vec<usize> = match spacing {
        TimestepSpacing::Leading => {
            let stride = train_steps / steps;
            (0..steps).map(|k| k * stride + offset).collect()
        }
        TimestepSpacing::Trailing => {
            let stride = train_steps as f64 / steps as f64;
            let from_end = |k: usize| (train_steps as f64 - k as f64 * stride).round_ties_even();
            (0..steps).rev().map(|k| from_end(k) as usize - 1).collect()
        }
        TimestepSpacing::Linspace => {
            let gap = (train_steps - 1) as f64 / (steps.max(2) - 1) as f64;
            (0..steps).map(|k| (k as f64 * gap).round_ties_even() as usize).collect()
        }
    };
    if rising.last().is_some_and(|last| *last >= train_steps) {
        // The offset pushes the last step out of the schedule: fewer steps leave room for it.
        let fits = |n: usize| (n - 1) * (train_steps / n) + offset < train_steps;
        return Err(too_many((1..steps).rev().find(|n| fits(*n)).unwrap_or(0)));
    }
    Ok(rising.into_iter().rev().collect())
}

#[cfg(test)]
mod tests;
