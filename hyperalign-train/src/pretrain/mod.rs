//! Pretraining of the embedded models from nothing: autoencoder, text encoder with denoiser, the
//! two preference models, and the flow that is the second base.
//!
//! Every stage is a run of the [`learner`](crate::learner) in a folder of its own, resumable
//! exactly, and leaves its products in diffusers' layout.

mod autoencoder;
mod contents;
mod denoiser;
mod flow;
mod flow_stage;
mod fourier;
mod latents;
mod places;
mod preference;
pub mod recipe;
mod stage;

pub use autoencoder::{AutoencoderObjective, psnr};
pub use contents::Contents;
pub(crate) use contents::contents_outputs;
pub use denoiser::{DenoiserObjective, TextToLatent};
pub use flow::{FlowObjective, TextToVelocity};
pub use latents::LatentSet;
pub use places::Places;
pub(crate) use places::places_outputs;
pub use preference::{PreferenceModel, PreferenceObjective};
pub use stage::{PretrainError, Pretraining, Stage};
