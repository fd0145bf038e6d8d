//! Sizes of CLIP networks in the JSON of open_clip.

use serde::Deserialize;

use super::{ClipConfig, ClipTextConfig, ClipVisionConfig, HiddenAct};
use crate::weights::heads;

/// The JSON of open_clip. Keys that change the network in ways that ours does not follow
/// (custom pooling, timm towers, Hugging Face towers) are unknown keys, hence errors.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OpenClipConfig {
    embed_dim: usize,
    #[serde(default)]
    quick_gelu: bool,
    vision_cfg: OpenClipVision,
    text_cfg: OpenClipText,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenClipVision {
    image_size: usize,
    layers: usize,
    width: usize,
    #[serde(default = "default_head_width")]
    head_width: usize,
    patch_size: usize,
    #[serde(default = "default_mlp_ratio")]
    mlp_ratio: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenClipText {
    context_length: usize,
    vocab_size: usize,
    width: usize,
    heads: usize,
    layers: usize,
    #[serde(default = "default_mlp_ratio")]
    mlp_ratio: f64,
}

fn default_head_width() -> usize {
    64
}

fn default_mlp_ratio() -> f64 {
    4.0
}

impl OpenClipConfig {
    /// The same sizes as `transformers` would write them.
    ///
    /// # Errors
    ///
    /// Fails if they cannot be.
    pub(super) fn sizes(self) -> Result<ClipConfig, String> {
        let Self { embed_dim, quick_gelu, vision_cfg: vision, text_cfg: text } = self;
        // They write the width of a head, from which the number of heads follows.
        heads(("vision_cfg.width", vision.width), ("vision_cfg.head_width", vision.head_width))
            .map_err(|reason| reason.replace("the heads", "heads of this width"))?;
        let hidden_act = if quick_gelu { HiddenAct::QuickGelu } else { HiddenAct::Gelu };
        let config = ClipConfig {
            text_config: ClipTextConfig {
                vocab_size: text.vocab_size,
                hidden_size: text.width,
                intermediate_size: (text.width as f64 * text.mlp_ratio) as usize,
                projection_dim: embed_dim,
                num_hidden_layers: text.layers,
                num_attention_heads: text.heads,
                max_position_embeddings: text.context_length,
                hidden_act,
                // open_clip always pools at the highest id.
                eos_token_id: 2,
                ..ClipTextConfig::default()
            },
            vision_config: ClipVisionConfig {
                hidden_size: vision.width,
                intermediate_size: (vision.width as f64 * vision.mlp_ratio) as usize,
                projection_dim: embed_dim,
                num_hidden_layers: vision.layers,
                num_attention_heads: vision.width / vision.head_width,
                image_size: vision.image_size,
                patch_size: vision.patch_size,
                hidden_act,
                ..ClipVisionConfig::default()
            },
            projection_dim: embed_dim,
            ..ClipConfig::default()
        };
        config.validate()?;
        Ok(config)
    }
}
