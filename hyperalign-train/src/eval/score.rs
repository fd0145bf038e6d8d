//! What is asked of every picture: whether it is right, and what preference models say.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
pub use hyperalign_rewards::Role;
use hyperalign_rewards::{
    Reward,
    emoji::{Gold, gold_batch, pictures},
    geneval::Row,
};

use super::ImageSpace;

/// Decides whether pictures show what their rows ask for.
pub trait Judge {
    /// What tells it from another judge.
    fn version(&self) -> String;

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

    fn judge(&self, images: &Tensor<4>, rows: &[Row]) -> Vec<bool> {
        gold_batch(&pictures(images), rows).iter().map(|verdict| verdict.correct).collect()
    }
}

/// A reward and its part in the table.
#[derive(Clone, Copy)]
pub struct Scorer<'a> {
    /// The reward.
    pub reward: &'a dyn Reward,
    /// Its role.
    pub role: Role,
}

impl Scorer<'_> {
    /// The name of its column.
    pub fn column(&self) -> String {
        match self.role {
            Role::TrainedAgainst => "proxy".to_owned(),
            Role::HeldOut => "heldout".to_owned(),
            Role::Other => self.reward.name().to_owned(),
        }
    }
}

/// Everything that pictures are measured by.
#[derive(Clone)]
pub struct Measures<'a> {
    /// Who says what is right, where anyone can.
    pub gold: Option<&'a dyn Judge>,
    /// Rewards.
    pub scorers: Vec<Scorer<'a>>,
    /// Where the diversity of pictures is measured.
    pub space: &'a dyn ImageSpace,
}

/// What was found for the pictures of a batch, in their order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scores {
    /// Whether each is right.
    pub gold: Option<Vec<bool>>,
    /// Scores by column.
    pub rewards: BTreeMap<String, Vec<f32>>,
}

impl Measures<'_> {
    /// Scores pictures, each against its own row.
    pub(super) fn score(&self, images: &Tensor<4>, rows: &[Row]) -> Scores {
        let prompts: Vec<String> = rows.iter().map(|row| row.prompt.clone()).collect();
        let rewards = self.scorers.iter().map(|scorer| {
            let scores = scorer.reward.score(images.clone(), &prompts).detach().into_data();
            (scorer.column(), scores.convert::<f32>().iter::<f32>().collect())
        });
        Scores {
            rewards: rewards.collect(),
            gold: self.gold.map(|judge| judge.judge(images, rows)),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};
    use hyperalign_core::noise::{Purpose, Stream};
    use hyperalign_rewards::emoji::{Caption, Picture, Scene, data};

    use super::*;
    use crate::eval::{Pixels, toy::Brightness};

    fn render(prompt: &str) -> (Row, Picture) {
        let caption = Caption::parse(prompt).unwrap();
        let scene = Scene::draw(&caption, &mut Stream::new(4, Purpose::World, 0, 0));
        (caption.row(), Picture::render(&scene))
    }

    #[test]
    fn pictures_are_scored_with_their_own_rows() {
        let (dog, dog_picture) = render("a dog");
        let (heart, heart_picture) = render("a red heart");
        let values = data::batch([&dog_picture, &heart_picture]);
        let images = Tensor::from_data(TensorData::new(values, [2, 3, 64, 64]), &Device::flex());
        let brightness = Brightness;
        let scorer = |role| Scorer { reward: &brightness, role };
        let measures = Measures {
            gold: Some(&EmojiGold),
            scorers: vec![scorer(Role::TrainedAgainst), scorer(Role::HeldOut), scorer(Role::Other)],
            space: &Pixels,
        };
        let scores = measures.score(&images, &[dog.clone(), heart.clone()]);
        assert_eq!(scores.gold, Some(vec![true, true]));
        assert_eq!(measures.score(&images, &[heart, dog]).gold, Some(vec![false, false]));
        let columns: Vec<&String> = scores.rewards.keys().collect();
        assert_eq!(columns, ["brightness", "heldout", "proxy"]);
        let mean: f32 = images.slice(0..1).mean().into_scalar();
        assert!((scores.rewards["proxy"][0] - mean).abs() < 1e-6);
    }
}
