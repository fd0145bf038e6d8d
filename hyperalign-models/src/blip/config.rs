//! Sizes of BLIP networks.

use serde::{Deserialize, Serialize};

use crate::{
    bert::BertConfig,
    weights::{MOST_PIXELS, heads, layers, validated, within},
};

/// Sizes of a [`BlipVision`](super::BlipVision).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", default, deny_unknown_fields)]
pub struct BlipVisionConfig {
    /// Width of the patch states; the perceptrons are four times as wide.
    pub embed_dim: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Heads of each attention.
    pub num_heads: usize,
    /// Side of the square picture, in pixels.
    pub img_size: usize,
    /// Side of a patch, in pixels.
    pub patch_size: usize,
}

impl Default for BlipVisionConfig {
    /// ViT-L/16 at 224 pixels.
    fn default() -> Self {
        Self { embed_dim: 1024, depth: 24, num_heads: 16, img_size: 224, patch_size: 16 }
    }
}

validated!(BlipVisionConfig);

impl BlipVisionConfig {
    /// Whether the sizes can be.
    ///
    /// # Errors
    ///
    /// Fails with what cannot.
    pub fn validate(&self) -> Result<(), String> {
        heads(("embed_dim", self.embed_dim), ("num_heads", self.num_heads))?;
        layers(&[("depth", self.depth)])?;
        within("img_size", self.img_size, 1, MOST_PIXELS)?;
        within("patch_size", self.patch_size, 1, self.img_size)
    }
}

/// Sizes of a [`Blip`](super::Blip).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlipConfig {
    /// The vision transformer.
    pub vision: BlipVisionConfig,
    /// The text encoder over it.
    pub bert: BertConfig,
}

impl BlipConfig {
    /// The published ImageReward v1.0.
    pub fn image_reward() -> Self {
        Self { vision: BlipVisionConfig::default(), bert: BertConfig::image_reward() }
    }
}
