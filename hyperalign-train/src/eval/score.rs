//! What is asked of every picture: whether it is right, and what preference models say.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use hyperalign_core::rows::select_rows;
pub use hyperalign_rewards::Role;
use hyperalign_rewards::{
    Reward,
    emoji::{Gold, Kind, gold_batch, pictures},
    geneval::Row,
    prompts::Prompt,
};

use super::{EvalError, ImageSpace};

/// Decides whether pictures show what their rows ask for.
pub trait Judge {
    /// What tells it from another judge.
    fn version(&self) -> String;

    /// The first class of `row` that it never finds in a picture, if there is one.
    fn blind_to<'a>(&self, row: &'a Row) -> Option<&'a str>;

    /// One answer for each picture.
    ///
    /// # Shapes
    ///
    /// - `images`: `[batch, 3, height, width]`, in `[-1, 1]`; `batch` rows
    fn judge(&self, images: &Tensor<4>, rows: &[Row]) -> Vec<bool>;
}

/// The exact scorer of the emoji world, for pictures of a base of that world.
#[derive(Debug, Clone, Copy, Default)]
pub struct EmojiGold;

impl Judge for EmojiGold {
    fn version(&self) -> String {
        format!("emoji {}", Gold.version())
    }

    fn blind_to<'a>(&self, row: &'a Row) -> Option<&'a str> {
        let included = row.include.iter().map(|part| part.class.as_str());
        let mut classes = included.chain(row.exclude.iter().map(|part| part.class.as_str()));
        classes.find(|class| Kind::all().all(|kind| kind.name() != *class))
    }

    fn judge(&self, images: &Tensor<4>, rows: &[Row]) -> Vec<bool> {
        gold_batch(&pictures(images), rows).iter().map(|verdict| verdict.correct).collect()
    }
}

/// A reward and its part in the table.
#[derive(Clone)]
pub struct Scorer<'a> {
    /// The name of its column: [`PROXY`](Self::PROXY), [`HELD_OUT`](Self::HELD_OUT), or the
    /// reward's own.
    pub column: String,
    /// The reward.
    pub reward: &'a dyn Reward,
    /// Its role.
    pub role: Role,
}

impl Scorer<'_> {
    /// The column of the reward that methods of this house are trained against.
    pub const PROXY: &'static str = "proxy";
    /// The column of the reward that they are compared by.
    pub const HELD_OUT: &'static str = "heldout";

    /// The scores of those pictures that it scores.
    fn score_those(&self, images: &Tensor<4>, prompts: &[Prompt]) -> Vec<Option<f32>> {
        self.reward.score_those(prompts, &mut |places, those| {
            if places.len() == prompts.len() {
                return self.reward.measure(images, those);
            }
            self.reward.measure(&select_rows(images.clone(), places), those)
        })
    }
}

/// Everything that pictures are measured by.
#[derive(Clone)]
pub struct Measures<'a> {
    /// Who says what is right, where anyone can: every prompt must have its rules.
    pub gold: Option<&'a dyn Judge>,
    /// Rewards.
    pub scorers: Vec<Scorer<'a>>,
    /// Where the diversity of pictures is measured.
    pub space: &'a dyn ImageSpace,
}

/// What was found for the pictures of a batch, in their order.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Scores {
    /// Whether each is right.
    pub gold: Option<Vec<bool>>,
    /// Scores by column; none of a picture that the reward passes over.
    pub rewards: BTreeMap<String, Vec<Option<f32>>>,
}

impl Scores {
    /// Adds those of other pictures of the same measures.
    pub fn extend(&mut self, others: Self) {
        if let Some(gold) = others.gold {
            self.gold.get_or_insert_default().extend(gold);
        }
        for (column, values) in others.rewards {
            self.rewards.entry(column).or_default().extend(values);
        }
    }
}

impl Measures<'_> {
    /// Whether pictures of `size` can be scored against `prompts` by all of them.
    pub(super) fn check(&self, size: [usize; 2], prompts: &[Prompt]) -> Result<(), EvalError> {
        for scorer in &self.scorers {
            let refused = |source| EvalError::Score { column: scorer.column.clone(), source };
            let scored: Vec<Prompt> =
                prompts.iter().filter(|prompt| scorer.reward.scores(prompt)).cloned().collect();
            // A reward that could score nothing at all says why.
            let asked = if scored.is_empty() { prompts } else { &scored };
            scorer.reward.check(size, asked).map_err(refused)?;
        }
        let Some(judge) = self.gold else { return Ok(()) };
        for Prompt { text, row, .. } in prompts {
            let prompt = text.clone();
            let Some(row) = row else { return Err(EvalError::NoRules { prompt }) };
            if let Some(class) = judge.blind_to(row) {
                return Err(EvalError::UnknownClass { prompt, class: class.to_owned() });
            }
        }
        Ok(())
    }

    /// Scores pictures, each against its own prompt; all of them have passed
    /// [`check`](Self::check).
    pub(super) fn score(&self, images: &Tensor<4>, prompts: &[Prompt]) -> Scores {
        let rewards = self
            .scorers
            .iter()
            .map(|scorer| (scorer.column.clone(), scorer.score_those(images, prompts)));
        let rows: Vec<Row> = prompts.iter().filter_map(|prompt| prompt.row.clone()).collect();
        Scores {
            rewards: rewards.collect(),
            gold: self.gold.map(|judge| judge.judge(images, &rows)),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use hyperalign_core::noise::{Purpose, Stream};
    use hyperalign_core::testing::{self, Brightness};
    use hyperalign_rewards::emoji::{Caption, Picture, World, data};

    use super::*;
    use crate::eval::Pixels;

    fn render(prompt: &str) -> (Prompt, Picture) {
        let caption = Caption::parse(prompt).unwrap();
        let scene = World::SMALL.scene(&caption, &mut Stream::new(4, Purpose::World, 0, 0));
        (caption.row().into(), Picture::render(&scene))
    }

    fn prompt(text: &str) -> Prompt {
        Prompt { text: text.to_owned(), ..Prompt::default() }
    }

    #[test]
    fn pictures_are_scored_with_their_own_rows() {
        let (dog, dog_picture) = render("a dog");
        let (heart, heart_picture) = render("a red heart");
        let values = data::batch([&dog_picture, &heart_picture]);
        let images = Tensor::from_data(TensorData::new(values, [2, 3, 64, 64]), &testing::device());
        let brightness = Brightness;
        let scorer = |column: &str| Scorer {
            column: column.to_owned(),
            reward: &brightness,
            role: Role::Other,
        };
        let measures = Measures {
            gold: Some(&EmojiGold),
            scorers: vec![scorer("proxy"), scorer("heldout"), scorer("brightness")],
            space: &Pixels,
        };
        let scores = measures.score(&images, &[dog.clone(), heart.clone()]);
        assert_eq!(scores.gold, Some(vec![true, true]));
        assert_eq!(measures.score(&images, &[heart, dog]).gold, Some(vec![false, false]));
        let columns: Vec<&String> = scores.rewards.keys().collect();
        assert_eq!(columns, ["brightness", "heldout", "proxy"]);
        let mean: f32 = images.slice(0..1).mean().into_scalar();
        assert!((scores.rewards["proxy"][0].unwrap() - mean).abs() < 1e-6);
    }

    #[test]
    fn a_judge_needs_rules() {
        let prompts = [prompt("a dog")];
        let measures = Measures { gold: None, scorers: Vec::new(), space: &Pixels };
        assert!(measures.check([64; 2], &prompts).is_ok());
        let judged = Measures { gold: Some(&EmojiGold), ..measures };
        let error = judged.check([64; 2], &prompts).unwrap_err();
        assert!(matches!(error, EvalError::NoRules { .. }), "{error}");
        let (mut prompt, _) = render("a dog");
        assert!(judged.check([64; 2], std::slice::from_ref(&prompt)).is_ok());
        prompt.row.as_mut().unwrap().include[0].class = "toaster".to_owned();
        let error = judged.check([64; 2], &[prompt]).unwrap_err().to_string();
        assert!(error.contains("`a dog`") && error.contains("`toaster`"), "{error}");
    }
}
