//! From an image and a prompt to a score: GenEval's rules and the embedded world that they are
//! exact in.
//!
//! This crate knows nothing of training. It scores what it is given.

pub mod emoji;
pub mod geneval;
