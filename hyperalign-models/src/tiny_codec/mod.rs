//! A small codec of the latents of Stable Diffusion 1.x: previews and cheap rewards.
//!
//! The architecture is that of VAElight (github.com/Graphnull/VAElight): convolutions and leaky
//! rectifiers only, about a fiftieth of the autoencoder's work. Fields carry the names of its
//! published graph. Latents here are those of the autoencoder, unscaled;
//! [`TinyDecoder`] as a [`Decoder`](hyperalign_core::contract::Decoder) takes scaled ones.

mod decoder;
mod encoder;

pub use decoder::TinyDecoder;
pub use encoder::TinyEncoder;

use burn::{
    nn::{
        PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig},
    },
    tensor::{Device, Tensor, activation::leaky_relu},
};

/// Factor of scaled latents, of SD 1.x.
const SCALING_FACTOR: f64 = 0.18215;

/// Channels of the latents.
const CHANNELS: usize = 4;
/// Pixels a side of one latent.
const SIDE: usize = 8;

/// Slope of the rectifiers below zero.
const SLOPE: f64 = 0.01;

fn rectify(x: Tensor<4>) -> Tensor<4> {
    leaky_relu(x, SLOPE)
}

/// A 3x3 convolution that keeps the picture's size.
fn keep(channels: [usize; 2], device: &Device) -> Conv2d {
    let padding = PaddingConfig2d::Explicit(1, 1, 1, 1);
    Conv2dConfig::new(channels, [3, 3]).with_padding(padding).init(device)
}

/// A convolution that halves the picture.
fn halve(channels: [usize; 2], device: &Device) -> Conv2d {
    Conv2dConfig::new(channels, [2, 2]).with_stride([2, 2]).init(device)
}

/// A convolution that doubles the picture.
fn double(channels: usize, device: &Device) -> ConvTranspose2d {
    ConvTranspose2dConfig::new([channels, channels], [2, 2]).with_stride([2, 2]).init(device)
}
