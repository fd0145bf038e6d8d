//! Watching a run for reward hacking: pictures of the same prompts and noise at every evaluation,
//! scored by the reward that is trained against and by others that are not.
//!
//! A reward that is climbed long enough is cheated: it rises while every other sign that pictures get
//! better falls. [`Rule`] says when that is more than chance, `Watch` makes the pictures and keeps the
//! adapter that was best by what is held out.

mod memory;
mod rule;
mod settings;
mod watching;

pub use rule::{Alarm, Look, Rule, fall};
pub use settings::{HeldOut, WatchSettings};
pub(crate) use watching::ROWS;
pub use watching::{Watch, WatchError, Watched};
