//! What has no weights: the mathematics of diffusion, schedules, the sampling loop, LoRA
//! updates, noise streams and images.
//!
//! This crate knows neither networks nor rewards nor files of models. They enter through the
//! [`contract`]s: a network as a [`Denoiser`](contract::Denoiser), a hypernetwork as an
//! [`AdapterSource`](contract::AdapterSource), a score as a [`Reward`](contract::Reward).

pub mod atomic;
pub mod attention;
pub mod cache;
pub mod caught;
pub mod contract;
mod derivative;
pub mod device;
pub mod diffusion;
pub mod fused;
pub mod fuzz;
pub mod guidance;
pub mod image;
pub mod input;
pub mod kernels;
pub mod lora;
pub mod memory;
pub mod movement;
pub mod noise;
pub mod one_picture;
pub mod precision;
pub mod recompute;
pub mod resize;
pub mod rows;
pub mod sampler;
pub mod schedule;
pub mod search;
pub mod stop;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
