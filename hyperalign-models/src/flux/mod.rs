//! The transformer of FLUX.1 (Black Forest Labs 2024), a rectified flow over packed latents.
//!
//! Text and image are two streams with weights of their own that attend to each other (the
//! double blocks; Esser et al. 2024, arXiv:2403.03206, section 4), then one stream (the single
//! blocks; Dehghani et al. 2023, arXiv:2302.05442). Fields carry the names of the diffusers
//! checkpoint. FLUX.1-dev, schnell and the small networks that we train ourselves differ in
//! [`FluxConfig`] only. This module knows nothing of solvers, guidance, or where a low-rank
//! update comes from.

mod around;
mod attention;
mod config;
mod double;
mod embedding;
mod feed_forward;
mod input;
mod model;
mod modulation;
mod pack;
mod rotary;
mod single;

pub use config::FluxConfig;
pub use input::{FluxInput, FluxStart};
pub use model::FluxTransformer;
pub(crate) use pack::PATCH;
pub use pack::{image_positions, pack, text_positions, unpack};
pub use rotary::{Position, Rotary};
