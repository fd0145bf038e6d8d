use crate::testing;
use burn::tensor::DType;
use image::{Rgb, RgbImage};

use super::*;
use crate::noise::{Purpose, Stream};

const FILTERS: [Filter; 3] = [Filter::Bilinear, Filter::Bicubic, Filter::BicubicSampled];

fn picture(height: usize, width: usize, f: impl Fn(usize, usize) -> f64) -> Tensor<4> {
    let values: Vec<f64> = (0..height * width).map(|k| f(k / width, k % width)).collect();
    let data = TensorData::new(values, [1, 1, height, width]);
    Tensor::from_data(data, (&testing::cpu(), DType::F64))
}

fn random_u8(width: u32, height: u32) -> RgbImage {
    let mut stream = Stream::new(5, Purpose::World, 0, 0);
    RgbImage::from_fn(width, height, |_, _| Rgb(std::array::from_fn(|_| stream.below(256) as u8)))
}

fn max(x: Tensor<4>) -> f64 {
    x.abs().max().into_scalar()
}

#[test]
fn constants_and_sizes_are_kept() {
    for filter in FILTERS {
        for (height, width) in [(3, 4), (9, 13), (20, 31), (6, 40)] {
            let resized = resize(picture(9, 13, |_, _| 0.7), height, width, filter);
            assert_eq!(resized.dims(), [1, 1, height, width]);
            assert!(max(resized - 0.7) < 1e-12, "{filter:?}");
        }
        let same = picture(9, 13, |y, x| (y * x) as f64);
        assert_eq!(max(resize(same.clone(), 9, 13, filter) - same), 0.0);
    }
}

/// Away from the border a ramp stays a ramp of pixel centres. (Keys' cubic has this order of
/// accuracy at a = -0.5 only.)
#[test]
fn ramps_stay_ramps() {
    for filter in [Filter::Bilinear, Filter::Bicubic] {
        for width in [20_usize, 90] {
            let scale = 40.0 / width as f64;
            let resized = resize(picture(2, 40, |_, x| x as f64), 2, width, filter);
            let values: Vec<f64> = resized.try_into_vec_as().unwrap();
            for (x, value) in values[..width].iter().enumerate() {
                let center = (x as f64 + 0.5) * scale - 0.5;
                if (5.0..34.0).contains(&center) {
                    assert!((value - center).abs() < 1e-9, "{filter:?} {width} {x} {value}");
                }
            }
        }
    }
}

/// Halving with a triangle of support 2: weights 1, 3, 3, 1 over 8.
#[test]
fn antialiased_weights() {
    let impulse = picture(1, 12, |_, x| f64::from(u8::from(x == 6)));
    let halved: Vec<f64> =
        resize(impulse.clone(), 1, 6, Filter::Bilinear).try_into_vec_as().unwrap();
    assert_eq!(halved, [0.0, 0.0, 0.125, 0.375, 0.0, 0.0]);
    // Without antialiasing only two samples on each side are seen: the cubic at 1/2 and 3/2.
    let sampled: Vec<f64> =
        resize(impulse, 1, 6, Filter::BicubicSampled).try_into_vec_as().unwrap();
    for (found, expected) in sampled.iter().zip([0.0, 0.0, -0.09375, 0.59375, 0.0, 0.0]) {
        assert!((found - expected).abs() < 1e-12, "{sampled:?}");
    }
}

/// The 8-bit path is the exact one with rounding and clipping after each axis.
#[test]
fn eight_bits_are_rounded_between_the_axes() {
    let image = random_u8(33, 21);
    let mut ties = 0;
    for filter in [Filter::Bilinear, Filter::Bicubic] {
        for (width, height) in [(14, 9), (60, 40), (14, 40), (33, 9)] {
            let resized = resize_u8(&image, width, height, filter);
            for channel in 0..3 {
                let plane =
                    picture(21, 33, |y, x| f64::from(image.get_pixel(x as u32, y as u32)[channel]));
                let wide = resize(plane, 21, width as usize, filter)
                    .add_scalar(0.5)
                    .floor()
                    .clamp(0.0, 255.0);
                let exact = resize(wide, height as usize, width as usize, filter);
                let exact: Vec<f64> = exact.clamp(0.0, 255.0).try_into_vec_as().unwrap();
                for (pixel, exact) in resized.pixels().zip(exact) {
                    let difference = f64::from(pixel[channel]) - exact;
                    // A half in between may fall to either side.
                    ties += usize::from(difference.abs() > 0.501);
                    assert!(difference.abs() < 1.501, "{filter:?} {difference}");
                }
            }
        }
    }
    // Less than one of a hundred values.
    assert!(ties * 100 < 20_298, "{ties}");
}

/// Positions in f32 change the weights of a wide picture, and nothing of how they add up.
#[test]
fn positions_have_the_format_of_the_picture() {
    let noise: Vec<f64> = random_u8(1500, 1).pixels().map(|pixel| f64::from(pixel[0])).collect();
    let exact = picture(1, 1500, |_, x| noise[x] / 255.0);
    let narrow = exact.clone().cast(DType::F32);
    for filter in FILTERS {
        let difference = max(resize(narrow.clone(), 1, 301, filter).cast(DType::F64)
            - resize(exact.clone(), 1, 301, filter));
        assert!((2e-6..2e-4).contains(&difference), "{filter:?} {difference}");
        let ones = resize(narrow.clone().ones_like(), 1, 301, filter).cast(DType::F64);
        assert!(max(ones - 1.0) < 1e-6, "{filter:?}");
    }
}

/// A linear map's gradient is its transpose: the gradient of a weighted sum, by differences.
#[test]
fn gradient() {
    for filter in FILTERS {
        let image = picture(7, 9, |y, x| ((3 * y + 5 * x) % 11) as f64 / 11.0);
        let cotangent = picture(4, 5, |y, x| ((2 * y + x) % 7) as f64 - 3.0);
        let loss = |x: Tensor<4>| (resize(x, 4, 5, filter) * cotangent.clone()).sum();
        let leaf = image.clone().autodiff().require_grad();
        let gradient = leaf.grad(&loss(leaf.clone()).backward()).unwrap();
        let gradient: Vec<f64> = gradient.try_into_vec_as().unwrap();
        for k in [0, 13, 31, 62] {
            let bump = picture(7, 9, |y, x| f64::from(u8::from(y * 9 + x == k)) * 1e-3);
            let up: f64 = loss(image.clone() + bump.clone()).into_scalar();
            let down: f64 = loss(image.clone() - bump).into_scalar();
            assert!((gradient[k] - (up - down) / 2e-3).abs() < 1e-9, "{filter:?} {k}");
        }
    }
}

#[test]
fn sizes_and_crops() {
    assert_eq!(shorter_side(120, 160, 56), (56, 74));
    assert_eq!(shorter_side(160, 120, 56), (74, 56));
    assert_eq!(shorter_side(64, 64, 224), (224, 224));

    let ramp = picture(5, 9, |y, x| (10 * y + x) as f64);
    let cropped: Vec<f64> = center_crop(ramp, 2, 4).try_into_vec_as().unwrap();
    // Margins of 1.5 and 2.5 pixels both go to 2.
    assert_eq!(cropped, [22.0, 23.0, 24.0, 25.0, 32.0, 33.0, 34.0, 35.0]);
    let image = random_u8(9, 5);
    let cropped = center_crop_u8(&image, 4, 2);
    assert_eq!(cropped.get_pixel(0, 0), image.get_pixel(2, 2));
    assert_eq!(cropped.dimensions(), (4, 2));
}

#[test]
fn normalization() {
    let normalization = Normalization { mean: [0.5, 0.25, 0.0], std: [0.5, 1.0, 0.1] };
    let x = Tensor::<4>::ones([2, 3, 1, 1], &testing::device());
    let found: Vec<f32> = normalization.forward(x).try_into_vec_as().unwrap();
    assert_eq!(found, [1.0, 0.75, 10.0, 1.0, 0.75, 10.0]);
}
