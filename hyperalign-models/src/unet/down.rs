//! One resolution on the way down.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};

use super::{
    config::UnetConfig,
    pass::Pass,
    transformer::{Transformer2d, Transformer2dConfig},
};
use crate::blocks::{Downsample, Pad, ResnetBlock, ResnetBlockConfig};

/// Residual blocks, each followed by a transformer where the block attends, then a halving.
///
/// In diffusers `DownBlock2D` and `CrossAttnDownBlock2D`: the former has no `attentions`, and the
/// last block no `downsamplers`.
#[derive(Module, Debug)]
pub struct DownBlock {
    resnets: Vec<ResnetBlock>,
    attentions: Vec<Transformer2d>,
    downsamplers: Vec<Downsample>,
}

impl DownBlock {
    /// Block `i` of the network.
    pub fn new(config: &UnetConfig, i: usize, device: &Device) -> Self {
        let channels = config.block_out_channels[i];
        let d_input = config.block_out_channels[i.saturating_sub(1)];
        let last = i + 1 == config.block_out_channels.len();
        let resnet = |j: usize| resnet(config, if j == 0 { d_input } else { channels }, channels);
        let attentions =
            if config.down_block_types[i].attends() { config.layers_per_block } else { 0 };
        Self {
            resnets: (0..config.layers_per_block).map(|j| resnet(j).init(device)).collect(),
            attentions: (0..attentions).map(|_| transformer(config, i).init(device)).collect(),
            downsamplers: if last {
                Vec::new()
            } else {
                vec![Downsample::new(channels, Pad::Around, device)]
            },
        }
    }

    /// Returns the block's output; everything that the way up reads is appended to `skips`.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, d_input, height, width]`
    /// - output: `[batch, channels, ...]`, half as high and wide unless it is the last block
    pub(super) fn forward(
        &self,
        mut x: Tensor<4>,
        pass: &Pass<'_>,
        skips: &mut Vec<Tensor<4>>,
    ) -> Tensor<4> {
        for (i, resnet) in self.resnets.iter().enumerate() {
            x = resnet.forward(x, Some(pass.time), &pass.item("resnets", i));
            if let Some(attention) = self.attentions.get(i) {
                x = attention.forward(x, &pass.item("attentions", i));
            }
            skips.push(x.clone());
        }
        for (i, downsampler) in self.downsamplers.iter().enumerate() {
            x = downsampler.forward(x, &pass.item("downsamplers", i));
            skips.push(x.clone());
        }
        pass.map(x)
    }
}

/// The sizes of a residual block of the network.
pub(super) fn resnet(config: &UnetConfig, d_input: usize, d_output: usize) -> ResnetBlockConfig {
    ResnetBlockConfig {
        d_input,
        d_output,
        d_time: Some(config.d_time()),
        norm_groups: config.norm_num_groups,
        norm_eps: config.norm_eps,
    }
}

/// The sizes of a transformer at the resolution of down block `i`.
pub(super) fn transformer(config: &UnetConfig, i: usize) -> Transformer2dConfig {
    Transformer2dConfig {
        dim: config.block_out_channels[i],
        context_dim: config.cross_attention_dim,
        heads: config.attention_head_dim.at(i),
        layers: config.transformer_layers_per_block.at(i),
        norm_groups: config.norm_num_groups,
        linear_projection: config.use_linear_projection,
    }
}
