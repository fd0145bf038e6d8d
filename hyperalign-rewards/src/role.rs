//! What a reward has had to do with the pictures that it scores.

use serde::{Deserialize, Serialize};

/// What a reward has had to do with the pictures that it scores. Tables say it beside every
/// number: a score that was trained against shows that training works, not that pictures are
/// better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The model was trained against it. The column `proxy`.
    TrainedAgainst,
    /// Nothing was trained against it. The column `heldout`.
    HeldOut,
    /// Nobody said; the column has the reward's name.
    Other,
}
