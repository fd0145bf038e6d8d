//! Weights of frozen linear layers in 8 bits.
//!
//! A weight is `s q` with a whole number `q` from -127 to 127. The weights that one input has for
//! [`block`] neighbouring outputs share a scale, `s = max |w| / 127`, so that none is off by more
//! than half a step, `s / 2` (symmetric quantisation of weights alone, to the nearest; as in
//! Dettmers et al. 2022, arXiv:2208.07339, section 2.1, in smaller blocks). The scale is an f32:
//! a weight takes 9 bits in blocks of 32, and 10 in blocks of 16 (10 and 12 on the CPU backend, which
//! holds the scales twice).
//!
//! Only storage is in 8 bits. A layer turns its matrix back into numbers where it is used and
//! computes in the format of what it is given. On the tape it keeps the 8 bits and does so again in
//! the backward pass: a dense copy of each matrix, kept until then, would be the whole network.

use burn::{
    module::Param,
    nn::Linear,
    tensor::{
        DType, Tensor, TensorData,
        module::linear as product,
        quantization::{QuantScheme, QuantValue, ScaleDtype},
    },
};

use crate::{derivative::with_derivative, device::is_cpu, fused, precision::to};

/// The largest `q`.
const LARGEST: f32 = 127.0;

/// How many neighbouring outputs share a scale in a matrix for `d_output` of them: 32, else 16.
/// None for a matrix that is kept as it is, whose outputs are no whole number of blocks.
pub fn block(d_output: usize) -> Option<usize> {
    [32, 16].into_iter().find(|block| d_output > 0 && d_output.is_multiple_of(*block))
}

/// The matrix `values` in 8 bits, as data of a tensor; none if [`block`] has none for it.
///
/// # Shapes
///
/// - `values`: `[d_input, d_output]`, row by row
///
/// # Panics
///
/// Panics if `values` are not as many as `shape` says, or one is not finite.
pub fn quantize(values: &[f32], shape: [usize; 2]) -> Option<TensorData> {
    assert_eq!(values.len(), shape[0] * shape[1], "values of a matrix of {shape:?}");
    let block = block(shape[1])?;
    let blocks = values.len() / block;
    // With room for the scales, which the data has behind its numbers: without it the buffer would
    // be doubled for them, and the CPU backend holds on to it.
    let mut numbers = Vec::with_capacity(values.len() + blocks * size_of::<f32>());
    let mut scales = Vec::with_capacity(blocks);
    for values in values.chunks_exact(block) {
        let largest = values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        assert!(largest.is_finite(), "a weight is not finite");
        let scale = largest / LARGEST;
        scales.push(scale);
        // Weights too small for a scale are zero, and so is their block.
        let steps = |value: f32| if scale > 0.0 { (value / scale).round() } else { 0.0 };
        numbers.extend(values.iter().map(|value| steps(*value).clamp(-LARGEST, LARGEST) as i8));
    }
    let size = u8::try_from(block).expect("a block of at most 32");
    let scheme =
        QuantScheme::default().with_value(QuantValue::Q8S).per_block([size], ScaleDtype::F32);
    Some(TensorData::quantized(numbers, shape, scheme, &scales, None))
}

/// Whether the numbers of `x` are in 8 bits.
pub fn is_quantized<const D: usize>(x: &Tensor<D>) -> bool {
    matches!(x.dtype(), DType::QFloat(_))
}

/// The matrix `weight` in the format `dtype`.
fn dense(weight: &Tensor<2>, dtype: DType) -> Tensor<2> {
    if is_cpu(&weight.device()) {
        return fused::dequantized(weight, dtype);
    }
    to(weight.clone().dequantize(), dtype)
}

/// Applies `layer`, whose weight may be in 8 bits, in the format of `x`.
///
/// The gradient reaches `x`; a weight in 8 bits has none, and neither has the bias beside it.
///
/// # Shapes
///
/// - `x`: `[.., d_input]`
/// - output: `[.., d_output]`
pub fn linear<const D: usize>(layer: &Linear, x: Tensor<D>) -> Tensor<D> {
    let weight = layer.weight.val();
    if !is_quantized(&weight) {
        return layer.forward(x);
    }
    let dtype = x.dtype();
    let bias = layer.bias.as_ref().map(Param::val);
    let forward = |x, weight: &Tensor<2>| product(x, dense(weight, dtype), bias);
    if !x.is_tracked() {
        return forward(x, &weight);
    }
    let output = forward(x.clone().inner(), &weight);
    with_derivative([x], output, move |cotangent, _| {
        let dtype = cotangent.dtype();
        [Some(product(cotangent, dense(&weight, dtype).transpose(), None))]
    })
}

#[cfg(test)]
mod tests {
    use burn::{
        module::Module,
        nn::LinearConfig,
        tensor::{Device, TensorCreationOptions, Tolerance},
    };

    use super::*;
    use crate::{
        lora::{LoraDelta, linear_with_lora},
        noise::{Purpose, Stream, normal},
        testing,
    };

    fn random<const D: usize>(shape: [usize; D], index: u32, device: &Device) -> Tensor<D> {
        let count = shape.iter().product::<usize>();
        normal([1, count], [Stream::new(5, Purpose::Init, 0, index)], device).reshape(shape)
    }

    /// A layer, and the same one with its weight in 8 bits.
    fn layers(d_input: usize, d_output: usize, device: &Device) -> [Linear; 2] {
        let mut layer = LinearConfig::new(d_input, d_output).init(device);
        layer.weight = Param::from_tensor(random([d_input, d_output], 1, device)).no_grad();
        let values: Vec<f32> = layer.weight.val().into_data().iter::<f32>().collect();
        let data = quantize(&values, [d_input, d_output]).unwrap();
        let mut eight = layer.clone();
        let options = TensorCreationOptions::new(device.clone());
        eight.weight = Param::from_tensor(Tensor::from_data(data, options)).no_grad();
        [layer, eight]
    }

    #[test]
    fn a_weight_is_off_by_half_a_step_at_most() {
        let device = testing::device();
        for (d_output, block) in [(64, 32), (48, 16), (112, 16)] {
            let [layer, eight] = layers(5, d_output, &device);
            assert!(is_quantized(&eight.weight.val()));
            let exact: Vec<f32> = layer.weight.val().into_data().iter::<f32>().collect();
            let found = dense(&eight.weight.val(), DType::F32).into_data();
            let found: Vec<f32> = found.iter::<f32>().collect();
            let mut worst = 0.0f32;
            for (exact, found) in exact.chunks(block).zip(found.chunks(block)) {
                let largest = exact.iter().fold(0.0f32, |a, b| a.max(b.abs()));
                let step = largest / LARGEST;
                for (exact, found) in exact.iter().zip(found) {
                    // Half a step, and the rounding of the product of scale and number.
                    let error = (exact - found).abs();
                    assert!(error <= 0.5 * step + 1e-6 * largest, "{error} of a step of {step}");
                    worst = worst.max(error / step);
                }
            }
            // The bound is reached: nothing finer was stored.
            assert!(worst > 0.4, "{worst}");
        }
    }

    /// Burn's own way back is the one of GPUs; on the CPU ours is the faster.
    #[test]
    fn both_ways_back_to_numbers_agree() {
        let device = testing::device();
        for d_output in [64, 48] {
            let [_, eight] = layers(7, d_output, &device);
            let weight = eight.weight.val();
            let expected = weight.clone().dequantize().into_data();
            dense(&weight, DType::F32).into_data().assert_eq(&expected, true);
            let half = dense(&weight, DType::BF16);
            assert_eq!(half.dtype(), DType::BF16);
            let expected = weight.dequantize().cast(DType::BF16).into_data();
            half.into_data().assert_eq(&expected, true);
        }
    }

    #[test]
    fn zeros_and_numbers_too_small_for_a_scale_are_zero() {
        let device = testing::device();
        let mut values = vec![0.0; 64];
        values[40] = f32::from_bits(1);
        let data = quantize(&values, [2, 32]).unwrap();
        let weight = Tensor::<2>::from_data(data, &device);
        assert_eq!(dense(&weight, DType::F32).abs().max().into_scalar::<f32>(), 0.0);
    }

    #[test]
    fn matrices_without_whole_blocks_are_left_alone() {
        for (d_output, expected) in
            [(0, None), (8, None), (24, None), (16, Some(16)), (96, Some(32)), (112, Some(16))]
        {
            assert_eq!(block(d_output), expected, "{d_output}");
            let data = quantize(&vec![1.0; 3 * d_output], [3, d_output]);
            assert_eq!(data.is_some(), expected.is_some(), "{d_output}");
        }
    }

    /// The output of a layer in 8 bits is that of a dense layer of the same rounded weights, in f32
    /// and in half precision, with and without an update.
    #[test]
    fn a_layer_computes_with_its_rounded_weights() {
        let device = testing::device();
        let [_, eight] = layers(24, 32, &device);
        let mut dense_layer = eight.clone();
        let rounded = dense(&eight.weight.val(), DType::F32);
        dense_layer.weight = Param::from_tensor(rounded).no_grad();
        let x = random([2, 3, 24], 2, &device);
        let delta = LoraDelta {
            down_aux: None,
            down: random([2, 24, 4], 3, &device),
            up: Some(random([2, 4, 32], 4, &device)),
            up_aux: None,
            scale: 0.5,
        };
        for deltas in [&[][..], std::slice::from_ref(&delta)] {
            let found = linear_with_lora(&eight, x.clone(), deltas);
            let expected = linear_with_lora(&dense_layer, x.clone(), deltas);
            found
                .into_data()
                .assert_approx_eq::<f32>(&expected.into_data(), Tolerance::absolute(1e-4));
        }
        let bias = eight.bias.map(|bias| bias.map(|bias| bias.cast(DType::BF16)));
        let eight = Linear { bias, ..eight };
        let half = linear(&eight, x.clone().cast(DType::BF16));
        assert_eq!(half.dtype(), DType::BF16);
        let expected = dense_layer.forward(x);
        let error = testing::distance(half.cast(DType::F32), expected.clone());
        let largest: f32 = expected.abs().max().into_scalar();
        assert!(error > 0.0 && error < 0.02 * largest, "{error} of {largest}");
    }

    /// The gradient through 8 bits is that through the dense rounded weights; of the input's own
    /// rank, whatever it is, and inside of a recomputed part too.
    #[test]
    fn the_gradient_reaches_the_input_and_not_the_weight() {
        let device = testing::device();
        let [_, eight] = layers(24, 32, &device);
        let rounded = dense(&eight.weight.val(), DType::F32);
        let weights = random([2, 3, 32], 7, &device);
        let gradient = |run: &dyn Fn(Tensor<3>) -> Tensor<3>| {
            let x = random([2, 3, 24], 6, &device).autodiff().require_grad();
            let output = run(x.clone());
            let gradients = (output.square() * weights.clone()).sum().backward();
            x.grad(&gradients).unwrap()
        };
        let bias = eight.bias.as_ref().map(Param::val);
        let expected = gradient(&|x| product(x, rounded.clone(), bias.clone()));
        let size: f32 = expected.clone().abs().max().into_scalar();
        let found = gradient(&|x| linear(&eight, x));
        assert!(testing::distance(found, expected.clone()) < 1e-5 * size);
        let recomputed = gradient(&|x| {
            let layer = eight.clone();
            let part = move |[x]: [Tensor<4>; 1]| linear(&layer, x);
            crate::recompute::recompute([x.unsqueeze_dim(0)], part).squeeze_dim(0)
        });
        assert!(testing::distance(recomputed, expected) < 1e-5 * size);
        assert_eq!(eight.num_params(), 24 * 32 + 32);
        assert!(!eight.weight.val().is_tracked());
    }

    /// Central differences of a smooth function of the input.
    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let device = testing::cpu();
        let [_, eight] = layers(4, 16, &device);
        let bias = eight.bias.map(|bias| bias.map(|bias| bias.cast(DType::F64)));
        let eight = Linear { bias, ..eight };
        let x = random([1, 4], 8, &device).cast(DType::F64);
        let f = |x: Tensor<2>| linear(&eight, x).sin().sum();
        let leaf = x.clone().autodiff().require_grad();
        let gradient = leaf.grad(&f(leaf.clone()).backward()).unwrap();
        let gradient: Vec<f64> = gradient.into_data().iter::<f64>().collect();
        let h = 1e-5;
        for (i, found) in gradient.iter().enumerate() {
            let mut step = vec![0.0; 4];
            step[i] = h;
            let step = Tensor::<2>::from_data(TensorData::new(step, [1, 4]), (&device, DType::F64));
            let [up, down] = [x.clone() + step.clone(), x.clone() - step];
            let expected = (f(up).into_scalar::<f64>() - f(down).into_scalar::<f64>()) / (2.0 * h);
            assert!((found - expected).abs() < 1e-6, "{found}, {expected}");
        }
    }
}
