//! What methods learn from.

mod emoji;
mod preferences;

use std::sync::Arc;

use burn::tensor::{Device, Tensor};

pub use emoji::{EmojiPreferred, base_batch, picture_tensor};
pub use preferences::{Pair, PreferenceError, Preferences, PreferredPictures};

/// Pictures that people prefer, with their prompts.
pub trait PreferredData: Send + Sync {
    /// Items `indices`; an index beyond the end of a finite set starts over.
    ///
    /// # Shapes
    ///
    /// - output: `[indices, 3, height, width]` in `[-1, 1]`, and as many prompts
    fn batch(&self, indices: &[u32], device: &Device) -> (Tensor<4>, Vec<String>);
}

/// What a method learns from beside prompts.
#[derive(Clone, Default)]
pub enum TrainingData {
    /// Nothing.
    #[default]
    None,
    /// Preferred pictures.
    Pictures(Arc<dyn PreferredData>),
}

impl TrainingData {
    /// Preferred pictures, where there are any.
    pub fn pictures(&self) -> Option<&dyn PreferredData> {
        match self {
            Self::None => None,
            Self::Pictures(data) => Some(data.as_ref()),
        }
    }
}
