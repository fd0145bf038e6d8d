//! One alignment run, from settings to a trained adapter: the network is built and fitted to the
//! base's features, trained, and written with what it needs to be used.

mod error;
mod network;
mod objective;
mod run;
mod schema;
mod settings;
mod statistics;

pub use error::AlignError;
pub use network::{NetworkSettings, TextStream};
pub use run::{Aligned, align, check};
pub use schema::schema;
pub use settings::{AlignSettings, EvaluationSettings, REMOVED, SampleSettings};
