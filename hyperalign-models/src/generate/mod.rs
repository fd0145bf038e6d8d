//! The room where pictures are made: from prompts and seeds, by a base and a way.
//!
//! Whoever wants pictures comes here, so that two of them differ in nothing but what they should:
//! the same prompts, the same noise, the same solver. [`generate`] makes any number of pictures in
//! batches by a [`Way`]: [`Plain`], [`Adapted`], or another that searches or guides. A
//! [`Generation`] is what one batch is sampled with, for those who want the trajectory and not the
//! picture: rollouts of training, measurements of movement, key steps.
//!
//! ```text
//! Shot (prompt, seed) ─┐
//! Sampling ────────────┼─ Job ─ Way ─ Generation ─ Sampler ─ Trajectory ─ decoder ─ Made
//! Base ────────────────┘              Meter: what it cost
//! ```

mod adapted;
mod batches;
mod cost;
mod dose;
mod generation;
mod sampling;
mod test_time;
mod way;

pub use adapted::{Adapted, AdapterFile};
pub use batches::{Batch, OnBatch, generate};
pub use cost::{Cost, Meter, Metered, OnProgress, OnStep};
pub use dose::Dose;
pub use generation::Generation;
pub use sampling::{Sampling, Shot};
pub use test_time::{
    Budget, Knowledge, KnowledgeError, Sought, TestTime, TestTimeError, TestTimeSettings,
};
pub use way::{GenerateError, Job, Made, Plain, Way};

#[cfg(test)]
mod tests;
