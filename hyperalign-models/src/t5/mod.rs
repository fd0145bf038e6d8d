//! The text encoder of FLUX.1: the encoder half of T5 v1.1 (Raffel et al. 2020,
//! arXiv:1910.10683; the gated variant of Shazeer 2020, arXiv:2002.05202).
//!
//! Fields carry the names of the published files of `transformers`. FLUX.1 calls it without a
//! mask: padding takes part.

mod attention;
mod block;
mod config;
mod model;
mod position;

pub use config::T5Config;
pub use model::T5EncoderModel;
pub use position::RelativePositions;
