//! The autoencoder between pictures and latents (Rombach et al. 2022, arXiv:2112.10752,
//! section 3.1), `AutoencoderKL` of diffusers.
//!
//! Fields carry the names of the diffusers checkpoint. SD 1.5, FLUX.1 and the small autoencoders
//! that we train ourselves differ in [`AutoencoderKlConfig`] only.

mod attention;
mod config;
mod decoder;
mod encoder;
mod mid;
mod model;
mod normalise;
mod posterior;

pub use config::AutoencoderKlConfig;
pub use model::AutoencoderKl;
pub use posterior::Posterior;
