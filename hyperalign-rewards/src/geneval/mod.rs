//! GenEval (Ghosh et al. 2023, arXiv:2310.11513): its prompts as data and its rules as code.
//!
//! The rules speak about detections only. Who made them, an object detector of COCO classes or
//! the [`emoji`](crate::emoji) world's template matching, is none of this module's business.

mod judge;

pub use hyperalign_core::contract::{Exclude, Include, Relation, Row, RowError, Task};
pub use judge::{BoundingBox, Detection, Reason, Verdict, judge, relations};
