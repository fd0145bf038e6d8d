//! What is done to a picture before the network sees it.

use burn::tensor::{Device, Tensor, TensorData};
use hyperalign_core::resize::{Filter, FixedPoint, Normalization, resize_u8_in};
use image::RgbImage;
use serde::{Deserialize, Serialize};

use crate::weights::{MOST_PIXELS, validated, within};

/// PIL's numbers of its filters.
const BILINEAR: usize = 2;
const BICUBIC: usize = 3;

/// The size that pictures are brought to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum PreparedSize {
    /// This one, whatever the proportions.
    Exact {
        /// In pixels.
        height: usize,
        /// In pixels.
        width: usize,
    },
    /// The proportions are kept.
    Edges {
        /// The shorter side, in pixels.
        shortest_edge: usize,
        /// The most that the longer side may have; the shorter is then smaller.
        longest_edge: usize,
    },
}

/// The `preprocessor_config.json` of transformers' `Mask2FormerImageProcessor`. Absent keys take
/// the values of the published networks of COCO's instances; unknown ones are not read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", default)]
pub struct DetectorPreprocess {
    /// Whether pictures are resized at all.
    pub do_resize: bool,
    /// The size that pictures are brought to.
    pub size: PreparedSize,
    /// Sides are rounded up to multiples of this, in pixels; 0 for none.
    pub size_divisor: usize,
    /// PIL's number of the filter: 2 (bilinear) or 3 (bicubic).
    pub resample: usize,
    /// Whether values are scaled.
    pub do_rescale: bool,
    /// What 8-bit values are multiplied by.
    pub rescale_factor: f64,
    /// Whether channels are normalised.
    pub do_normalize: bool,
    /// Means of the channels, of values from 0 to 1.
    pub image_mean: [f64; 3],
    /// Their deviations.
    pub image_std: [f64; 3],
}

impl Default for DetectorPreprocess {
    fn default() -> Self {
        Self {
            do_resize: true,
            size: PreparedSize::Exact { height: 384, width: 384 },
            size_divisor: 32,
            resample: BILINEAR,
            do_rescale: true,
            rescale_factor: 1.0 / 255.0,
            do_normalize: true,
            image_mean: [0.485, 0.456, 0.406],
            image_std: [0.229, 0.224, 0.225],
        }
    }
}

validated!(DetectorPreprocess);

impl DetectorPreprocess {
    /// Whether the settings can be.
    ///
    /// # Errors
    ///
    /// Fails with what cannot.
    pub fn validate(&self) -> Result<(), String> {
        let sides = match self.size {
            PreparedSize::Exact { height, width } => [("height", height), ("width", width)],
            PreparedSize::Edges { shortest_edge, longest_edge } => {
                [("shortest_edge", shortest_edge), ("longest_edge", longest_edge)]
            }
        };
        for (name, side) in sides {
            within(name, side, 1, MOST_PIXELS)?;
        }
        within("size_divisor", self.size_divisor, 0, 1024)?;
        if ![BILINEAR, BICUBIC].contains(&self.resample) {
            return Err(format!(
                "resample is {}; only {BILINEAR} (bilinear) and {BICUBIC} (bicubic) are built",
                self.resample
            ));
        }
        let positive = |value: &f64| value.is_finite() && *value > 0.0;
        let means = self.image_mean.iter().all(|mean| mean.is_finite());
        if !positive(&self.rescale_factor) || !means || !self.image_std.iter().all(positive) {
            return Err("rescale_factor and image_std must be numbers above 0".to_owned());
        }
        Ok(())
    }

    /// Height and width that a picture of this height and width is brought to.
    pub fn prepared_size(&self, [height, width]: [usize; 2]) -> [usize; 2] {
        if !self.do_resize {
            return [height, width];
        }
        let size = match self.size {
            PreparedSize::Exact { height, width } => [height, width],
            PreparedSize::Edges { shortest_edge, longest_edge } => {
                within_edges([height, width], shortest_edge, longest_edge)
            }
        };
        match self.size_divisor {
            0 => size,
            divisor => size.map(|side| side.next_multiple_of(divisor)),
        }
    }

    /// Prepares a picture, to the last bit as torchvision does.
    ///
    /// # Shapes
    ///
    /// - output: `[1, 3, height, width]`
    pub fn picture(&self, picture: &RgbImage, device: &Device) -> Tensor<4> {
        let filter = if self.resample == BICUBIC { Filter::Bicubic } else { Filter::Bilinear };
        let [height, width] =
            self.prepared_size([picture.height() as usize, picture.width() as usize]);
        let (width_u32, height_u32) = (width as u32, height as u32);
        let resized = resize_u8_in(picture, width_u32, height_u32, filter, FixedPoint::Torchvision);
        let scale = if self.do_rescale { self.rescale_factor as f32 } else { 1.0 };
        let values: Vec<f32> =
            resized.as_raw().iter().map(|value| f32::from(*value) * scale).collect();
        let values = TensorData::new(values, [1, height, width, 3]);
        let normalization = Normalization { mean: self.image_mean, std: self.image_std };
        let pixels = Tensor::<4>::from_data(values, device).permute([0, 3, 1, 2]);
        if self.do_normalize { normalization.forward(pixels) } else { pixels }
    }
}

/// The size with the shorter side `shortest`, or less so that the longer is not above `longest`; as
/// transformers computes it, in f64.
fn within_edges([height, width]: [usize; 2], shortest: usize, longest: usize) -> [usize; 2] {
    let (short, long) = (height.min(width) as f64, height.max(width) as f64);
    let fitting = longest as f64 * short / long;
    let is_limited = long / short * shortest as f64 > longest as f64;
    let exact = if is_limited { fitting } else { shortest as f64 };
    let shorter = exact.round_ties_even().max(1.0);
    if shorter == short {
        return [height, width];
    }
    let longer = (exact * long / short).max(1.0) as usize;
    let shorter = shorter as usize;
    if height <= width { [shorter, longer] } else { [longer, shorter] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<DetectorPreprocess, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn sizes() {
        let published = read("{}").unwrap();
        assert_eq!(published.prepared_size([480, 640]), [384, 384]);
        let edges = r#"{"size": {"shortest_edge": 800, "longest_edge": 1333}, "size_divisor": 32}"#;
        let edges = read(edges).unwrap();
        assert_eq!(edges.prepared_size([512, 512]), [800, 800]);
        assert_eq!(edges.prepared_size([480, 640]), [800, 1088]);
        assert_eq!(edges.prepared_size([200, 1000]), [288, 1344]);
        let as_is = read(r#"{"do_resize": false}"#).unwrap();
        assert_eq!(as_is.prepared_size([33, 71]), [33, 71]);
    }

    #[test]
    fn settings_that_cannot_be() {
        for (json, words) in [
            (r#"{"resample": 0}"#, "resample is 0"),
            (r#"{"size": {"height": 0, "width": 4}}"#, "height is 0"),
            (r#"{"image_std": [1, 0, 1]}"#, "image_std"),
        ] {
            let message = read(json).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }
}
