//! What a reward is.

use std::error::Error;

use burn::tensor::{Device, Tensor};
use image::RgbImage;

use super::Prompt;
use crate::image::{from_images, to_images};

/// A score of how well pictures match their prompts. Higher is better, always.
///
/// There are two ways to a score. [`score`](Self::score) takes tensors, rounds nothing and, where
/// the reward is [`differentiable`](Self::differentiable), carries gradients: the way of training.
/// [`score_pictures`](Self::score_pictures) takes 8-bit pictures of any sizes and prepares them as
/// the published scorer does, to the last bit: the way of tables.
///
/// Which of the two a table of pictures shows, the reward says itself ([`reads`](Self::reads)).
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
    fn score(&self, images: Tensor<4>, prompts: &[Prompt]) -> Tensor<1>;

    /// Scores pictures that are one-step estimates of samples at `timesteps`, from 0 (clean) to 1000
    /// (noise), as diffusion's own. A step-aware preference model knows what may be asked of a
    /// picture so early (Liang et al. 2024, arXiv:2406.04314); to any other reward it is a picture.
    ///
    /// # Shapes
    ///
    /// As of [`score`](Self::score), and
    ///
    /// - `timesteps`: `[batch]`
    fn score_at(&self, images: Tensor<4>, prompts: &[Prompt], _timesteps: Tensor<1>) -> Tensor<1> {
        self.score(images, prompts)
    }

    /// Whether scores carry gradients to the pictures.
    fn differentiable(&self) -> bool;

    /// Whether the prompt plays a part in the score. If not, prompts may be empty.
    fn needs_prompt(&self) -> bool {
        true
    }

    /// Whether it judges by the rules of a prompt, which GenEval's rows carry. If so, only prompts
    /// with rules can be scored.
    fn needs_rules(&self) -> bool {
        false
    }

    /// Whether it scores pictures of this prompt: one that judges by rules needs some.
    fn scores(&self, prompt: &Prompt) -> bool {
        prompt.row.is_some() || !self.needs_rules()
    }

    /// The scores of those pictures whose prompts it [scores](Self::scores), in the place of each;
    /// none for the others. `score` is given their places and prompts, unless there are none.
    fn score_those(&self, prompts: &[Prompt], score: &mut ScoreThose) -> Vec<Option<f32>> {
        let places: Vec<usize> = (0..prompts.len()).filter(|&k| self.scores(&prompts[k])).collect();
        let mut all = vec![None; prompts.len()];
        if places.is_empty() {
            return all;
        }
        let those: Vec<Prompt> = places.iter().map(|&k| prompts[k].clone()).collect();
        let scores = score(&places, &those);
        assert_eq!(scores.len(), places.len(), "one score for each picture");
        for (k, score) in places.into_iter().zip(scores) {
            all[k] = Some(score);
        }
        all
    }

    /// What [`measure`](Self::measure) shows it.
    fn reads(&self) -> Reads {
        Reads::Pictures
    }

    /// The scores that a table has of pictures that are still tensors: by the one way of the two
    /// that the reward [`reads`](Self::reads).
    ///
    /// # Shapes
    ///
    /// As of [`score`](Self::score).
    fn measure(&self, images: &Tensor<4>, prompts: &[Prompt]) -> Vec<f32> {
        match self.reads() {
            Reads::Pictures => {
                let device = images.device();
                self.score_pictures(&to_images(images.clone()), prompts, &device)
            }
            Reads::Tensors => numbers(self.score(images.clone(), prompts)),
        }
    }

    /// The same of one-step estimates of samples at `timesteps`, as [`score_at`](Self::score_at)
    /// has it. What reads 8-bit pictures takes estimates as pictures.
    ///
    /// # Shapes
    ///
    /// As of [`score_at`](Self::score_at).
    fn measure_at(&self, images: &Tensor<4>, prompts: &[Prompt], timesteps: Tensor<1>) -> Vec<f32> {
        match self.reads() {
            Reads::Pictures => self.measure(images, prompts),
            Reads::Tensors => numbers(self.score_at(images.clone(), prompts, timesteps)),
        }
    }

    /// The rewards that it is a weighted sum of; itself for one that is none.
    fn terms(&self) -> Vec<RewardTerm> {
        vec![RewardTerm { name: self.name().to_owned(), weight: 1.0 }]
    }

    /// What [`measure`](Self::measure) adds up: the scores of each of the [`terms`](Self::terms) in
    /// its own unit, before they are weighted, by term and picture.
    ///
    /// # Shapes
    ///
    /// As of [`score`](Self::score).
    fn measure_terms(&self, images: &Tensor<4>, prompts: &[Prompt]) -> Vec<Vec<f32>> {
        vec![self.measure(images, prompts)]
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
        prompts: &[Prompt],
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
    fn check(&self, _size: [usize; 2], _prompts: &[Prompt]) -> Result<(), ScoreError> {
        Ok(())
    }

    /// Scores, and the gradient of each to its own picture.
    ///
    /// # Shapes
    ///
    /// - `images`: `[batch, 3, height, width]`, in `[-1, 1]`, on a device without autodiff
    /// - output: `[batch]`; `[batch, 3, height, width]`, zero for a reward that is not
    ///   differentiable
    fn score_with_gradient(&self, images: Tensor<4>, prompts: &[Prompt]) -> (Tensor<1>, Tensor<4>) {
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

/// One of the rewards that a reward is a sum of.
#[derive(Debug, Clone, PartialEq)]
pub struct RewardTerm {
    /// Its name.
    pub name: String,
    /// Its factor in the sum.
    pub weight: f64,
}

/// Scores the pictures at these places, whose prompts these are.
pub type ScoreThose<'a> = dyn FnMut(&[usize], &[Prompt]) -> Vec<f32> + 'a;

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
    /// A prompt that it cannot read, in the words of what refused it.
    #[error(transparent)]
    Prompt(Box<dyn Error + Send + Sync>),
    /// A prompt without rules, and rules are what it judges by.
    #[error("`{name}` judges by rules, and the prompt `{prompt}` has none: {reason}")]
    NoRules {
        /// The reward.
        name: String,
        /// The prompt.
        prompt: String,
        /// Why its words give none either.
        reason: String,
    },
    /// Rules about objects that the detector does not know.
    #[error(
        "the rules ask for `{class}`, which is none of the {count} classes that the detector finds{}",
        meant(nearest.as_deref())
    )]
    UnknownClass {
        /// The class.
        class: String,
        /// How many the detector knows.
        count: usize,
        /// The one that was probably meant.
        nearest: Option<String>,
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
}

fn meant(nearest: Option<&str>) -> String {
    nearest.map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default()
}

impl ScoreError {
    /// A prompt that is refused for this reason.
    pub fn prompt(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Prompt(Box::new(error))
    }
}

/// What a reward is shown of pictures that a network has just made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// The tensors, of which nothing is rounded.
    Tensors,
    /// 8-bit pictures, as a file holds them: what a published scorer is made for.
    Pictures,
}

/// Scores as numbers, off the tape.
fn numbers(scores: Tensor<1>) -> Vec<f32> {
    scores.detach().into_data().convert::<f32>().iter::<f32>().collect()
}

#[cfg(test)]
mod tests {
    use crate::testing;
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

        fn score(&self, images: Tensor<4>, _: &[Prompt]) -> Tensor<1> {
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
            &testing::device(),
        );
        let prompts = [Prompt::default(), Prompt::default()];
        let (scores, gradient) = Squares.score_with_gradient(images.clone(), &prompts);
        assert_eq!(scores.into_data().try_to_vec::<f32>().unwrap(), [1.25, 1.0625]);
        assert_eq!(gradient.into_data(), (images * 2.0).into_data());
    }

    /// A value between two steps of 8 bits.
    #[test]
    fn a_reward_is_shown_what_it_reads() {
        struct Tensors;

        impl Reward for Tensors {
            fn name(&self) -> &str {
                "tensors"
            }

            fn version(&self) -> String {
                "1".to_owned()
            }

            fn score(&self, images: Tensor<4>, prompts: &[Prompt]) -> Tensor<1> {
                Squares.score(images, prompts)
            }

            fn differentiable(&self) -> bool {
                true
            }

            fn reads(&self) -> Reads {
                Reads::Tensors
            }
        }

        let image = Tensor::<4>::full([1, 3, 1, 1], 0.5, &testing::device());
        let measured = |reward: &dyn Reward| reward.measure(&image, &[Prompt::default()])[0];
        assert!((measured(&Tensors) - 0.75).abs() < 1e-6);
        let rounded = 191.0_f32 / 127.5 - 1.0;
        assert!((measured(&Squares) - 3.0 * rounded * rounded).abs() < 1e-6);
    }

    #[test]
    fn pictures_of_one_call_may_differ_in_size() {
        let white = |width| RgbImage::from_pixel(width, 1, Rgb([255; 3]));
        let prompts = [Prompt::default(), Prompt::default()];
        let scores = Squares.score_pictures(&[white(1), white(2)], &prompts, &testing::device());
        assert_eq!(scores, [3.0, 6.0]);
    }
}
