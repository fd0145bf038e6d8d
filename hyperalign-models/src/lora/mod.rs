//! LoRA files of other programs: read, laid over a base, converted, and written.
//!
//! Three conventions name the same layers: that of PEFT and diffusers, that of kohya's sd-scripts,
//! and that of Black Forest Labs and ComfyUI. [`Layers`] are the layers of a base with their names
//! in each; a [`LoraFile`] is what a file says about them, whatever its convention. Every key of a
//! file is applied, or the file is refused: an update that is silently left out makes pictures that
//! are only a little different, and nobody finds out.
//!
//! ```text
//! file ─ keys ─ modules ─ names of the base's layers ─ LoraFile ─┬─ LoraSet ─ Overlaid (a base)
//! hypernetwork's update ─ bake ──────────────────────────────────┘└ write, in any convention
//! ```
//!
//! Nothing here changes a weight that pictures are made with: an [`Overlaid`] base hands the updates to
//! the network beside its input, with those of a hypernetwork where there is one. [`merged`] lays one
//! into weights that are written to a file.

mod alpha;
mod bake;
mod error;
mod file;
mod fused;
mod keys;
mod layers;
mod merge;
mod names;
mod overlaid;
mod read;
mod survey;
mod truncated;
mod write;

pub use bake::{Baked, bake, mean_of};
pub use error::{LoraError, Misfit, Unmatched};
pub use file::{Factor, Float, LoraFile, Update};
pub use layers::{Family, Layer, Layers, Part};
pub use merge::merged;
pub use names::Convention;
pub use overlaid::{Laid, Overlaid};
pub use survey::Survey;
