//! How exact the emoji world's scorer is on what an autoencoder makes of its pictures.

use burn::tensor::{Device, Tensor};
use hyperalign_models::base::Base;
use hyperalign_rewards::emoji::{CHANNELS, Exactness, Picture, SIZE, World, pictures};
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
/// [`World::exactness`] judges for `seed`.
///
/// # Panics
///
/// Panics if `base` does not make pictures of the emoji world's size.
pub fn reconstructions(
    base: &dyn Base,
    world: World,
    n: u32,
    seed: u64,
    device: &Device,
) -> Reconstructions {
    let mut square_sum = 0.0;
    let exactness = world.exactness(n, seed, |renders| {
        let made = rebuilt(base, renders.clone(), device);
        for (made, render) in made.iter().zip(&renders) {
            let errors = made.pixels.iter().zip(&render.pixels).map(|(a, b)| f64::from(a - b));
            // Pictures are in [0, 1], errors of a signal in [-1, 1] twice as large.
            let squares: f64 = errors.map(|error| 4.0 * error * error).sum();
            square_sum += squares / made.pixels.len() as f64;
        }
        made
    });
    Reconstructions { exactness, psnr: psnr(square_sum / f64::from(n.max(1))) }
}

/// What a base's autoencoder makes of pictures of the emoji world.
pub fn rebuilt(base: &dyn Base, renders: Vec<Picture>, device: &Device) -> Vec<Picture> {
    let chunks = renders.chunks(CHUNK).map(|chunk| {
        let images = picture_tensor(chunk.iter(), device);
        pictures(&base.decode(base.encode_images(images)).clamp(-1.0, 1.0))
    });
    chunks.flatten().collect()
}

/// Whether the base draws pictures of the emoji world's size.
pub fn draws_emoji(base: &dyn Base) -> bool {
    let device = base.unconditional().context.device();
    let blank = Tensor::zeros([1, CHANNELS, SIZE, SIZE], &device);
    base.encode_images(blank).dims()[1..] == base.latent_shape()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::eval::toy::ToyBase;

    #[test]
    fn a_bad_autoencoder_is_found_out() {
        let device = Device::flex();
        let base = ToyBase::new();
        assert!(draws_emoji(&base));
        let found = reconstructions(&base, World::SMALL, 12, 3, &device);
        let clean = World::SMALL.exactness(12, 3, |pictures| pictures);
        assert_eq!(found.exactness.all.pictures, 12);
        // The toy's pictures are blocks of eight pixels.
        assert!(found.exactness.all.right < 0.2 && clean.all.right > 0.9);
        assert!((3.0..25.0).contains(&found.psnr), "{}", found.psnr);
    }
}
