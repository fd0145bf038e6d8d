//! Halving and doubling of pictures.

use burn::{
    module::Module,
    nn::{
        PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{
        Device, Tensor,
        module::interpolate,
        ops::{InterpolateMode, InterpolateOptions},
    },
};

use super::{conv3x3, frozen::frozen_with_lora};
use crate::scope::Scope;

/// Where a halving convolution pads by one pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pad {
    /// On all four sides, as the U-Net does.
    Around,
    /// Below and to the right, as the autoencoder does.
    End,
}

/// A 3x3 convolution of stride 2.
#[derive(Module, Debug)]
pub struct Downsample {
    conv: Conv2d,
}

impl Downsample {
    /// A fresh layer that keeps the number of channels.
    pub fn new(channels: usize, pad: Pad, device: &Device) -> Self {
        let padding = match pad {
            Pad::Around => PaddingConfig2d::Explicit(1, 1, 1, 1),
            Pad::End => PaddingConfig2d::Explicit(0, 0, 1, 1),
        };
        let conv = Conv2dConfig::new([channels, channels], [3, 3])
            .with_stride([2, 2])
            .with_padding(padding)
            .init(device);
        Self { conv }
    }

    /// # Shapes
    ///
    /// - `x`: `[batch, channels, height, width]`
    /// - output: half of both sides, rounded up with [`Pad::Around`], down with [`Pad::End`]
    pub(crate) fn forward(&self, x: Tensor<4>, scope: &Scope<'_>) -> Tensor<4> {
        scope.map(scope.conv("conv", &self.conv, x))
    }
}

/// Enlargement by the nearest pixel, then a 3x3 convolution.
#[derive(Module, Debug)]
pub struct Upsample {
    conv: Conv2d,
}

impl Upsample {
    /// A fresh layer that keeps the number of channels.
    pub fn new(channels: usize, device: &Device) -> Self {
        Self { conv: conv3x3([channels, channels], device) }
    }

    /// # Shapes
    ///
    /// - `x`: `[batch, channels, height, width]`
    /// - `size`: height and width of the output, twice those of `x` but for an odd picture
    /// - output: `[batch, channels, size[0], size[1]]`
    pub(crate) fn forward(&self, x: Tensor<4>, size: [usize; 2], scope: &Scope<'_>) -> Tensor<4> {
        let run = move |block: &Self, x, scope: &Scope<'_>| {
            let options = InterpolateOptions::new(InterpolateMode::Nearest).with_output_size(size);
            scope.conv("conv", &block.conv, interpolate(x, options))
        };
        scope.map(frozen_with_lora(self, x, scope, run))
    }
}
