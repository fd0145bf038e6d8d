//! Learning and measuring: HyperAlign training with exact resume, pretraining, evaluation.

pub mod align;
pub mod compare;
pub mod data;
pub mod eval;
pub mod learner;
pub mod method;
mod moments;
pub mod pretrain;
pub mod report;
pub mod study;
pub mod watch;
