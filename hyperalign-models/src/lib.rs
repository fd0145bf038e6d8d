//! The networks of latent diffusion and their files.

pub mod clip;
pub mod tokenizer;
