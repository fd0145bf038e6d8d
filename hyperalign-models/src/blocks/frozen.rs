//! Large blocks of a frozen network, on the tape.

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::Tensor,
};
use hyperalign_core::recompute::recompute;

use crate::scope::Scope;

/// Numbers in one sample's feature map from which on a block is computed again in the backward
/// pass instead of being kept. All of the embedded models are below; of Stable Diffusion 1.5 the
/// U-Net's two finest resolutions and the third, and every block of its autoencoder, are above.
/// Kept whole, one guided prediction and its picture would take more than 20 GiB.
pub const KEPT_NUMBERS: usize = 1 << 18;

/// `run(block, inputs)`, with nothing kept for the backward pass but the inputs where the first of
/// them is a large feature map and `block` is frozen. A block that is trained is run as it is:
/// its own weights ask for gradients.
///
/// # Panics
///
/// Panics if `run` captures a tracked tensor.
pub(crate) fn frozen<M: Module + Sync + 'static, const N: usize>(
    block: &M,
    inputs: [Tensor<4>; N],
    run: impl Fn(&M, [Tensor<4>; N]) -> Tensor<4> + Send + Sync + 'static,
) -> Tensor<4> {
    let tracked = inputs.iter().any(Tensor::is_tracked);
    if !tracked || !is_large(&inputs[0]) || is_trained(block) {
        return run(block, inputs);
    }
    let block = block.clone();
    recompute(inputs, move |inputs| run(&block, inputs))
}

/// [`frozen`] for a block whose layers the updates of `scope` shift: they are inputs too, packed
/// into one tensor. Who looks on sees nothing from inside.
pub(super) fn frozen_with_lora<M: Module + Sync + 'static>(
    block: &M,
    x: Tensor<4>,
    scope: &Scope<'_>,
    run: impl Fn(&M, Tensor<4>, &Scope<'_>) -> Tensor<4> + Send + Sync + 'static,
) -> Tensor<4> {
    if !is_large(&x) {
        return run(block, x, scope);
    }
    let lora = scope.below();
    if !x.is_tracked() && !lora.is_tracked() {
        return run(block, x, scope);
    }
    if lora.is_empty() {
        return frozen(block, [x], move |block, [x]| run(block, x, &Scope::bare()));
    }
    let (numbers, layout) = lora.pack();
    frozen(block, [x, numbers], move |block, [x, numbers]| {
        let lora = layout.unpack(numbers);
        run(block, x, &Scope::root(Some(&lora), None))
    })
}

/// Whether a block that reads `x` is computed again rather than kept.
pub(crate) fn is_large(x: &Tensor<4>) -> bool {
    let [_, channels, height, width] = x.dims();
    channels * height * width >= KEPT_NUMBERS
}

fn is_trained(module: &impl Module) -> bool {
    struct Tracked(bool);
    impl ModuleVisitor for Tracked {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 |= param.val().is_tracked();
        }
    }
    let mut tracked = Tracked(false);
    module.visit(&mut tracked);
    tracked.0
}
