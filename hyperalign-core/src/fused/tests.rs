use crate::testing;
use burn::{
    module::Module,
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

/// A convolution of `kernel`, `stride` and `padding` on pictures of `size`, with its gradients, beside
/// burn's.
fn assert_convolution(
    channels: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: PaddingConfig2d,
    size: [usize; 2],
) {
    let case = format!("{channels:?} {kernel:?} {stride:?} {padding:?} {size:?}");
    let device = testing::cpu().autodiff();
    let conv =
        Conv2dConfig::new(channels, kernel).with_stride(stride).with_padding(padding).init(&device);
    let x = random([3, channels[0], size[0], size[1]], 3).autodiff().require_grad();
    let run = |f: &dyn Fn() -> Tensor<4>| {
        let output = f();
        let gradients = (output.clone() * random(output.dims(), 4)).sum().backward();
        let bias = conv.bias.as_ref().unwrap().val().grad(&gradients).unwrap();
        let weight = conv.weight.val().grad(&gradients).unwrap();
        (output.inner(), x.grad(&gradients).unwrap(), weight, bias)
    };
    let ours = run(&|| convolve(&conv, x.clone()));
    let burns = run(&|| conv.forward(x.clone()));
    assert_eq!(ours.0.dims(), burns.0.dims(), "{case}");
    assert_close(&ours.0, &burns.0, 1e-5);
    assert_close(&ours.1, &burns.1, 1e-5);
    assert_close(&ours.2, &burns.2, 2e-5);
    assert_close(&ours.3, &burns.3, 1e-5);
    let plain = conv.clone().no_grad();
    assert_close(&convolve(&plain, x.clone()).inner(), &burns.0, 1e-5);
}

#[test]
fn convolutions_of_all_kinds_are_burns() {
    let padding = PaddingConfig2d::Explicit;
    // Sizes that keep to one tile and that do not, more channels than a thread's block.
    assert_convolution([3, 5], [3, 3], [1, 1], padding(1, 1, 1, 1), [6, 4]);
    assert_convolution([20, 7], [3, 3], [1, 1], padding(1, 1, 1, 1), [40, 33]);
    assert_convolution([130, 3], [3, 3], [1, 1], padding(1, 1, 1, 1), [17, 19]);
    assert_convolution([9, 4], [1, 1], [1, 1], PaddingConfig2d::Valid, [5, 7]);
    assert_convolution([4, 6], [3, 3], [2, 2], padding(1, 1, 1, 1), [8, 11]);
    // As Stable Diffusion's autoencoder makes pictures smaller.
    assert_convolution([4, 6], [3, 3], [2, 2], padding(0, 0, 1, 1), [8, 8]);
    assert_convolution([2, 3], [4, 2], [4, 2], PaddingConfig2d::Valid, [12, 9]);
    assert_convolution([2, 3], [5, 1], [1, 1], padding(0, 2, 3, 0), [6, 5]);
    // A kernel that is larger than what it may see of the picture.
    assert_convolution([2, 2], [3, 3], [1, 1], padding(1, 1, 1, 1), [1, 1]);
}

#[test]
fn the_gradient_of_weights_does_not_depend_on_the_number_of_threads() {
    let gradient = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let device = testing::cpu().autodiff();
            device.seed(7);
            let conv = Conv2dConfig::new([33, 5], [3, 3])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .with_bias(false)
                .init(&device);
            let loss = convolve(&conv, random([4, 33, 16, 16], 3).autodiff()).square().sum();
            conv.weight.val().grad(&loss.backward()).unwrap().into_data()
        })
    };
    assert_eq!(gradient(1), gradient(5));
}

#[test]
fn the_gradient_of_a_convolution_follows_finite_differences() {
    let device = testing::cpu().autodiff();
    let conv = Conv2dConfig::new([2, 2], [3, 3])
        .with_stride([2, 2])
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
        .init(&device);
    let x = random([1, 2, 5, 4], 3);
    let loss = |x: Tensor<4>| (convolve(&conv, x.autodiff()) * random([1, 2, 3, 2], 5)).sum();
    let tracked = x.clone().autodiff().require_grad();
    let of_tracked = (convolve(&conv, tracked.clone()) * random([1, 2, 3, 2], 5)).sum();
    let gradient = tracked.grad(&of_tracked.backward()).unwrap();
    let direction = random([1, 2, 5, 4], 6);
    let along: f32 = (gradient * direction.clone()).sum().into_scalar();
    let at = |step: f64| loss(x.clone() + direction.clone() * step).inner().into_scalar::<f32>();
    let difference = (at(0.5) - at(-0.5)) / 1.0;
    assert!((along - difference).abs() < 1e-4, "{along} and {difference}");
}
