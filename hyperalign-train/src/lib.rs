//! Learning and measuring: HyperAlign training with exact resume, pretraining, evaluation.

pub mod learner;
