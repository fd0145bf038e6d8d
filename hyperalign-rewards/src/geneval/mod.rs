//! GenEval (Ghosh et al. 2023, arXiv:2310.11513): its prompts as data and its rules as code.
//!
//! The rules ([`judge()`]) speak about detections only, and there is one engine of them: who made
//! the detections, the [`GenEval`] scorer with its detector of COCO's classes or the
//! [`emoji`](crate::emoji) world's template matching, is none of its business.

mod color;
mod judge;
mod protocol;
mod row;
mod scorer;

pub use color::{COLORS, ColorClassifier, crop};
pub use judge::{BoundingBox, Detection, Reason, Verdict, judge, relations};
pub use protocol::{Protocol, overlap};
pub(crate) use row::read_row;
pub use row::{Exclude, Include, Relation, Row, RowError, Task, read_jsonl, read_value};
pub(crate) use scorer::ENTRY;
pub use scorer::{GenEval, Object};
