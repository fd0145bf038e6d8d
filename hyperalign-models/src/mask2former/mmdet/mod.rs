//! What mmdetection does around its Mask2Former: the detector that GenEval's evaluation calls.
//!
//! Its file has no configuration beside it; the sizes are read off the shapes of the weights. Where
//! they lie says [`MmdetNames`](crate::weights::published::MmdetNames).

mod classes;
mod sizes;
mod test_pipeline;

pub use classes::COCO;
pub use sizes::sizes_of;
pub use test_pipeline::TestPipeline;
