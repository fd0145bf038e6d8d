//! The sizes of a U-Net, as diffusers writes them.

use burn::tensor::Device;
use hyperalign_core::lora::LoraTarget;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::{Map, Value, json};

use super::Unet;
use crate::{
    timestep_embedding::Sinusoids,
    weights::{MOST_LEVELS, layers, sizes, within},
};

/// A number for the whole network, or one for each block on the way down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PerBlock {
    /// The same everywhere.
    All(usize),
    /// One for each block.
    Each(Vec<usize>),
}

impl PerBlock {
    /// The number of block `i`.
    pub(super) fn at(&self, i: usize) -> usize {
        match self {
            Self::All(value) => *value,
            Self::Each(values) => values[i],
        }
    }
}

/// Whether a block attends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlockKind {
    /// Residual blocks on the way down.
    #[serde(rename = "DownBlock2D")]
    Down,
    /// Residual blocks, each followed by a transformer, on the way down.
    #[serde(rename = "CrossAttnDownBlock2D")]
    CrossAttnDown,
    /// Residual blocks on the way up.
    #[serde(rename = "UpBlock2D")]
    Up,
    /// Residual blocks, each followed by a transformer, on the way up.
    #[serde(rename = "CrossAttnUpBlock2D")]
    CrossAttnUp,
}

impl BlockKind {
    /// Whether the block has transformers.
    pub fn attends(self) -> bool {
        matches!(self, Self::CrossAttnDown | Self::CrossAttnUp)
    }
}

/// The activation of the residual blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// `x sigmoid(x)`, under either of its names.
    #[serde(alias = "swish")]
    Silu,
}

/// The sizes of a U-Net: the `config.json` of diffusers' `UNet2DConditionModel`.
///
/// Reading is strict: a setting that we do not implement is an error, unless it is at the value
/// that switches it off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", default, deny_unknown_fields)]
pub struct UnetConfig {
    /// Height and width of the latents that the network was trained on.
    pub sample_size: usize,
    /// Channels of the latents.
    pub in_channels: usize,
    /// Channels of the prediction.
    pub out_channels: usize,
    /// Whether cosines come before sines in the timestep's features.
    pub flip_sin_to_cos: bool,
    /// Shift of the denominator of the sinusoids' frequencies.
    pub freq_shift: f64,
    /// The blocks on the way down, from the finest.
    pub down_block_types: Vec<BlockKind>,
    /// The blocks on the way up, from the coarsest.
    pub up_block_types: Vec<BlockKind>,
    /// Channels of each block on the way down.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks in each block on the way down; one more on the way up.
    pub layers_per_block: usize,
    /// The activation of the residual blocks.
    pub act_fn: Activation,
    /// Groups of the group norms.
    pub norm_num_groups: usize,
    /// Epsilon of the group norms of residual blocks and of the last norm.
    pub norm_eps: f64,
    /// Width of the text features.
    pub cross_attention_dim: usize,
    /// Transformer blocks in each transformer.
    pub transformer_layers_per_block: PerBlock,
    /// Despite its name the number of attention heads.
    pub attention_head_dim: PerBlock,
    /// Whether transformers begin and end with a linear layer instead of a 1x1 convolution. The
    /// same function; only the shape in the file differs.
    pub use_linear_projection: bool,
    /// Whether attention scores are computed in f32 whatever the network's precision. Ours are
    /// accumulated so anyway.
    pub upcast_attention: Option<bool>,
}

impl Default for UnetConfig {
    /// The defaults of diffusers, which a `config.json` may leave out.
    fn default() -> Self {
        use BlockKind::{CrossAttnDown, CrossAttnUp, Down, Up};
        Self {
            sample_size: 64,
            in_channels: 4,
            out_channels: 4,
            flip_sin_to_cos: true,
            freq_shift: 0.0,
            down_block_types: vec![CrossAttnDown, CrossAttnDown, CrossAttnDown, Down],
            up_block_types: vec![Up, CrossAttnUp, CrossAttnUp, CrossAttnUp],
            block_out_channels: vec![320, 640, 1280, 1280],
            layers_per_block: 2,
            act_fn: Activation::Silu,
            norm_num_groups: 32,
            norm_eps: 1e-5,
            cross_attention_dim: 1280,
            transformer_layers_per_block: PerBlock::All(1),
            attention_head_dim: PerBlock::All(8),
            use_linear_projection: false,
            upcast_attention: None,
        }
    }
}

impl UnetConfig {
    /// The network of Stable Diffusion 1.5.
    pub fn sd15() -> Self {
        Self { cross_attention_dim: 768, ..Self::default() }
    }

    /// A fresh network, to be loaded or trained.
    ///
    /// # Panics
    ///
    /// Panics if [`validate`](Self::validate) fails.
    pub fn init(&self, device: &Device) -> Unet {
        Unet::new(self, device)
    }

    /// Whether the sizes fit each other.
    ///
    /// # Errors
    ///
    /// Fails with what does not fit.
    pub fn validate(&self) -> Result<(), String> {
        let blocks = self.block_out_channels.len();
        within("the length of block_out_channels", blocks, 1, MOST_LEVELS)?;
        sizes(&[
            ("sample_size", self.sample_size),
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("layers_per_block", self.layers_per_block),
            ("norm_num_groups", self.norm_num_groups),
            ("cross_attention_dim", self.cross_attention_dim),
        ])?;
        self.block_out_channels
            .iter()
            .try_for_each(|size| sizes(&[("block_out_channels", *size)]))?;
        let lengths = [
            ("down_block_types", self.down_block_types.len()),
            ("up_block_types", self.up_block_types.len()),
        ];
        for (name, length) in lengths {
            if length != blocks {
                return Err(format!(
                    "{name} names {length} blocks, but block_out_channels has {blocks} entries"
                ));
            }
        }
        let down = |kind: &BlockKind| matches!(kind, BlockKind::Down | BlockKind::CrossAttnDown);
        if !self.down_block_types.iter().all(down) || self.up_block_types.iter().any(down) {
            return Err("down_block_types and up_block_types hold blocks of each other".to_owned());
        }
        for (name, values) in [
            ("transformer_layers_per_block", &self.transformer_layers_per_block),
            ("attention_head_dim", &self.attention_head_dim),
        ] {
            let values = match values {
                PerBlock::All(value) => std::slice::from_ref(value),
                PerBlock::Each(values) if values.len() == blocks => values,
                PerBlock::Each(values) => {
                    return Err(format!(
                        "{name} has {} entries, but block_out_channels has {blocks}",
                        values.len()
                    ));
                }
            };
            values.iter().try_for_each(|value| sizes(&[(name, *value)]))?;
        }
        let down_and_up = 2 * self.layers_per_block + 1;
        let transformers = (0..blocks).map(|i| self.transformer_layers_per_block.at(i));
        layers(&[
            ("the number of residual blocks by layers_per_block", blocks * down_and_up),
            (
                "the number of transformer blocks by transformer_layers_per_block",
                transformers.sum::<usize>().saturating_mul(down_and_up),
            ),
        ])?;
        for (i, channels) in self.block_out_channels.iter().enumerate() {
            let heads = self.attention_head_dim.at(i);
            if channels % self.norm_num_groups != 0 || channels % heads != 0 {
                return Err(format!(
                    "the {channels} channels of block {i} are not divisible by norm_num_groups \
                     ({}) and by the number of heads ({heads}, written as attention_head_dim)",
                    self.norm_num_groups
                ));
            }
        }
        Ok(())
    }

    /// The linear layers that a low-rank update adapts: `to_q`, `to_k`, `to_v` and `to_out.0` of
    /// every `attn1` (self-attention) and `attn2` (cross-attention).
    ///
    /// The order is part of the adapter file and stays as it is: blocks on the way down from the
    /// finest, then the middle, then on the way up from the coarsest; within a block by
    /// transformer and its layer, `attn1` before `attn2`, and the four layers as named above.
    pub fn lora_targets(&self) -> Vec<LoraTarget> {
        let mut targets = Vec::new();
        let mut transformer = |path: String, layers: usize, dim: usize| {
            for layer in 0..layers {
                for (attn, context_dim) in [("attn1", dim), ("attn2", self.cross_attention_dim)] {
                    for (name, d_input) in [
                        ("to_q", dim),
                        ("to_k", context_dim),
                        ("to_v", context_dim),
                        ("to_out.0", dim),
                    ] {
                        targets.push(LoraTarget {
                            path: format!("{path}.transformer_blocks.{layer}.{attn}.{name}"),
                            d_input,
                            d_output: dim,
                        });
                    }
                }
            }
        };
        let blocks = self.block_out_channels.len();
        let layers = |i| self.transformer_layers_per_block.at(i);
        for (i, _) in self.down_block_types.iter().enumerate().filter(|(_, k)| k.attends()) {
            for j in 0..self.layers_per_block {
                let path = format!("down_blocks.{i}.attentions.{j}");
                transformer(path, layers(i), self.block_out_channels[i]);
            }
        }
        let last = blocks - 1;
        transformer(
            "mid_block.attentions.0".to_owned(),
            layers(last),
            self.block_out_channels[last],
        );
        for (i, _) in self.up_block_types.iter().enumerate().filter(|(_, k)| k.attends()) {
            for j in 0..=self.layers_per_block {
                let path = format!("up_blocks.{i}.attentions.{j}");
                transformer(path, layers(last - i), self.block_out_channels[last - i]);
            }
        }
        targets
    }

    /// The sinusoids of the timestep.
    pub(super) fn sinusoids(&self) -> Sinusoids {
        Sinusoids {
            flip_sin_to_cos: self.flip_sin_to_cos,
            freq_shift: self.freq_shift,
            ..Sinusoids::default()
        }
    }

    /// Width of the time embedding.
    pub(super) fn d_time(&self) -> usize {
        4 * self.block_out_channels[0]
    }
}

/// Settings of `UNet2DConditionModel` that we do not implement, at the value that leaves them
/// out of the computation.
fn switched_off() -> Value {
    json!({
        "_class_name": "UNet2DConditionModel",
        "addition_embed_type": null,
        "addition_embed_type_num_heads": 64,
        "addition_time_embed_dim": null,
        "attention_type": "default",
        "center_input_sample": false,
        "class_embed_type": null,
        "class_embeddings_concat": false,
        "conv_in_kernel": 3,
        "conv_out_kernel": 3,
        "cross_attention_norm": null,
        "downsample_padding": 1,
        "dropout": 0.0,
        "dual_cross_attention": false,
        "encoder_hid_dim": null,
        "encoder_hid_dim_type": null,
        "mid_block_only_cross_attention": null,
        "mid_block_scale_factor": 1,
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "num_attention_heads": null,
        "num_class_embeds": null,
        "only_cross_attention": false,
        "projection_class_embeddings_input_dim": null,
        "resnet_out_scale_factor": 1.0,
        "resnet_skip_time_act": false,
        "resnet_time_scale_shift": "default",
        "reverse_transformer_layers_per_block": null,
        "time_cond_proj_dim": null,
        "time_embedding_act_fn": null,
        "time_embedding_dim": null,
        "time_embedding_type": "positional",
        "timestep_post_act": null,
    })
}

impl<'de> Deserialize<'de> for UnetConfig {
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

impl Serialize for UnetConfig {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut settings = Map::new();
        settings.insert("_class_name".to_owned(), "UNet2DConditionModel".into());
        let value = Self::serialize(self, serde_json::value::Serializer);
        if let Value::Object(rest) = value.map_err(serde::ser::Error::custom)? {
            settings.extend(rest);
        }
        settings.serialize(serializer)
    }
}
