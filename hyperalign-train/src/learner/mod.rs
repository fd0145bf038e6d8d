//! The training engine: many updates of a module towards an [`Objective`], resumable exactly.
//!
//! It knows nothing of diffusion: HyperAlign training, its controls and the pretraining of the
//! embedded models are objectives. An update is
//!
//! 1. once in [`Objective::span`] updates, what the shards share ([`Objective::prepare`]);
//! 2. the losses of every [`Shard`] of the batch, each on its own thread with its own fork of the
//!    module, and one backward pass for each [`Part`] as it is emitted;
//! 3. the mean over shards and micro-steps, the weighted sum over parts, the clipping of the
//!    global norm;
//! 4. AdamW, then the exponential moving average of the weights;
//! 5. a row of `metrics.jsonl`, [`Objective::after_update`], and now and then a checkpoint.
//!
//! Nothing is random here. Objectives draw from counter-based streams of (seed, update), so a run
//! that was killed and resumed ends with the bytes of one that was not.
//!
//! The loop runs inside burn-train: its `Learner` holds module, optimizer and schedule, its
//! `SupervisedTraining` shows metrics, on a dashboard or as lines, and interrupts. Three things of
//! its own would make exact resume impossible and are ours: the loop (a custom strategy), the
//! checkpoints (by epoch there, three files with no common moment) and the files of metrics
//! (written there by another thread, with no regard to checkpoints).

mod average;
mod checkpoint;
mod dashboard;
mod fit;
mod gradients;
mod journal;
mod loader;
mod lock;
mod objective;
mod origin;
pub(crate) mod parallel;
mod parameters;
mod progress;
mod reduce;
mod run;
mod schedule;
pub(crate) mod seed;
mod settings;
mod strategy;
mod student;
mod update;

pub use checkpoint::ResumeError;
pub(crate) use checkpoint::oldest as oldest_checkpoint;
pub use dashboard::{abandon_dashboard, dashboard_is_open};
pub use fit::fit;
pub use hyperalign_core::stop::Stop;
pub(crate) use journal::whole_lines;
pub use journal::{PartRow, Row, path as log_path, rows as log_rows};
pub use lock::{FolderLock, LockError};
pub use objective::{Emit, Emitted, Metric, Names, Objective, Part, Shard, WeighedPart};
pub use run::{End, FitError, LineWriter, Outcome, Progress, Resume, Run};
pub use schedule::Schedule;
pub use settings::{AdamW, Settings, SettingsError};
pub use update::NonFinite;

#[cfg(test)]
mod tests;
