//! What flags of several commands have in common: groups of them, and how numbers are read. The doc
//! comments here are help texts. No command is known here.

mod base;
mod dose;
mod lora;
mod number;
mod sets;
mod solver;
mod steps;
mod variant;

pub use self::base::BaseArgs;
pub use self::dose::DoseArgs;
pub use self::lora::LoraChoice;
pub use self::number::{at_least_one, finite, positive, seed, share, updates};
pub use self::sets::{OwnData, drawn_set};
pub use self::solver::SolverArgs;
pub use self::steps::StepArgs;
pub use self::variant::VariantChoice;
