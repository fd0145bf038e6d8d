//! Guidance: denoisers around denoisers. They know neither schedulers nor the sampling loop.

mod cfg;

pub use cfg::ClassifierFreeGuidance;
