//! Self-attention at the autoencoder's coarsest resolution.

use burn::{
    module::Module,
    nn::{GroupNorm, GroupNormConfig, Linear, LinearConfig},
    tensor::{Device, Tensor},
};
use hyperalign_core::{attention::attention, precision::group_norm};

use super::mid::NORM_EPS;
use crate::blocks::frozen;

/// Attention of the pixels of a feature map to each other, one head as wide as the map has
/// channels, beside a shortcut.
#[derive(Module, Debug)]
pub struct PixelAttention {
    group_norm: GroupNorm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: [Linear; 1],
}

impl PixelAttention {
    /// A fresh attention over `channels`.
    pub fn new(channels: usize, norm_groups: usize, device: &Device) -> Self {
        let projection = || LinearConfig::new(channels, channels).init(device);
        let norm = GroupNormConfig::new(norm_groups, channels).with_epsilon(NORM_EPS);
        Self {
            group_norm: norm.init(device),
            to_q: projection(),
            to_k: projection(),
            to_v: projection(),
            to_out: [projection()],
        }
    }

    /// # Shapes
    ///
    /// - `x`: `[batch, channels, height, width]`
    /// - output: the same
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        frozen(self, [x], |block, [x]| block.run(x))
    }

    fn run(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = x.dims();
        let pixels =
            group_norm(&self.group_norm, x.clone()).reshape([batch, channels, height * width]);
        let tokens = pixels.swap_dims(1, 2);
        let [q, k, v] = [&self.to_q, &self.to_k, &self.to_v]
            .map(|projection| projection.forward(tokens.clone()).unsqueeze_dim(1));
        let out: Tensor<3> = attention(q, k, v, None).squeeze_dim(1);
        let out = self.to_out[0].forward(out);
        x + out.swap_dims(1, 2).reshape([batch, channels, height, width])
    }
}
