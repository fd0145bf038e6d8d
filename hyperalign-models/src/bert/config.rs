//! Sizes of BERT networks.

use serde::{Deserialize, Serialize};

use crate::weights::{epsilon, heads, layers, sizes, validated};

/// Sizes of a [`BertModel`](super::BertModel), as the `config.json` of `transformers` writes them.
/// Absent keys take the defaults of BERT base, unknown ones are not read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", default)]
pub struct BertConfig {
    /// Number of tokens.
    pub vocab_size: usize,
    /// Width of the token states.
    pub hidden_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Heads of each attention.
    pub num_attention_heads: usize,
    /// Width between the two linears of a block.
    pub intermediate_size: usize,
    /// Longest sequence, in tokens.
    pub max_position_embeddings: usize,
    /// Added to variances.
    pub layer_norm_eps: f64,
    /// Whether every block also attends to a picture.
    pub add_cross_attention: bool,
    /// Width of the picture's states.
    pub encoder_width: usize,
}

impl Default for BertConfig {
    fn default() -> Self {
        Self {
            vocab_size: 30_522,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            max_position_embeddings: 512,
            layer_norm_eps: 1e-12,
            add_cross_attention: false,
            encoder_width: 768,
        }
    }
}

validated!(BertConfig);

impl BertConfig {
    /// Whether the sizes can be.
    ///
    /// # Errors
    ///
    /// Fails with what cannot.
    pub fn validate(&self) -> Result<(), String> {
        sizes(&[
            ("vocab_size", self.vocab_size),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("encoder_width", self.encoder_width),
        ])?;
        let width = ("hidden_size", self.hidden_size);
        heads(width, ("num_attention_heads", self.num_attention_heads))?;
        layers(&[("num_hidden_layers", self.num_hidden_layers)])?;
        epsilon("layer_norm_eps", self.layer_norm_eps)
    }

    /// The text side of ImageReward: BERT base with two more tokens, over a ViT-L.
    pub fn image_reward() -> Self {
        Self {
            vocab_size: 30_524,
            add_cross_attention: true,
            encoder_width: 1024,
            ..Self::default()
        }
    }
}
