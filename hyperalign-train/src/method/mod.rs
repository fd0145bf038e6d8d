//! Alignment methods, one paper a file. They differ in their losses; the engine is shared.

mod check;
mod hyperalign;
mod rollout;
mod variation;
mod views;

pub use hyperalign::{HyperAlign, HyperAlignSettings};
pub use rollout::{Rollout, guided};
pub use views::Views;
