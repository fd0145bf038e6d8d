//! BLIP as ImageReward uses it: a vision transformer, and a BERT that looks at what it saw
//! (Li et al. 2022, arXiv:2201.12086, section 3.1; Xu et al. 2023, arXiv:2304.05977).

mod config;
mod model;
mod vision;

pub use config::{BlipConfig, BlipVisionConfig};
pub use model::{Blip, BlipReward};
pub use vision::BlipVision;

/// What BLIP adds to BERT's word pieces: the marks before a text to decode and one to encode.
pub const BLIP_MARKS: [&str; 2] = ["[DEC]", "[ENC]"];
