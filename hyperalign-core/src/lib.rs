//! What has no weights: the mathematics of diffusion, schedules, the sampling loop, LoRA
//! updates, noise streams and images.
//!
//! ```
//! use burn::tensor::Tensor;
//! use hyperalign_core::{contract::{Prompt, Reward}, device};
//!
//! /// How bright a picture is.
//! struct Brightness;
//!
//! impl Reward for Brightness {
//!     fn name(&self) -> &str {
//!         "brightness"
//!     }
//!     fn version(&self) -> String {
//!         "1".to_owned()
//!     }
//!     fn score(&self, images: Tensor<4>, _: &[Prompt]) -> Tensor<1> {
//!         images.flatten::<2>(1, 3).mean_dim(1).squeeze_dim(1)
//!     }
//!     fn differentiable(&self) -> bool {
//!         true
//!     }
//! }
//!
//! let grey = Tensor::zeros([1, 3, 8, 8], &device::open("cpu")?);
//! let (score, gradient) = Brightness.score_with_gradient(grey, &[Prompt::from("a dog")]);
//! assert_eq!(score.into_scalar::<f32>(), 0.0);
//! assert!(gradient.min().into_scalar::<f32>() > 0.0, "every pixel would rather be brighter");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `examples/` has a reward that a picture climbs, and a scheduler of one's own.
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
mod nearest;
pub mod noise;
pub mod one_picture;
pub mod precision;
pub mod quantized;
pub mod recompute;
pub mod resize;
pub mod rows;
pub mod sampler;
pub mod schedule;
pub mod search;
pub mod stop;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use nearest::nearest;
