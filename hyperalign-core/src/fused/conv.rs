//! Convolutions, with their derivative as one node of the tape.

use burn::{nn::conv::Conv2d, tensor::Tensor};

/// Applies a convolution.
///
/// Burn's CPU backend rearranges every picture number by number, and takes the gradient of the
/// weights as a convolution with a kernel as large as the picture. On the CPU and in f32 all three
/// convolutions are products of matrices here; a layer with groups, dilation or `Same` padding is
/// burn's.
///
/// # Shapes
///
/// - `x`: `[batch, channels_in, height, width]`
/// - output: `[batch, channels_out, height, width]`, smaller for a layer with strides
pub fn convolve(conv: &Conv2d, x: Tensor<4>) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if let Some(output) = on_cpu::convolve(conv, &x) {
        return output;
    }
    conv.forward(x)
}

#[cfg(feature = "flex")]
mod on_cpu {
    use burn::{
        nn::{PaddingConfig2d, conv::Conv2d},
        tensor::Tensor,
    };

    use super::super::{
        convolution::{self, Geometry},
        cpu::{Numbers, arrived, filled, plain},
    };
    use crate::derivative::with_derivative;

    pub fn convolve(conv: &Conv2d, x: &Tensor<4>) -> Option<Tensor<4>> {
        let weight = conv.weight.val();
        let bias = conv.bias.as_ref().map(|bias| bias.val());
        let geometry = geometry(conv, x.dims(), weight.dims())?;
        let (of_x, of_weight) = (Numbers::of(plain(x))?, Numbers::of(plain(&weight))?);
        let of_bias = match &bias {
            Some(bias) => Some(Numbers::of(plain(bias))?),
            None => None,
        };
        let [height, width] = geometry.output;
        let shape = [geometry.batch, geometry.outputs, height, width];
        let output = filled(x, shape, |y| {
            let bias = of_bias.as_ref().map(Numbers::slice);
            convolution::forward(&geometry, of_x.slice(), of_weight.slice(), bias, y);
        });
        let is_recorded = bias.as_ref().is_some_and(Tensor::is_autodiff);
        if !(is_recorded || x.is_autodiff() || weight.is_autodiff()) {
            return Some(output);
        }
        // What is frozen asks for no gradient, and its picture need not be kept.
        let of_x = weight.is_tracked().then_some(of_x);
        let channels = geometry.outputs;
        let d_x = move |cotangent: &Tensor<4>| {
            let arrived = arrived(cotangent.clone());
            let [height, width] = geometry.input;
            let shape = [geometry.batch, geometry.inputs, height, width];
            filled(cotangent, shape, |d_x| {
                if geometry.stride == [1, 1] {
                    let weight = convolution::turned_weights(&geometry, of_weight.slice());
                    convolution::forward(&geometry.turned(), arrived.slice(), &weight, None, d_x);
                } else {
                    convolution::scatter(&geometry, arrived.slice(), of_weight.slice(), d_x);
                }
            })
        };
        let d_weight = move |cotangent: &Tensor<4>| {
            let of_x = of_x.as_ref().expect("kept for weights that are trained");
            let arrived = arrived(cotangent.clone());
            let shape = [geometry.outputs, geometry.inputs, geometry.kernel[0], geometry.kernel[1]];
            filled(cotangent, shape, |d_weight| {
                convolution::weight_gradient(&geometry, of_x.slice(), arrived.slice(), d_weight);
            })
        };
        let Some(bias) = bias else {
            let inputs = [x.clone(), weight];
            return Some(with_derivative(inputs, output, move |cotangent, [x, weight]| {
                [x.then(|| d_x(&cotangent)), weight.then(|| d_weight(&cotangent))]
            }));
        };
        let inputs = [x.clone(), weight, bias.reshape([1, channels, 1, 1])];
        Some(with_derivative(inputs, output, move |cotangent, [x, weight, bias]| {
            let d_bias = || cotangent.clone().sum_dim(3).sum_dim(2).sum_dim(0);
            [x.then(|| d_x(&cotangent)), weight.then(|| d_weight(&cotangent)), bias.then(d_bias)]
        }))
    }

    /// The sizes of the layer on pictures of `input`, if this module computes it.
    fn geometry(conv: &Conv2d, input: [usize; 4], weight: [usize; 4]) -> Option<Geometry> {
        let [top, left, bottom, right] = match conv.padding {
            PaddingConfig2d::Valid => [0; 4],
            PaddingConfig2d::Explicit(top, left, bottom, right) => [top, left, bottom, right],
            PaddingConfig2d::Same => return None,
        };
        let [batch, channels, height, width] = input;
        let [outputs, inputs, rows, columns] = weight;
        if conv.groups != 1 || conv.dilation != [1, 1] || inputs != channels {
            return None;
        }
        let places = |size: usize, kernel: usize, stride: usize| {
            Some(size.checked_sub(kernel)? / stride + 1)
        };
        let output = [
            places(height + top + bottom, rows, conv.stride[0])?,
            places(width + left + right, columns, conv.stride[1])?,
        ];
        Some(Geometry {
            batch,
            inputs,
            outputs,
            input: [height, width],
            output,
            kernel: [rows, columns],
            stride: conv.stride,
            before: [top as isize, left as isize],
        })
    }
}
