//! Pictures: between tensors and 8 bits, side by side in a grid, as PNG files that say how they
//! were made, and from files of unknown origin.

mod caption;
mod decode;
mod grid;
mod parameters;
mod png;

use ::image::RgbImage;
use burn::tensor::{Device, Tensor, TensorData};

pub use decode::{DecodeError, Header, MAX_PIXELS, MAX_SIDE, MIN_SIDE, decode_picture};
pub use grid::{GridStyle, captioned_grid, grid};
pub use parameters::{Parameters, ParametersError};
pub use png::{ImageError, Metadata, encode_png, png_metadata, read_png, write_png};

/// 8-bit pictures from a tensor `[batch, 3, height, width]` with values in `[-1, 1]`; what lies
/// outside is clipped.
pub fn to_images(x: Tensor<4>) -> Vec<RgbImage> {
    let [batch, channels, height, width] = x.dims();
    assert_eq!(channels, 3, "pictures have red, green and blue");
    let scaled = x.detach().add_scalar(1.0).mul_scalar(127.5).permute([0, 2, 3, 1]);
    let data = scaled.into_data_as::<f32>();
    // `as` sends NaN to 0 and clips the rest.
    let mut bytes = data.iter::<f32>().map(|value| value.round() as u8);
    let size = 3 * height * width;
    let next = |_| {
        let pixels: Vec<u8> = bytes.by_ref().take(size).collect();
        RgbImage::from_raw(width as u32, height as u32, pixels).expect("three bytes a pixel")
    };
    (0..batch).map(next).collect()
}

/// A tensor `[batch, 3, height, width]` with values in `[-1, 1]` from 8-bit pictures.
///
/// # Panics
///
/// Panics if there is no picture or they differ in size.
pub fn from_images(images: &[RgbImage], device: &Device) -> Tensor<4> {
    let (width, height) = images.first().expect("at least one picture").dimensions();
    let mut values = Vec::with_capacity(images.len() * 3 * (width * height) as usize);
    for image in images {
        assert_eq!(image.dimensions(), (width, height), "pictures of one batch have one size");
        values.extend(image.as_raw().iter().map(|byte| f32::from(*byte) / 127.5 - 1.0));
    }
    let shape = [images.len(), height as usize, width as usize, 3];
    Tensor::<4>::from_data(TensorData::new(values, shape), device).permute([0, 3, 1, 2])
}

#[cfg(test)]
mod tests {
    use crate::testing;
    use ::image::Rgb;

    use super::*;

    #[test]
    fn eight_bits_round_trip() {
        let image = |shift: u32| {
            RgbImage::from_fn(16, 16, |x, y| {
                let k = (x + 16 * y + shift) as u8;
                Rgb([k, k.wrapping_mul(7), 255 - k])
            })
        };
        let images = [image(0), image(100)];
        let x = from_images(&images, &testing::device());
        assert_eq!(x.dims(), [2, 3, 16, 16]);
        assert_eq!(to_images(x), images);
    }

    #[test]
    fn values_outside_are_clipped() {
        let values = vec![-3.0_f32, 0.0, 1.7, f32::NAN, -1.0, 1.0];
        let x = Tensor::from_data(TensorData::new(values, [1, 3, 1, 2]), &testing::device());
        let image = &to_images(x)[0];
        assert_eq!(
            (image.get_pixel(0, 0).0, image.get_pixel(1, 0).0),
            ([0, 255, 0], [128, 0, 255])
        );
    }
}
