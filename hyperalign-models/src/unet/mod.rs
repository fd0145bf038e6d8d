//! The U-Net of Stable Diffusion (Rombach et al. 2022, arXiv:2112.10752, appendix E).
//!
//! Fields carry the names of the diffusers checkpoint, so a published file loads without a key
//! table. SD 1.5 and the small networks that we train ourselves differ in [`UnetConfig`] only.
//! This module knows nothing of noise schedules, guidance, or where a low-rank update comes from.

mod attention;
mod config;
mod denoiser;
mod down;
mod feed_forward;
mod mid;
mod model;
mod pass;
mod start;
mod transformer;
mod up;

pub use crate::scope::{Observer, Tap};
pub use config::{BlockKind, PerBlock, UnetConfig};
pub use denoiser::UnetDenoiser;
pub use model::Unet;
pub use start::UnetStart;
