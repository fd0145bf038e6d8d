//! Guidance: predictions and steps that are led somewhere.
//!
//! [`ClassifierFreeGuidance`] leads a prediction towards the prompt, and is a denoiser around a
//! denoiser. The others lead the steps of one picture along the gradient of a reward.

mod cfg;
mod dymo;
mod freedom;
mod semantics;
mod views;

pub use cfg::ClassifierFreeGuidance;
pub use dymo::Dymo;
pub use freedom::Freedom;
