//! The coarsest resolution of the autoencoder.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};

use super::{attention::PixelAttention, config::AutoencoderKlConfig};
use crate::{blocks::ResnetBlock, scope::Scope};

/// Epsilon of every norm of the autoencoder.
pub(super) const NORM_EPS: f64 = 1e-6;

/// Two residual blocks, with attention between them where the configuration asks for it.
#[derive(Module, Debug)]
pub struct MidBlock {
    attentions: Vec<PixelAttention>,
    resnets: [ResnetBlock; 2],
}

impl MidBlock {
    /// The middle of an encoder or of a decoder.
    pub fn new(config: &AutoencoderKlConfig, device: &Device) -> Self {
        let channels = config.block_out_channels[config.block_out_channels.len() - 1];
        let attention = || PixelAttention::new(channels, config.norm_num_groups, device);
        Self {
            attentions: config.mid_block_add_attention.then(attention).into_iter().collect(),
            resnets: std::array::from_fn(|_| config.resnet(channels, channels).init(device)),
        }
    }

    /// # Shapes
    ///
    /// - `x`: `[batch, channels, height, width]`
    /// - output: the same
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [before, after] = &self.resnets;
        let mut x = before.forward(x, None, &Scope::bare());
        for attention in &self.attentions {
            x = attention.forward(x);
        }
        after.forward(x, None, &Scope::bare())
    }
}
