//! What a reward is.

use burn::tensor::Tensor;

/// A score of how well pictures match their prompts. Higher is better, always.
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
    fn score(&self, images: Tensor<4>, prompts: &[String]) -> Tensor<1>;

    /// Whether scores carry gradients to the pictures.
    fn differentiable(&self) -> bool;
}
