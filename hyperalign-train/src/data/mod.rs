//! What methods learn from.

mod emoji;
mod preferences;

use burn::tensor::{Device, Tensor};

pub use emoji::{EmojiPreferred, base_batch, picture_tensor};
pub use preferences::{
    ColumnNames, ColumnNamesError, Pair, PreferenceError, Preferences, PreferredPictures,
};

/// Pictures that people prefer, with their prompts.
pub trait PreferredData: Send + Sync {
    /// Items `indices`; an index beyond the end of a finite set starts over.
    ///
    /// # Shapes
    ///
    /// - output: `[indices, 3, height, width]` in `[-1, 1]`, and as many prompts
    fn batch(&self, indices: &[u32], device: &Device) -> (Tensor<4>, Vec<String>);

    /// How many damaged pictures were passed over for the items `indices` when they were last
    /// asked for; none for data that cannot be damaged.
    fn passed_over(&self, _indices: &[u32]) -> Option<u64> {
        None
    }

    /// Why a run cannot go on with this data, if it cannot: asked when a loss is not a number. It
    /// is told once.
    fn fault(&self) -> Option<PreferenceError> {
        None
    }
}
