//! From an image and a prompt to a score: preference models, GenEval's rules, and the embedded
//! world that those rules are exact in.
//!
//! This crate knows nothing of training. It scores what it is given; whether its scores are
//! differentiable, each [`Reward`] says itself.

pub mod emoji;
pub mod geneval;
mod reward;

pub use reward::Reward;
