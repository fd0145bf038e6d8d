//! Energy guidance without training.

use std::ops::Range;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    one_picture::{Found, OnePicture, SettingError, rms},
    sampler::{Look, Trajectory},
};

/// FreeDoM (Yu et al. 2023, arXiv:2303.09833, algorithms 1 and 2): each step of a window in the
/// middle of the plan is moved along the gradient of the reward of the one-step estimate, and the
/// semantic ones are taken several times, with noise in between that leads back.
///
/// The length of the move is measured by what classifier-free guidance does to the prediction:
/// `strength guidance_scale rms(conditional - unconditional) / rms(gradient)` times the gradient.
/// Without that, as in a network that was distilled to its guidance, it is measured by the step:
/// `strength rms(mean - sample) / rms(gradient)`. Without reward the method is plain sampling.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Freedom {
    /// How long moves are.
    pub strength: f64,
    /// Where the window begins, as a share of the steps.
    pub start: f64,
    /// Where the window ends.
    pub end: f64,
    /// How often a step is taken that is repeated.
    pub repeats: usize,
    /// Where repeating begins, as a share of the steps.
    pub repeat_start: f64,
    /// Where repeating ends.
    pub repeat_end: f64,
}

/// Those of the authors' code for Stable Diffusion, in shares of its 100 steps.
impl Default for Freedom {
    fn default() -> Self {
        Self { strength: 0.2, start: 0.3, end: 0.7, repeats: 3, repeat_start: 0.3, repeat_end: 0.6 }
    }
}

impl Freedom {
    /// Checks every number, for a plan of `steps`.
    ///
    /// # Errors
    ///
    /// Fails for a strength that is negative or no number, no repeats, and windows that are none or
    /// have no step of the plan.
    pub fn check(&self, steps: usize) -> Result<(), SettingError> {
        let Self { strength, repeats, .. } = *self;
        let is_strength = strength >= 0.0 && strength.is_finite();
        SettingError::unless(is_strength, "strength", strength, "a number from 0")?;
        SettingError::unless(repeats > 0, "repeats", repeats, "at least 1")?;
        check_window("start", "end", self.start, self.end)?;
        check_window("repeat_start", "repeat_end", self.repeat_start, self.repeat_end)?;
        let expected = "such that the window has a step of the plan: take more steps, or a wider \
                        window";
        let given = format!("{} and the end {}, of {steps} steps", self.start, self.end);
        let has_steps = !window(self.start, self.end, steps).is_empty();
        SettingError::unless(has_steps, "start", given, expected)
    }

    /// Makes `picture`. Where the account allows no more, the steps that are left are taken
    /// plainly, and once.
    pub fn run(&self, picture: &OnePicture) -> Found {
        let steps = picture.steps();
        let guided = window(self.start, self.end, steps);
        let repeated = window(self.repeat_start, self.repeat_end, steps);
        let mut trajectory = picture.sampler.start(picture.draws.start(0..1));
        let (mut moves, mut score) = (0, None);
        for i in 0..steps {
            let passes = if repeated.contains(&i) { self.repeats } else { 1 };
            for pass in 0..passes {
                let is_first = pass == 0;
                if !is_first {
                    if !picture.account.allows(steps - i) {
                        break;
                    }
                    let noise = picture.draws.search(i, 2 * pass..2 * pass + 1);
                    trajectory = picture.sampler.renoise(&trajectory, i, noise);
                }
                // What is left is the plan's own steps; a move costs no evaluation, but time.
                let is_guided = guided.contains(&i) && picture.account.allows(steps - i);
                let look = match is_guided {
                    true => {
                        let (look, value) = self.moved(picture, &trajectory);
                        moves += 1;
                        score = value.or(score);
                        look
                    }
                    false => picture.sampler.look(&trajectory),
                };
                let noise = match is_first {
                    true => picture.step_noise(i),
                    false => look
                        .transition
                        .is_stochastic()
                        .then(|| picture.draws.search(i, 2 * pass + 1..2 * pass + 2)),
                };
                trajectory = picture.sampler.step(&look, noise);
            }
        }
        Found {
            latents: trajectory.sample,
            picture: None,
            score: None,
            notes: json!({ "moves": moves, "score_of_last_estimate": score }),
        }
    }

    /// The evaluation at `trajectory` with its mean moved along the gradient, and the score of its
    /// estimate.
    fn moved(&self, picture: &OnePicture, trajectory: &Trajectory) -> (Look, Option<f64>) {
        let graded =
            picture.graded(&picture.sampler, trajectory, |look| picture.tracked_scores(look));
        let score = graded.values[0];
        score.into_iter().for_each(|score| picture.account.best(score));
        let mut look = graded.look;
        let length = self.strength * yardstick(&look, &trajectory.sample);
        if let Some(factor) = factor(length, rms(&graded.gradient)) {
            let step = graded.gradient.mul_scalar(factor);
            look.transition.mean = look.transition.mean + step;
        }
        (look, score)
    }
}

/// What moves are measured by: what guidance does to the prediction, or what the step does to the
/// sample.
pub(super) fn yardstick(look: &Look, sample: &Tensor<4>) -> f64 {
    match &look.correction {
        Some(correction) => correction.scale.abs() * rms(&correction.difference),
        None => rms(&(look.transition.mean.clone() - sample.clone())),
    }
}

/// What a gradient of this size is multiplied with to be of this length; `None` for one that leads
/// nowhere.
pub(super) fn factor(length: f64, gradient: f64) -> Option<f64> {
    Some(length / gradient).filter(|factor| gradient > 0.0 && factor.is_finite())
}

/// The steps of a plan from one share of it to another.
pub(super) fn window(start: f64, end: f64, steps: usize) -> Range<usize> {
    let at = |share: f64| (share * steps as f64).round() as usize;
    at(start)..at(end)
}

/// Checks that a window is one.
fn check_window(
    start_name: &'static str,
    end_name: &'static str,
    start: f64,
    end: f64,
) -> Result<(), SettingError> {
    let inside = "a share of the steps, from 0 to 1";
    SettingError::unless((0.0..=1.0).contains(&start), start_name, start, inside)?;
    SettingError::unless((0.0..=1.0).contains(&end), end_name, end, inside)?;
    SettingError::unless(start <= end, end_name, end, "no less than where the window begins")
}

#[cfg(test)]
mod tests;
