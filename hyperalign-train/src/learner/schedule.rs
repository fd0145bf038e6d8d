//! The learning rate as a function of the update.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SettingsError;

/// How the learning rate changes over a run. A pure function of the update: there is no state to
/// save.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// A linear rise over `warmup` updates, then constant.
    Constant {
        /// Updates of the rise.
        #[serde(default)]
        warmup: u64,
    },
    /// A linear rise over `warmup` updates, then half a cosine down to `floor` times the learning
    /// rate (Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5, without restarts).
    Cosine {
        /// Updates of the rise.
        #[serde(default)]
        warmup: u64,
        /// What is left of the learning rate at the end, as a fraction.
        #[serde(default)]
        floor: f64,
    },
}

impl Default for Schedule {
    fn default() -> Self {
        Self::Constant { warmup: 0 }
    }
}

impl Schedule {
    /// The factor of the learning rate at update `update`, counted from 0, of `updates`.
    ///
    /// The first update of a warm-up of `n` has the factor `1 / n`, never 0.
    pub fn factor(&self, update: u64, updates: u64) -> f64 {
        let (Self::Constant { warmup } | Self::Cosine { warmup, .. }) = *self;
        if update < warmup {
            return (update + 1) as f64 / warmup as f64;
        }
        match *self {
            Self::Constant { .. } => 1.0,
            Self::Cosine { floor, .. } => {
                let length = updates.saturating_sub(warmup).max(1) as f64;
                let position = ((update - warmup) as f64 / length).min(1.0);
                floor + (1.0 - floor) * 0.5 * (1.0 + (std::f64::consts::PI * position).cos())
            }
        }
    }

    pub(crate) fn depends_on_length(&self) -> bool {
        matches!(self, Self::Cosine { .. })
    }

    pub(crate) fn validate(&self) -> Result<(), SettingsError> {
        match self {
            Self::Cosine { floor, .. } if !(0.0..=1.0).contains(floor) => Err(SettingsError {
                name: "schedule.floor",
                given: floor.to_string(),
                expected: "between 0 and 1".to_owned(),
            }),
            _ => Ok(()),
        }
    }
}
