//! Noisy people of the embedded world, who prefer one of two pictures.

use hyperalign_core::noise::{Purpose, Stream};
use hyperalign_rewards::{
    emoji::{Picture, gold, ugliness},
    geneval::Row,
};
use serde::{Deserialize, Serialize};

/// What an annotator sees of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Impression {
    /// It shows what was asked for.
    pub right: bool,
    /// How far it is from a clean drawing of what it shows; see [`ugliness`].
    pub ugliness: f32,
}

impl Impression {
    /// Of a picture that `row` was asked for.
    pub fn of(picture: &Picture, row: &Row) -> Self {
        Self { right: gold(picture, row).correct, ugliness: ugliness(picture) }
    }
}

/// Somebody with a taste, who is not always careful.
///
/// The rule: a right picture beats a wrong one, and between two right or two wrong ones the less
/// ugly wins. A share of the pairs is decided by looks alone, and a share of all answers is the
/// wrong way round. A pair always gets the same answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Annotator {
    /// Tells annotators of the same habits apart.
    pub seed: u64,
    /// The share of answers that are the wrong way round.
    pub flips: f64,
    /// The share of pairs that are decided by looks, whatever was asked for.
    pub looks_alone: f64,
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The first of the two is preferred.
    pub first: bool,
    /// The answer is the opposite of what the annotator thinks. A learner does not get to see this.
    pub flipped: bool,
}

impl Annotator {
    /// What was asked for comes first; 15 % of the answers are wrong.
    pub const CAREFUL: Self = Self { seed: 1, flips: 0.15, looks_alone: 0.0 };

    /// Three pairs of ten are decided by looks alone, and 25 % of the answers are wrong.
    pub const HASTY: Self = Self { seed: 2, flips: 0.25, looks_alone: 0.3 };

    /// Which of two pictures of pair `index` it prefers.
    pub fn answer(&self, index: u32, pair: [Impression; 2]) -> Answer {
        const STEP: u32 = 21;
        let mut stream = Stream::new(self.seed, Purpose::World, STEP, index);
        let [first, second] = pair;
        let by_looks = stream.chance(self.looks_alone);
        let preferred = if !by_looks && first.right != second.right {
            first.right
        } else {
            first.ugliness <= second.ugliness
        };
        let flipped = stream.chance(self.flips);
        Answer { first: preferred != flipped, flipped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT_AND_UGLY: Impression = Impression { right: true, ugliness: 0.2 };
    const WRONG_AND_NEAT: Impression = Impression { right: false, ugliness: 0.1 };

    /// The share of `n` pairs in which the first is preferred, and of answers that are flipped.
    fn shares(annotator: Annotator, pair: [Impression; 2]) -> (f64, f64) {
        let n = 4000;
        let answers: Vec<Answer> = (0..n).map(|k| annotator.answer(k, pair)).collect();
        let share = |count: usize| count as f64 / f64::from(n);
        (
            share(answers.iter().filter(|answer| answer.first).count()),
            share(answers.iter().filter(|answer| answer.flipped).count()),
        )
    }

    #[test]
    fn answers_are_as_careful_as_they_say() {
        // Four standard errors of 4,000 answers are .03.
        let close = |found: f64, expected: f64| (found - expected).abs() < 0.03;
        let (first, flipped) = shares(Annotator::CAREFUL, [RIGHT_AND_UGLY, WRONG_AND_NEAT]);
        assert!(close(first, 0.85) && close(flipped, 0.15), "{first} {flipped}");
        // By looks in three of ten, then the wrong way round in a quarter of all.
        let (first, flipped) = shares(Annotator::HASTY, [RIGHT_AND_UGLY, WRONG_AND_NEAT]);
        assert!(close(first, 0.7 * 0.75 + 0.3 * 0.25) && close(flipped, 0.25), "{first} {flipped}");
    }

    #[test]
    fn between_equals_the_neater_wins() {
        let careless = Annotator { flips: 0.0, ..Annotator::CAREFUL };
        for right in [true, false] {
            let pair = [0.2, 0.1].map(|ugliness| Impression { right, ugliness });
            assert_eq!(careless.answer(3, pair), Answer { first: false, flipped: false });
        }
        let answer = |index| Annotator::HASTY.answer(index, [RIGHT_AND_UGLY, WRONG_AND_NEAT]);
        assert_eq!(answer(5), answer(5));
    }
}
