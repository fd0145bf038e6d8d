//! From latents to pictures.

use burn::tensor::Tensor;

/// Turns latents into pictures.
pub trait Decoder {
    /// Decodes scaled latents.
    ///
    /// # Shapes
    ///
    /// - `latents`: `[batch, channels, height, width]`
    /// - output: `[batch, 3, height * f, width * f]`, nominally in `[-1, 1]`, not clamped
    fn decode(&self, latents: Tensor<4>) -> Tensor<4>;
}
