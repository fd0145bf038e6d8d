//! What stands around the network, by whose detector it is.

use burn::tensor::{Device, Tensor};
use image::RgbImage;

use super::{DetectorPreprocess, Instance, Prediction, instances, mmdet::TestPipeline};
use crate::weights::sha256;

/// How pictures are brought into the network, and objects out of it. The same weights find other
/// objects with another one.
#[derive(Debug, Clone, PartialEq)]
pub enum Pipeline {
    /// That of transformers: masks are judged on a square, whatever the picture.
    Transformers(DetectorPreprocess),
    /// That of mmdetection, which GenEval's evaluation calls.
    Mmdet(TestPipeline),
}

impl Pipeline {
    /// Height and width that the network sees of a picture of this height and width.
    pub fn prepared_size(&self, size: [usize; 2]) -> [usize; 2] {
        match self {
            Self::Transformers(preprocess) => preprocess.prepared_size(size),
            Self::Mmdet(pipeline) => pipeline.prepared_size(size),
        }
    }

    /// Prepares a picture.
    ///
    /// # Shapes
    ///
    /// - output: `[1, 3, height, width]`
    pub fn picture(&self, picture: &RgbImage, device: &Device) -> Tensor<4> {
        match self {
            Self::Transformers(preprocess) => preprocess.picture(picture, device),
            Self::Mmdet(pipeline) => pipeline.picture(picture, device),
        }
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
        match self {
            Self::Transformers(_) => instances(prediction, sizes, threshold),
            Self::Mmdet(pipeline) => pipeline.instances(prediction, sizes, threshold),
        }
    }

    /// What a version says of it beside the weights: nothing of transformers' with the published
    /// settings.
    pub(super) fn mark(&self) -> String {
        match self {
            Self::Mmdet(pipeline) if *pipeline == TestPipeline::default() => " (mmdet)".to_owned(),
            Self::Mmdet(pipeline) => format!(" (mmdet {pipeline:?})"),
            Self::Transformers(preprocess) if *preprocess == DetectorPreprocess::default() => {
                String::new()
            }
            Self::Transformers(preprocess) => {
                let settings = serde_json::to_string(preprocess).unwrap_or_default();
                format!(" (prepared by {:.8})", sha256(settings.as_bytes()))
            }
        }
    }
}
