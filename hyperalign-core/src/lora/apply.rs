//! Layers with their updates.

use burn::{
    nn::{Linear, conv::Conv2d},
    tensor::Tensor,
};

use super::LoraDelta;
use crate::{fused::convolve, quantized};

/// Applies `linear`, whose weight may be in 8 bits, shifted by the sum of `deltas` where there are
/// some.
///
/// # Shapes
///
/// - `x`: `[batch, tokens, d_input]`
/// - output: `[batch, tokens, d_output]`
pub fn linear_with_lora(linear: &Linear, x: Tensor<3>, deltas: &[LoraDelta]) -> Tensor<3> {
    match sum(deltas, |delta| delta.forward(x.clone())) {
        Some(shift) => quantized::linear(linear, x) + shift,
        None => quantized::linear(linear, x),
    }
}

/// Applies `conv`, shifted by the sum of `deltas` where there are some.
///
/// # Shapes
///
/// - `x`: `[batch, channels_in, height, width]`
/// - output: `[batch, channels_out, ...]`, as of the layer
pub fn conv_with_lora(conv: &Conv2d, x: Tensor<4>, deltas: &[LoraDelta]) -> Tensor<4> {
    match sum(deltas, |delta| delta.convolve(conv, x.clone())) {
        Some(shift) => convolve(conv, x) + shift,
        None => convolve(conv, x),
    }
}

/// The shifts are added up before the output of the layer: of two, either may come first.
fn sum<const D: usize>(
    deltas: &[LoraDelta],
    shift: impl Fn(&LoraDelta) -> Tensor<D>,
) -> Option<Tensor<D>> {
    deltas.iter().map(shift).reduce(|sum, shift| sum + shift)
}

#[cfg(test)]
mod tests {
    use burn::{
        nn::{LinearConfig, PaddingConfig2d, conv::Conv2dConfig},
        tensor::Tolerance,
    };

    use super::*;
    use crate::{
        noise::{Purpose, Stream, normal},
        testing,
    };

    fn random<const D: usize>(shape: [usize; D], index: u32) -> Tensor<D> {
        let count = shape.iter().product::<usize>();
        let stream = Stream::new(11, Purpose::Init, 0, index);
        normal([1, count], [stream], &testing::device()).reshape(shape)
    }

    fn delta([rows, d_input, rank, d_output]: [usize; 4], index: u32) -> LoraDelta {
        LoraDelta {
            down_aux: None,
            down: random([rows, d_input, rank], index),
            up: Some(random([rows, rank, d_output], index + 1)),
            up_aux: None,
            scale: 0.3,
        }
    }

    fn close<const D: usize>(found: Tensor<D>, expected: Tensor<D>) {
        found.into_data().assert_approx_eq::<f32>(&expected.into_data(), Tolerance::absolute(1e-4));
    }

    #[test]
    fn updates_of_one_layer_add_up_in_any_order() {
        let layer = LinearConfig::new(5, 4).init(&testing::device());
        let x = random([2, 3, 5], 0);
        // One that all samples share, and one for each of them.
        let (shared, own) = (delta([1, 5, 2, 4], 1), delta([2, 5, 3, 4], 3));
        let both = linear_with_lora(&layer, x.clone(), &[shared.clone(), own.clone()]);
        let turned = linear_with_lora(&layer, x.clone(), &[own.clone(), shared.clone()]);
        both.to_data().assert_eq(&turned.into_data(), true);
        let plain = layer.forward(x.clone());
        close(both, plain.clone() + shared.forward(x.clone()) + own.forward(x.clone()));
        linear_with_lora(&layer, x, &[]).into_data().assert_eq(&plain.into_data(), true);
    }

    #[test]
    fn an_update_of_a_whole_weight_is_added_to_it() {
        let layer = LinearConfig::new(5, 4).init(&testing::device());
        let (x, change) = (random([2, 3, 5], 0), random([5, 4], 1));
        let delta = LoraDelta { scale: 0.5, ..LoraDelta::whole(change.clone()) };
        let found = linear_with_lora(&layer, x.clone(), std::slice::from_ref(&delta));
        let mut merged = layer;
        merged.weight = merged.weight.map(|weight| weight + change * 0.5);
        close(found, merged.forward(x));
    }

    /// The update is laid into the kernel.
    fn merged(conv: &Conv2d, delta: &LoraDelta, row: usize) -> Conv2d {
        let dims = conv.weight.dims();
        let change = delta.change();
        let row = row.min(change.dims()[0] - 1);
        let change = change.narrow(0, row, 1).squeeze_dim::<2>(0).transpose().reshape(dims);
        let mut conv = conv.clone();
        conv.weight = conv.weight.map(|weight| weight + change);
        conv
    }

    #[test]
    fn an_update_of_a_convolution_is_that_of_its_kernel() {
        let device = testing::device();
        let kinds = [
            ([3, 3], [1, 1], PaddingConfig2d::Explicit(1, 1, 1, 1)),
            ([3, 3], [2, 2], PaddingConfig2d::Explicit(0, 0, 1, 1)),
            ([1, 1], [1, 1], PaddingConfig2d::Valid),
        ];
        for (kernel, stride, padding) in kinds {
            let config = Conv2dConfig::new([3, 4], kernel).with_stride(stride);
            let conv = config.with_padding(padding).init(&device);
            let x = random([2, 3, 6, 5], 20);
            let d_input = 3 * kernel[0] * kernel[1];
            let aux = LoraDelta {
                down_aux: Some(random([d_input, 6], 30)),
                up_aux: Some(random([5, 4], 31)),
                ..delta([2, 6, 2, 5], 32)
            };
            let whole = LoraDelta::whole(random([d_input, 4], 40));
            for delta in [delta([1, d_input, 2, 4], 21), delta([2, d_input, 2, 4], 23), aux, whole]
            {
                let found = conv_with_lora(&conv, x.clone(), std::slice::from_ref(&delta));
                for row in 0..2 {
                    let expected = merged(&conv, &delta, row).forward(x.clone().narrow(0, row, 1));
                    close(found.clone().narrow(0, row, 1), expected);
                }
            }
        }
    }
}
