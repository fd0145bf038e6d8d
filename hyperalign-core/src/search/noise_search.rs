//! Search over the noise that steps draw, step by step.

use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    one_picture::{Found, Judged, OnePicture, SettingError},
    sampler::{Look, Trajectory},
};

/// Zero-order and epsilon-greedy search (Ramesh & Mardani 2025, arXiv:2506.03164). Each step is a
/// bandit of its own: its noise starts at the one that plain sampling draws, the pivot, and is
/// improved by candidates around it. A candidate is worth the score of the one-step estimate at
/// the sample that it leads to.
///
/// ```text
/// local candidate:  pivot + radius sqrt(d) u g / |g|,  u uniform, g normal of d numbers
/// global candidate: g, with the probability `exploration`
/// ```
///
/// After each iteration the best candidate is the pivot, also where it is worse than the pivot
/// before, unless the search is `elitist`. With 0 iterations the method is plain sampling.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NoiseSearch {
    /// Candidates of an iteration.
    pub candidates: usize,
    /// Iterations of a step.
    pub iterations: usize,
    /// How far a local candidate is from the pivot at most, as a share of the length that noise
    /// has.
    pub radius: f64,
    /// The probability of a candidate that owes nothing to the pivot; 0 is zero-order search.
    pub exploration: f64,
    /// Whether a pivot gives way only to what is better. The authors' code has no such choice.
    pub elitist: bool,
    /// As in the authors' code, looks ahead with the time and the noise level of the step that is
    /// being taken, not of the one that it leads to.
    pub compat_lookahead: bool,
}

impl NoiseSearch {
    /// Zero-order search, with the settings of the authors' code.
    pub fn zero_order() -> Self {
        Self { exploration: 0.0, ..Self::epsilon_greedy() }
    }

    /// Epsilon-greedy search, with the settings of the authors' code.
    pub fn epsilon_greedy() -> Self {
        Self {
            candidates: 4,
            iterations: 20,
            radius: 0.15,
            exploration: 0.4,
            elitist: false,
            compat_lookahead: false,
        }
    }

    /// Checks every number.
    ///
    /// # Errors
    ///
    /// Fails for no candidate, a radius that is negative or no number, and a probability that is
    /// none.
    pub fn check(&self) -> Result<(), SettingError> {
        let Self { candidates, radius, exploration, .. } = *self;
        SettingError::unless(candidates > 0, "candidates", candidates, "at least 1")?;
        let is_radius = radius >= 0.0 && radius.is_finite();
        SettingError::unless(is_radius, "radius", radius, "a number from 0")?;
        let is_share = (0.0..=1.0).contains(&exploration);
        SettingError::unless(is_share, "exploration", exploration, "a probability from 0 to 1")
    }

    /// Makes `picture`. Where the account allows no more, the steps that are left are taken
    /// plainly.
    pub fn run(&self, picture: &OnePicture) -> Found {
        let steps = picture.steps();
        let mut trajectory = picture.sampler.start(picture.draws.start(0..1));
        let (mut iterations, mut kept) = (0, None);
        while trajectory.i < steps {
            let look = picture.sampler.look(&trajectory);
            let noise = picture.step_noise(look.i).map(|pivot| {
                let mut search = Step { settings: self, picture, look: &look, pivot, kept: None };
                iterations += search.run();
                kept = search.kept;
                search.pivot
            });
            trajectory = picture.sampler.step(&look, noise);
        }
        // Only what the last step leads to is itself a picture.
        let is_last = picture.sampler.scheduler().needs_noise(steps - 1) && !self.compat_lookahead;
        let kept = kept.filter(|_| is_last);
        Found {
            latents: trajectory.sample,
            score: kept.as_ref().and_then(|kept| kept.score),
            picture: kept.map(|kept| kept.picture),
            notes: json!({ "iterations": iterations }),
        }
    }
}

impl Default for NoiseSearch {
    fn default() -> Self {
        Self::epsilon_greedy()
    }
}

/// The search of one step.
struct Step<'a, 'b> {
    settings: &'a NoiseSearch,
    picture: &'a OnePicture<'b>,
    look: &'a Look,
    /// The noise that the step is taken with, `[1, channels, height, width]`.
    pivot: Tensor<4>,
    /// What is known of where the pivot leads to.
    kept: Option<Judged>,
}

impl Step<'_, '_> {
    /// Improves the pivot; says in how many iterations.
    fn run(&mut self) -> usize {
        for k in 0..self.settings.iterations {
            let is_unknown = self.settings.elitist && self.kept.is_none();
            let candidates = self.settings.candidates + usize::from(is_unknown);
            let left = self.picture.steps() - 1 - self.look.i;
            let ahead = if self.looks_ahead() { candidates } else { 0 };
            if !self.picture.account.allows(ahead + left) {
                return k;
            }
            let own = is_unknown.then(|| self.pivot.clone());
            let proposals = own.into_iter().chain([self.propose(k)]).collect();
            self.choose(Tensor::cat(proposals, 0));
        }
        self.settings.iterations
    }

    /// Whether a candidate's worth takes an evaluation: what the last step leads to is itself the
    /// picture.
    fn looks_ahead(&self) -> bool {
        self.settings.compat_lookahead || self.look.i + 1 < self.picture.steps()
    }

    /// The candidates of iteration `k`, a row each.
    fn propose(&self, k: usize) -> Tensor<4> {
        let NoiseSearch { candidates, radius, exploration, .. } = *self.settings;
        let size = self.picture.draws.size();
        let (mut moves, mut keeps) = (Vec::new(), Vec::new());
        for n in 0..candidates {
            let mut stream = self.picture.draws.stream(self.look.i, k * candidates + n);
            let is_global = stream.chance(exploration);
            let share = stream.uniform();
            let normal: Vec<f64> = (0..size).map(|_| stream.normal()).collect();
            let length = normal.iter().map(|x| x * x).sum::<f64>().sqrt();
            let local = radius * (size as f64).sqrt() * share / length;
            let scale = if is_global { 1.0 } else { local };
            moves.extend(normal.iter().map(|x| (x * scale) as f32));
            keeps.push(if is_global { 0.0_f32 } else { 1.0 });
        }
        let [_, channels, height, width] = self.pivot.dims();
        let device = self.pivot.device();
        let moves = TensorData::new(moves, [candidates, channels, height, width]);
        let keeps = TensorData::new(keeps, [candidates, 1, 1, 1]);
        let [moves, keeps] =
            [moves, keeps].map(|data| Tensor::<4>::from_data(data, (&device, self.pivot.dtype())));
        self.pivot.clone() * keeps + moves
    }

    /// Makes the best of `proposals` the pivot. Without any score the pivot stays.
    fn choose(&mut self, proposals: Tensor<4>) {
        let judged = self.judge(&proposals);
        let scored = judged.into_iter().enumerate();
        let scored = scored.filter_map(|(n, judged)| Some((n, judged.score?, judged)));
        // Of equals the first.
        let best = scored.reduce(|best, other| if other.1 > best.1 { other } else { best });
        let Some((n, score, judged)) = best else { return };
        let before = self.kept.as_ref().and_then(|kept| kept.score);
        if self.settings.elitist && before.is_some_and(|before| before >= score) {
            return;
        }
        self.picture.account.best(score);
        self.pivot = proposals.slice(n..n + 1);
        self.kept = Some(judged);
    }

    /// What each candidate is worth.
    fn judge(&self, candidates: &Tensor<4>) -> Vec<Judged> {
        let (all, most) = (candidates.dims()[0], self.picture.batch.max(1));
        let mut judged = Vec::new();
        for first in (0..all).step_by(most) {
            let rows = most.min(all - first);
            let conditioning = self.picture.conditioning.repeat(rows);
            let sampler = self.picture.sampler.with_conditioning(&conditioning);
            let noise = candidates.clone().slice(first..first + rows);
            let next = sampler.step(&self.look.select(&vec![0; rows]), Some(noise));
            let (estimates, step) = match (self.looks_ahead(), self.settings.compat_lookahead) {
                (false, _) => (next.sample, None),
                (true, compat) => {
                    let i = if compat { self.look.i } else { next.i };
                    let look = sampler.look(&Trajectory { i, ..next });
                    (look.transition.pred_original, Some(i))
                }
            };
            judged.extend(self.picture.judge(estimates, step));
        }
        judged
    }
}

#[cfg(test)]
mod tests;
