//! Sizes of CLIP networks, as the `config.json` of `transformers` and the JSON of open_clip
//! write them.

use serde::{Deserialize, Serialize};

/// The activation between the two linears of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HiddenAct {
    /// `x sigmoid(1.702 x)`, of OpenAI's models (Hendrycks & Gimpel 2016, arXiv:1606.08415).
    QuickGelu,
    /// `x Phi(x)` by the error function, of the models trained with open_clip.
    Gelu,
}

/// Sizes of a [`ClipTextModel`](super::ClipTextModel). Absent keys take the defaults of
/// `transformers`, unknown ones are not read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClipTextConfig {
    /// Number of tokens.
    pub vocab_size: usize,
    /// Width of the token states.
    pub hidden_size: usize,
    /// Width between the two linears of a block.
    pub intermediate_size: usize,
    /// Width of the space shared with the vision model, where there is one.
    pub projection_dim: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Heads of each attention.
    pub num_attention_heads: usize,
    /// Longest sequence, in tokens.
    pub max_position_embeddings: usize,
    /// Activation of the blocks.
    pub hidden_act: HiddenAct,
    /// Added to variances.
    pub layer_norm_eps: f64,
    /// The token whose first occurrence is the pooled position. The value 2 stands in old
    /// configs for "the highest token id".
    pub eos_token_id: u32,
}

impl Default for ClipTextConfig {
    fn default() -> Self {
        Self {
            vocab_size: 49408,
            hidden_size: 512,
            intermediate_size: 2048,
            projection_dim: 512,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 77,
            hidden_act: HiddenAct::QuickGelu,
            layer_norm_eps: 1e-5,
            eos_token_id: 49407,
        }
    }
}

impl ClipTextConfig {
    /// The text encoder of Stable Diffusion 1.5: that of OpenAI's ViT-L/14.
    pub fn sd15() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            projection_dim: 768,
            num_attention_heads: 12,
            eos_token_id: 2,
            ..Self::default()
        }
    }
}

/// Sizes of a [`ClipVisionModel`](super::ClipVisionModel). Absent keys take the defaults of
/// `transformers`, unknown ones are not read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClipVisionConfig {
    /// Width of the patch states.
    pub hidden_size: usize,
    /// Width between the two linears of a block.
    pub intermediate_size: usize,
    /// Width of the space shared with the text model.
    pub projection_dim: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Heads of each attention.
    pub num_attention_heads: usize,
    /// Channels of the image.
    pub num_channels: usize,
    /// Side of the square image, in pixels.
    pub image_size: usize,
    /// Side of a patch, in pixels.
    pub patch_size: usize,
    /// Activation of the blocks.
    pub hidden_act: HiddenAct,
    /// Added to variances.
    pub layer_norm_eps: f64,
}

impl Default for ClipVisionConfig {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            projection_dim: 512,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            num_channels: 3,
            image_size: 224,
            patch_size: 32,
            hidden_act: HiddenAct::QuickGelu,
            layer_norm_eps: 1e-5,
        }
    }
}

impl ClipVisionConfig {
    /// Patches of an image, the class token not counted.
    pub fn patches(&self) -> usize {
        (self.image_size / self.patch_size).pow(2)
    }
}

/// Sizes of a [`ClipModel`](super::ClipModel).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClipConfig {
    /// The text side.
    pub text_config: ClipTextConfig,
    /// The vision side.
    pub vision_config: ClipVisionConfig,
    /// Width of the shared space.
    pub projection_dim: usize,
    /// Logarithm of the factor on cosines that training starts from.
    pub logit_scale_init_value: f64,
}

impl Default for ClipConfig {
    fn default() -> Self {
        Self {
            text_config: ClipTextConfig::default(),
            vision_config: ClipVisionConfig::default(),
            projection_dim: 512,
            // ln(1 / 0.07), arXiv:2103.00020, section 2.5.
            logit_scale_init_value: 2.6592,
        }
    }
}

impl ClipConfig {
    /// OpenAI's ViT-L/14 at 224 pixels.
    pub fn vit_l_14() -> Self {
        Self {
            text_config: ClipTextConfig::sd15(),
            vision_config: ClipVisionConfig {
                hidden_size: 1024,
                intermediate_size: 4096,
                projection_dim: 768,
                num_hidden_layers: 24,
                num_attention_heads: 16,
                patch_size: 14,
                ..ClipVisionConfig::default()
            },
            projection_dim: 768,
            ..Self::default()
        }
    }

    /// LAION's ViT-H/14 at 224 pixels, the network of HPSv2 and PickScore.
    pub fn vit_h_14() -> Self {
        Self {
            text_config: ClipTextConfig {
                hidden_size: 1024,
                intermediate_size: 4096,
                projection_dim: 1024,
                num_hidden_layers: 24,
                num_attention_heads: 16,
                hidden_act: HiddenAct::Gelu,
                eos_token_id: 2,
                ..ClipTextConfig::default()
            },
            vision_config: ClipVisionConfig {
                hidden_size: 1280,
                intermediate_size: 5120,
                projection_dim: 1024,
                num_hidden_layers: 32,
                num_attention_heads: 16,
                patch_size: 14,
                hidden_act: HiddenAct::Gelu,
                ..ClipVisionConfig::default()
            },
            projection_dim: 1024,
            ..Self::default()
        }
    }

    /// Reads the JSON of `transformers` (`text_config`, `vision_config`) or of open_clip
    /// (`text_cfg`, `vision_cfg`, also below `model_cfg`), whichever it is.
    ///
    /// # Errors
    ///
    /// Fails if the text is no JSON, is neither kind, or holds a value that we cannot use.
    pub fn from_json(json: &str) -> Result<Self, ConfigError> {
        let value: serde_json::Value = serde_json::from_str(json)?;
        let model = value.get("model_cfg").unwrap_or(&value);
        if model.get("text_cfg").is_some() {
            return Ok(serde_json::from_value::<OpenClipConfig>(model.clone())?.into());
        }
        if value.get("text_config").is_none() || value.get("vision_config").is_none() {
            return Err(ConfigError::NeitherKind {
                keys: value.as_object().map_or_else(Vec::new, |map| map.keys().cloned().collect()),
            });
        }
        Ok(serde_json::from_value(value)?)
    }
}

/// Why a CLIP configuration could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It is not JSON, or a value is of the wrong kind.
    #[error("the CLIP config cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// It is neither of the known kinds.
    #[error(
        "the CLIP config has neither `text_config` and `vision_config` (transformers) nor \
         `text_cfg` and `vision_cfg` (open_clip); its keys are {}", keys.join(", ")
    )]
    NeitherKind {
        /// The keys that are there.
        keys: Vec<String>,
    },
}

/// The JSON of open_clip. Keys that change the network in ways that ours does not follow
/// (custom pooling, timm towers, Hugging Face towers) are unknown keys, hence errors.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenClipConfig {
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

impl From<OpenClipConfig> for ClipConfig {
    fn from(config: OpenClipConfig) -> Self {
        let OpenClipConfig { embed_dim, quick_gelu, vision_cfg: vision, text_cfg: text } = config;
        let hidden_act = if quick_gelu { HiddenAct::QuickGelu } else { HiddenAct::Gelu };
        Self {
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
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_clip_json_of_vit_h_14_is_the_preset() {
        let json = r#"{"embed_dim": 1024,
            "vision_cfg": {"image_size": 224, "layers": 32, "width": 1280, "head_width": 80, "patch_size": 14},
            "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 1024, "heads": 16, "layers": 24}}"#;
        assert_eq!(ClipConfig::from_json(json).unwrap(), ClipConfig::vit_h_14());
    }

    #[test]
    fn configs_survive_json() {
        let json = serde_json::to_string(&ClipConfig::vit_l_14()).unwrap();
        assert_eq!(ClipConfig::from_json(&json).unwrap(), ClipConfig::vit_l_14());
    }

    #[test]
    fn another_kind_of_json_is_named() {
        let error = ClipConfig::from_json(r#"{"sample_size": 64}"#).unwrap_err();
        assert!(error.to_string().contains("its keys are sample_size"), "{error}");
    }

    #[test]
    fn an_unknown_activation_is_named() {
        let error = ClipConfig::from_json(
            r#"{"text_config": {"hidden_act": "relu6"}, "vision_config": {}}"#,
        );
        assert!(error.unwrap_err().to_string().contains("relu6"));
    }
}
