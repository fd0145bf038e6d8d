//! Recomputation of a part of a network in the backward pass, as one node of the tape.
//!
//! Burn's own gradient checkpointing recomputes element-wise operations only, and none that has a
//! frozen operand: with a frozen base that is nearly all of them. Here the part is a closure. Its
//! forward pass runs off the tape and keeps its inputs alone; its backward pass runs it again on
//! the tape and goes back through that piece at once (Chen et al. 2016, arXiv:1604.06174).

use std::sync::Arc;

use burn::tensor::Tensor;

use crate::derivative::with_derivative;

type Part<const N: usize> = Arc<dyn Fn([Tensor<4>; N]) -> Tensor<4> + Send + Sync>;

/// `f(inputs)`, with nothing kept for the backward pass but `inputs`.
///
/// The value is that of `f` off the tape: that of the plain call bit for bit, unless `f` computes
/// otherwise there, as our attention and burn's own softmax do in the last digits. So is the
/// gradient of an input that is read at most twice; that of one that is read more often is a sum
/// whose terms are added in another order, those of `f` first. The price is a second forward pass
/// of `f` when the gradient is taken. Tensors of other ranks are passed with extents of 1.
///
/// # Panics
///
/// Panics if `f` captures a tracked tensor (its gradient would be lost: make it an input), and if
/// an input is on a device with burn's own gradient checkpointing.
pub fn recompute<const N: usize>(
    inputs: [Tensor<4>; N],
    f: impl Fn([Tensor<4>; N]) -> Tensor<4> + Send + Sync + 'static,
) -> Tensor<4> {
    if !inputs.iter().any(Tensor::is_tracked) {
        return f(inputs);
    }
    let part: Part<N> = Arc::new(f);
    let plain = inputs.clone().map(Tensor::inner);
    let output = part(plain.clone());
    assert!(!output.is_tracked(), "a recomputed part captures a tracked tensor: make it an input");
    with_derivative(inputs, output, move |cotangent, asked| {
        let leaves: [Tensor<4>; N] = std::array::from_fn(|k| {
            let input = plain[k].clone();
            if asked[k] { input.autodiff().require_grad() } else { input }
        });
        // The gradient of this sum is the pull-back of the cotangent.
        let mut inner = (part(leaves.clone()) * cotangent).sum().backward();
        std::array::from_fn(|k| {
            // A part may leave an input unread; the steps before it still ask for a gradient.
            asked[k].then(|| {
                let gradient = leaves[k].grad_remove(&mut inner);
                gradient.unwrap_or_else(|| leaves[k].clone().inner().zeros_like())
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fused::softmax,
        noise::{Purpose, Stream, normal},
        testing,
    };

    fn random(shape: [usize; 4], index: u32) -> Tensor<4> {
        normal(
            [1, shape[1], shape[2], shape[3]],
            (0..shape[0] as u32).map(|row| Stream::new(7, Purpose::Init, row, index)),
            &testing::device(),
        )
    }

    /// Reads `w` twice.
    fn part([x, w]: [Tensor<4>; 2]) -> Tensor<4> {
        softmax(x.matmul(w.clone())).matmul(w.transpose()).sin()
    }

    /// Reads `w` once.
    fn part_of_one_read([x, w]: [Tensor<4>; 2]) -> Tensor<4> {
        softmax(x.matmul(w)).sin()
    }

    /// Value and gradients of `parts` parts, one after the other, that share an input. The other
    /// is read beside them, too.
    fn run(
        f: impl Fn([Tensor<4>; 2]) -> Tensor<4>,
        parts: usize,
        tracked: [bool; 2],
    ) -> (Tensor<4>, Vec<Tensor<4>>) {
        let inputs = [random([2, 1, 3, 4], 0), random([2, 1, 4, 4], 1)];
        let mut leaves = inputs
            .into_iter()
            .zip(tracked)
            .map(|(input, tracked)| if tracked { input.autodiff().require_grad() } else { input });
        let (x, w) = (leaves.next().unwrap(), leaves.next().unwrap());
        let output = (0..parts).fold(x.clone() * 2.0, |x, _| f([x, w.clone()])) + x.clone();
        let grads = (output.clone() * random([2, 1, 3, 4], 2)).sum().backward();
        let grads = [x, w].iter().filter_map(|leaf| leaf.grad(&grads)).collect();
        (output.inner(), grads)
    }

    /// Largest difference of a gradient of recomputed parts from that of the plain calls, for each
    /// input that is tracked. Values are found to be equal.
    fn differences(
        f: fn([Tensor<4>; 2]) -> Tensor<4>,
        parts: usize,
        tracked: [bool; 2],
    ) -> Vec<f32> {
        let (plain, plain_grads) = run(f, parts, tracked);
        let (found, grads) = run(|inputs| recompute(inputs, f), parts, tracked);
        found.into_data().assert_eq(&plain.into_data(), true);
        assert_eq!(grads.len(), tracked.iter().filter(|tracked| **tracked).count());
        assert_eq!(grads.len(), plain_grads.len());
        let pairs = grads.into_iter().zip(plain_grads);
        pairs
            .map(|(found, plain)| {
                assert!(plain.clone().abs().max().into_scalar::<f32>() > 0.0);
                (found - plain).abs().max().into_scalar()
            })
            .collect()
    }

    const TRACKED: [[bool; 2]; 3] = [[true, true], [true, false], [false, true]];

    /// No input has more than two contributions to its gradient, whose sum has no order: two
    /// parts that read `w` once, and one that reads it twice.
    #[test]
    fn equals_the_plain_call_to_the_last_bit() {
        for tracked in TRACKED {
            for (f, parts) in [(part_of_one_read as fn(_) -> _, 2), (part, 1)] {
                for difference in differences(f, parts, tracked) {
                    assert_eq!(difference, 0.0, "{parts} parts, {tracked:?}");
                }
            }
        }
    }

    /// Two parts that read `w` twice: the plain tape adds one contribution after the other, here
    /// those of each part are added first, and sums of floats depend on their order.
    #[test]
    fn many_contributions_are_added_in_another_order() {
        for tracked in TRACKED {
            let mut differences = differences(part, 2, tracked);
            if tracked[1] {
                let difference = differences.pop().unwrap();
                assert!(difference <= 1e-6, "{difference}");
            }
            // That of `x` does not depend on it.
            assert!(differences.iter().all(|difference| *difference == 0.0), "{differences:?}");
        }
    }

    #[test]
    fn the_part_runs_again_only_for_a_gradient() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = {
            let calls = calls.clone();
            move |inputs: [Tensor<4>; 2]| {
                calls.fetch_add(1, Ordering::Relaxed);
                part(inputs)
            }
        };
        let (x, w) = (random([1, 1, 3, 4], 0), random([1, 1, 4, 4], 1));
        let plain = recompute([x.clone(), w.clone()], counted.clone());
        assert!(!plain.is_autodiff());
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        let output = recompute([x.autodiff().require_grad(), w], counted);
        assert_eq!(calls.load(Ordering::Relaxed), 2);
        output.sum().backward();
        assert_eq!(calls.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn an_unread_input_has_a_gradient_of_zero() {
        let x = random([1, 1, 2, 2], 0).autodiff().require_grad();
        let w = random([1, 1, 2, 2], 1).autodiff().require_grad();
        let output = recompute([x.clone(), w.clone() * 3.0], |[x, _]| x.square());
        let grads = output.sum().backward();
        assert!(x.grad(&grads).is_some());
        assert_eq!(w.grad(&grads).unwrap().abs().max().into_scalar::<f32>(), 0.0);
    }

    #[test]
    fn captured_tracked_tensors_are_found() {
        let w = random([1, 1, 4, 4], 1).autodiff().require_grad();
        let x = random([1, 1, 3, 4], 0).autodiff().require_grad();
        let call = move || recompute([x.clone()], move |[x]| part([x, w.clone()]));
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).unwrap_err();
        assert!(panic.downcast_ref::<&str>().unwrap().contains("make it an input"));
    }
}
