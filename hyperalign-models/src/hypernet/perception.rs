//! The perception encoder, seen from the hypernetwork.

use burn::tensor::Tensor;
use hyperalign_core::denoiser::Conditioning;

/// A frozen encoder of (latents, timestep, prompt): the first half of the base itself.
pub trait Perception {
    /// The last feature map of the encoder, LoRA off, from the conditional rows only.
    ///
    /// # Shapes
    ///
    /// - `sample`: `[batch, channels, height, width]`
    /// - `timesteps`: `[batch]`
    /// - output: `[batch, feature_dim, h, w]`
    fn features(
        &self,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
    ) -> Tensor<4>;
}
