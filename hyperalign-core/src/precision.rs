//! Half precision: what is computed in f32 all the same, and tensors of one format.
//!
//! A network runs in the format of its weights. Norms and softmax sum many numbers, which eight
//! (bf16) or eleven (f16) bits do not hold; they widen to f32 and narrow their result, as PyTorch
//! does. Burn's own norms widen f16 only.

use burn::{
    nn::{GroupNorm, LayerNorm, RmsNorm},
    tensor::{DType, Tensor},
};

/// Whether the numbers of `x` have two bytes.
pub fn is_half<const D: usize>(x: &Tensor<D>) -> bool {
    matches!(x.dtype(), DType::F16 | DType::BF16)
}

/// `x` in the format of `other`.
pub fn like<const D: usize, const E: usize>(x: Tensor<D>, other: &Tensor<E>) -> Tensor<D> {
    to(x, other.dtype())
}

/// `x` in the format `dtype`.
pub fn to<const D: usize>(x: Tensor<D>, dtype: DType) -> Tensor<D> {
    if x.dtype() == dtype { x } else { x.cast(dtype) }
}

/// `f(x)`, computed in f32 where `x` is in half precision, in the format of `x`.
pub fn in_f32<const D: usize>(x: Tensor<D>, f: impl FnOnce(Tensor<D>) -> Tensor<D>) -> Tensor<D> {
    if !is_half(&x) {
        return f(x);
    }
    let dtype = x.dtype();
    f(x.cast(DType::F32)).cast(dtype)
}

/// Applies `norm`, accumulating in f32.
pub fn group_norm<const D: usize>(norm: &GroupNorm, x: Tensor<D>) -> Tensor<D> {
    if !is_half(&x) {
        return norm.forward(x);
    }
    let mut wide = norm.clone();
    wide.gamma = wide.gamma.map(|gamma| gamma.map(|gamma| gamma.cast(DType::F32)));
    wide.beta = wide.beta.map(|beta| beta.map(|beta| beta.cast(DType::F32)));
    in_f32(x, |x| wide.forward(x))
}

/// Applies `norm`, accumulating in f32.
pub fn layer_norm<const D: usize>(norm: &LayerNorm, x: Tensor<D>) -> Tensor<D> {
    if !is_half(&x) {
        return norm.forward(x);
    }
    let mut wide = norm.clone();
    wide.gamma = wide.gamma.map(|gamma| gamma.cast(DType::F32));
    wide.beta = wide.beta.map(|beta| beta.map(|beta| beta.cast(DType::F32)));
    in_f32(x, |x| wide.forward(x))
}

/// Applies `norm`. Burn's own accumulates in f32 whatever it is given; of f64, in f64.
pub fn rms_norm<const D: usize>(norm: &RmsNorm, x: Tensor<D>) -> Tensor<D> {
    if x.dtype() != DType::F64 {
        return norm.forward(x);
    }
    let mean = x.clone().square().mean_dim(D - 1).add_scalar(norm.epsilon);
    x / mean.sqrt() * norm.gamma.val().unsqueeze()
}

#[cfg(test)]
mod tests {
    use crate::testing;
    use burn::nn::{GroupNormConfig, LayerNormConfig};

    use super::*;
    use crate::noise::{Purpose, Stream, normal};

    /// Numbers far from zero, whose squares bf16 cannot add up.
    fn far() -> Tensor<4> {
        let streams = (0..2).map(|i| Stream::new(1, Purpose::Init, i, 0));
        normal([1, 8, 16, 16], streams, &testing::device()) + 30.0
    }

    fn difference<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> f32 {
        (to(a, DType::F32) - b).abs().max().into_scalar()
    }

    #[test]
    fn norms_of_bf16_are_those_of_f32_rounded_once() {
        let device = testing::device();
        let x = far().cast(DType::BF16);
        let exact = x.clone().cast(DType::F32);
        // The result is about 3, of which bf16 keeps eight bits.
        let rounding = 3.0 / 256.0 * 1.5;
        let groups = GroupNormConfig::new(2, 8).init(&device);
        let found = group_norm(&groups, x.clone());
        assert_eq!(found.dtype(), DType::BF16);
        assert!(difference(found, groups.forward(exact.clone())) < rounding);
        let layers = LayerNormConfig::new(16).init(&device);
        let found = layer_norm(&layers, x);
        assert!(difference(found, layers.forward(exact)) < rounding);
    }
}
