//! The gated feed-forward layer of a transformer block.

use burn::{
    module::Module,
    nn::{Linear, LinearConfig},
    tensor::{Device, Tensor},
};
use hyperalign_core::fused::geglu;

use crate::scope::Scope;

/// `proj_out((x W_a) gelu(x W_b))`, GEGLU (Shazeer 2020, arXiv:2002.05202), four times wider
/// inside.
///
/// The published network numbers its layers 0 (the gated projection), 1 (dropout, which has no
/// weights) and 2 (the projection back), hence the shape of `net`.
#[derive(Module, Debug)]
pub struct FeedForward {
    net: (GatedProjection, NoWeights, Linear),
}

#[derive(Module, Debug)]
struct GatedProjection {
    proj: Linear,
}

/// Holds the place of the dropout.
#[derive(Module, Debug)]
struct NoWeights;

impl FeedForward {
    /// A fresh layer of width `dim`.
    pub fn new(dim: usize, device: &Device) -> Self {
        let inner = 4 * dim;
        let proj = LinearConfig::new(dim, 2 * inner).init(device);
        let out = LinearConfig::new(inner, dim).init(device);
        Self { net: (GatedProjection { proj }, NoWeights, out) }
    }

    /// # Shapes
    ///
    /// - `x`: `[batch, tokens, dim]`
    /// - output: the same
    pub(super) fn forward(&self, x: Tensor<3>, scope: &Scope<'_>) -> Tensor<3> {
        let (gated, _, out) = &self.net;
        let inner = geglu(scope.linear("net.0.proj", &gated.proj, x));
        scope.tokens(scope.linear("net.2", out, inner))
    }
}
