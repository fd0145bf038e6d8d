//! How pictures are prepared, and what becomes of masks.

use burn::tensor::{Device, Tensor, TensorData, ops::PadMode, s};
use hyperalign_core::resize::{Filter, Normalization, resize, resize_u8_opencv};
use image::RgbImage;
use serde::{Deserialize, Serialize};

use crate::mask2former::{
    Instance, Mask, Prediction,
    instances::{instances_by, mean_probability},
};

/// Means and deviations of the channels red, green and blue, of values from 0 to 255
/// (`img_norm_cfg`).
const NORMALIZATION: Normalization =
    Normalization { mean: [123.675, 116.28, 103.53], std: [58.395, 57.12, 57.375] };

/// mmdetection's test pipeline of Mask2Former, and its post-processing of instances: the
/// `test_pipeline` of `configs/mask2former/mask2former_r50_lsj_8x2_50e_coco.py`, and
/// `MaskFormerFusionHead.instance_postprocess`.
///
/// Pictures keep their proportions and are filled up at their right and their bottom; masks are cut
/// at the size of the picture, not of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestPipeline {
    /// The most that the longer side may have after resizing, in pixels.
    pub longest_side: usize,
    /// The most that the shorter side may have. A picture is as large as both allow.
    pub shortest_side: usize,
    /// Sides are filled up to multiples of this.
    pub size_divisor: usize,
}

impl Default for TestPipeline {
    fn default() -> Self {
        Self { longest_side: 1333, shortest_side: 800, size_divisor: 32 }
    }
}

impl TestPipeline {
    /// Height and width that a picture of this height and width is resized to.
    pub fn resized_size(&self, size: [usize; 2]) -> [usize; 2] {
        let [short, long] = [size[0].min(size[1]), size[0].max(size[1])].map(|side| side as f64);
        let scale = (self.longest_side as f64 / long).min(self.shortest_side as f64 / short);
        // No side vanishes, where mmdetection would fail.
        size.map(|side| ((side as f64 * scale + 0.5) as usize).max(1))
    }

    /// Height and width that the network sees.
    pub fn prepared_size(&self, size: [usize; 2]) -> [usize; 2] {
        self.resized_size(size).map(|side| side.next_multiple_of(self.size_divisor))
    }

    /// Prepares a picture.
    ///
    /// # Shapes
    ///
    /// - output: `[1, 3, height, width]`
    pub fn picture(&self, picture: &RgbImage, device: &Device) -> Tensor<4> {
        let size = [picture.height() as usize, picture.width() as usize];
        let [height, width] = self.resized_size(size);
        let [down, across] = self.prepared_size(size);
        let resized = resize_u8_opencv(picture, width as u32, height as u32);
        let values: Vec<f32> = resized.as_raw().iter().map(|value| f32::from(*value)).collect();
        let values = TensorData::new(values, [1, height, width, 3]);
        let pixels = Tensor::<4>::from_data(values, device).permute([0, 3, 1, 2]);
        // Zeros after normalisation: the mean colour.
        NORMALIZATION
            .forward(pixels)
            .pad([(0, 0), (0, 0), (0, down - height), (0, across - width)], PadMode::Constant(0.0))
    }

    /// The objects of each picture whose score is at least `threshold`, the best first. `sizes` are
    /// the heights and widths of the pictures.
    ///
    /// # Panics
    ///
    /// Panics if there are not as many sizes as pictures.
    pub fn instances(
        &self,
        prediction: &Prediction,
        sizes: &[[usize; 2]],
        threshold: f32,
    ) -> Vec<Vec<Instance>> {
        instances_by(prediction, sizes, threshold, &|masks, size| self.masks(masks, size))
    }

    /// Masks on a picture of this height and width, and the mean probability of each one's pixels.
    ///
    /// # Shapes
    ///
    /// - `masks`: logits, `[1, queries, height, width]`
    fn masks(&self, masks: Tensor<4>, size: [usize; 2]) -> Vec<(Mask, f32)> {
        let [_, queries, ..] = masks.dims();
        let [height, width] = self.resized_size(size);
        let [down, across] = self.prepared_size(size);
        // One after the other: all of them on a large picture would be gigabytes.
        let mask = |query: usize| {
            let logits = masks.clone().narrow(1, query, 1);
            let logits = resize(logits, down, across, Filter::BilinearSampled);
            let logits = logits.slice(s![.., .., 0..height, 0..width]);
            let logits = resize(logits, size[0], size[1], Filter::BilinearSampled);
            let logits: Vec<f32> = logits.into_data_as::<f32>().iter::<f32>().collect();
            let score = mean_probability(&logits);
            (Mask::new(size[1], logits.into_iter().map(|logit| logit > 0.0).collect()), score)
        };
        (0..queries).map(mask).collect()
    }
}

#[cfg(test)]
mod tests {
    use hyperalign_core::testing;
    use image::Rgb;

    use super::*;

    #[test]
    fn sizes() {
        let pipeline = TestPipeline::default();
        for (size, resized, prepared) in [
            ([512, 512], [800, 800], [800, 800]),
            ([1024, 1024], [800, 800], [800, 800]),
            ([480, 640], [800, 1067], [800, 1088]),
            ([200, 1000], [267, 1333], [288, 1344]),
            ([3000, 1], [1333, 1], [1344, 32]),
        ] {
            assert_eq!(pipeline.resized_size(size), resized, "{size:?}");
            assert_eq!(pipeline.prepared_size(size), prepared, "{size:?}");
        }
    }

    #[test]
    fn pictures_are_filled_up_with_their_mean() {
        let pipeline = TestPipeline { longest_side: 50, shortest_side: 20, size_divisor: 32 };
        let picture = RgbImage::from_pixel(10, 10, Rgb([255, 0, 7]));
        let prepared = pipeline.picture(&picture, &testing::device());
        assert_eq!(prepared.dims(), [1, 3, 32, 32]);
        let at = |y: usize, x: usize| -> Vec<f32> {
            prepared.clone().slice(s![.., .., y..y + 1, x..x + 1]).try_into_vec_as().unwrap()
        };
        let red = (255.0 - 123.675) / 58.395;
        assert!((at(19, 19)[0] - red).abs() < 1e-5);
        assert_eq!(at(19, 20), [0.0; 3]);
        assert_eq!(at(20, 0), [0.0; 3]);
    }
}
