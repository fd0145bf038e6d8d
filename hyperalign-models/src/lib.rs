//! The networks of latent diffusion and of rewards, and their files.

pub mod affine;
pub mod base;
pub mod bert;
pub mod blip;
pub mod blocks;
pub mod clip;
pub mod embedded;
pub mod flux;
pub mod generate;
#[cfg(feature = "hub")]
pub mod hub;
pub mod hypernet;
pub mod lora;
pub mod mask2former;
pub mod pickle;
pub mod pipeline;
pub mod scope;
pub mod swin;
pub mod t5;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod timestep_embedding;
pub mod tiny_codec;
pub mod tokenizer;
pub mod unet;
pub mod vae;
pub mod weights;
