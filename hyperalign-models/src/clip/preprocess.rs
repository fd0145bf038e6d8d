//! What is done to a picture before a vision model sees it.

use burn::tensor::{Device, Tensor, TensorData};
use hyperalign_core::resize::{
    Filter, Normalization, center_crop, center_crop_u8, resize, resize_u8, shorter_side,
};
use image::RgbImage;

/// The preprocessing of CLIP: the shorter side to `size` by a filter, the middle square, then a
/// normalisation of the channels.
///
/// There are two ways in. [`picture`](Self::picture) gives what published scores were computed
/// from, rounding to 8 bits in between. [`forward`](Self::forward) is its differentiable twin for
/// rewards that are trained against; it rounds nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClipPreprocess {
    /// Side of the result, in pixels.
    pub size: usize,
    /// Mean and deviation of the channels.
    pub normalization: Normalization,
    /// How [`forward`](Self::forward) resizes; [`picture`](Self::picture) is always bicubic.
    pub filter: Filter,
}

impl ClipPreprocess {
    /// With the normalisation that OpenAI published, and that HPSv2 and PickScore share.
    pub fn new(size: usize) -> Self {
        Self { size, normalization: Normalization::CLIP, filter: Filter::Bicubic }
    }

    /// Prepares pictures as tensors. Differentiable.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, 3, height, width]`, in `[0, 1]`
    /// - output: `[batch, 3, size, size]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, height, width] = x.dims();
        let (height, width) = shorter_side(height, width, self.size);
        let x = resize(x, height, width, self.filter);
        self.normalization.forward(center_crop(x, self.size, self.size))
    }

    /// The same for pixels in `[-1, 1]`: resizing commutes with the change of range.
    #[must_use]
    pub fn signed(self) -> Self {
        Self { normalization: self.normalization.signed(), ..self }
    }

    /// Prepares a picture, to the last bit as PIL and torchvision do.
    ///
    /// # Shapes
    ///
    /// - output: `[1, 3, size, size]`
    pub fn picture(&self, picture: &RgbImage, device: &Device) -> Tensor<4> {
        let (height, width) =
            shorter_side(picture.height() as usize, picture.width() as usize, self.size);
        let resized = resize_u8(picture, width as u32, height as u32, Filter::Bicubic);
        let square = center_crop_u8(&resized, self.size as u32, self.size as u32);
        self.normalization.forward(unit_tensor(&square, device))
    }
}

/// A picture with values in `[0, 1]`, `[1, 3, height, width]`.
fn unit_tensor(picture: &RgbImage, device: &Device) -> Tensor<4> {
    let shape = [1, picture.height() as usize, picture.width() as usize, 3];
    let values: Vec<f32> = picture.as_raw().iter().map(|value| f32::from(*value) / 255.0).collect();
    Tensor::<4>::from_data(TensorData::new(values, shape), device).permute([0, 3, 1, 2])
}

#[cfg(test)]
mod tests {
    use hyperalign_core::noise::{Purpose, Stream};
    use hyperalign_core::testing;
    use image::Rgb;

    use super::*;

    /// A smooth picture, whose 8-bit and exact resizing can differ by rounding only.
    fn smooth() -> RgbImage {
        let mut stream = Stream::new(1, Purpose::World, 0, 0);
        let phase: [f64; 3] = std::array::from_fn(|_| stream.range(0.0, 6.0));
        RgbImage::from_fn(40, 30, |x, y| {
            let wave = |phase: f64| (f64::from(x) * 0.2 + f64::from(y) * 0.1 + phase).sin();
            Rgb(phase.map(|phase| (127.5 + 100.0 * wave(phase)) as u8))
        })
    }

    #[test]
    fn both_ways_agree_up_to_rounding() {
        let preprocess = ClipPreprocess::new(14);
        let device = testing::device();
        let exact = preprocess.forward(unit_tensor(&smooth(), &device));
        let rounded = preprocess.picture(&smooth(), &device);
        assert_eq!(rounded.dims(), [1, 3, 14, 14]);
        // Two roundings to 8 bits, divided by the smallest deviation.
        let most = 2.0 / 255.0 / 0.26;
        let error: f32 = (exact - rounded).abs().max().into_scalar();
        assert!(error > 0.0 && f64::from(error) < most, "{error}");
    }

    #[test]
    fn pixels_between_minus_1_and_1_give_the_same() {
        let device = testing::device();
        let normalization = Normalization { mean: [0.1, 0.5, 0.6], std: [0.2, 0.5, 0.1] };
        let preprocess = ClipPreprocess { normalization, ..ClipPreprocess::new(14) };
        let unit = unit_tensor(&smooth(), &device);
        let signed = unit.clone() * 2.0 - 1.0;
        let difference = preprocess.forward(unit) - preprocess.signed().forward(signed);
        assert!(difference.abs().max().into_scalar::<f32>() < 1e-5);
    }

    #[test]
    fn the_crop_is_in_the_middle() {
        let middle_is_red = |x| if (10..30).contains(&x) { 255 } else { 0 };
        let picture = RgbImage::from_fn(40, 20, |x, _| Rgb([middle_is_red(x), 0, 0]));
        let square = ClipPreprocess::new(20).picture(&picture, &testing::device());
        let red = (1.0 - Normalization::CLIP.mean[0]) / Normalization::CLIP.std[0];
        let values: Vec<f64> = square.into_data().iter::<f64>().collect();
        assert!(values[..400].iter().all(|value| (value - red).abs() < 1e-6));
    }
}
