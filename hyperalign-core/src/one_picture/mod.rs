//! What the methods that work while a picture is sampled are given: searches and guidance.
//!
//! They make one picture at a time, so that it depends on its own prompt and seed alone, and a
//! limit on what it may cost means something. What they evaluate at once are its candidates.

mod account;
mod draws;
mod error;
mod gradient;

use burn::tensor::Tensor;

pub use account::{Account, Unlimited};
pub use draws::Draws;
pub use error::SettingError;
pub use gradient::Graded;
pub(crate) use gradient::{rms, widened};

use crate::{
    contract::{Conditioning, Decoder, Prompt, Reward},
    sampler::{Look, Sampler, Trajectory, unobserved},
};

/// One picture that is wanted: how it is sampled, what it is judged by, and who pays.
#[derive(Clone)]
pub struct OnePicture<'a> {
    /// Its sampler, for one row: the prompt, and the updates of an adapter if there is one.
    pub sampler: Sampler<'a>,
    /// Its prompt, encoded, of one row.
    pub conditioning: &'a Conditioning,
    /// What makes pictures of latents.
    pub decoder: &'a dyn Decoder,
    /// What is sought: the highest score.
    pub reward: &'a dyn Reward,
    /// What the score is about.
    pub prompt: &'a Prompt,
    /// The things that the prompt names, as far as they are known.
    pub nouns: &'a [Noun],
    /// Its noise.
    pub draws: Draws,
    /// The most candidates that are evaluated at once. It changes speed and memory only.
    pub batch: usize,
    /// Who pays.
    pub account: &'a dyn Account,
}

/// A thing that a prompt names, by the places of its tokens in the context.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Noun {
    /// The tokens of its word.
    pub tokens: Vec<usize>,
    /// The tokens of each word that is said of it.
    pub attributes: Vec<Vec<usize>>,
}

/// What a method has made.
#[derive(Debug, Clone)]
pub struct Found {
    /// The latents, `[1, channels, height, width]`.
    pub latents: Tensor<4>,
    /// Their picture where it had to be decoded anyway, `[1, 3, height, width]`, not clipped.
    pub picture: Option<Tensor<4>>,
    /// Its score, where it was scored.
    pub score: Option<f64>,
    /// What else can be said of how it was made, for a report.
    pub notes: serde_json::Value,
}

/// A candidate that was decoded and scored.
#[derive(Debug, Clone)]
pub struct Judged {
    /// `[1, 3, height, width]`, not clipped.
    pub picture: Tensor<4>,
    /// `None` if the score is no number.
    pub score: Option<f64>,
}

impl OnePicture<'_> {
    /// Sampling steps.
    pub fn steps(&self) -> usize {
        self.sampler.scheduler().steps()
    }

    /// Decodes and scores each row of `latents`, as tables score: clean samples, or where `step` is
    /// told what that step estimates. Scores that are no numbers are passed over, and counted by the
    /// account.
    ///
    /// # Shapes
    ///
    /// - `latents`: `[candidates, channels, height, width]`
    pub fn judge(&self, latents: Tensor<4>, step: Option<usize>) -> Vec<Judged> {
        let candidates = latents.dims()[0];
        let pictures = self.decoder.decode(latents);
        let prompts = vec![self.prompt.clone(); candidates];
        let shown = pictures.clone().clamp(-1.0, 1.0);
        let scores = match step {
            Some(i) => self.reward.measure_at(&shown, &prompts, self.timesteps(i, &shown)),
            None => self.reward.measure(&shown, &prompts),
        };
        let judged = |(k, score): (usize, f32)| {
            let score = Some(f64::from(score)).filter(|score| score.is_finite());
            if score.is_none() {
                self.account.skipped(1);
            }
            Judged { picture: pictures.clone().slice(k..k + 1), score }
        };
        scores.into_iter().enumerate().map(judged).collect()
    }

    /// The scores of what `look` estimates with their gradients: where the estimates are tracked, so
    /// are they.
    ///
    /// # Shapes
    ///
    /// - output: `[candidates]`
    pub fn tracked_scores(&self, look: &Look) -> Tensor<1> {
        let latents = look.pred_original().clone();
        let prompts = vec![self.prompt.clone(); latents.dims()[0]];
        let pictures = self.decoder.decode(latents).clamp(-1.0, 1.0);
        let timesteps = self.timesteps(look.i, &pictures);
        self.reward.score_at(pictures, &prompts, timesteps)
    }

    /// The training timestep of step `i`, for each of `pictures`, off the tape.
    pub(crate) fn timesteps(&self, i: usize, pictures: &Tensor<4>) -> Tensor<1> {
        let device =
            if pictures.is_autodiff() { pictures.device().inner() } else { pictures.device() };
        Tensor::full([pictures.dims()[0]], self.sampler.scheduler().training_timestep(i), &device)
    }

    /// The noise that step `i` is taken with where nobody chooses another; none for a step that
    /// draws none.
    pub fn step_noise(&self, i: usize) -> Option<Tensor<4>> {
        self.sampler.scheduler().needs_noise(i).then(|| self.draws.step(i, 0..1))
    }

    /// Takes the steps that are left as they come.
    #[must_use]
    pub fn finish(&self, trajectory: Trajectory) -> Trajectory {
        let noise = |i| self.draws.step(i, 0..1);
        self.sampler.run(trajectory, self.steps(), Some(&noise), &mut unobserved)
    }
}

#[cfg(test)]
pub(crate) mod toy;
