//! Swin, the hierarchical vision transformer with shifted windows (Liu et al. 2021,
//! arXiv:2103.14030), as the backbone of a detector: four feature maps, each normed.
//!
//! The names are those of transformers' `MaskFormerSwinBackbone`, but for one: the attention that
//! is called `self` there is `attend` here, because `self` cannot be the name of a field.

mod attention;
mod block;
mod config;
mod model;
mod names;
mod window;

pub use config::SwinConfig;
pub(crate) use model::STAGES;
pub use model::{SwinBackbone, SwinTap};
pub(crate) use names::{POSITION_INDEX, UNUSED_NORM, our_name, their_name};
pub use names::{extras, load};
