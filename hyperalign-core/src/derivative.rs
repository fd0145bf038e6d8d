//! Functions with a derivative of their own, as one node of the tape.

use std::{fmt, sync::Arc};

#[cfg(any(
    feature = "wgpu",
    feature = "vulkan",
    feature = "metal",
    feature = "rocm",
    feature = "cuda"
))]
use burn::backend::Cube;
#[cfg(feature = "flex")]
use burn::backend::Flex;
use burn::{
    backend::{
        Autodiff, Backend, DispatchKindConversion, DispatchTensor,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::NoCheckpointing},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        tensor::FloatTensor,
    },
    tensor::Tensor,
};

/// Gradients of the inputs from that of the output; the flags say which inputs ask for theirs.
type PullBack<const D: usize, const N: usize> =
    Arc<dyn Fn(Tensor<D>, [bool; N]) -> [Option<Tensor<D>>; N] + Send + Sync>;

/// Puts `output` on the tape of `inputs`, with `pull_back` as its derivative.
///
/// `output` is the value of some function of the inputs, computed off the tape. `pull_back` gets
/// the gradient of the output, on the plain device, and a flag for each input that asks for its
/// own; it returns a gradient for each of these, and may return `None` for the others.
///
/// # Panics
///
/// Panics if an input is on a device with burn's own gradient checkpointing, or later if
/// `pull_back` withholds a gradient.
pub(crate) fn with_derivative<const D: usize, const N: usize>(
    inputs: [Tensor<D>; N],
    output: Tensor<D>,
    pull_back: impl Fn(Tensor<D>, [bool; N]) -> [Option<Tensor<D>>; N] + Send + Sync + 'static,
) -> Tensor<D> {
    let state = State { pull_back: Arc::new(pull_back) };
    let inputs = inputs.map(Tensor::autodiff);
    #[cfg(feature = "flex")]
    if let Some(output) = record::<Flex, D, N>(&inputs, &output, &state) {
        return output;
    }
    #[cfg(any(
        feature = "wgpu",
        feature = "vulkan",
        feature = "metal",
        feature = "rocm",
        feature = "cuda"
    ))]
    if let Some(output) = record::<Cube, D, N>(&inputs, &output, &state) {
        return output;
    }
    panic!("no derivative on {:?}: a device with gradient checkpointing?", inputs[0].device())
}

/// What the backward pass needs.
#[derive(Clone)]
struct State<const D: usize, const N: usize> {
    pull_back: PullBack<D, N>,
}

impl<const D: usize, const N: usize> fmt::Debug for State<D, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the derivative of a function of {N} inputs")
    }
}

/// Puts the output on the tape, if the inputs are of backend `B`.
fn record<B: Backend, const D: usize, const N: usize>(
    inputs: &[Tensor<D>; N],
    output: &Tensor<D>,
    state: &State<D, N>,
) -> Option<Tensor<D>>
where
    DispatchTensor: DispatchKindConversion<B> + DispatchKindConversion<Autodiff<B>>,
{
    let mut tensors: Vec<FloatTensor<Autodiff<B>>> = Vec::with_capacity(N);
    for input in inputs {
        tensors.push(input.clone().try_into_primitive::<Autodiff<B>>().ok()?);
    }
    let nodes = std::array::from_fn(|k| tensors[k].node());
    let output = output.clone().inner().try_into_primitive::<B>().ok()?;
    let prepared = Derivative::<D>.prepare::<NoCheckpointing>(nodes).compute_bound().stateful();
    let output = match prepared {
        OpsKind::Tracked(prepared) => prepared.finish(state.clone(), output),
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    };
    Some(Tensor::from_primitive::<Autodiff<B>>(output))
}

#[derive(Debug)]
struct Derivative<const D: usize>;

impl<B: Backend, const D: usize, const N: usize> Backward<B, N> for Derivative<D>
where
    DispatchTensor: DispatchKindConversion<B>,
{
    type State = State<D, N>;

    fn backward(self, ops: Ops<State<D, N>, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let cotangent = Tensor::<D>::from_primitive::<B>(grads.consume::<B>(&ops.node));
        let asked = std::array::from_fn(|k| ops.parents[k].is_some());
        let gradients = (ops.state.pull_back)(cotangent, asked);
        for (gradient, parent) in gradients.into_iter().zip(ops.parents) {
            let Some(parent) = parent else { continue };
            let gradient = gradient.expect("a gradient for each input that asks for it");
            let gradient =
                gradient.try_into_primitive::<B>().expect("gradients live where inputs do");
            grads.register::<B>(parent.id, gradient);
        }
    }
}
