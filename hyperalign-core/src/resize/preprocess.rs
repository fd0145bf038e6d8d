//! What stands between a picture and an image encoder besides resizing.

use burn::tensor::{Tensor, TensorData};
use image::{RgbImage, imageops};

/// Size `(height, width)` that makes the shorter side `size` and keeps the proportions; the
/// longer side is cut to whole pixels, as torchvision does.
pub fn shorter_side(height: usize, width: usize, size: usize) -> (usize, usize) {
    let longer = |long: usize, short: usize| size * long / short;
    if height <= width { (size, longer(width, height)) } else { (longer(height, width), size) }
}

/// Where a crop begins: halves go to the even side, as Python rounds.
fn margin(extent: usize, kept: usize) -> usize {
    assert!(kept <= extent, "cannot cut {kept} pixels out of {extent}");
    ((extent - kept) as f64 / 2.0).round_ties_even() as usize
}

/// The middle `height` x `width` of pictures `[batch, channels, old_height, old_width]`.
///
/// # Panics
///
/// Panics if the pictures are smaller.
pub fn center_crop(x: Tensor<4>, height: usize, width: usize) -> Tensor<4> {
    let [_, _, old_height, old_width] = x.dims();
    let (top, left) = (margin(old_height, height), margin(old_width, width));
    x.slice_dim(2, top..top + height).slice_dim(3, left..left + width)
}

/// The middle `width` x `height` of a picture.
///
/// # Panics
///
/// Panics if the picture is smaller.
pub fn center_crop_u8(image: &RgbImage, width: u32, height: u32) -> RgbImage {
    let top = margin(image.height() as usize, height as usize) as u32;
    let left = margin(image.width() as usize, width as usize) as u32;
    imageops::crop_imm(image, left, top, width, height).to_image()
}

/// Mean and standard deviation by channel that an image encoder was trained with, for values in
/// `[0, 1]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalization {
    /// Subtracted, for red, green and blue.
    pub mean: [f64; 3],
    /// Divided by.
    pub std: [f64; 3],
}

impl Normalization {
    /// That of CLIP (Radford et al. 2021, arXiv:2103.00020, as in its published code).
    pub const CLIP: Self = Self {
        mean: [0.48145466, 0.4578275, 0.40821073],
        std: [0.26862954, 0.26130258, 0.27577711],
    };

    /// The one that does to `2 x - 1` what this one does to `x`.
    #[must_use]
    pub fn signed(self) -> Self {
        Self { mean: self.mean.map(|mean| 2.0 * mean - 1.0), std: self.std.map(|std| 2.0 * std) }
    }

    /// Normalises pictures with values in `[0, 1]`, `[batch, 3, height, width]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let column = |values: [f64; 3]| {
            let data = TensorData::new(values.to_vec(), [1, 3, 1, 1]);
            Tensor::<4>::from_data(data, (&x.device(), x.dtype()))
        };
        let (mean, std) = (column(self.mean), column(self.std));
        (x - mean) / std
    }
}
