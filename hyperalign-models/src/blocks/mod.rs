//! Building blocks that the U-Net and the autoencoder share.

mod frozen;
mod pointwise;
mod resample;
mod resnet;

pub use frozen::KEPT_NUMBERS;
pub(crate) use frozen::{frozen, is_large};
pub use pointwise::PointwiseConv;
pub use resample::{Downsample, Pad, Upsample};
pub use resnet::{ResnetBlock, ResnetBlockConfig};

use burn::nn::{
    Initializer, PaddingConfig2d,
    conv::{Conv2d, Conv2dConfig},
};
use burn::tensor::Device;

/// A 3x3 convolution that keeps the picture's size.
pub(crate) fn conv3x3(channels: [usize; 2], device: &Device) -> Conv2d {
    conv3x3_config(channels).init(device)
}

/// [`conv3x3`] that begins at zero: the residual branch that it ends says nothing at first, and
/// a deep network of such blocks begins as the identity (Goyal et al. 2017, arXiv:1706.02677,
/// section 5.1).
pub(crate) fn zero_conv3x3(channels: [usize; 2], device: &Device) -> Conv2d {
    conv3x3_config(channels).with_initializer(Initializer::Zeros).init(device)
}

fn conv3x3_config(channels: [usize; 2]) -> Conv2dConfig {
    Conv2dConfig::new(channels, [3, 3]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
}
