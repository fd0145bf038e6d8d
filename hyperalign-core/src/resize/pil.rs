//! Resizing of 8-bit pictures, to the last bit as PIL and torchvision do it: what the image
//! encoders of published rewards and detectors were fed with.

use image::{Rgb, RgbImage};

use super::{
    Filter,
    weights::{Positions, Taps, taps},
};

/// Whose fixed-point arithmetic 8-bit pictures are resized in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FixedPoint {
    /// PIL's: weights of 22 bits after the point, which are 32, less 8 of a pixel and 2 of
    /// headroom.
    Pil,
    /// torchvision's for tensors of bytes with antialiasing: weights of 16 bits, with as many after
    /// the point as the largest one leaves.
    Torchvision,
}

impl FixedPoint {
    /// Bits after the point of these weights.
    fn precision(self, weights: &[Taps]) -> u32 {
        let most = 22;
        let largest = weights.iter().flat_map(|taps| &taps.weights).copied().fold(0.0, f64::max);
        // One bit more would not fit beside the sign.
        let fits = |bits: &u32| (largest * f64::from(1_u32 << (bits + 1))).round() < 32_768.0;
        match self {
            Self::Pil => most,
            Self::Torchvision => (0..most).find(|bits| !fits(bits)).unwrap_or(most),
        }
    }
}

/// Resizes `image` to `width` x `height` as PIL does, first along rows, then along columns, rounded
/// to 8 bits in between and at the end.
///
/// # Panics
///
/// Panics if an extent is 0.
pub fn resize_u8(image: &RgbImage, width: u32, height: u32, filter: Filter) -> RgbImage {
    resize_u8_in(image, width, height, filter, FixedPoint::Pil)
}

/// [`resize_u8`] in the arithmetic of another program.
///
/// # Panics
///
/// Panics if an extent is 0.
pub fn resize_u8_in(
    image: &RgbImage,
    width: u32,
    height: u32,
    filter: Filter,
    arithmetic: FixedPoint,
) -> RgbImage {
    let rows = |image: &RgbImage, width| rows(image, width, filter, arithmetic);
    let wide = if image.width() == width { image.clone() } else { rows(image, width) };
    if wide.height() == height { wide } else { turn(&rows(&turn(&wide), height)) }
}

/// Resizes the rows to `width` pixels.
fn rows(image: &RgbImage, width: u32, filter: Filter, arithmetic: FixedPoint) -> RgbImage {
    let (from, to) = (image.width() as usize, width as usize);
    let taps = taps(from, to, filter, Positions::F64);
    let precision = arithmetic.precision(&taps);
    let unit = f64::from(1_u32 << precision);
    let taps: Vec<(usize, Vec<i64>)> = taps
        .into_iter()
        .map(|taps| {
            // Halves are rounded away from 0.
            let fixed = taps.weights.iter().map(|weight| (weight * unit).round() as i64);
            (taps.first, fixed.collect())
        })
        .collect();
    RgbImage::from_fn(width, image.height(), |x, y| {
        let (first, weights) = &taps[x as usize];
        let mut sums = [1_i64 << (precision - 1); 3];
        for (offset, weight) in weights.iter().enumerate() {
            let pixel = image.get_pixel((first + offset) as u32, y);
            for (sum, value) in sums.iter_mut().zip(pixel.0) {
                *sum += i64::from(value) * weight;
            }
        }
        Rgb(sums.map(|sum| (sum >> precision).clamp(0, 255) as u8))
    })
}

/// Swaps rows and columns.
fn turn(image: &RgbImage) -> RgbImage {
    RgbImage::from_fn(image.height(), image.width(), |x, y| *image.get_pixel(y, x))
}
