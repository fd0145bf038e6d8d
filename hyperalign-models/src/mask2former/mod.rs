//! Mask2Former (Cheng et al. 2022, arXiv:2112.01527) over a Swin: a mask and class probabilities
//! for each of a fixed number of queries; as instance segmentation, a detector of objects.
//!
//! Fields carry the names of transformers' `Mask2FormerForUniversalSegmentation`, as the published
//! files do; [`extras`] says which of a file's tensors are no weights. Files of [`mmdet`] hold the same
//! network in another layout, and come with another [`Pipeline`] around it.

mod config;
mod deformable;
mod detector;
mod instances;
mod masked_attention;
pub mod mmdet;
mod model;
mod names;
mod pipeline;
mod pixel_decoder;
mod preprocess;
mod sine;
mod transformer;

pub use config::Mask2FormerConfig;
pub use deformable::{Samples, sample_levels};
pub use detector::{Detector, DetectorError};
pub use instances::{
    Bounds, Instance, Mask, SquareMask, class_probabilities, instances, square_masks,
};
pub use model::{Mask2Former, Mask2FormerTap, Prediction, masks_on_map};
pub(crate) use names::EMPTY_WEIGHT;
pub use names::{extras, load, mmdet_keys, published_keys, weight_keys};
pub use pipeline::Pipeline;
pub use preprocess::{DetectorPreprocess, PreparedSize};
