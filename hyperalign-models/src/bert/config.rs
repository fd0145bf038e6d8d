//! Sizes of BERT networks.

use serde::{Deserialize, Serialize};

/// Sizes of a [`BertModel`](super::BertModel), as the `config.json` of `transformers` writes them.
/// Absent keys take the defaults of BERT base, unknown ones are not read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
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

impl BertConfig {
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
