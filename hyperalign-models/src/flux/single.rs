//! A block of one stream.

use burn::{
    module::Module,
    nn::{Linear, LinearConfig},
    tensor::{Device, Tensor},
};
use hyperalign_core::fused::gelu_tanh;

use super::{
    FluxConfig,
    around::Around,
    attention::SelfAttention,
    feed_forward::MLP_RATIO,
    modulation::{Modulation, modulate},
};
use crate::scope::Scope;

/// Attention and a feed-forward layer side by side, joined by one projection (Dehghani et al.
/// 2023, arXiv:2302.05442, section 2).
#[derive(Module, Debug)]
pub struct SingleBlock {
    norm: Modulation,
    proj_mlp: Linear,
    proj_out: Linear,
    attn: SelfAttention,
}

impl SingleBlock {
    /// A fresh block.
    pub fn new(config: &FluxConfig, device: &Device) -> Self {
        let dim = config.dim();
        let inner = MLP_RATIO * dim;
        Self {
            norm: Modulation::new(dim, 3, device),
            proj_mlp: LinearConfig::new(dim, inner).init(device),
            proj_out: LinearConfig::new(dim + inner, dim).init(device),
            attn: SelfAttention::new(config, device),
        }
    }

    /// # Shapes
    ///
    /// - `x`: `[batch, tokens, dim]`
    /// - output: the shape of `x`
    pub(super) fn forward(&self, x: Tensor<3>, around: &Around, scope: &Scope<'_>) -> Tensor<3> {
        let Around { embedding, rotary, .. } = around;
        let [shift, scale, gate] = self.norm.forward(embedding, &scope.child("norm"));
        let hidden = modulate(x.clone(), shift, scale);
        let attended = self.attn.forward(hidden.clone(), rotary, &scope.child("attn"));
        let mlp = gelu_tanh(scope.linear("proj_mlp", &self.proj_mlp, hidden));
        let both = Tensor::cat(vec![attended, mlp], 2);
        x + gate * scope.linear("proj_out", &self.proj_out, both)
    }
}
