//! Sizes of CLIP networks, as the `config.json` of `transformers` and the JSON of open_clip
//! write them.

use serde::{Deserialize, Serialize};

use super::open_clip_config::OpenClipConfig;
use crate::weights::{MOST_PIXELS, epsilon, heads, layers, sizes, validated, within};

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
#[serde(remote = "Self", default)]
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

    /// Whether the sizes can be.
    ///
    /// # Errors
    ///
    /// Fails with what cannot.
    pub fn validate(&self) -> Result<(), String> {
        let sides = || {
            sizes(&[
                ("vocab_size", self.vocab_size),
                ("intermediate_size", self.intermediate_size),
                ("max_position_embeddings", self.max_position_embeddings),
            ])?;
            heads(
                ("hidden_size", self.hidden_size),
                ("num_attention_heads", self.num_attention_heads),
            )?;
            layers(&[("num_hidden_layers", self.num_hidden_layers)])?;
            epsilon("layer_norm_eps", self.layer_norm_eps)
        };
        sides().map_err(|reason| format!("of CLIP's text side, {reason}"))
    }
}

/// Sizes of a [`ClipVisionModel`](super::ClipVisionModel). Absent keys take the defaults of
/// `transformers`, unknown ones are not read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", default)]
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
    /// Whether the sizes can be.
    ///
    /// # Errors
    ///
    /// Fails with what cannot.
    pub fn validate(&self) -> Result<(), String> {
        let sides = || {
            sizes(&[
                ("intermediate_size", self.intermediate_size),
                ("num_channels", self.num_channels),
            ])?;
            within("image_size", self.image_size, 1, MOST_PIXELS)?;
            within("patch_size", self.patch_size, 1, self.image_size)?;
            heads(
                ("hidden_size", self.hidden_size),
                ("num_attention_heads", self.num_attention_heads),
            )?;
            layers(&[("num_hidden_layers", self.num_hidden_layers)])?;
            epsilon("layer_norm_eps", self.layer_norm_eps)
        };
        sides().map_err(|reason| format!("of CLIP's vision side, {reason}"))
    }

    /// Patches of an image, the class token not counted.
    pub fn patches(&self) -> usize {
        (self.image_size / self.patch_size).pow(2)
    }
}

/// Sizes of a [`ClipModel`](super::ClipModel).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", default)]
pub struct ClipConfig {
    /// The text side.
    pub text_config: ClipTextConfig,
    /// The vision side.
    pub vision_config: ClipVisionConfig,
    /// Width of the shared space.
    pub projection_dim: usize,
    /// Logarithm of the factor on cosines that training starts from.
    pub logit_scale_init_value: f64,
    /// Whether the vision side reads the timestep that a picture was estimated at. Published files
    /// do not say so; their tensors do.
    pub step_aware: bool,
}

impl Default for ClipConfig {
    fn default() -> Self {
        Self {
            text_config: ClipTextConfig::default(),
            vision_config: ClipVisionConfig::default(),
            projection_dim: 512,
            // ln(1 / 0.07), arXiv:2103.00020, section 2.5.
            logit_scale_init_value: 2.6592,
            step_aware: false,
        }
    }
}

validated!(ClipTextConfig, ClipVisionConfig, ClipConfig);

impl ClipConfig {
    /// Whether the sizes can be.
    ///
    /// # Errors
    ///
    /// Fails with what cannot.
    pub fn validate(&self) -> Result<(), String> {
        self.text_config.validate()?;
        self.vision_config.validate()?;
        sizes(&[("projection_dim", self.projection_dim)])
    }

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

    /// The network of SPO's step-aware preference model for Stable Diffusion 1.5: PickScore's, and
    /// what reads the timestep.
    pub fn spm() -> Self {
        Self { step_aware: true, ..Self::vit_h_14() }
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
            let config = serde_json::from_value::<OpenClipConfig>(model.clone())?.sizes();
            return config.map_err(serde::de::Error::custom).map_err(ConfigError::Json);
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
