//! The sizes of a FLUX transformer, as diffusers writes them.

use burn::tensor::Device;
use hyperalign_core::lora::LoraTarget;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::{Map, Value, json};

use super::{FluxTransformer, pack::PATCH};
use crate::weights::{layers, sizes};

/// The sizes of a FLUX transformer: the `config.json` of diffusers' `FluxTransformer2DModel`.
///
/// Reading is strict: a setting that we do not implement is an error, unless it is at the value
/// that switches it off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", default, deny_unknown_fields)]
pub struct FluxConfig {
    /// Numbers in a token of the packed latents: four times the channels of the latents.
    pub in_channels: usize,
    /// Numbers in a token of the prediction, if not those of the input.
    pub out_channels: Option<usize>,
    /// Double blocks.
    pub num_layers: usize,
    /// Single blocks.
    pub num_single_layers: usize,
    /// Width of an attention head.
    pub attention_head_dim: usize,
    /// Attention heads; together they are as wide as the streams.
    pub num_attention_heads: usize,
    /// Width of the text encoder's token states.
    pub joint_attention_dim: usize,
    /// Width of the pooled text features.
    pub pooled_projection_dim: usize,
    /// Whether the network is told the weight of the guidance that it was distilled from.
    pub guidance_embeds: bool,
    /// How the width of a head is dealt out to the three axes of a position.
    pub axes_dims_rope: [usize; 3],
}

impl Default for FluxConfig {
    /// The defaults of diffusers, which a `config.json` may leave out: FLUX.1-schnell.
    fn default() -> Self {
        Self {
            in_channels: 64,
            out_channels: None,
            num_layers: 19,
            num_single_layers: 38,
            attention_head_dim: 128,
            num_attention_heads: 24,
            joint_attention_dim: 4096,
            pooled_projection_dim: 768,
            guidance_embeds: false,
            axes_dims_rope: [16, 56, 56],
        }
    }
}

impl FluxConfig {
    /// The network of FLUX.1-schnell.
    pub fn schnell() -> Self {
        Self::default()
    }

    /// The network of FLUX.1-dev.
    pub fn dev() -> Self {
        Self { guidance_embeds: true, ..Self::default() }
    }

    /// A fresh network, to be loaded or trained.
    ///
    /// # Panics
    ///
    /// Panics if [`validate`](Self::validate) fails.
    pub fn init(&self, device: &Device) -> FluxTransformer {
        FluxTransformer::new(self, device)
    }

    /// Width of the streams.
    pub fn dim(&self) -> usize {
        self.num_attention_heads * self.attention_head_dim
    }

    /// Numbers in a token of the prediction.
    pub fn d_output(&self) -> usize {
        self.out_channels.unwrap_or(self.in_channels)
    }

    /// Channels of the latents before they are packed.
    pub fn latent_channels(&self) -> usize {
        self.in_channels / (PATCH * PATCH)
    }

    /// Whether the sizes fit each other.
    ///
    /// # Errors
    ///
    /// Fails with what does not fit.
    pub fn validate(&self) -> Result<(), String> {
        sizes(&[
            ("in_channels", self.in_channels),
            ("out_channels", self.d_output()),
            ("num_attention_heads", self.num_attention_heads),
            ("attention_head_dim", self.attention_head_dim),
            ("joint_attention_dim", self.joint_attention_dim),
            ("pooled_projection_dim", self.pooled_projection_dim),
        ])?;
        layers(&[("num_layers", self.num_layers), ("num_single_layers", self.num_single_layers)])?;
        if !self.in_channels.is_multiple_of(PATCH * PATCH) {
            return Err(format!(
                "in_channels is {}, but a token packs {PATCH} x {PATCH} latents and so has a \
                 multiple of {} numbers",
                self.in_channels,
                PATCH * PATCH
            ));
        }
        let axes = self.axes_dims_rope;
        if axes.iter().any(|dim| dim % 2 != 0 || *dim > self.attention_head_dim)
            || axes.iter().sum::<usize>() != self.attention_head_dim
        {
            return Err(format!(
                "axes_dims_rope {axes:?} must be even numbers that add up to attention_head_dim \
                 {}",
                self.attention_head_dim
            ));
        }
        Ok(())
    }

    /// The linear layers that a low-rank update adapts: `to_q`, `to_k`, `to_v` and `to_out.0` of
    /// every double block and `to_q`, `to_k` and `to_v` of every single block.
    ///
    /// The order is part of the adapter file and stays as it is: the double blocks from the
    /// first, then the single blocks; within a block the layers as named above.
    pub fn lora_targets(&self) -> Vec<LoraTarget> {
        let double = ["to_q", "to_k", "to_v", "to_out.0"];
        let mut targets = self.targets("transformer_blocks", self.num_layers, &double);
        let single = "single_transformer_blocks";
        targets.extend(self.targets(single, self.num_single_layers, &double[..3]));
        targets
    }

    /// The same of the text stream, in the same order: `add_q_proj`, `add_k_proj`, `add_v_proj`
    /// and `to_add_out` of every double block.
    pub fn text_targets(&self) -> Vec<LoraTarget> {
        let names = ["add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"];
        self.targets("transformer_blocks", self.num_layers, &names)
    }

    fn targets(&self, list: &str, blocks: usize, names: &[&str]) -> Vec<LoraTarget> {
        let dim = self.dim();
        let of_block = |i| {
            names.iter().map(move |name| LoraTarget {
                path: format!("{list}.{i}.attn.{name}"),
                d_input: dim,
                d_output: dim,
            })
        };
        (0..blocks).flat_map(of_block).collect()
    }
}

/// Settings of `FluxTransformer2DModel` that we do not implement, at the value that leaves them
/// out of the computation.
fn switched_off() -> Value {
    json!({ "_class_name": "FluxTransformer2DModel", "patch_size": 1 })
}

impl<'de> Deserialize<'de> for FluxConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let settings = Map::deserialize(deserializer)?;
        let settings = crate::weights::implemented(settings, &switched_off());
        // With `remote = "Self"`, the derive makes this function instead of the trait's.
        let config = Self::deserialize(settings.map_err(D::Error::custom)?);
        let config = config.map_err(D::Error::custom)?;
        config.validate().map_err(D::Error::custom)?;
        Ok(config)
    }
}

impl Serialize for FluxConfig {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut settings = Map::new();
        settings.insert("_class_name".to_owned(), "FluxTransformer2DModel".into());
        settings.insert("patch_size".to_owned(), 1.into());
        let value = Self::serialize(self, serde_json::value::Serializer);
        if let Value::Object(rest) = value.map_err(serde::ser::Error::custom)? {
            settings.extend(rest);
        }
        settings.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_published_and_refuses_the_rest() {
        let read = |extra: &str| {
            let text = format!(
                r#"{{"_class_name": "FluxTransformer2DModel", "_diffusers_version": "0.30.0.dev0",
                    "_name_or_path": "../checkpoints/flux-dev/transformer", "patch_size": 1,
                    "attention_head_dim": 128, "guidance_embeds": true, "in_channels": 64,
                    "joint_attention_dim": 4096, "num_attention_heads": 24, "num_layers": 19,
                    "num_single_layers": 38, "pooled_projection_dim": 768{extra}}}"#
            );
            serde_json::from_str::<FluxConfig>(&text).map_err(|error| error.to_string())
        };
        let dev = read("").unwrap();
        assert_eq!(dev, FluxConfig::dev());
        let written = serde_json::to_string(&dev).unwrap();
        assert_eq!(serde_json::from_str::<FluxConfig>(&written).unwrap(), dev);
        let refused = |extra: &str, part: &str| {
            let error = read(extra).unwrap_err();
            assert!(error.contains(part), "{error}");
        };
        refused(r#", "axes_dims_rope": [16, 56, 50]"#, "add up to attention_head_dim 128");
        refused(r#", "qk_norm": "none""#, "qk_norm");
        let text = r#"{"patch_size": 2}"#;
        let error = serde_json::from_str::<FluxConfig>(text).unwrap_err().to_string();
        assert!(error.contains("patch_size"), "{error}");
    }

    #[test]
    fn adapted_layers() {
        let dev = FluxConfig::dev();
        let image = dev.lora_targets();
        assert_eq!(image.len(), 19 * 4 + 38 * 3);
        assert_eq!(image[7].path, "transformer_blocks.1.attn.to_out.0");
        assert_eq!(image[76].path, "single_transformer_blocks.0.attn.to_q");
        let text = dev.text_targets();
        assert_eq!(text.len(), 19 * 4);
        assert_eq!(text[4].path, "transformer_blocks.1.attn.add_q_proj");
        let mut all = image.iter().chain(&text);
        assert!(all.all(|target| target.d_input == 3072 && target.d_output == 3072));
    }
}
