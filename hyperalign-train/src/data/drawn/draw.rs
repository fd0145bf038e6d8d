//! How a base draws pictures of training prompts.

use std::ops::ControlFlow;

use hyperalign_core::noise::{Purpose, Stream};
use hyperalign_models::{
    base::{Base, BaseError},
    generate::{Generation, Sampling},
};
use hyperalign_rewards::{
    emoji::{CHANNELS, Picture, SIZE, Split, World, pictures},
    geneval::Row,
};

use super::Impression;

/// Values of a picture.
pub(super) const PICTURE: usize = CHANNELS * SIZE * SIZE;

/// Rows of a batch, about. Prompts of one batch share their guidance.
const BATCH: usize = 16;

/// Steps whose one-step predictions may be kept, by tenths of the plan: the later three quarters,
/// where alignment asks a reward too.
const PREDICTED: std::ops::Range<usize> = 3..10;

/// What is drawn. Pictures are a function of the base and of this, one prompt after the other:
/// more prompts begin with the same ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drawing {
    /// Whose training prompts, the tasks in turn.
    pub world: World,
    /// Seed of the choice of prompts, of guidance and noise.
    pub seed: u64,
    /// Pictures of each prompt.
    pub draws: usize,
    /// Keep a one-step prediction of each picture as well, of one step for all of a prompt.
    pub predictions: bool,
    /// Sampling steps.
    pub steps: usize,
    /// The range that the weight of guidance is drawn from, evenly.
    pub guidance: [f64; 2],
}

impl Drawing {
    /// `draws` pictures of each prompt, in ten steps, with guidance from 2 to 6.
    pub fn new(world: World, seed: u64, draws: usize) -> Self {
        Self { world, seed, draws, predictions: false, steps: 10, guidance: [2.0, 6.0] }
    }

    /// The first `count` prompts.
    pub fn prompts(&self, count: usize) -> Vec<Row> {
        self.world.prompts(Split::Train, count, self.seed)
    }

    /// Prompts that are drawn in one batch, and whose pictures are kept or lost together.
    pub(super) fn group(&self) -> usize {
        (BATCH / self.draws.max(1)).max(1)
    }

    /// Draws group `group` of prompts, whose rows are `rows`.
    pub(super) fn draw(
        &self,
        base: &dyn Base,
        rows: &[Row],
        group: usize,
    ) -> Result<Vec<DrawnPrompt>, BaseError> {
        let mut habits = Stream::new(self.seed, Purpose::Data, 1, group as u32);
        let guidance = habits.range(self.guidance[0], self.guidance[1]);
        let kept = self.steps * PREDICTED.start / 10
            + habits.below((self.steps * PREDICTED.len() / 10).max(1));
        let repeated = |row: &Row| std::iter::repeat_n(row.prompt.clone(), self.draws);
        let prompts: Vec<String> = rows.iter().flat_map(repeated).collect();
        let sampling = Sampling::new(self.steps, guidance);
        let generation = Generation::new(base, &sampling, &prompts)?;
        let first = group * self.group();
        let streams = (0..prompts.len()).map(|k| {
            let (prompt, draw) = (first + k / self.draws, k % self.draws);
            Stream::new(self.seed, Purpose::Start, prompt as u32, draw as u32)
        });
        let sampler = generation.sampler();
        let start = sampler.start(generation.noise(streams));
        let mut predicted = None;
        let end = sampler.run(start, sampler.scheduler().steps(), None, &mut |state| {
            if self.predictions && state.i == kept {
                predicted = Some(state.pred_original.clone());
            }
            ControlFlow::Continue(())
        });
        let decoded = |latents| pictures(&base.decode(latents).clamp(-1.0, 1.0));
        let predicted = predicted.map(decoded);
        let finished = decoded(end.sample);
        let of = |all: &[Picture], k: usize| -> Vec<Vec<u8>> {
            all[k * self.draws..(k + 1) * self.draws].iter().map(Picture::to_planes8).collect()
        };
        Ok(rows
            .iter()
            .enumerate()
            .map(|(k, row)| {
                let shown = of(&finished, k);
                DrawnPrompt {
                    // Of the bytes, which is all that anybody gets to see.
                    impressions: shown
                        .iter()
                        .map(|b| Impression::of(&Picture::from_planes8(b), row))
                        .collect(),
                    finished: shown,
                    predicted: predicted.as_ref().map_or(Vec::new(), |all| of(all, k)),
                }
            })
            .collect())
    }
}

/// The pictures of one prompt, `[3, SIZE, SIZE]` as bytes each.
#[derive(Debug, Clone, PartialEq)]
pub struct DrawnPrompt {
    /// The finished pictures.
    pub finished: Vec<Vec<u8>>,
    /// The one-step predictions that were made of them on the way, where these are kept.
    pub predicted: Vec<Vec<u8>>,
    /// What an annotator sees of the finished pictures.
    pub impressions: Vec<Impression>,
}
