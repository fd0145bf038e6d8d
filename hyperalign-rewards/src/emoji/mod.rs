//! The embedded world: small pictures of emoji, captions in GenEval's six tasks, and a scorer
//! that is exact.
//!
//! A [`Caption`] says what to show, a [`Scene`] where things lie, a [`Picture`] is its pixels.
//! Everything is drawn from counter-based [`Stream`](hyperalign_core::noise::Stream)s: the same
//! (seed, index) is the same picture, on every machine. This module knows no network.

mod caption;
mod corrupt;
pub mod data;
mod detect;
mod glyph;
mod gold;
mod measure;
mod parse;
mod picture;
mod scene;
mod split;
mod sprite;
mod world;

pub use caption::{Caption, Thing, Wording};
pub use data::{FLIPPED_LABELS, Item, PairSet, PreferencePair};
pub use detect::{detect, detect_batch};
pub use glyph::{Color, Glyph, Kind};
pub use gold::{Gold, gold, gold_batch, pictures};
pub use measure::{Acceptance, Exactness};
pub use parse::{PromptError, parse, vocabulary};
pub use picture::{Flaw, Picture};
pub use scene::{Placement, Scene};
pub use split::Split;
pub use sprite::{ATTRIBUTION, SPRITE_SIZES, Sprite};
pub use world::{Holdout, World};

/// Edge of every picture, in pixels.
pub const SIZE: usize = 64;
/// Red, green, blue.
pub const CHANNELS: usize = 3;
