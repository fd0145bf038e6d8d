//! Measuring: the same prompts and seeds through every method, and what can honestly be said of
//! the difference.
//!
//! Methods are compared in pairs: picture by picture they start from the same noise, and
//! intervals come from drawing prompts anew. Nothing here trains.

mod bootstrap;
mod diversity;
mod error;
mod generate;
mod movement;
mod score;
#[cfg(test)]
mod toy;
mod variation;

pub use bootstrap::{Interval, RESAMPLES, Verdict, bootstrap};
pub use diversity::{ClipSpace, ImageSpace, Pixels, mean_pairwise_distance};
pub use error::EvalError;
pub use generate::{Adapted, Batch, Sampling, Shot, generate};
pub use movement::movement;
pub use score::{EmojiGold, Judge, Measures, Role, Scorer};
pub use variation::{Variation, variation};
