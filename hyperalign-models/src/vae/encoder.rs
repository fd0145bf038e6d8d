//! From pictures to the moments of latents.

use burn::{
    module::Module,
    nn::{GroupNorm, GroupNormConfig, conv::Conv2d},
    tensor::{Device, Tensor},
};
use hyperalign_core::{
    fused::{convolve, silu},
    precision::{group_norm, like},
};

use super::{
    config::AutoencoderKlConfig,
    mid::{MidBlock, NORM_EPS},
};
use crate::{
    blocks::{Downsample, Pad, ResnetBlock, conv3x3},
    scope::Scope,
};

/// The encoder: mean and log-variance of the latents of a picture.
#[derive(Module, Debug)]
pub struct Encoder {
    conv_in: Conv2d,
    down_blocks: Vec<DownEncoderBlock>,
    mid_block: MidBlock,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

/// One resolution: residual blocks, then a halving unless it is the last.
#[derive(Module, Debug)]
pub struct DownEncoderBlock {
    resnets: Vec<ResnetBlock>,
    downsamplers: Vec<Downsample>,
}

impl Encoder {
    /// A fresh encoder.
    pub fn new(config: &AutoencoderKlConfig, device: &Device) -> Self {
        let channels = &config.block_out_channels;
        let last = channels.len() - 1;
        let block = |i: usize| DownEncoderBlock {
            resnets: (0..config.layers_per_block)
                .map(|j| {
                    let d_input = if j == 0 { channels[i.saturating_sub(1)] } else { channels[i] };
                    config.resnet(d_input, channels[i]).init(device)
                })
                .collect(),
            downsamplers: (i < last)
                .then(|| Downsample::new(channels[i], Pad::End, device))
                .into_iter()
                .collect(),
        };
        Self {
            conv_in: conv3x3([config.in_channels, channels[0]], device),
            down_blocks: (0..=last).map(block).collect(),
            mid_block: MidBlock::new(config, device),
            conv_norm_out: GroupNormConfig::new(config.norm_num_groups, channels[last])
                .with_epsilon(NORM_EPS)
                .init(device),
            conv_out: conv3x3([channels[last], 2 * config.latent_channels], device),
        }
    }

    /// # Shapes
    ///
    /// - `picture`: `[batch, in_channels, height, width]`, in `[-1, 1]`
    /// - output: `[batch, 2 * latent_channels, height / f, width / f]`
    pub fn forward(&self, picture: Tensor<4>) -> Tensor<4> {
        let mut x = convolve(&self.conv_in, like(picture, &self.conv_in.weight.val()));
        for block in &self.down_blocks {
            for resnet in &block.resnets {
                x = resnet.forward(x, None, &Scope::bare());
            }
            for downsampler in &block.downsamplers {
                x = downsampler.forward(x, &Scope::bare());
            }
        }
        let x = self.mid_block.forward(x);
        convolve(&self.conv_out, silu(group_norm(&self.conv_norm_out, x)))
    }
}
