//! Measuring: the same prompts and seeds through every method, and what can honestly be said of
//! the difference.
//!
//! Methods are compared in pairs: picture by picture they start from the same noise, and
//! intervals come from drawing prompts anew. Nothing here trains.

mod bootstrap;
mod diversity;
mod error;
mod evaluate;
mod grid;
mod legend;
mod movement;
mod preference;
mod record;
mod score;
mod summary;
mod table;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod toy;
mod units;
mod variation;
mod world;

pub(crate) use bootstrap::percentile;
pub use bootstrap::{Interval, RESAMPLES, Verdict, bootstrap};
pub use diversity::{ClipSpace, ImageSpace, Pixels, mean_pairwise_distance};
pub use error::EvalError;
pub use evaluate::{Done, Evaluation, Measured, Method};
pub use grid::side_by_side;
pub use hyperalign_models::generate::{Adapted, Dose, Plain, Sampling, Shot, Way};
pub use legend::short_version;
pub use movement::movement;
pub use preference::{Auc, Ordering, Orderings, Separation, orderings, separation};
pub use record::{PictureCost, Record, fingerprint};
pub use score::{EmojiGold, Judge, Measures, Role, Scorer};
pub use summary::{Comparisons, GoldSummary, MethodSummary, RewardSummary, Summary};
pub use table::{Format, Table};
pub use variation::{Variation, emitted, variation};
pub use world::{Reconstructions, draws_emoji, rebuilt, reconstructions};
