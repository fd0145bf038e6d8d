//! The hypernetwork of HyperAlign (arXiv:2601.15968): it reads the latents, the timestep and the
//! prompt, and emits a low-rank update for every adapted layer of the frozen generator.
//!
//! ```text
//! perception encoder (the base's own down blocks, frozen) ─ standardise ─ linear ─┐
//! text token states ─ standardise ─ linear ───────────────────────────────────────┴─ memory
//! zero query per layer + position ─ FiLM(pooled text, timestep) ─ decoder over the memory
//!     ─ head ─ A_hyper [a, rank], B_hyper [rank, b] of every layer
//! ```
//!
//! The encoder is not part of the module: it belongs to the base, and its output comes in as a
//! constant. The module knows no sampler and no reward.

mod adapter;
mod config;
mod error;
mod file;
mod full_weights;
mod meta;
mod network;
mod perception;
mod place;
mod positions;
mod source;
mod static_lora;
mod variation;

pub use adapter::{Adapter, Emission};
pub use config::{ConfigError, HypernetConfig, Variant};
pub use error::AdapterError;
pub use full_weights::{FullWeights, FullWeightsConfig};
pub use meta::{AdapterKind, AdapterMeta, TrainingReward};
pub use network::{Hypernet, HypernetInput};
pub use perception::Perception;
pub use place::AdapterPlace;
pub use source::HyperSource;
pub use static_lora::{StaticLora, StaticLoraConfig};
pub use variation::relative_deviation;
