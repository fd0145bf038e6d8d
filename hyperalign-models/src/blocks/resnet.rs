//! The residual block of the U-Net and of the autoencoder.

use burn::{
    module::Module,
    nn::{GroupNorm, GroupNormConfig, Linear, LinearConfig, conv::Conv2d},
    tensor::{Device, Tensor},
};
use hyperalign_core::{fused::silu, precision::group_norm};

use super::{PointwiseConv, conv3x3, frozen::frozen_with_lora, zero_conv3x3};
use crate::scope::Scope;

/// The sizes of a [`ResnetBlock`].
#[derive(Debug, Clone, Copy)]
pub struct ResnetBlockConfig {
    /// Channels of the input.
    pub d_input: usize,
    /// Channels of the output.
    pub d_output: usize,
    /// Width of the time embedding, where the block reads one.
    pub d_time: Option<usize>,
    /// Groups of both norms.
    pub norm_groups: usize,
    /// Epsilon of both norms.
    pub norm_eps: f64,
}

impl ResnetBlockConfig {
    /// A fresh block. Its second convolution begins at zero.
    pub fn init(&self, device: &Device) -> ResnetBlock {
        let Self { d_input, d_output, .. } = *self;
        let norm = |channels| {
            GroupNormConfig::new(self.norm_groups, channels)
                .with_epsilon(self.norm_eps)
                .init(device)
        };
        ResnetBlock {
            norm1: norm(d_input),
            conv1: conv3x3([d_input, d_output], device),
            time_emb_proj: self.d_time.map(|dim| LinearConfig::new(dim, d_output).init(device)),
            norm2: norm(d_output),
            conv2: zero_conv3x3([d_output, d_output], device),
            conv_shortcut: (d_input != d_output)
                .then(|| PointwiseConv::new(d_input, d_output, device)),
        }
    }
}

/// Two convolutions beside a shortcut (He et al. 2016, arXiv:1603.05027), with the time embedding
/// added between them (Ho et al. 2020, arXiv:2006.11239, appendix B).
#[derive(Module, Debug)]
pub struct ResnetBlock {
    norm1: GroupNorm,
    conv1: Conv2d,
    time_emb_proj: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<PointwiseConv>,
}

impl ResnetBlock {
    /// `shortcut(x) + conv2(silu(norm2(conv1(silu(norm1(x))) + time)))`.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, d_input, height, width]`
    /// - `time`: `[batch, d_time]`, the time embedding after its activation, for a block that
    ///   reads one
    /// - output: `[batch, d_output, height, width]`
    pub(crate) fn forward(
        &self,
        x: Tensor<4>,
        time: Option<&Tensor<2>>,
        scope: &Scope<'_>,
    ) -> Tensor<4> {
        // A time embedding has a gradient where it is trained, or an update of it is.
        if time.is_some_and(Tensor::is_tracked) {
            return scope.map(self.run(x, time, scope));
        }
        let time = time.cloned();
        let run = move |block: &Self, x, scope: &Scope<'_>| block.run(x, time.as_ref(), scope);
        scope.map(frozen_with_lora(self, x, scope, run))
    }

    fn run(&self, x: Tensor<4>, time: Option<&Tensor<2>>, scope: &Scope<'_>) -> Tensor<4> {
        let hidden = silu(group_norm(&self.norm1, x.clone()));
        let hidden = scope.conv("conv1", &self.conv1, hidden);
        let hidden = match self.time_emb_proj.as_ref().zip(time) {
            Some((proj, time)) => {
                let shift = scope.linear_of_vector("time_emb_proj", proj, time.clone());
                let [batch, channels] = shift.dims();
                hidden + shift.reshape([batch, channels, 1, 1])
            }
            None => hidden,
        };
        let hidden = scope.conv("conv2", &self.conv2, silu(group_norm(&self.norm2, hidden)));
        let shortcut = match &self.conv_shortcut {
            Some(conv) => scope.pointwise_of_map("conv_shortcut", conv, x),
            None => x,
        };
        shortcut + hidden
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;
    use hyperalign_core::testing;

    use super::*;
    use crate::{blocks::is_large, testing::shaken};

    /// Two blocks one after the other, of the size from which on they are computed again.
    #[test]
    fn what_is_computed_again_has_exactly_the_gradient_of_what_is_kept() {
        let device = testing::device();
        let random =
            |shape: [usize; 4]| Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &device);
        let block = |d_input, d_output| {
            let config = ResnetBlockConfig {
                d_input,
                d_output,
                d_time: None,
                norm_groups: 2,
                norm_eps: 1e-6,
            };
            shaken(config.init(&device), 0.2)
        };
        let blocks = [block(4, 4), block(4, 6)];
        let (x, cotangent) = (random([1, 4, 256, 256]), random([1, 6, 256, 256]));
        assert!(is_large(&x));
        let run = |forward: fn(&ResnetBlock, Tensor<4>) -> Tensor<4>| {
            let leaf = x.clone().autodiff().require_grad();
            let output = blocks.iter().fold(leaf.clone(), |x, block| forward(block, x));
            let gradients = (output.clone() * cotangent.clone()).sum().backward();
            let gradient = leaf.grad(&gradients).expect("the blocks read their input");
            [output.inner().into_data(), gradient.into_data()]
        };
        let [output, gradient] = run(|block, x| block.forward(x, None, &Scope::bare()));
        let [kept_output, kept_gradient] = run(|block, x| block.run(x, None, &Scope::bare()));
        output.assert_eq(&kept_output, true);
        gradient.assert_eq(&kept_gradient, true);
    }
}
