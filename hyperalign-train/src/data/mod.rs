//! What methods learn from.

pub mod drawn;
mod emoji;
mod preferences;

use std::sync::Arc;

use burn::tensor::{Device, Tensor};

pub use emoji::{EmojiPreferred, world_of};
pub(crate) use emoji::{base_batch, picture_tensor};
pub use preferences::{
    ColumnNames, ColumnNamesError, Pair, PreferenceError, Preferences, PreferredPictures,
    ShardError, Shards,
};

/// Pictures that people prefer, with their prompts.
pub trait PreferredData: Send + Sync {
    /// Items `indices`; an index beyond the end of a finite set starts over.
    ///
    /// # Shapes
    ///
    /// - output: `[indices, 3, height, width]` in `[-1, 1]`, and as many prompts
    fn batch(&self, indices: &[u32], device: &Device) -> (Tensor<4>, Vec<String>);

    /// How many damaged pictures were passed over, and how many pictures or pairs were drawn, by this
    /// thread since it last asked; none for data that cannot be damaged.
    fn passed_over(&self) -> Option<(u64, u64)> {
        None
    }

    /// Why a run cannot go on with this data, if it cannot: asked when a loss is not a number. It
    /// is told once.
    fn fault(&self) -> Option<PreferenceError> {
        None
    }
}

/// Pairs of pictures of one prompt each, of which people prefer one.
pub trait PairData: PreferredData + LabelData {
    /// Pairs `indices`, as [`PreferredData::batch`] counts them. The preferred picture of a pair is
    /// that of the item of the same index, unless one of the two is damaged.
    fn pairs(&self, indices: &[u32], device: &Device) -> Pairs;
}

/// Single pictures that people like or do not.
pub trait LabelData: Send + Sync {
    /// Items `indices`; an index beyond the end of a finite set starts over.
    fn labelled(&self, indices: &[u32], device: &Device) -> Labelled;
}

/// Pictures in pairs.
#[derive(Debug, Clone)]
pub struct Pairs {
    /// `[pairs, 3, height, width]` in `[-1, 1]`.
    pub preferred: Tensor<4>,
    /// As `preferred`.
    pub rejected: Tensor<4>,
    /// One for each pair.
    pub prompts: Vec<String>,
}

/// Pictures with labels.
#[derive(Debug, Clone)]
pub struct Labelled {
    /// `[pictures, 3, height, width]` in `[-1, 1]`.
    pub images: Tensor<4>,
    /// One for each picture.
    pub prompts: Vec<String>,
    /// Whether each is liked.
    pub desirable: Vec<bool>,
}

/// What a method learns from beside prompts.
#[derive(Clone, Default)]
pub enum TrainingData {
    /// Nothing.
    #[default]
    None,
    /// Preferred pictures.
    Pictures(Arc<dyn PreferredData>),
    /// Pairs, which are preferred pictures and labelled pictures as well.
    Pairs(Arc<dyn PairData>),
    /// Labelled pictures.
    Labels(Arc<dyn LabelData>),
}

impl TrainingData {
    /// Preferred pictures, where there are any.
    pub fn pictures(&self) -> Option<&dyn PreferredData> {
        match self {
            Self::Pictures(data) => Some(data.as_ref()),
            Self::Pairs(data) => Some(data.as_ref()),
            Self::None | Self::Labels(_) => None,
        }
    }

    /// Pairs, where there are any.
    pub fn pairs(&self) -> Option<&dyn PairData> {
        match self {
            Self::Pairs(data) => Some(data.as_ref()),
            Self::None | Self::Pictures(_) | Self::Labels(_) => None,
        }
    }

    /// Labelled pictures, where there are any.
    pub fn labels(&self) -> Option<&dyn LabelData> {
        match self {
            Self::Pairs(data) => Some(data.as_ref()),
            Self::Labels(data) => Some(data.as_ref()),
            Self::None | Self::Pictures(_) => None,
        }
    }
}
