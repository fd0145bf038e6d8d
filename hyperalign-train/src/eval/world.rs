//! How exact the emoji world's scorer is on what an autoencoder makes of its pictures.

use burn::tensor::{Device, Tensor};
use hyperalign_models::base::Base;
use hyperalign_rewards::emoji::{CHANNELS, Exactness, SIZE, exactness, pictures};
use serde::Serialize;

use crate::{data::picture_tensor, pretrain::psnr};

/// Pictures that go through a network at once.
const CHUNK: usize = 32;

/// The gold scorer on what a base's autoencoder makes of clean renders.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reconstructions {
    /// Right and corrupted rows that it accepts.
    pub exactness: Exactness,
    /// Peak signal-to-noise ratio of the mean squared error over all pictures, in decibels.
    pub psnr: f64,
}

/// Judges reconstructions of `n` clean renders, the same pictures as
/// [`exactness`] judges for `seed`.
///
/// # Panics
///
/// Panics if `base` does not make pictures of the emoji world's size.
pub fn reconstructions(base: &dyn Base, n: u32, seed: u64, device: &Device) -> Reconstructions {
    let mut square_sum = 0.0;
    let exactness = exactness(n, seed, |renders| {
        let mut made = Vec::with_capacity(renders.len());
        for chunk in renders.chunks(CHUNK) {
            let images = picture_tensor(chunk.iter(), device);
            let decoded = base.decode(base.encode_images(images.clone())).clamp(-1.0, 1.0);
            let error: f32 = (decoded.clone() - images).square().mean().into_scalar();
            square_sum += f64::from(error) * chunk.len() as f64;
            made.extend(pictures(&decoded));
        }
        made
    });
    Reconstructions { exactness, psnr: psnr(square_sum / f64::from(n.max(1))) }
}

/// Whether the base draws pictures of the emoji world's size.
pub fn draws_emoji(base: &dyn Base) -> bool {
    let device = base.unconditional().context.device();
    let blank = Tensor::zeros([1, CHANNELS, SIZE, SIZE], &device);
    base.encode_images(blank).dims()[1..] == base.latent_shape()
}

#[cfg(test)]
mod tests {
    use hyperalign_core::testing;

    use super::*;
    use crate::eval::toy;

    #[test]
    fn a_bad_autoencoder_is_found_out() {
        let device = testing::device();
        let base = toy::base();
        assert!(draws_emoji(&base));
        let found = reconstructions(&base, 12, 3, &device);
        let clean = exactness(12, 3, |pictures| pictures);
        assert_eq!(found.exactness.all.pictures, 12);
        // The toy's pictures are blocks of eight pixels.
        assert!(found.exactness.all.right < 0.2 && clean.all.right > 0.9);
        assert!((3.0..25.0).contains(&found.psnr), "{}", found.psnr);
    }
}
