//! Operations that burn takes apart, or that its CPU backend computes one number at a time,
//! in one pass each.
//!
//! A small U-Net on a CPU spends more time in activations, softmax and the gradients of
//! convolution weights than in all its other arithmetic. On the CPU backend and in f32 these
//! functions run kernels of our own, on all threads, with a derivative of our own; everywhere
//! else they are burn's. Values agree to a few units of the last place, and do not depend on the
//! number of threads.

mod conv;
#[cfg(feature = "flex")]
mod convolution;
#[cfg(feature = "flex")]
mod cpu;
mod eight_bits;
#[cfg(feature = "flex")]
mod kernels;

pub use conv::convolve;
pub(crate) use eight_bits::dequantized;

use burn::tensor::{Tensor, activation};

use crate::precision::{in_f32, is_half};

/// `x sigmoid(x)` (Elfwing et al. 2017, arXiv:1702.03118), of each element.
pub fn silu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if let Some(output) = cpu::silu(&x) {
        return output;
    }
    activation::silu(x)
}

/// `x Phi(x)` with the distribution function of the standard normal (Hendrycks & Gimpel 2016,
/// arXiv:1606.08415), of each element.
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if let Some(output) = cpu::gelu(&x) {
        return output;
    }
    activation::gelu(x)
}

/// Gelu in its tanh form, `x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2` (Hendrycks & Gimpel
/// 2016, arXiv:1606.08415, section 2), of each element.
pub fn gelu_tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if let Some(output) = cpu::gelu_tanh(&x) {
        return output;
    }
    activation::gelu_approximate(x)
}

/// `a gelu(b)` with `a` the first and `b` the second half of the last axis, and gelu in its exact
/// form (Shazeer 2020, arXiv:2002.05202; Hendrycks & Gimpel 2016, arXiv:1606.08415).
///
/// # Shapes
///
/// - `x`: `[batch, tokens, 2 * dim]`
/// - output: `[batch, tokens, dim]`
///
/// # Panics
///
/// Panics if the last axis is odd.
pub fn geglu(x: Tensor<3>) -> Tensor<3> {
    let [_, _, width] = x.dims();
    assert!(width % 2 == 0, "an axis of {width} has no halves");
    #[cfg(feature = "flex")]
    if let Some(output) = cpu::geglu(&x) {
        return output;
    }
    let half = width / 2;
    let (hidden, gate) = (x.clone().narrow(2, 0, half), x.narrow(2, half, half));
    hidden * activation::gelu(gate)
}

/// Softmax along the last axis, accumulated in f32.
pub fn softmax<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if is_half(&x) {
        return in_f32(x, softmax);
    }
    #[cfg(feature = "flex")]
    if let Some(output) = cpu::softmax(&x) {
        return output;
    }
    activation::softmax(x, D - 1)
}

#[cfg(test)]
mod tests;
