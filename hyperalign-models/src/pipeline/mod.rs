//! Whole models: what a folder in the diffusers layout holds, put together.
//!
//! A pipeline knows its parts and how they meet. Pictures are made of it in
//! [`generate`](crate::generate).

mod base;
mod error;
mod flux;
mod flux_base;
mod flux_denoiser;
mod flux_networks;
mod flux_save;
mod flux_single_file;
mod formats;
mod networks;
mod open;
mod parts;
mod read_ahead;
mod save;
mod single_file;
mod stable_diffusion;

pub use error::PipelineError;
pub use flux::{Flux, FluxParts};
pub use formats::{FormatError, Formats};
pub use networks::Sizes;
pub use open::{Beside, open, open_file, open_in};
pub use stable_diffusion::StableDiffusion;

#[cfg(test)]
mod tests;
