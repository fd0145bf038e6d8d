//! From an image and a prompt to a score: preference models, GenEval's rules, and the embedded
//! world that those rules are exact in.
//!
//! This crate knows nothing of training. It scores what it is given; whether its scores are
//! differentiable, each [`Reward`] says itself.

mod clip_reward;
pub mod emoji;
pub mod geneval;
pub mod prompts;
mod reward;

pub use clip_reward::{ClipReward, ClipRewardError, Preprocessing};
pub use reward::{Reward, Role, ScoreError};
