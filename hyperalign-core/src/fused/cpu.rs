//! The fused operations on the CPU backend, with their derivatives.

use burn::{
    backend::{Flex, tensor::FloatTensor},
    tensor::{DType, Tensor, TensorData},
};

use super::kernels::{by_rows, dot, exp, largest, normal, sigmoid, sum};
use crate::derivative::with_derivative;

/// The numbers of a tensor of the CPU backend, in order.
#[derive(Clone)]
pub(super) struct Numbers(FloatTensor<Flex>);

impl Numbers {
    /// The numbers of a plain tensor; `None` for another backend or precision.
    pub(super) fn of<const D: usize>(tensor: Tensor<D>) -> Option<Self> {
        if tensor.dtype() != DType::F32 {
            return None;
        }
        let tensor = tensor.try_into_primitive::<Flex>().ok()?.to_contiguous();
        // A narrowed view may be in order and still not begin where its buffer does.
        let (size, layout) = (tensor.layout().num_elements(), tensor.layout());
        if layout.start_offset() + size > tensor.storage::<f32>().len() {
            return None;
        }
        Some(Self(tensor))
    }

    pub(super) fn slice(&self) -> &[f32] {
        let layout = self.0.layout();
        &self.0.storage()[layout.start_offset()..][..layout.num_elements()]
    }
}

/// Off the tape.
pub(super) fn plain<const D: usize>(x: &Tensor<D>) -> Tensor<D> {
    if x.is_autodiff() { x.clone().inner() } else { x.clone() }
}

/// A new tensor on the device of `x`, filled by `fill`.
pub(super) fn filled<const D: usize>(
    x: &Tensor<D>,
    shape: [usize; D],
    fill: impl FnOnce(&mut [f32]),
) -> Tensor<D> {
    let mut values = vec![0.0; shape.iter().product()];
    fill(&mut values);
    Tensor::from_data(TensorData::new(values, shape), (&plain(x).device(), DType::F32))
}

/// The gradient that arrives, which has the backend and precision of what went out.
pub(super) fn arrived<const D: usize>(cotangent: Tensor<D>) -> Numbers {
    Numbers::of(cotangent).expect("a gradient lives where its tensor does")
}

pub(super) fn silu<const D: usize>(x: &Tensor<D>) -> Option<Tensor<D>> {
    each(
        x,
        |x| x * sigmoid(x),
        |x| {
            let s = sigmoid(x);
            s * (1.0 + x * (1.0 - s))
        },
    )
}

pub(super) fn gelu<const D: usize>(x: &Tensor<D>) -> Option<Tensor<D>> {
    each(
        x,
        |x| x * normal(x).0,
        |x| {
            let (distribution, density) = normal(x);
            distribution + x * density
        },
    )
}

pub(super) fn gelu_tanh<const D: usize>(x: &Tensor<D>) -> Option<Tensor<D>> {
    // sqrt(8 / pi): half of one plus the tanh of half a number is the sigmoid of the number.
    const SCALE: f32 = 1.595_769_2;
    const CUBE: f32 = 0.044_715;
    each(
        x,
        |x| x * sigmoid(SCALE * x * (1.0 + CUBE * x * x)),
        |x| {
            let s = sigmoid(SCALE * x * (1.0 + CUBE * x * x));
            s + x * s * (1.0 - s) * SCALE * (1.0 + 3.0 * CUBE * x * x)
        },
    )
}

/// A function of each element, and its derivative.
fn each<const D: usize>(
    x: &Tensor<D>,
    function: impl Fn(f32) -> f32 + Sync,
    derivative: impl Fn(f32) -> f32 + Send + Sync + 'static,
) -> Option<Tensor<D>> {
    let numbers = Numbers::of(plain(x))?;
    let shape = x.dims();
    let output = filled(x, shape, |output| {
        by_rows([numbers.slice()], [1], output, 1, |[x], y| {
            for (x, y) in x.iter().zip(y) {
                *y = function(*x);
            }
        });
    });
    if !x.is_autodiff() {
        return Some(output);
    }
    Some(with_derivative([x.clone()], output, move |cotangent, _| {
        let arrived = arrived(cotangent.clone());
        let gradient = filled(&cotangent, shape, |gradient| {
            let inputs = [numbers.slice(), arrived.slice()];
            by_rows(inputs, [1, 1], gradient, 1, |[x, g], gradient| {
                for (gradient, (x, g)) in gradient.iter_mut().zip(x.iter().zip(g)) {
                    *gradient = g * derivative(*x);
                }
            });
        });
        [Some(gradient)]
    }))
}

pub(super) fn geglu(x: &Tensor<3>) -> Option<Tensor<3>> {
    let numbers = Numbers::of(plain(x))?;
    let [batch, tokens, width] = x.dims();
    let half = width / 2;
    let output = filled(x, [batch, tokens, half], |output| {
        by_rows([numbers.slice()], [width], output, half, |[x], y| {
            for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(half)) {
                let (hidden, gate) = x.split_at(half);
                for (y, (hidden, gate)) in y.iter_mut().zip(hidden.iter().zip(gate)) {
                    *y = hidden * gate * normal(*gate).0;
                }
            }
        });
    });
    if !x.is_autodiff() {
        return Some(output);
    }
    // The tape joins tensors of one shape or another; only their rank is fixed.
    Some(with_derivative([x.clone()], output, move |cotangent, _| {
        let arrived = arrived(cotangent.clone());
        let gradient = filled(&cotangent, [batch, tokens, width], |gradient| {
            let inputs = [numbers.slice(), arrived.slice()];
            by_rows(inputs, [width, half], gradient, width, |[x, g], gradient| {
                let rows = x.chunks_exact(width).zip(g.chunks_exact(half));
                for ((x, g), gradient) in rows.zip(gradient.chunks_exact_mut(width)) {
                    let (hidden, gate) = x.split_at(half);
                    let (d_hidden, d_gate) = gradient.split_at_mut(half);
                    for i in 0..half {
                        let (distribution, density) = normal(gate[i]);
                        d_hidden[i] = g[i] * gate[i] * distribution;
                        d_gate[i] = g[i] * hidden[i] * (distribution + gate[i] * density);
                    }
                }
            });
        });
        [Some(gradient)]
    }))
}

pub(super) fn softmax<const D: usize>(x: &Tensor<D>) -> Option<Tensor<D>> {
    let numbers = Numbers::of(plain(x))?;
    let shape = x.dims();
    let row = shape[D - 1];
    if row == 0 {
        return None;
    }
    let output = filled(x, shape, |output| {
        by_rows([numbers.slice()], [row], output, row, |[x], y| {
            for (x, y) in x.chunks_exact(row).zip(y.chunks_exact_mut(row)) {
                let largest = largest(x);
                for (x, y) in x.iter().zip(y.iter_mut()) {
                    *y = exp(x - largest);
                }
                let scale = 1.0 / sum(y);
                y.iter_mut().for_each(|y| *y *= scale);
            }
        });
    });
    if !x.is_autodiff() {
        return Some(output);
    }
    let kept = Numbers::of(output.clone())?;
    Some(with_derivative([x.clone()], output, move |cotangent, _| {
        let arrived = arrived(cotangent.clone());
        let gradient = filled(&cotangent, shape, |gradient| {
            let inputs = [kept.slice(), arrived.slice()];
            by_rows(inputs, [row, row], gradient, row, |[y, g], gradient| {
                let rows = y.chunks_exact(row).zip(g.chunks_exact(row));
                for ((y, g), gradient) in rows.zip(gradient.chunks_exact_mut(row)) {
                    let mean = dot(y, g);
                    for (gradient, (y, g)) in gradient.iter_mut().zip(y.iter().zip(g)) {
                        *gradient = y * (g - mean);
                    }
                }
            });
        });
        [Some(gradient)]
    }))
}
