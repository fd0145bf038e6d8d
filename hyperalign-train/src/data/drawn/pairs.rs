//! Drawn pictures as data of methods.

use burn::tensor::{Device, Tensor};
use hyperalign_core::noise::Stream;
use hyperalign_rewards::{
    Prompt, Reward,
    emoji::{Picture, PreferencePair},
    geneval::Row,
};

use super::{Annotator, DrawnPrompt};
use crate::data::{LabelData, Labelled, PairData, Pairs, PreferredData, picture_tensor};

/// One pair of pictures of each prompt, with a verdict. It is read in its order, over and over.
#[derive(Debug)]
pub struct JudgedPairs {
    pairs: Vec<Judged>,
}

/// A pair with its verdict.
#[derive(Debug)]
struct Judged {
    prompt: String,
    preferred: Picture,
    rejected: Picture,
}

impl JudgedPairs {
    /// What `annotator` says of the first two pictures of each prompt, whose rows are `rows`.
    ///
    /// # Panics
    ///
    /// Panics if there is no prompt, or one has fewer than two pictures.
    pub fn winners(drawn: &[DrawnPrompt], rows: &[Row], annotator: Annotator) -> Self {
        assert!(!drawn.is_empty(), "no pairs");
        let answers = Self::answers(drawn, annotator);
        let judge = |((drawn, row), preferred): ((&DrawnPrompt, &Row), usize)| {
            Judged::of(drawn, row, preferred, 1 - preferred)
        };
        Self { pairs: drawn.iter().zip(rows).zip(answers).map(judge).collect() }
    }

    /// Which of the first two pictures of each prompt `annotator` prefers.
    ///
    /// # Panics
    ///
    /// Panics if a prompt has fewer than two pictures.
    pub fn answers(drawn: &[DrawnPrompt], annotator: Annotator) -> Vec<usize> {
        let answer = |(index, drawn): (usize, &DrawnPrompt)| {
            let pair = [drawn.impressions[0], drawn.impressions[1]];
            usize::from(!annotator.answer(index as u32, pair).first)
        };
        drawn.iter().enumerate().map(answer).collect()
    }

    /// The first and the last of the pictures of each prompt in the order of `reward`: what
    /// reward-ranked fine-tuning learns from (Dong et al. 2023, arXiv:2304.06767).
    ///
    /// # Panics
    ///
    /// Panics if there is no prompt, or where `reward` does.
    pub fn ranked(
        drawn: &[DrawnPrompt],
        rows: &[Row],
        reward: &dyn Reward,
        device: &Device,
    ) -> Self {
        assert!(!drawn.is_empty(), "no pictures");
        let judge = |(drawn, row): (&DrawnPrompt, &Row)| {
            let pictures: Vec<Picture> =
                drawn.finished.iter().map(|b| Picture::from_planes8(b)).collect();
            let images = picture_tensor(pictures.iter(), device);
            let scores = reward.measure(&images, &vec![Prompt::from(row.clone()); pictures.len()]);
            let order = |a: &usize, b: &usize| scores[*a].total_cmp(&scores[*b]);
            let best = (0..scores.len()).max_by(order).expect("pictures of a prompt");
            let worst = (0..scores.len()).min_by(order).expect("pictures of a prompt");
            Judged::of(drawn, row, best, worst)
        };
        Self { pairs: drawn.iter().zip(rows).map(judge).collect() }
    }
}

impl Judged {
    fn of(drawn: &DrawnPrompt, row: &Row, preferred: usize, rejected: usize) -> Self {
        let [preferred, rejected] =
            [preferred, rejected].map(|k| Picture::from_planes8(&drawn.finished[k]));
        Self { prompt: row.prompt.clone(), preferred, rejected }
    }
}

/// All pairs of the pictures of each prompt, finished ones and one-step predictions: what a
/// preference model learns from.
#[derive(Debug)]
pub struct DrawnPairs {
    drawn: Vec<DrawnPrompt>,
    rows: Vec<Row>,
    annotator: Annotator,
}

impl DrawnPairs {
    /// The pictures of prompts whose rows are `rows`.
    ///
    /// # Panics
    ///
    /// Panics if there is no prompt, or one has fewer than two pictures.
    pub fn new(drawn: Vec<DrawnPrompt>, rows: Vec<Row>, annotator: Annotator) -> Self {
        assert!(drawn.iter().all(|one| one.finished.len() > 1), "two pictures make a pair");
        assert!(!drawn.is_empty(), "no pairs");
        Self { drawn, rows, annotator }
    }

    /// Two pictures of one prompt, judged by the finished pictures and shown as these or, every
    /// second time, as the predictions of one step that were made of them.
    pub fn pair(&self, stream: &mut Stream) -> PreferencePair {
        let prompt = stream.below(self.drawn.len());
        let drawn = &self.drawn[prompt];
        let draws = drawn.finished.len();
        let first = stream.below(draws);
        let second = (first + 1 + stream.below(draws - 1)) % draws;
        // The same answer whichever of the two is drawn first.
        let (a, b) = (first.min(second), first.max(second));
        let index = ((prompt * draws) + a) * draws + b;
        let pair = [drawn.impressions[a], drawn.impressions[b]];
        let answer = self.annotator.answer(index as u32, pair);
        let (win, lose) = if answer.first { (a, b) } else { (b, a) };
        let shown = match stream.chance(0.5) && !drawn.predicted.is_empty() {
            true => &drawn.predicted,
            false => &drawn.finished,
        };
        PreferencePair {
            image_win: Picture::from_planes8(&shown[win]),
            image_lose: Picture::from_planes8(&shown[lose]),
            prompt: self.rows[prompt].prompt.clone(),
            flipped: answer.flipped,
        }
    }
}

impl PreferredData for JudgedPairs {
    fn batch(&self, indices: &[u32], device: &Device) -> (Tensor<4>, Vec<String>) {
        let pairs = chosen(&self.pairs, indices);
        let images = picture_tensor(pairs.iter().map(|pair| &pair.preferred), device);
        (images, prompts(&pairs))
    }
}

impl LabelData for JudgedPairs {
    fn labelled(&self, indices: &[u32], device: &Device) -> Labelled {
        let halves: Vec<u32> = indices.iter().map(|index| index / 2).collect();
        let pairs = chosen(&self.pairs, &halves);
        let desirable: Vec<bool> = indices.iter().map(|index| index % 2 == 0).collect();
        let picture = |(pair, liked): (&&'_ Judged, &bool)| -> Picture {
            if *liked { pair.preferred.clone() } else { pair.rejected.clone() }
        };
        let pictures: Vec<Picture> = pairs.iter().zip(&desirable).map(picture).collect();
        let images = picture_tensor(pictures.iter(), device);
        Labelled { images, prompts: prompts(&pairs), desirable }
    }
}

impl PairData for JudgedPairs {
    fn pairs(&self, indices: &[u32], device: &Device) -> Pairs {
        let pairs = chosen(&self.pairs, indices);
        Pairs {
            preferred: picture_tensor(pairs.iter().map(|pair| &pair.preferred), device),
            rejected: picture_tensor(pairs.iter().map(|pair| &pair.rejected), device),
            prompts: prompts(&pairs),
        }
    }
}

fn chosen<'a>(pairs: &'a [Judged], indices: &[u32]) -> Vec<&'a Judged> {
    indices.iter().map(|index| &pairs[*index as usize % pairs.len()]).collect()
}

fn prompts(pairs: &[&Judged]) -> Vec<String> {
    pairs.iter().map(|pair| pair.prompt.clone()).collect()
}

#[cfg(test)]
mod tests {
    use hyperalign_core::noise::{Purpose, Stream};
    use hyperalign_core::testing;
    use hyperalign_rewards::emoji::{Caption, Gold, World, gold, parse};

    use super::*;
    use crate::data::drawn::Impression;

    const ROWS: usize = 40;

    /// As if the base had drawn `captions` when it was asked for a dog.
    fn drawn(captions: &[&str]) -> (Vec<DrawnPrompt>, Vec<Row>) {
        let row = parse("a dog").unwrap();
        let prompts = (0..ROWS as u32).map(|k| {
            let mut stream = Stream::new(1, Purpose::World, 99, k);
            let finished: Vec<Vec<u8>> = captions
                .iter()
                .map(|caption| {
                    let caption = Caption::parse(caption).unwrap();
                    let scene = World::SMALL.scene(&caption, &mut stream);
                    Picture::render(&scene).to_planes8()
                })
                .collect();
            let impressions = finished
                .iter()
                .map(|bytes| Impression::of(&Picture::from_planes8(bytes), &row))
                .collect();
            DrawnPrompt { finished, predicted: Vec::new(), impressions }
        });
        (prompts.collect(), vec![row.clone(); ROWS])
    }

    #[test]
    fn winners_are_right_but_for_the_noise() {
        let (drawn, rows) = drawn(&["a car", "a dog"]);
        let device = testing::device();
        let winners = JudgedPairs::winners(&drawn, &rows, Annotator::CAREFUL);
        let right = winners.pairs.iter().filter(|pair| gold(&pair.preferred, &rows[0]).correct);
        let right = right.count();
        assert!((25..ROWS).contains(&right), "{right} of {ROWS}");

        let pairs = winners.pairs(&[0, 1, ROWS as u32], &device);
        let (images, prompts) = winners.batch(&[0, 1, ROWS as u32], &device);
        assert_eq!(prompts, ["a dog"; 3]);
        assert_eq!(images.to_data(), pairs.preferred.to_data());
        let [first, again] = [0, 2].map(|k| images.clone().slice(k..k + 1).into_data());
        assert_eq!(first, again);
        let labelled = winners.labelled(&[0, 1], &device);
        assert_eq!(labelled.desirable, [true, false]);
        let both = Tensor::cat(vec![pairs.preferred.slice(0..1), pairs.rejected.slice(0..1)], 0);
        assert_eq!(labelled.images.into_data(), both.into_data());
    }

    #[test]
    fn a_pair_gets_the_same_answer_whichever_comes_first() {
        let (drawn, rows) = drawn(&["a car", "a dog", "a dog"]);
        let row = rows[0].clone();
        let pairs = DrawnPairs::new(drawn, rows, Annotator::CAREFUL);
        let n = 400;
        let mut answers = std::collections::HashMap::new();
        let (mut right, mut decided) = (0, 0);
        for k in 0..n {
            let pair = pairs.pair(&mut Stream::new(2, Purpose::World, 98, k));
            let [win, lose] = [&pair.image_win, &pair.image_lose].map(Picture::to_planes8);
            let key = if win < lose { (win.clone(), lose) } else { (lose, win.clone()) };
            assert_eq!(answers.entry(key).or_insert(win.clone()), &win);
            let [a, b] =
                [&pair.image_win, &pair.image_lose].map(|picture| gold(picture, &row).correct);
            if a != b {
                decided += 1;
                right += usize::from(a);
                assert_eq!(a, !pair.flipped);
            }
        }
        assert!(decided > 150, "{decided} of {n}");
        assert!((right as f64 / decided as f64 - 0.85).abs() < 0.12, "{right} of {decided}");
    }

    #[test]
    fn the_best_by_a_reward_is_preferred() {
        let (drawn, rows) = drawn(&["a car", "a tree", "a dog", "a fish"]);
        let ranked = JudgedPairs::ranked(&drawn, &rows, &Gold, &testing::device());
        for pair in &ranked.pairs {
            assert!(gold(&pair.preferred, &rows[0]).correct);
            assert!(!gold(&pair.rejected, &rows[0]).correct);
        }
    }
}
