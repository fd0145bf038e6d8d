//! CLIP: a text and a vision transformer that meet in one space
//! (Radford et al. 2021, arXiv:2103.00020).
//!
//! Fields carry the names of the `transformers` checkpoints, so that a path is a key and no key
//! table exists. Checkpoints in the layout of open_clip are converted on reading by [`open_clip`];
//! there is no second network for them. This module knows no tokenizers.

mod config;
mod encoder;
mod model;
pub mod open_clip;
mod open_clip_config;
mod preprocess;
pub mod step_aware;
mod text;
mod vision;

pub use config::{ClipConfig, ClipTextConfig, ClipVisionConfig, ConfigError, HiddenAct};
pub use model::{ClipModel, normalize};
pub use preprocess::ClipPreprocess;
pub use text::{ClipTextModel, TextOutput};
pub use vision::{ClipVisionModel, VisionOutput};
