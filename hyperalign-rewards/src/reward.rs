//! What a reward is.

use burn::tensor::{Device, Tensor};
use hyperalign_core::image::from_images;
use hyperalign_models::tokenizer::TokenizerError;
use image::RgbImage;
use serde::{Deserialize, Serialize};

use crate::prompts::Prompt;

/// A score of how well pictures match their prompts. Higher is better, always.
///
/// There are two ways to a score. [`score`](Self::score) takes tensors, rounds nothing and, where
/// the reward is [`differentiable`](Self::differentiable), carries gradients: the way of training.
/// [`score_pictures`](Self::score_pictures) takes 8-bit pictures of any sizes and prepares them as
/// the published scorer does, to the last bit: the way of tables.
///
/// Training shares a reward among threads.
pub trait Reward: Send + Sync {
    /// The name that tables and files call it by.
    fn name(&self) -> &str;

    /// What tells this scorer from another of the same name: scores of different versions do
    /// not compare.
    fn version(&self) -> String;

    /// Scores each picture against its prompt.
    ///
    /// # Shapes
    ///
    /// - `images`: `[batch, 3, height, width]`, in `[-1, 1]`
    /// - `prompts`: `batch` of them
    /// - output: `[batch]`, on the device of `images`
    ///
    /// # Panics
    ///
    /// May panic for what [`check`](Self::check) refuses.
    fn score(&self, images: Tensor<4>, prompts: &[String]) -> Tensor<1>;

    /// Whether scores carry gradients to the pictures.
    fn differentiable(&self) -> bool;

    /// Whether the prompt plays a part in the score. If not, prompts may be empty.
    fn needs_prompt(&self) -> bool {
        true
    }

    /// Whether it judges by the rules of a prompt, which GenEval's rows carry. If so, only prompts
    /// with rules can be scored, by [`score_prompts`](Self::score_prompts) alone.
    fn needs_rules(&self) -> bool {
        false
    }

    /// [`score_pictures`](Self::score_pictures) against prompts with all that is known of them.
    ///
    /// # Panics
    ///
    /// Panics where [`score_pictures`](Self::score_pictures) does; may panic for what
    /// [`check_prompts`](Self::check_prompts) refuses.
    fn score_prompts(
        &self,
        pictures: &[RgbImage],
        prompts: &[Prompt],
        device: &Device,
    ) -> Vec<f32> {
        self.score_pictures(pictures, &texts(prompts), device)
    }

    /// [`check`](Self::check) of prompts with all that is known of them.
    ///
    /// # Errors
    ///
    /// Fails where [`check`](Self::check) does, and for rules that cannot be judged.
    fn check_prompts(&self, size: [usize; 2], prompts: &[Prompt]) -> Result<(), ScoreError> {
        self.check(size, &texts(prompts))
    }

    /// Scores 8-bit pictures of any sizes, each against its own prompt, as the published scorer
    /// does. `device` is the one that the reward was opened on.
    ///
    /// # Panics
    ///
    /// Panics if there is not one prompt for each picture; may panic for what
    /// [`check`](Self::check) refuses.
    fn score_pictures(
        &self,
        pictures: &[RgbImage],
        prompts: &[String],
        device: &Device,
    ) -> Vec<f32> {
        assert_eq!(pictures.len(), prompts.len(), "one prompt for each picture");
        let each = pictures.iter().zip(prompts).map(|(picture, prompt)| {
            let image = from_images(std::slice::from_ref(picture), device);
            self.score(image, std::slice::from_ref(prompt)).into_scalar::<f32>()
        });
        each.collect()
    }

    /// About how many bytes [`score_pictures`](Self::score_pictures) takes for each picture more
    /// that it is given at once, the picture itself not counted; rather too many than too few.
    /// 0 for those that score one picture after the other, as the method does by itself.
    fn memory_per_picture(&self) -> u64 {
        0
    }

    /// Keys of its files that are known to stand beside the network, and were not read.
    fn passed_over(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether it can score pictures of `[height, width]` against `prompts`.
    ///
    /// # Errors
    ///
    /// Fails for pictures of a size that it does not read, and for prompts that it cannot read.
    fn check(&self, _size: [usize; 2], _prompts: &[String]) -> Result<(), ScoreError> {
        Ok(())
    }

    /// Scores, and the gradient of each to its own picture.
    ///
    /// # Shapes
    ///
    /// - `images`: `[batch, 3, height, width]`, in `[-1, 1]`, on a device without autodiff
    /// - output: `[batch]`; `[batch, 3, height, width]`, zero for a reward that is not
    ///   differentiable
    fn score_with_gradient(&self, images: Tensor<4>, prompts: &[String]) -> (Tensor<1>, Tensor<4>) {
        let zeros = images.zeros_like();
        if !self.differentiable() {
            return (self.score(images, prompts), zeros);
        }
        let images = images.autodiff().require_grad();
        let scores = self.score(images.clone(), prompts);
        // Rows do not mix, so the gradient of the sum holds that of every row.
        let gradients = scores.clone().sum().backward();
        (scores.inner(), images.grad(&gradients).unwrap_or(zeros))
    }
}

fn texts(prompts: &[Prompt]) -> Vec<String> {
    prompts.iter().map(|prompt| prompt.text.clone()).collect()
}

/// Why pictures and prompts cannot be scored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScoreError {
    /// Pictures of a size that the network does not read.
    #[error(
        "the reward model `{name}` reads pictures of {expected}x{expected}, and these are \
         {height}x{width}; give a model that was trained on pictures of this size"
    )]
    PictureSize {
        /// The reward.
        name: String,
        /// The edge of its pictures.
        expected: usize,
        /// Of the pictures at hand.
        height: usize,
        /// Of the pictures at hand.
        width: usize,
    },
    /// Pictures that no square can be cut out of.
    #[error(
        "the reward model `{name}` looks at the middle square of a picture, and {height}x{width} \
         is more than {most} times as long as wide"
    )]
    Elongated {
        /// The reward.
        name: String,
        /// Of the picture.
        height: usize,
        /// Of the picture.
        width: usize,
        /// How elongated a picture may be.
        most: usize,
    },
    /// A prompt that the tokenizer refuses.
    #[error(transparent)]
    Prompt(#[from] TokenizerError),
    /// A prompt without rules, for a reward that judges by them.
    #[error(
        "`{name}` judges by rules, and the prompt `{prompt}` comes without; give GenEval's \
         metadata, a .jsonl of {{\"tag\", \"include\", \"prompt\"}}"
    )]
    NoRules {
        /// The reward.
        name: String,
        /// The prompt.
        prompt: String,
    },
    /// Rules about objects that the detector does not know.
    #[error(
        "the rules ask for `{class}`, which is none of the {count} classes that the detector \
         finds; the nearest is `{nearest}`"
    )]
    UnknownClass {
        /// The class.
        class: String,
        /// How many the detector knows.
        count: usize,
        /// The most similar of them.
        nearest: String,
    },
    /// Rules about a colour without a network that tells colours apart.
    #[error("the rules of `{prompt}` ask for a colour, and there is no CLIP to tell; put {files}")]
    NoColors {
        /// The prompt.
        prompt: String,
        /// What to put where.
        files: &'static str,
    },
    /// Rules about a colour that is not told apart.
    #[error("the rules ask for the colour `{color}`; told apart are {known}")]
    UnknownColor {
        /// The colour.
        color: String,
        /// Those that are.
        known: String,
    },
    /// A prompt that is not one of the embedded world.
    #[error("the embedded world has no such prompt: {0}")]
    World(String),
}

/// What a reward has had to do with the pictures that it scores. Tables say it beside every
/// number: a score that was trained against shows that training works, not that pictures are
/// better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The model was trained against it. The column `proxy`.
    TrainedAgainst,
    /// Nothing was trained against it. The column `heldout`.
    HeldOut,
    /// Nobody said; the column has the reward's name.
    Other,
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    /// The mean of the squares, for which gradients are known.
    struct Squares;

    impl Reward for Squares {
        fn name(&self) -> &str {
            "squares"
        }

        fn version(&self) -> String {
            "1".to_owned()
        }

        fn score(&self, images: Tensor<4>, _: &[String]) -> Tensor<1> {
            let [batch, ..] = images.dims();
            images.square().reshape([batch as i32, -1]).sum_dim(1).squeeze_dim(1)
        }

        fn differentiable(&self) -> bool {
            true
        }
    }

    #[test]
    fn every_picture_has_its_own_gradient() {
        let images = Tensor::<4>::from_floats(
            [[[[0.5]], [[-1.0]], [[0.0]]], [[[1.0]], [[0.25]], [[0.0]]]],
            &Device::flex(),
        );
        let prompts = [String::new(), String::new()];
        let (scores, gradient) = Squares.score_with_gradient(images.clone(), &prompts);
        assert_eq!(scores.into_data().try_to_vec::<f32>().unwrap(), [1.25, 1.0625]);
        assert_eq!(gradient.into_data(), (images * 2.0).into_data());
    }

    #[test]
    fn pictures_of_one_call_may_differ_in_size() {
        let white = |width| RgbImage::from_pixel(width, 1, Rgb([255; 3]));
        let prompts = [String::new(), String::new()];
        let scores = Squares.score_pictures(&[white(1), white(2)], &prompts, &Device::flex());
        assert_eq!(scores, [3.0, 6.0]);
    }
}
