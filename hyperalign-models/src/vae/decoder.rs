//! From latents to pictures.

use burn::{
    module::Module,
    nn::{GroupNorm, GroupNormConfig, conv::Conv2d},
    tensor::{DType, Device, Tensor},
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
    blocks::{ResnetBlock, Upsample, conv3x3, frozen},
    scope::Scope,
};

/// The decoder: the picture of latents.
#[derive(Module, Debug)]
pub struct Decoder {
    conv_in: Conv2d,
    mid_block: MidBlock,
    up_blocks: Vec<UpDecoderBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

/// One resolution: residual blocks, then a doubling unless it is the last.
#[derive(Module, Debug)]
pub struct UpDecoderBlock {
    resnets: Vec<ResnetBlock>,
    upsamplers: Vec<Upsample>,
}

impl Decoder {
    /// A fresh decoder.
    pub fn new(config: &AutoencoderKlConfig, device: &Device) -> Self {
        let channels = &config.block_out_channels;
        let last = channels.len() - 1;
        let block = |level: usize| UpDecoderBlock {
            resnets: (0..=config.layers_per_block)
                .map(|j| {
                    let below = if j == 0 { (level + 1).min(last) } else { level };
                    config.resnet(channels[below], channels[level]).init(device)
                })
                .collect(),
            upsamplers: (level > 0)
                .then(|| Upsample::new(channels[level], device))
                .into_iter()
                .collect(),
        };
        Self {
            conv_in: conv3x3([config.latent_channels, channels[last]], device),
            mid_block: MidBlock::new(config, device),
            up_blocks: (0..=last).rev().map(block).collect(),
            conv_norm_out: GroupNormConfig::new(config.norm_num_groups, channels[0])
                .with_epsilon(NORM_EPS)
                .init(device),
            conv_out: conv3x3([channels[0], config.out_channels], device),
        }
    }

    /// The number format of its weights.
    pub(super) fn dtype(&self) -> DType {
        self.conv_in.weight.val().dtype()
    }

    /// # Shapes
    ///
    /// - `latents`: `[batch, latent_channels, height, width]`, unscaled
    /// - output: `[batch, out_channels, height * f, width * f]`
    pub fn forward(&self, latents: Tensor<4>) -> Tensor<4> {
        let mut x = self
            .mid_block
            .forward(convolve(&self.conv_in, like(latents, &self.conv_in.weight.val())));
        for block in &self.up_blocks {
            for resnet in &block.resnets {
                x = resnet.forward(x, None, &Scope::bare());
            }
            for upsampler in &block.upsamplers {
                let [_, _, height, width] = x.dims();
                x = upsampler.forward(x, [2 * height, 2 * width], &Scope::bare());
            }
        }
        frozen(self, [x], |decoder, [x]| {
            convolve(&decoder.conv_out, silu(group_norm(&decoder.conv_norm_out, x)))
        })
    }
}
