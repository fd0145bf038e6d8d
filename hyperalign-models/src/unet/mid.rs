//! The coarsest resolution.

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
use crate::blocks::ResnetBlock;

/// A transformer between two residual blocks: `UNetMidBlock2DCrossAttn` of diffusers.
#[derive(Module, Debug)]
pub struct MidBlock {
    attentions: [Transformer2d; 1],
    resnets: [ResnetBlock; 2],
}

impl MidBlock {
    /// The middle of the network.
    pub fn new(config: &UnetConfig, device: &Device) -> Self {
        let last = config.block_out_channels.len() - 1;
        let channels = config.block_out_channels[last];
        Self {
            attentions: [transformer(config, last).init(device)],
            resnets: std::array::from_fn(|_| resnet(config, channels, channels).init(device)),
        }
    }

    /// # Shapes
    ///
    /// - `x`: `[batch, channels, height, width]`
    /// - output: the shape of `x`
    pub(super) fn forward(&self, x: Tensor<4>, pass: &Pass<'_>) -> Tensor<4> {
        let [attention] = &self.attentions;
        let [before, after] = &self.resnets;
        let x = before.forward(x, Some(pass.time), &pass.item("resnets", 0));
        let x = attention.forward(x, &pass.item("attentions", 0));
        pass.map(after.forward(x, Some(pass.time), &pass.item("resnets", 1)))
    }
}
