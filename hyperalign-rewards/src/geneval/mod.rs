//! GenEval (Ghosh et al. 2023, arXiv:2310.11513): its prompts as data and its rules as code.
//!
//! The rules speak about detections only. Who made them, an object detector of COCO classes or
//! the [`emoji`](crate::emoji) world's template matching, is none of this module's business.

mod judge;
mod row;

pub use judge::{BoundingBox, Detection, Reason, Verdict, judge, relations};
pub(crate) use row::read_row;
pub use row::{Exclude, Include, Relation, Row, RowError, Task, read_jsonl};
