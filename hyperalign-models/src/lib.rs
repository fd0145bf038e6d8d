//! The networks of latent diffusion and of rewards, and their files.
//!
//! ```
//! use hyperalign_core::{contract::NoAdapter, device, image::to_images, stop::Stop};
//! use hyperalign_models::generate::{Job, Meter, Sampling, Shot};
//! use hyperalign_models::{embedded, pipeline};
//!
//! let device = device::open("cpu")?;
//! let folder = embedded::folder("emoji-sd").ok_or("built without the embedded models")?;
//! let base = pipeline::open(&folder, Some("emoji-sd"), &device)?;
//! let job = Job {
//!     base: base.as_ref(),
//!     sampling: &Sampling::new(4, 4.0),
//!     shots: &[Shot::new("a red heart", 7)],
//!     decoder: None,
//!     meter: &Meter::default(),
//! };
//! let made = job.sample(&NoAdapter, &Stop::default())?.ok_or("nobody asked to stop")?;
//! assert_eq!(to_images(made.images)[0].dimensions(), (64, 64));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Any folder in diffusers' layout opens by the same call, with [`weights::Folder::disk`]; `examples/`
//! samples with a static LoRA and converts LoRA files. A crate from a registry has no embedded models
//! unless `HYPERALIGN_ASSETS` names their folder while it is built.

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
