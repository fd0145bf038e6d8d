//! 3x3 convolutions whose weights are trained.

use burn::{
    nn::conv::Conv2d,
    tensor::{Tensor, module::conv_transpose2d, ops::ConvTransposeOptions},
};

use crate::derivative::with_derivative;

/// Applies a convolution.
///
/// Burn's CPU backend takes the gradient of the weights as a convolution with a kernel as large
/// as the picture, which costs several forward passes. Where the weights are tracked, and the
/// layer is one of 3x3 that keeps the picture's size, it is one product of matrices here: the
/// gradient of the output times the nine shifted pictures.
///
/// # Shapes
///
/// - `x`: `[batch, channels_in, height, width]`
/// - output: `[batch, channels_out, height, width]`, smaller for a layer with strides
pub fn convolve(conv: &Conv2d, x: Tensor<4>) -> Tensor<4> {
    let weight = conv.weight.val();
    if !weight.is_tracked() || !keeps_size(conv) || !on_cpu(&weight) {
        return conv.forward(x);
    }
    let bias = conv.bias.as_ref().map(|bias| bias.val());
    let plain = |x: &Tensor<4>| if x.is_autodiff() { x.clone().inner() } else { x.clone() };
    let kept = [plain(&x), plain(&weight)];
    let frozen = Conv2d { bias: None, ..conv.clone() };
    let frozen = Conv2d { weight: frozen.weight.map(Tensor::inner), ..frozen };
    let output = frozen.forward(kept[0].clone());
    let output = with_derivative([x, weight], output, move |cotangent, [of_x, of_weight]| {
        let [x, weight] = kept.clone();
        let d_x = of_x.then(|| {
            let options = ConvTransposeOptions::new([1, 1], [1, 1], [0, 0], [1, 1], 1);
            conv_transpose2d(cotangent.clone(), weight, None, options)
        });
        [d_x, of_weight.then(|| weight_gradient(x, cotangent))]
    });
    match bias {
        Some(bias) => {
            let [channels] = bias.dims();
            output + bias.reshape([1, channels, 1, 1])
        }
        None => output,
    }
}

fn keeps_size(conv: &Conv2d) -> bool {
    conv.kernel_size == [3, 3]
        && conv.stride == [1, 1]
        && conv.dilation == [1, 1]
        && conv.groups == 1
        && conv.padding == burn::nn::PaddingConfig2d::Explicit(1, 1, 1, 1)
}

/// GPUs have kernels for these gradients.
fn on_cpu(weight: &Tensor<4>) -> bool {
    #[cfg(feature = "flex")]
    return weight.clone().inner().try_into_primitive::<burn::backend::Flex>().is_ok();
    #[cfg(not(feature = "flex"))]
    {
        let _ = weight;
        false
    }
}

/// # Shapes
///
/// - `x`: `[batch, channels_in, height, width]`
/// - `cotangent`: `[batch, channels_out, height, width]`
/// - output: `[channels_out, channels_in, 3, 3]`
fn weight_gradient(x: Tensor<4>, cotangent: Tensor<4>) -> Tensor<4> {
    let [batch, inputs, height, width] = x.dims();
    let [_, outputs, _, _] = cotangent.dims();
    let padded = x.pad((1, 1, 1, 1), 0.0);
    let cotangent = cotangent.reshape([batch, outputs, height * width]);
    // One shift at a time: all nine side by side would not fit into the cache.
    let products = (0..3).flat_map(|top| (0..3).map(move |left| (top, left))).map(|(top, left)| {
        let shifted =
            padded.clone().slice([0..batch, 0..inputs, top..top + height, left..left + width]);
        let shifted = shifted.reshape([batch, inputs, height * width]).swap_dims(1, 2);
        cotangent.clone().matmul(shifted).sum_dim(0)
    });
    let products: Tensor<3> = Tensor::cat(products.collect(), 0);
    products.permute([1, 2, 0]).reshape([outputs, inputs, 3, 3])
}
