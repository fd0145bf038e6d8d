use crate::testing;
use burn::{
    nn::{PaddingConfig2d, conv::Conv2dConfig},
    tensor::{Tensor, TensorData, activation},
};

use super::*;
use crate::noise::{Purpose, Stream, normal};

fn random<const D: usize>(shape: [usize; D], index: u32) -> Tensor<D> {
    let mut row = shape;
    row[0] = 1;
    let streams = (0..shape[0] as u32).map(|b| Stream::new(11, Purpose::Init, b, index));
    normal(row, streams, &testing::cpu())
}

/// Value and gradient of a function, both on the tape, and its value off the tape.
fn run<const D: usize>(x: &Tensor<D>, f: impl Fn(Tensor<D>) -> Tensor<D>) -> [Tensor<D>; 3] {
    let leaf = x.clone().autodiff().require_grad();
    let output = f(leaf.clone());
    let cotangent = random(output.dims(), 99);
    let gradients = (output.clone() * cotangent).sum().backward();
    [output.inner(), leaf.grad(&gradients).unwrap(), f(x.clone())]
}

fn assert_close<const D: usize>(a: &Tensor<D>, b: &Tensor<D>, tolerance: f32) {
    let difference: f32 = (a.clone() - b.clone()).abs().max().into_scalar();
    let scale: f32 = b.clone().abs().max().into_scalar();
    assert!(difference <= tolerance * scale, "{difference} of {scale}");
}

fn assert_same<const D: usize>(
    x: &Tensor<D>,
    ours: impl Fn(Tensor<D>) -> Tensor<D>,
    burns: impl Fn(Tensor<D>) -> Tensor<D>,
) {
    let [value, gradient, off_tape] = run(x, ours);
    let [expected, expected_gradient, _] = run(x, burns);
    assert_eq!(value.to_data(), off_tape.to_data(), "the tape changes no value");
    assert_close(&value, &expected, 2e-6);
    assert_close(&gradient, &expected_gradient, 2e-6);
}

#[test]
fn activations_are_burns() {
    // More than one piece of work, and not a multiple of anything.
    let x = random([3, 7, 1001], 0) * 3.0;
    assert_same(&x, silu, activation::silu);
    assert_same(&x, gelu, activation::gelu);
    assert_same(&x, gelu_tanh, activation::gelu_approximate);
    assert_same(&x, softmax, |x| activation::softmax(x, 2));
    let x = random([3, 41, 302], 1) * 2.0;
    assert_same(&x, geglu, |x| {
        let halves = x.chunk(2, 2);
        halves[0].clone() * activation::gelu(halves[1].clone())
    });
}

#[test]
fn views_are_read_where_they_begin() {
    let x = random([2, 6, 8], 2);
    let view = x.clone().narrow(1, 2, 3).swap_dims(1, 2);
    assert_same(&view, silu, activation::silu);
    let rows = x.narrow(0, 1, 1);
    assert_same(&rows, softmax, |x| activation::softmax(x, 2));
}

#[test]
fn extremes_stay_finite() {
    let values = [-1e30f32, -200.0, -88.0, -1e-30, 0.0, 1e-30, 88.0, 200.0, 1e15, 3.0];
    let x = Tensor::<3>::from_data(TensorData::new(values.to_vec(), [1, 1, 10]), &testing::cpu());
    for [value, gradient, _] in [run(&x, silu), run(&x, softmax)] {
        assert!(value.clone().is_finite().all().into_scalar::<bool>(), "{value}");
        assert!(gradient.clone().is_finite().all().into_scalar::<bool>(), "{gradient}");
    }
    let relative = silu(x.clone()) - x.clone().clamp_min(0.0);
    let relative: f32 = relative.abs().max().into_scalar();
    assert!(relative < 0.2, "silu is near a hinge: {relative}");
}

#[test]
fn nan_is_not_hidden() {
    let x = Tensor::<1>::from_data([f32::NAN, 1.0], &testing::cpu());
    let output: Vec<f32> = silu(x.clone()).into_data().iter().collect();
    assert!(output[0].is_nan() && !output[1].is_nan());
    let output: Vec<f32> = softmax(x).into_data().iter().collect();
    assert!(output.iter().all(|value| value.is_nan()));
}

#[test]
fn the_weights_of_a_convolution_get_burns_gradient() {
    let device = testing::cpu().autodiff();
    let conv = Conv2dConfig::new([3, 5], [3, 3])
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
        .init(&device);
    let x = random([2, 3, 6, 4], 3).autodiff().require_grad();
    let run = |f: &dyn Fn() -> Tensor<4>| {
        let output = f();
        let gradients = (output.clone() * random(output.dims(), 4)).sum().backward();
        let bias = conv.bias.as_ref().unwrap().val().grad(&gradients).unwrap();
        let weight = conv.weight.val().grad(&gradients).unwrap();
        (output.inner(), x.grad(&gradients).unwrap(), weight, bias)
    };
    let ours = run(&|| convolve(&conv, x.clone()));
    let burns = run(&|| conv.forward(x.clone()));
    assert_close(&ours.0, &burns.0, 1e-5);
    assert_close(&ours.1, &burns.1, 1e-5);
    assert_close(&ours.2, &burns.2, 1e-5);
    assert_close(&ours.3, &burns.3, 1e-5);
}
