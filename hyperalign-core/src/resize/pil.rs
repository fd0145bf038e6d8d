//! Resizing of 8-bit pictures, to the last bit as PIL does it: what the image encoders of
//! published rewards were fed with.

use image::{Rgb, RgbImage};

use super::{
    Filter,
    weights::{Positions, taps},
};

/// Bits after the point of PIL's fixed-point weights: 32, less 8 of a pixel and 2 of headroom.
const PRECISION: u32 = 22;

/// Resizes `image` to `width` x `height`, first along rows, then along columns, rounded to 8 bits
/// in between and at the end.
///
/// # Panics
///
/// Panics if an extent is 0.
pub fn resize_u8(image: &RgbImage, width: u32, height: u32, filter: Filter) -> RgbImage {
    let wide = if image.width() == width { image.clone() } else { rows(image, width, filter) };
    if wide.height() == height { wide } else { turn(&rows(&turn(&wide), height, filter)) }
}

/// Resizes the rows to `width` pixels.
fn rows(image: &RgbImage, width: u32, filter: Filter) -> RgbImage {
    let unit = f64::from(1_u32 << PRECISION);
    let (from, to) = (image.width() as usize, width as usize);
    let taps: Vec<(usize, Vec<i64>)> = taps(from, to, filter, Positions::F64)
        .into_iter()
        .map(|taps| {
            // Halves are rounded away from 0.
            let fixed = taps.weights.iter().map(|weight| (weight * unit).round() as i64);
            (taps.first, fixed.collect())
        })
        .collect();
    RgbImage::from_fn(width, image.height(), |x, y| {
        let (first, weights) = &taps[x as usize];
        let mut sums = [1_i64 << (PRECISION - 1); 3];
        for (offset, weight) in weights.iter().enumerate() {
            let pixel = image.get_pixel((first + offset) as u32, y);
            for (sum, value) in sums.iter_mut().zip(pixel.0) {
                *sum += i64::from(value) * weight;
            }
        }
        Rgb(sums.map(|sum| (sum >> PRECISION).clamp(0, 255) as u8))
    })
}

/// Swaps rows and columns.
fn turn(image: &RgbImage) -> RgbImage {
    RgbImage::from_fn(image.height(), image.width(), |x, y| *image.get_pixel(y, x))
}
