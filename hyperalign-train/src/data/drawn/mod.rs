//! Pictures that a base of the embedded world draws of training prompts, and what noisy people
//! say of them: to this world what Pick-a-Pic and HPD are to large models.
//!
//! A [`Drawing`] says what is drawn, a [`DrawnFile`] keeps it, an [`Annotator`] prefers one of two
//! pictures, and [`JudgedPairs`] are what methods learn from.

mod annotator;
mod draw;
mod file;
mod pairs;
mod sets;

pub use annotator::{Annotator, Answer, Impression};
pub use draw::{Drawing, DrawnPrompt};
pub use file::{DrawError, DrawnFile};
pub use pairs::{DrawnPairs, JudgedPairs};
pub use sets::DrawnSet;
