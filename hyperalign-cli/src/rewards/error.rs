//! Rewards that cannot be had.

use hyperalign_rewards::{ClipRewardError, MixError, OpenError};
use miette::Diagnostic;

use super::open::known;

/// A reward that is not there, cannot be opened, or flags that name none.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum RewardError {
    /// There is none of that name.
    #[error("unknown reward `{given}`: it is no reward of this program and no folder of a CLIP")]
    Unknown {
        /// What was given.
        given: String,
        /// What could have been.
        #[help]
        known: String,
    },
    /// One name twice.
    #[error("the reward `{given}` comes twice")]
    Twice {
        /// The name.
        given: String,
    },
    /// Files of one of several rewards.
    #[error("`--reward-weights {given}` does not say which reward it is for")]
    #[diagnostic(help("with several rewards, write `--reward-weights NAME=PATH`"))]
    Ambiguous {
        /// What was given.
        given: String,
    },
    /// Files of a reward that nobody asked for.
    #[error("`--reward-weights {given}`: there is no `--reward {name}`")]
    NoSuchReward {
        /// What was given.
        given: String,
        /// The reward that it is for.
        name: String,
    },
    /// Something said about a reward that nobody asked for.
    #[error("`--trained-on {given}`: there is no `--reward {given}`")]
    NotAsked {
        /// The reward.
        given: String,
    },
    /// A published reward whose files nobody named.
    #[error("{error}")]
    #[diagnostic(help("name the folder: `--reward-weights PATH`"))]
    NoPath {
        /// What is missing.
        error: OpenError,
    },
    /// Its files are not what they should be.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A mix that is none.
    #[error(transparent)]
    Mix(#[from] MixError),
    /// A folder of a CLIP is not what it should be.
    #[error(transparent)]
    Clip(#[from] ClipRewardError),
}

impl RewardError {
    /// There is no reward called `given`, where the exact scorer of the embedded world could have
    /// been named too if `gold` says so.
    pub fn unknown(given: &str, gold: bool) -> Self {
        Self::Unknown { given: given.to_owned(), known: known(gold) }
    }
}
