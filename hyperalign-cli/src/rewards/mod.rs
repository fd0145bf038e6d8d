//! The rewards that flags name: how they are found and opened, and who scores with them.
//!
//! Every command that takes rewards takes them by `--reward` and their files by
//! `--reward-weights`. `score` and `serve-rewards` ask [`Judges`], `eval` asks [`Scorers`].

mod error;
mod judges;
mod names;
mod open;
mod scorers;

pub use error::RewardError;
pub use judges::{Judge, JudgeArgs, Judges, NotOpened, Scores};
pub use names::{files, is_mix_of, share_a_network, terms};
pub use open::{HELD_OUT, PROXY, kinds, open, reward};
pub use scorers::{ScorerArgs, Scorers, measure};
