//! Guidance by a preference and by attention, with weights that change on the way.

use std::cell::RefCell;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    freedom::{factor, yardstick},
    semantics,
    views::view,
};
use crate::{
    contract::TextWatch,
    one_picture::{Found, Graded, OnePicture, SettingError, rms, widened},
    precision::like,
    sampler::{Look, Trajectory},
};

/// DyMO (Xie & Gong 2025, arXiv:2412.00759): each step is moved against the gradient of a loss of
/// its one-step estimate, which begins as that of the attention between things and what is said of
/// them ([`Noun`](crate::one_picture::Noun)s), goes on as a mixture, and ends as that of a
/// preference, here the reward over the picture and several views of it.
///
/// ```text
/// steps before `preference_start`:  10 L_sem
/// up to `semantic_end`:             10 (1 - exp(-delta)) L_sem + exp(-delta) L_pref
/// after it:                         L_pref
/// ```
///
/// Delta is how much the estimate has changed since the evaluation before. A move is as long as
/// guidance's correction of the prediction, in the first phase `0.2 guidance_scale` times that; in
/// a network that was distilled to its guidance it is measured by the step, as in
/// [`Freedom`](super::Freedom), and a guidance of 7.5 is assumed. A step is repeated
/// `floor(rounds |gradient|)` times, with noise in between that leads back.
///
/// The authors' preference model is step-aware: it reads the timestep too, as any reward may
/// ([`Reward::score_at`](crate::contract::Reward::score_at)). Without things to bind, or in a network
/// that does not show its attention, the first phase moves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dymo {
    /// Where the preference begins to count, as a share of the steps.
    pub preference_start: f64,
    /// Where attention ceases to count, as a share of the steps.
    pub semantic_end: f64,
    /// Weight of the semantic loss.
    pub semantic_scale: f64,
    /// How long moves are, beside what they are measured by.
    pub strength: f64,
    /// How often a step is repeated for a gradient of length 1, before and after `semantic_end`.
    pub rounds: [f64; 2],
    /// How often a step is repeated at most; the authors' code has no limit.
    pub most_repeats: usize,
    /// Views of each picture that the reward is shown beside it.
    pub views: usize,
    /// As in the authors' code, takes the length of the vector of the views' scores for their
    /// preference, and not their mean: the same direction as long as all are positive.
    pub compat_norm: bool,
}

/// Those of the authors' code for Stable Diffusion 1.5, in shares of its 50 steps.
impl Default for Dymo {
    fn default() -> Self {
        Self {
            preference_start: 0.16,
            semantic_end: 0.5,
            semantic_scale: 10.0,
            strength: 1.0,
            rounds: [1.0, 3.0],
            most_repeats: 5,
            views: 10,
            compat_norm: false,
        }
    }
}

/// How long moves of the first phase are, as a share of the scaled correction.
const FIRST_PHASE: f64 = 0.2;
/// The weight of guidance that moves are scaled for where a network is told its guidance.
const ASSUMED_GUIDANCE: f64 = 7.5;

/// The parts of a step's loss.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Semantic,
    Both,
    Preference,
}

impl Dymo {
    /// Checks every number.
    ///
    /// # Errors
    ///
    /// Fails for thresholds that are no shares or in the wrong order, and for negative numbers.
    pub fn check(&self) -> Result<(), SettingError> {
        let Self { preference_start, semantic_end, .. } = *self;
        let inside = "a share of the steps, from 0 to 1";
        let is_share = |share: f64| (0.0..=1.0).contains(&share);
        let (start, end) = ("preference_start", "semantic_end");
        SettingError::unless(is_share(preference_start), start, preference_start, inside)?;
        SettingError::unless(is_share(semantic_end), end, semantic_end, inside)?;
        let is_ordered = preference_start <= semantic_end;
        SettingError::unless(is_ordered, end, semantic_end, "no less than preference_start")?;
        let numbers = [
            ("semantic_scale", self.semantic_scale),
            ("strength", self.strength),
            ("rounds", self.rounds[0]),
            ("rounds", self.rounds[1]),
        ];
        numbers.into_iter().try_for_each(|(name, number)| {
            let holds = number >= 0.0 && number.is_finite();
            SettingError::unless(holds, name, number, "a number from 0")
        })
    }

    /// Makes `picture`. Where the account allows no more, the steps that are left are taken
    /// plainly, and once.
    pub fn run(&self, picture: &OnePicture) -> Found {
        let steps = picture.steps();
        let mut trajectory = picture.sampler.start(picture.draws.start(0..1));
        let mut run = Run { settings: self, picture, before: None, notes: Notes::default() };
        for i in 0..steps {
            let mut repeats = 0;
            let mut pass = 0;
            while pass <= repeats {
                if pass > 0 {
                    if !picture.account.allows(steps - i) {
                        break;
                    }
                    let noise = picture.draws.search(i, 2 * pass..2 * pass + 1);
                    trajectory = picture.sampler.renoise(&trajectory, i, noise);
                }
                let phase = self.phase(i, steps);
                let (look, gradient) = match picture.account.allows(steps - i) {
                    true => run.moved(&trajectory, phase, pass),
                    false => (picture.sampler.look(&trajectory), 0.0),
                };
                if pass == 0 {
                    repeats = self.repeats(phase, gradient);
                    run.notes.repeats += repeats;
                }
                let noise = match pass {
                    0 => picture.step_noise(i),
                    _ => look
                        .transition
                        .is_stochastic()
                        .then(|| picture.draws.search(i, 2 * pass + 1..2 * pass + 2)),
                };
                trajectory = picture.sampler.step(&look, noise);
                pass += 1;
            }
        }
        let Notes { moves, repeats, pairs, score } = run.notes;
        Found {
            latents: trajectory.sample,
            picture: None,
            score: None,
            notes: json!({
                "moves": moves,
                "repeats": repeats,
                "binds": pairs,
                "score_of_last_estimate": score,
            }),
        }
    }

    fn phase(&self, i: usize, steps: usize) -> Phase {
        let at = |share: f64| (share * steps as f64).round() as usize;
        if i < at(self.preference_start) {
            Phase::Semantic
        } else if i < at(self.semantic_end) {
            Phase::Both
        } else {
            Phase::Preference
        }
    }

    fn repeats(&self, phase: Phase, gradient: f64) -> usize {
        let rounds = if phase == Phase::Preference { self.rounds[1] } else { self.rounds[0] };
        // A number that is none becomes 0.
        ((rounds * gradient).floor() as usize).min(self.most_repeats)
    }
}

#[derive(Default)]
struct Notes {
    moves: usize,
    repeats: usize,
    pairs: bool,
    score: Option<f64>,
}

/// A picture in the making.
struct Run<'a, 'b> {
    settings: &'a Dymo,
    picture: &'a OnePicture<'b>,
    /// The estimate of the evaluation before.
    before: Option<Tensor<4>>,
    notes: Notes,
}

impl Run<'_, '_> {
    /// The evaluation at `trajectory` with its mean moved, and the length of the loss's gradient.
    fn moved(&mut self, trajectory: &Trajectory, phase: Phase, pass: usize) -> (Look, f64) {
        let picture = self.picture;
        let looks_on =
            phase != Phase::Preference && !picture.nouns.is_empty() && picture.sampler.shows_text();
        if phase == Phase::Semantic && !looks_on {
            let look = picture.sampler.look(trajectory);
            self.before = Some(look.pred_original().clone());
            return (look, 0.0);
        }
        let maps = RefCell::new(Vec::new());
        let watch = |map: Tensor<4>| maps.borrow_mut().push(map);
        let watch = looks_on.then_some(&watch as TextWatch);
        let (before, is_bound, score) =
            (self.before.take(), RefCell::new(false), RefCell::new(None));
        let Graded { mut look, gradient, .. } =
            picture.graded_with(&picture.sampler, trajectory, watch, |look| {
                let estimate = look.pred_original();
                let semantic = semantics::loss(&maps.borrow(), picture.nouns);
                *is_bound.borrow_mut() = semantic.is_some();
                let scale = self.settings.semantic_scale;
                let loss = match phase {
                    Phase::Semantic => semantic.map(|loss| loss.mul_scalar(scale)),
                    Phase::Both => {
                        let change = before.map_or(0.0, |before| change(&before, estimate));
                        let fades = (-change).exp();
                        let preference = self.preference(look, pass, &score).mul_scalar(fades);
                        Some(match semantic {
                            Some(loss) => {
                                let loss = like(loss, &preference);
                                preference + loss.mul_scalar(scale * (1.0 - fades))
                            }
                            None => preference,
                        })
                    }
                    Phase::Preference => Some(self.preference(look, pass, &score)),
                };
                let nothing = || estimate.clone().flatten::<1>(0, 3).sum().mul_scalar(0.0);
                loss.unwrap_or_else(nothing)
            });
        self.before = Some(look.pred_original().clone());
        self.notes.pairs |= is_bound.into_inner();
        let score = score.into_inner();
        score.into_iter().for_each(|score: f64| picture.account.best(score));
        self.notes.score = score.or(self.notes.score);
        if let Some(factor) = factor(self.length(&look, trajectory, phase), rms(&gradient)) {
            let step = gradient.clone().mul_scalar(factor);
            look.transition.mean = look.transition.mean - step;
            self.notes.moves += 1;
        }
        let size = gradient.dims().iter().product::<usize>() as f64;
        (look, rms(&gradient) * size.sqrt())
    }

    /// How long a move is, as the root of its mean square.
    fn length(&self, look: &Look, trajectory: &Trajectory, phase: Phase) -> f64 {
        let scaled = yardstick(look, &trajectory.sample);
        let guidance =
            look.correction.as_ref().map_or(ASSUMED_GUIDANCE, |correction| correction.scale.abs());
        let share = if phase == Phase::Semantic { FIRST_PHASE } else { 1.0 / guidance };
        self.settings.strength * share * scaled
    }

    /// The preference's loss of what `look` estimates; the score of the picture itself goes to
    /// `score`.
    fn preference(&self, look: &Look, pass: usize, score: &RefCell<Option<f64>>) -> Tensor<1> {
        let picture = self.picture;
        let image = picture.decoder.decode(look.pred_original().clone()).clamp(-1.0, 1.0);
        // Draws of views lie beyond those of repeats.
        let first = (2 * self.settings.most_repeats + 2) + pass * self.settings.views;
        let views = (0..self.settings.views)
            .map(|k| view(image.clone(), &mut picture.draws.stream(look.i, first + k)));
        let shown: Vec<Tensor<4>> = std::iter::once(image.clone()).chain(views).collect();
        let prompts = vec![picture.prompt.clone(); shown.len()];
        let shown = Tensor::cat(shown, 0);
        let timesteps = picture.timesteps(look.i, &shown);
        let scores = picture.reward.score_at(shown, &prompts, timesteps);
        let own = scores.clone().slice(0..1).inner().into_data().convert::<f64>();
        *score.borrow_mut() = own.iter::<f64>().next().filter(|score| score.is_finite());
        match self.settings.compat_norm {
            true => scores.square().sum().sqrt().neg(),
            false => scores.mean().neg(),
        }
    }
}

/// How much an estimate differs from the one before, with the colours of each channel standardised:
/// `|n(x) - n(x')| / |n(x')|`.
fn change(before: &Tensor<4>, now: &Tensor<4>) -> f64 {
    let standard = |x: &Tensor<4>| {
        let x = widened(x.clone().inner());
        let mean = x.clone().mean_dims(&[2, 3]);
        let variance = (x.clone() - mean.clone()).square().mean_dims(&[2, 3]);
        (x - mean) / (variance.sqrt() + 1e-5)
    };
    let (before, now) = (standard(before), standard(now));
    rms(&(now - before.clone())) / rms(&before).max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests;
