//! Best of N.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::one_picture::{Found, Judged, OnePicture, SettingError};

/// Samples the picture from N noises and keeps the one with the highest score. Of the others
/// nothing is kept, so memory does not depend on N. The first noise is the picture's own: with
/// N = 1 the method is plain sampling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BestOfN {
    /// Pictures that are sampled. 20 is HyperAlign's comparison (arXiv:2601.15968).
    pub n: usize,
}

impl Default for BestOfN {
    fn default() -> Self {
        Self { n: 20 }
    }
}

impl BestOfN {
    /// Checks the number.
    ///
    /// # Errors
    ///
    /// Fails for 0.
    pub fn check(&self) -> Result<(), SettingError> {
        SettingError::unless(self.n > 0, "n", self.n, "at least 1")
    }

    /// Makes `picture`; `None` if an end is wanted before there is any.
    ///
    /// A picture without a score is kept only while there is none with a score.
    pub fn run(&self, picture: &OnePicture) -> Option<Found> {
        let mut best: Option<(usize, Judged, crate::sampler::Trajectory)> = None;
        let mut done = 0;
        while done < self.n {
            let most = picture.batch.max(1).min(self.n - done);
            let affordable = |rows: &usize| picture.account.allows(rows * picture.steps());
            let rows = match ((1..=most).rev().find(affordable), &best) {
                (Some(rows), _) => rows,
                (None, Some(_)) => break,
                // The first picture is made whatever it costs.
                (None, None) => 1,
            };
            let conditioning = picture.conditioning.repeat(rows);
            let sampler = picture.sampler.with_conditioning(&conditioning);
            let candidates = done..done + rows;
            let noise = |i| picture.draws.step(i, candidates.clone());
            let start = sampler.start(picture.draws.start(candidates.clone()));
            let ends_early = || {
                let is_late = best.is_some() && !picture.account.allows(0);
                picture.account.is_stopped() || is_late
            };
            let end = sampler.run(start, picture.steps(), Some(&noise), &mut |_| {
                if ends_early() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            if end.i < picture.steps() {
                break;
            }
            for (k, judged) in picture.judge(end.sample.clone(), None).into_iter().enumerate() {
                let is_better = match (&best, judged.score) {
                    (None, _) => true,
                    (Some((_, kept, _)), Some(score)) => kept.score.is_none_or(|kept| score > kept),
                    (Some(_), None) => false,
                };
                if is_better {
                    judged.score.into_iter().for_each(|score| picture.account.best(score));
                    best = Some((done + k, judged, end.select(&[k])));
                }
            }
            done += rows;
        }
        best.map(|(candidate, judged, end)| Found {
            latents: end.sample,
            picture: Some(judged.picture),
            score: judged.score,
            notes: json!({ "candidate": candidate, "candidates": done }),
        })
    }
}

#[cfg(test)]
mod tests;
