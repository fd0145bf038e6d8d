//! What has no weights: the mathematics of diffusion, schedules, the sampling loop, LoRA
//! updates, noise streams and images.
//!
//! This crate knows neither networks nor rewards nor files of models. A network enters as a
//! [`Denoiser`](denoiser::Denoiser), a hypernetwork as an
//! [`AdapterSource`](adapter::AdapterSource).

pub mod adapter;
pub mod atomic;
pub mod attention;
pub mod caught;
pub mod denoiser;
mod derivative;
pub mod device;
pub mod diffusion;
pub mod fused;
pub mod fuzz;
pub mod guidance;
pub mod image;
pub mod input;
pub mod lora;
pub mod memory;
pub mod noise;
pub mod precision;
pub mod recompute;
pub mod resize;
pub mod sampler;
pub mod schedule;
pub mod trajectory;
