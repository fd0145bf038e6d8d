//! Resizing of 8-bit pictures, to the last bit as OpenCV does it: what detectors of mmdetection are
//! fed with.

use image::RgbImage;

/// Channels of a pixel.
const CHANNELS: usize = 3;
/// What a weight of 1 is in fixed point: 11 bits after the point.
const UNIT: f32 = 2048.0;

/// What an output pixel of an axis is made of: two input pixels and their weights.
struct Pair {
    pixels: [usize; 2],
    weights: [i64; 2],
}

/// Resizes `image` to `width` x `height` as OpenCV's `resize` does with `INTER_LINEAR`: bilinear at
/// the sampling points only, so that it aliases when shrinking.
///
/// # Panics
///
/// Panics if an extent is 0.
pub fn resize_u8_opencv(image: &RgbImage, width: u32, height: u32) -> RgbImage {
    if (image.width(), image.height()) == (width, height) {
        return image.clone();
    }
    // Beyond the border OpenCV takes the last column with its whole weight, but the last row twice
    // with a part of it each, which is rounded twice.
    let columns = pairs(image.width() as usize, width as usize, true);
    let rows = pairs(image.height() as usize, height as usize, false);
    let stride = image.width() as usize * CHANNELS;
    let wide: Vec<Vec<i64>> = image
        .as_raw()
        .chunks_exact(stride)
        .map(|row| columns.iter().flat_map(|pair| across(row, pair)).collect())
        .collect();
    let values = rows.iter().flat_map(|Pair { pixels: [above, below], weights }| {
        let both = wide[*above].iter().zip(&wide[*below]);
        both.map(move |(above, below)| {
            let part = |value: &i64, weight: i64| (weight * (value >> 4)) >> 16;
            let sum = part(above, weights[0]) + part(below, weights[1]);
            ((sum + 2) >> 2).clamp(0, 255) as u8
        })
    });
    RgbImage::from_raw(width, height, values.collect()).expect("a value for each channel")
}

fn across(row: &[u8], Pair { pixels, weights }: &Pair) -> [i64; CHANNELS] {
    std::array::from_fn(|channel| {
        let value = |at: usize| i64::from(row[pixels[at] * CHANNELS + channel]);
        value(0) * weights[0] + value(1) * weights[1]
    })
}

/// The pairs of the `to` output pixels of an axis of `from` input pixels. With `whole`, what lies
/// beyond the outermost pixel's centre is that pixel.
fn pairs(from: usize, to: usize, whole: bool) -> Vec<Pair> {
    assert!(from > 0 && to > 0, "cannot resize {from} pixels to {to}");
    let scale = 1.0 / (to as f64 / from as f64);
    let last = from as i64 - 1;
    let pair = |at: usize| {
        let place = ((at as f64 + 0.5) * scale - 0.5) as f32;
        let first = place.floor();
        let (mut part, mut first) = (place - first, first as i64);
        if whole && (first < 0 || first >= last) {
            (part, first) = (0.0, first.clamp(0, last));
        }
        let fixed = |weight: f32| (weight * UNIT).round_ties_even() as i64;
        Pair {
            pixels: [first, first + 1].map(|pixel| pixel.clamp(0, last) as usize),
            weights: [fixed(1.0 - part), fixed(part)],
        }
    };
    (0..to).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn constants_and_halves() {
        let even = RgbImage::from_pixel(5, 7, Rgb([3, 128, 255]));
        for (width, height) in [(5, 7), (11, 3), (2, 20)] {
            let resized = resize_u8_opencv(&even, width, height);
            assert_eq!(resized.dimensions(), (width, height));
            assert!(resized.pixels().all(|pixel| *pixel == Rgb([3, 128, 255])), "{width} {height}");
        }
        let steps = RgbImage::from_fn(4, 2, |x, y| Rgb([(10 * x + y) as u8; 3]));
        let half = resize_u8_opencv(&steps, 2, 1);
        // Means of four, halves up: 5.5 and 25.5.
        assert_eq!(half.as_raw(), &[6, 6, 6, 26, 26, 26]);
    }

    /// Of `cv2.resize(picture, (5, 4), interpolation=cv2.INTER_LINEAR)`, OpenCV 4.14.
    #[test]
    fn values_of_opencv() {
        let picture = RgbImage::from_fn(3, 3, |x, y| {
            let k = 3 * y + x;
            Rgb([(k * 31) as u8, (255 - k * 17) as u8, (k * k * 3) as u8])
        });
        let resized = resize_u8_opencv(&picture, 5, 4);
        let red: Vec<u8> = resized.pixels().map(|pixel| pixel.0[0]).collect();
        let green: Vec<u8> = resized.pixels().map(|pixel| pixel.0[1]).collect();
        let expected = [
            [0, 12, 31, 49, 62],
            [58, 70, 89, 108, 120],
            [128, 140, 159, 177, 190],
            [186, 198, 217, 235, 248],
        ];
        assert_eq!(red, expected.concat());
        let expected = [
            [255, 248, 238, 228, 221],
            [223, 216, 206, 196, 189],
            [185, 178, 168, 157, 151],
            [153, 146, 136, 126, 119],
        ];
        assert_eq!(green, expected.concat());
    }
}
