//! The feed-forward layer of a stream.

use burn::{
    module::Module,
    nn::{Linear, LinearConfig},
    tensor::{Device, Tensor},
};
use hyperalign_core::fused::gelu_tanh;

use crate::scope::Scope;

/// How much wider than a stream the inside of its feed-forward layer is.
pub(super) const MLP_RATIO: usize = 4;

/// `proj_out(gelu(x W))`, four times wider inside, with gelu in its tanh form (Hendrycks &
/// Gimpel 2016, arXiv:1606.08415, section 2).
///
/// The published network numbers its layers 0 (projection and activation), 1 (dropout, which has
/// no weights) and 2 (the projection back), hence the shape of `net`.
#[derive(Module, Debug)]
pub struct FeedForward {
    net: (Projection, NoWeights, Linear),
}

#[derive(Module, Debug)]
struct Projection {
    proj: Linear,
}

/// Holds the place of the dropout.
#[derive(Module, Debug)]
struct NoWeights;

impl FeedForward {
    /// A fresh layer of width `dim`.
    pub fn new(dim: usize, device: &Device) -> Self {
        let inner = MLP_RATIO * dim;
        let proj = LinearConfig::new(dim, inner).init(device);
        let out = LinearConfig::new(inner, dim).init(device);
        Self { net: (Projection { proj }, NoWeights, out) }
    }

    /// # Shapes
    ///
    /// - `x`: `[batch, tokens, dim]`
    /// - output: the same
    pub(super) fn forward(&self, x: Tensor<3>, scope: &Scope<'_>) -> Tensor<3> {
        let (projection, _, out) = &self.net;
        let inner = gelu_tanh(scope.linear("net.0.proj", &projection.proj, x));
        scope.linear("net.2", out, inner)
    }
}
