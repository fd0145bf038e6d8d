//! The flag that says how an adapter is used.

use std::fmt;

use clap::ValueEnum;
use hyperalign_models::hypernet::Variant;

/// How an adapter is used along a trajectory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VariantChoice {
    /// Not at all: the base as it is.
    None,
    /// A new update at every step.
    S,
    /// A new update at the key steps.
    P,
    /// One update, at the first step.
    I,
}

impl VariantChoice {
    /// The variant, if an adapter is used.
    pub fn adapted(self) -> Option<Variant> {
        match self {
            Self::None => None,
            Self::S => Some(Variant::S),
            Self::P => Some(Variant::P),
            Self::I => Some(Variant::I),
        }
    }
}

impl fmt::Display for VariantChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::S => "s",
            Self::P => "p",
            Self::I => "i",
        })
    }
}
