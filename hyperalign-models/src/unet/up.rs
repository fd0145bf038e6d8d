//! One resolution on the way up.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};

use super::{
    config::UnetConfig,
    down::{resnet, transformer},
    pass::Pass,
    transformer::Transformer2d,
};
use crate::blocks::{ResnetBlock, Upsample};

/// Residual blocks that read what the way down left, each followed by a transformer where the
/// block attends, then a doubling.
///
/// In diffusers `UpBlock2D` and `CrossAttnUpBlock2D`: the former has no `attentions`, and the
/// last block no `upsamplers`.
#[derive(Module, Debug)]
pub struct UpBlock {
    attentions: Vec<Transformer2d>,
    resnets: Vec<ResnetBlock>,
    upsamplers: Vec<Upsample>,
}

impl UpBlock {
    /// Block `i` of the way up, which counts from the coarsest.
    pub fn new(config: &UnetConfig, i: usize, device: &Device) -> Self {
        let last = config.block_out_channels.len() - 1;
        let level = last - i;
        let width = |level: usize| config.block_out_channels[level];
        let channels = width(level);
        let layers = config.layers_per_block + 1;
        let resnet = |j: usize| {
            let below = if j == 0 { width((level + 1).min(last)) } else { channels };
            // The last skip of a level is the output of the level above it, or of `conv_in`.
            let skip = if j + 1 == layers { width(level.saturating_sub(1)) } else { channels };
            resnet(config, below + skip, channels)
        };
        let attentions = if config.up_block_types[i].attends() { layers } else { 0 };
        Self {
            resnets: (0..layers).map(|j| resnet(j).init(device)).collect(),
            attentions: (0..attentions).map(|_| transformer(config, level).init(device)).collect(),
            upsamplers: if level == 0 { Vec::new() } else { vec![Upsample::new(channels, device)] },
        }
    }

    /// Takes its skips from the end of `skips`.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, d_input, height, width]`
    /// - output: `[batch, channels, ...]`, as high and wide as the next skip, or as `x` in the
    ///   last block
    ///
    /// # Panics
    ///
    /// Panics if `skips` is too short.
    pub(super) fn forward(
        &self,
        mut x: Tensor<4>,
        pass: &Pass<'_>,
        skips: &mut Vec<Tensor<4>>,
    ) -> Tensor<4> {
        for (i, resnet) in self.resnets.iter().enumerate() {
            let skip = skips.pop().expect("the way down leaves one skip for each block up");
            let joined = Tensor::cat(vec![x, skip], 1);
            x = resnet.forward(joined, Some(pass.time), &pass.item("resnets", i));
            if let Some(attention) = self.attentions.get(i) {
                x = attention.forward(x, &pass.item("attentions", i));
            }
        }
        for (i, upsampler) in self.upsamplers.iter().enumerate() {
            let next = skips.last().expect("a block that doubles is not the last one");
            let [_, _, height, width] = next.dims();
            x = upsampler.forward(x, [height, width], &pass.item("upsamplers", i));
        }
        pass.map(x)
    }
}
