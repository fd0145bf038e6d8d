//! The sizes of an autoencoder, as diffusers writes them.

use burn::tensor::Device;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::{Map, Value, json};

use super::AutoencoderKl;
use crate::{
    blocks::ResnetBlockConfig,
    weights::{MOST_LEVELS, layers, sizes, within},
};

/// The sizes of an autoencoder: the `config.json` of diffusers' `AutoencoderKL`.
///
/// Reading is strict: a setting that we do not implement is an error, unless it is at the value
/// that switches it off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", default, deny_unknown_fields)]
pub struct AutoencoderKlConfig {
    /// Height and width of the pictures that the network was trained on.
    pub sample_size: usize,
    /// Channels of the picture that is encoded.
    pub in_channels: usize,
    /// Channels of the picture that is decoded.
    pub out_channels: usize,
    /// Channels of each resolution, from the finest.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks at each resolution of the encoder; one more in the decoder.
    pub layers_per_block: usize,
    /// Channels of the latents.
    pub latent_channels: usize,
    /// Groups of the group norms.
    pub norm_num_groups: usize,
    /// What latents are multiplied by, so that their variance is about 1. Absent from SD 1.5's
    /// file, whose 0.18215 is the default.
    pub scaling_factor: f64,
    /// What is subtracted from latents before they are scaled.
    pub shift_factor: Option<f64>,
    /// Whether a 1x1 convolution follows the encoder.
    pub use_quant_conv: bool,
    /// Whether a 1x1 convolution comes before the decoder.
    pub use_post_quant_conv: bool,
    /// Whether the coarsest resolution attends.
    pub mid_block_add_attention: bool,
}

impl Default for AutoencoderKlConfig {
    /// The defaults of diffusers, which a `config.json` may leave out, with the sizes of SD 1.5
    /// where those would make an autoencoder of one block.
    fn default() -> Self {
        Self {
            sample_size: 512,
            in_channels: 3,
            out_channels: 3,
            block_out_channels: vec![128, 256, 512, 512],
            layers_per_block: 1,
            latent_channels: 4,
            norm_num_groups: 32,
            scaling_factor: 0.18215,
            shift_factor: None,
            use_quant_conv: true,
            use_post_quant_conv: true,
            mid_block_add_attention: true,
        }
    }
}

impl AutoencoderKlConfig {
    /// The autoencoder of Stable Diffusion 1.5.
    pub fn sd15() -> Self {
        Self { layers_per_block: 2, ..Self::default() }
    }

    /// The autoencoder of FLUX.1: sixteen channels, shifted before they are scaled, and no
    /// convolutions beside the latents.
    pub fn flux1() -> Self {
        Self {
            layers_per_block: 2,
            latent_channels: 16,
            sample_size: 1024,
            scaling_factor: 0.3611,
            shift_factor: Some(0.1159),
            use_quant_conv: false,
            use_post_quant_conv: false,
            ..Self::default()
        }
    }

    /// A fresh network, to be loaded or trained.
    ///
    /// # Panics
    ///
    /// Panics if [`validate`](Self::validate) fails.
    pub fn init(&self, device: &Device) -> AutoencoderKl {
        AutoencoderKl::new(self, device)
    }

    /// Whether the sizes fit each other.
    ///
    /// # Errors
    ///
    /// Fails with what does not fit.
    pub fn validate(&self) -> Result<(), String> {
        let levels = self.block_out_channels.len();
        within("the length of block_out_channels", levels, 1, MOST_LEVELS)?;
        sizes(&[
            ("sample_size", self.sample_size),
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("layers_per_block", self.layers_per_block),
            ("latent_channels", self.latent_channels),
            ("norm_num_groups", self.norm_num_groups),
        ])?;
        self.block_out_channels
            .iter()
            .try_for_each(|size| sizes(&[("block_out_channels", *size)]))?;
        let number = levels * (2 * self.layers_per_block + 1);
        layers(&[("the number of residual blocks by layers_per_block", number)])?;
        if !(self.scaling_factor.is_finite() && self.scaling_factor > 0.0) {
            return Err(format!("scaling_factor must be above 0, not {}", self.scaling_factor));
        }
        match self.block_out_channels.iter().find(|channels| *channels % self.norm_num_groups != 0)
        {
            Some(channels) => Err(format!(
                "{channels} channels are not divisible into norm_num_groups = {}",
                self.norm_num_groups
            )),
            None => Ok(()),
        }
    }

    /// Pixels a side of one latent.
    pub fn downscale(&self) -> usize {
        1 << (self.block_out_channels.len() - 1)
    }

    /// The sizes of a residual block, which reads no time here.
    pub(super) fn resnet(&self, d_input: usize, d_output: usize) -> ResnetBlockConfig {
        ResnetBlockConfig {
            d_input,
            d_output,
            d_time: None,
            norm_groups: self.norm_num_groups,
            norm_eps: super::mid::NORM_EPS,
        }
    }
}

/// Settings of `AutoencoderKL` that we do not implement, at the value that leaves them out of the
/// computation. `force_upcast` says that f16 overflows; it changes no value in f32.
fn switched_off() -> Value {
    json!({
        "_class_name": "AutoencoderKL",
        "act_fn": "silu",
        "latents_mean": null,
        "latents_std": null,
    })
}

impl<'de> Deserialize<'de> for AutoencoderKlConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut settings = Map::deserialize(deserializer)?;
        settings.remove("force_upcast");
        let blocks = settings.get("block_out_channels").and_then(Value::as_array).map(Vec::len);
        for (name, kind) in
            [("down_block_types", "DownEncoderBlock2D"), ("up_block_types", "UpDecoderBlock2D")]
        {
            // The kinds carry no choice, and their number is that of the channels.
            let kinds = settings.remove(name);
            let expected = blocks.map(|blocks| Value::from(vec![kind; blocks]));
            if kinds.is_some() && kinds != expected {
                return Err(D::Error::custom(format!(
                    "`{name}` must be `{kind}` once for each entry of block_out_channels"
                )));
            }
        }
        let settings = crate::weights::implemented(settings, &switched_off());
        // With `remote = "Self"`, the derive makes this function instead of the trait's.
        let config = Self::deserialize(settings.map_err(D::Error::custom)?);
        let config = config.map_err(D::Error::custom)?;
        config.validate().map_err(D::Error::custom)?;
        Ok(config)
    }
}

impl Serialize for AutoencoderKlConfig {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let blocks = self.block_out_channels.len();
        let mut settings = Map::new();
        settings.insert("_class_name".to_owned(), "AutoencoderKL".into());
        settings.insert("act_fn".to_owned(), "silu".into());
        settings.insert("down_block_types".to_owned(), vec!["DownEncoderBlock2D"; blocks].into());
        settings.insert("up_block_types".to_owned(), vec!["UpDecoderBlock2D"; blocks].into());
        let value = Self::serialize(self, serde_json::value::Serializer);
        if let Value::Object(rest) = value.map_err(serde::ser::Error::custom)? {
            settings.extend(rest);
        }
        settings.serialize(serializer)
    }
}
