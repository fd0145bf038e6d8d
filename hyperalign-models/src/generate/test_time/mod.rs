//! Methods that work while a picture is sampled: what `--method` names.
//!
//! A [`TestTime`] is a method with its settings; [`Sought`] is the way that makes pictures by it,
//! of the base as it is or under an adapter.

mod budget;
mod error;
mod settings;
mod sought;
mod words;

pub use budget::Budget;
pub use error::TestTimeError;
pub use settings::{TestTime, TestTimeSettings};
pub use sought::Sought;
pub use words::{Knowledge, KnowledgeError};

#[cfg(test)]
mod tests;
