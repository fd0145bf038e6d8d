//! From an image and a prompt to a score: preference models, GenEval's rules, and the embedded
//! world that those rules are exact in.
//!
//! This crate knows nothing of training. It scores what it is given; whether its scores are
//! differentiable, each [`Reward`] says itself.

mod aesthetic;
mod clip_kind;
mod clip_reward;
mod clip_score;
pub mod emoji;
pub mod geneval;
mod hps_v2;
mod image_reward;
mod inputs;
mod memory;
mod mix;
mod pick_score;
pub mod prompts;
mod registry;
mod role;
mod source;
mod spm;

/// The README, whose Rust is run as a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

pub use clip_reward::{ClipReward, ClipRewardError, Preprocessing};
pub use hyperalign_core::contract::{Reads, Reward, RewardTerm, ScoreError};
pub use mix::{Mix, MixError, MixPart, MixTerm};
pub use prompts::Prompt;
pub use registry::{
    Entry, Files, entry, is_known, network_of, open, open_one, open_with, registry,
};
pub use role::Role;
pub use source::{OpenError, Source};
