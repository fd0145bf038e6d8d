//! The unified view of diffusion and flows: a noisy sample is
//! `sample = signal * original + noise * standard_normal`.
//!
//! What differs between a variance-preserving diffusion and a rectified flow is how the two
//! factors depend on time ([`Process`]); what differs between networks is which linear
//! combination of original and noise they predict ([`Level::original`], [`Level::target`]).
//! Nothing here knows how a sampler discretises time.

mod level;
mod process;
mod renoise;

pub use level::{Level, Levels};
pub use process::Process;
pub(crate) use process::SMALLEST_ALPHA;
pub use renoise::Renoising;
