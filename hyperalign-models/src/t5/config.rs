//! The sizes of a T5 encoder, as `transformers` writes them.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::{RelativePositions, T5EncoderModel};
use crate::weights::{epsilon, layers, sizes, validated, within};

/// The most kinds of distances that are believed.
const MOST_BUCKETS: usize = 1 << 16;

/// The activation of the feed-forward layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FeedForwardProj {
    /// `gelu(x W_0) x W_1`, with gelu in its tanh form. The `relu` of T5 1.0 is not built.
    GatedGelu,
}

/// The sizes of a T5 encoder: the `config.json` of `T5EncoderModel`. Absent keys take the values
/// of T5 v1.1 XXL, unknown ones (of the decoder, which is not here) are not read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", default)]
pub struct T5Config {
    /// Number of tokens.
    pub vocab_size: usize,
    /// Width of the token states.
    pub d_model: usize,
    /// Width of an attention head.
    pub d_kv: usize,
    /// Width inside the feed-forward layers.
    pub d_ff: usize,
    /// Blocks.
    pub num_layers: usize,
    /// Attention heads.
    pub num_heads: usize,
    /// Kinds of distances between tokens that attention tells apart.
    pub relative_attention_num_buckets: usize,
    /// Distance beyond which all are of one kind.
    pub relative_attention_max_distance: usize,
    /// Added to mean squares.
    pub layer_norm_epsilon: f64,
    /// The activation of the feed-forward layers.
    pub feed_forward_proj: FeedForwardProj,
}

impl Default for T5Config {
    fn default() -> Self {
        Self {
            vocab_size: 32_128,
            d_model: 4096,
            d_kv: 64,
            d_ff: 10_240,
            num_layers: 24,
            num_heads: 64,
            relative_attention_num_buckets: 32,
            relative_attention_max_distance: 128,
            layer_norm_epsilon: 1e-6,
            feed_forward_proj: FeedForwardProj::GatedGelu,
        }
    }
}

validated!(T5Config);

impl T5Config {
    /// T5 v1.1 XXL, the text encoder of FLUX.1.
    pub fn xxl() -> Self {
        Self::default()
    }

    /// A fresh network, to be loaded or trained.
    ///
    /// # Panics
    ///
    /// Panics if [`validate`](Self::validate) fails.
    pub fn init(&self, device: &Device) -> T5EncoderModel {
        T5EncoderModel::new(self, device)
    }

    /// Whether the sizes can be.
    ///
    /// # Errors
    ///
    /// Fails with what cannot.
    pub fn validate(&self) -> Result<(), String> {
        sizes(&[
            ("vocab_size", self.vocab_size),
            ("d_model", self.d_model),
            ("d_kv", self.d_kv),
            ("d_ff", self.d_ff),
            ("num_layers", self.num_layers),
            ("num_heads", self.num_heads),
        ])?;
        layers(&[("num_layers", self.num_layers)])?;
        let buckets = self.relative_attention_num_buckets;
        within("relative_attention_num_buckets", buckets, 4, MOST_BUCKETS)?;
        let (exact, most) =
            (self.relative_attention_num_buckets / 4, self.relative_attention_max_distance);
        if most <= exact {
            return Err(format!(
                "relative_attention_max_distance is {most}; it must be above {exact}, a quarter \
                 of relative_attention_num_buckets"
            ));
        }
        epsilon("layer_norm_epsilon", self.layer_norm_epsilon)
    }

    /// How distances fall into kinds.
    pub fn positions(&self) -> RelativePositions {
        RelativePositions {
            buckets: self.relative_attention_num_buckets,
            max_distance: self.relative_attention_max_distance,
        }
    }
}
