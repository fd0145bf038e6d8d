//! The sizes of a Swin, as `transformers` writes them.

use serde::{Deserialize, Serialize};

use crate::weights::{MOST_PIXELS, epsilon, heads, layers, sizes, validated, within};

use super::STAGES;

/// The widest first stage that is believed; its doublings are still numbers.
const MOST_WIDTH: usize = 1 << 16;
/// The widest perceptron that is believed, in widths of its states.
const MOST_MLP_RATIO: f64 = 64.0;

/// The kinds of backbones that are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackboneType {
    /// Swin.
    Swin,
}

/// The activations that are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HiddenAct {
    /// In its exact form.
    Gelu,
}

/// The sizes of a [`SwinBackbone`](super::SwinBackbone): the `backbone_config` in the
/// `config.json` of a detector. Absent keys take the values of Swin-S; unknown ones, which are of
/// training, are not read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", default)]
pub struct SwinConfig {
    /// The kind of backbone.
    pub model_type: BackboneType,
    /// Side of a patch, in pixels.
    pub patch_size: usize,
    /// Channels of the picture.
    pub num_channels: usize,
    /// Width of the first stage; each later one is twice as wide.
    pub embed_dim: usize,
    /// Blocks of each stage.
    pub depths: Vec<usize>,
    /// Heads of each stage.
    pub num_heads: Vec<usize>,
    /// Side of a window, in tokens.
    pub window_size: usize,
    /// Width of the perceptrons, in widths of the stage.
    pub mlp_ratio: f64,
    /// Whether queries, keys and values have biases.
    pub qkv_bias: bool,
    /// Whether positions in the picture are learned. Not built.
    pub use_absolute_embeddings: bool,
    /// The activation of the perceptrons.
    pub hidden_act: HiddenAct,
    /// Added to variances inside the blocks; outside it is 1e-5.
    pub layer_norm_eps: f64,
}

impl Default for SwinConfig {
    fn default() -> Self {
        Self {
            model_type: BackboneType::Swin,
            patch_size: 4,
            num_channels: 3,
            embed_dim: 96,
            depths: vec![2, 2, 18, 2],
            num_heads: vec![3, 6, 12, 24],
            window_size: 7,
            mlp_ratio: 4.0,
            qkv_bias: true,
            use_absolute_embeddings: false,
            hidden_act: HiddenAct::Gelu,
            layer_norm_eps: 1e-5,
        }
    }
}

validated!(SwinConfig);

impl SwinConfig {
    /// Swin-S.
    pub fn small() -> Self {
        Self::default()
    }

    /// Width of each stage.
    pub fn widths(&self) -> [usize; STAGES] {
        [0, 1, 2, 3].map(|stage| self.embed_dim << stage)
    }

    /// Whether the sizes can be.
    ///
    /// # Errors
    ///
    /// Fails with what cannot.
    pub fn validate(&self) -> Result<(), String> {
        let stages = [("depths", self.depths.len()), ("num_heads", self.num_heads.len())];
        for (name, count) in stages {
            if count != STAGES {
                return Err(format!("{name} has {count} entries; a Swin has {STAGES} stages"));
            }
        }
        layers(&[0, 1, 2, 3].map(|stage| ("depths", self.depths[stage])))?;
        sizes(&[("num_channels", self.num_channels), ("embed_dim", self.embed_dim)])?;
        within("embed_dim", self.embed_dim, 1, MOST_WIDTH)?;
        within("patch_size", self.patch_size, 1, MOST_PIXELS)?;
        within("window_size", self.window_size, 1, 1024)?;
        for (width, count) in self.widths().into_iter().zip(&self.num_heads) {
            heads(("the width of a stage", width), ("num_heads", *count))?;
        }
        if !(self.mlp_ratio > 0.0 && self.mlp_ratio <= MOST_MLP_RATIO) {
            return Err(format!(
                "mlp_ratio is {}; it must be above 0 and at most {MOST_MLP_RATIO}",
                self.mlp_ratio
            ));
        }
        if self.use_absolute_embeddings {
            return Err("use_absolute_embeddings is true, which is not built".to_owned());
        }
        epsilon("layer_norm_eps", self.layer_norm_eps)
    }
}
