//! What every block reads beside its tokens, and how a block is run on many of them.

use burn::{module::Module, tensor::Tensor};

use super::rotary::Rotary;
use crate::{
    blocks::{frozen, is_large},
    scope::Scope,
};

/// What every block reads beside its tokens.
#[derive(Debug, Clone)]
pub(super) struct Around {
    /// Time, guidance and pooled text after the activation, `[batch, dim]`.
    pub embedding: Tensor<2>,
    /// The positions of text and image.
    pub rotary: Rotary,
    /// Text tokens; they come before those of the image.
    pub text_tokens: usize,
}

/// How a kind of block is run.
type Run<M> = fn(&M, Tensor<3>, &Around, &Scope<'_>) -> Tensor<3>;

/// `run(block, x, around, scope)`; where the tokens are many and the network is frozen, nothing is
/// kept for the backward pass but its inputs. At 1024 pixels the 57 blocks of FLUX.1 would
/// otherwise keep more than 50 GiB.
///
/// # Shapes
///
/// - `x`: `[batch, tokens, dim]`
/// - output: the same
pub(super) fn run_block<M: Module + Sync + 'static>(
    block: &M,
    x: Tensor<3>,
    around: &Around,
    scope: &Scope<'_>,
    run: Run<M>,
) -> Tensor<3> {
    let map = x.clone().unsqueeze_dim::<4>(1);
    // Who looks on is to see every intermediate result once, in its turn.
    if scope.is_observed() || !is_large(&map) || around.embedding.is_tracked() {
        return run(block, x, around, scope);
    }
    let lora = scope.below();
    if !x.is_tracked() && !lora.is_tracked() {
        return run(block, x, around, scope);
    }
    let around = around.clone();
    let again = move |block: &M, map: Tensor<4>, scope: &Scope<'_>| {
        run(block, map.squeeze_dim::<3>(1), &around, scope).unsqueeze_dim::<4>(1)
    };
    let output = if lora.is_empty() {
        frozen(block, [map], move |block, [map]| again(block, map, &Scope::bare()))
    } else {
        let (numbers, layout) = lora.pack();
        frozen(block, [map, numbers], move |block, [map, numbers]| {
            let lora = layout.unpack(numbers);
            again(block, map, &Scope::root(Some(&lora), None))
        })
    };
    output.squeeze_dim(1)
}
