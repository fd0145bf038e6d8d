//! What a base's latents are.

use burn::tensor::Tensor;

use crate::vae::AutoencoderKlConfig;

/// The space that a base denoises in.
pub trait LatentSpace {
    /// Channels, height and width of the latents that it was made for.
    fn latent_shape(&self) -> [usize; 3];

    /// Pixels a side of a latent.
    fn downscale(&self) -> usize;

    /// Latents a side of what the network reads as one.
    fn patch(&self) -> usize {
        1
    }

    /// Height and width of the pictures that it was made for.
    fn picture_size(&self) -> [usize; 2] {
        let [_, height, width] = self.latent_shape();
        [height, width].map(|side| side * self.downscale())
    }

    /// Scaled latents of pictures.
    ///
    /// # Shapes
    ///
    /// - `images`: `[batch, 3, height, width]` in `[-1, 1]`
    /// - output: `[batch, channels, h, w]`
    fn encode_images(&self, images: Tensor<4>) -> Tensor<4>;

    /// The autoencoder of Stable Diffusion's kind that made its latents, if one did.
    fn autoencoder(&self) -> Option<&AutoencoderKlConfig> {
        None
    }
}
