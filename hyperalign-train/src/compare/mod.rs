//! A whole comparison: many ways of making pictures on the same prompts and noise, several training
//! seeds, and what can be said of the differences.
//!
//! A [`Comparison`] (a TOML file) is made into a [`Plan`]: the [`Training`]s and [`Measurement`]s
//! that it asks for, each with a key, which is a fingerprint of everything that its result depends
//! on and part of the name of its folder. Nothing is ever mixed, an interrupted comparison goes on, and
//! a change of the file repeats only what it changes. A measurement leaves a [`RunRecord`] and the
//! scores of every picture; [`Results`] are read from these alone.
//!
//! Nothing here computes a picture or trains: commands do, and call this.

mod check;
mod claims;
mod config;
mod error;
mod merge;
mod plan;
mod probes;
mod published;
mod record;
mod results;
mod shard;
mod statistics;
#[cfg(test)]
pub(crate) mod testing;
mod values;

pub use claims::{Claim, ClaimResult, ClaimVerdict, Compared, Prediction, Relation};
pub use config::{
    BaseEntry, Comparison, Curves, Entry, FORMAT, Protocol, ScoreNames, TableEntry, Train,
};
pub use error::CompareError;
pub use merge::{Merged, merge};
pub use plan::{Identities, Measurement, Plan, Training};
pub use probes::weight_path;
pub use published::Published;
pub use record::{
    CurvePoint, Failure, Folders, Probes, RunRecord, TrainingRecord, Versions, WeightPath,
};
pub use results::{BaseResults, EntryResults, Results, Run};
pub use shard::{Shard, ShardError};
pub use statistics::{Effect, Paired, holm};
pub use values::{Column, value_of};
