//! One alignment run, from settings to a trained adapter: the network is built and fitted to the
//! base's features, trained, and written with what it needs to be used.

mod objective;
mod prepare;
mod run;
mod settings;

pub use objective::Aligning;
pub use prepare::{Materials, measure_statistics};
pub use run::{AlignError, Aligned, align, check};
pub use settings::{
    AlignSettings, EvaluationSettings, NetworkSettings, SampleSettings, TextStream,
};
