//! From an image and a prompt to a score: preference models, GenEval's rules, and the embedded
//! world that those rules are exact in.
//!
//! ```
//! use hyperalign_core::device;
//! use hyperalign_models::embedded;
//! use hyperalign_rewards::{ClipReward, Prompt, Reward};
//! use image::RgbImage;
//!
//! let device = device::open("cpu")?;
//! let folder = embedded::folder("emoji-proxy").ok_or("built without the embedded models")?;
//! let reward = ClipReward::from_folder("emoji-proxy", &folder, "", &device)?;
//! let pictures = [RgbImage::new(64, 64), RgbImage::from_pixel(64, 64, image::Rgb([255; 3]))];
//! let prompts = Prompt::of(&["a red heart", "a red heart"]);
//! let scores = reward.score_pictures(&pictures, &prompts, &device);
//! assert!(scores.iter().all(|score| score.is_finite()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`open`] has the published rewards by name; `examples/` scores a folder and searches by a reward.
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
