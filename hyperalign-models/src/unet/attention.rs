//! Multi-head attention of the U-Net.

use burn::{
    module::Module,
    nn::{Linear, LinearConfig},
    tensor::{Device, Tensor, assert_shape},
};
use hyperalign_core::attention::{attention, attention_weights};

use super::pass::Pass;

/// Scaled dot-product attention between an image stream and a context stream (Vaswani et al.
/// 2017, arXiv:1706.03762, eq. 1), with no biases on queries, keys and values.
#[derive(Module, Debug)]
pub struct Attention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: [Linear; 1],
    heads: usize,
}

impl Attention {
    /// A fresh attention of a stream of width `dim` to one of width `context_dim`.
    pub fn new(dim: usize, context_dim: usize, heads: usize, device: &Device) -> Self {
        let projection = |d_input| LinearConfig::new(d_input, dim).with_bias(false).init(device);
        Self {
            to_q: projection(dim),
            to_k: projection(context_dim),
            to_v: projection(context_dim),
            to_out: [LinearConfig::new(dim, dim).init(device)],
            heads,
        }
    }

    /// Attends from `x` to `context`, and shows where, if that is shown in this pass.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, tokens, dim]`
    /// - `context`: `[batch, context_tokens, context_dim]`
    /// - output: `[batch, tokens, dim]`
    pub(super) fn forward(&self, x: Tensor<3>, context: Tensor<3>, pass: &Pass<'_>) -> Tensor<3> {
        let [batch, tokens, dim] = x.dims();
        assert_shape!(context, [batch, _, _]);
        let q = pass.linear("to_q", &self.to_q, x);
        let k = pass.linear("to_k", &self.to_k, context.clone());
        let v = pass.linear("to_v", &self.to_v, context);
        let [q, k, v] = [q, k, v].map(|x| self.split_heads(x));
        pass.looks(|| attention_weights(q.clone(), k.clone()));
        let out = attention(q, k, v, None).swap_dims(1, 2).reshape([batch, tokens, dim]);
        pass.tokens(pass.linear("to_out.0", &self.to_out[0], out))
    }

    /// `[batch, tokens, dim]` to `[batch, heads, tokens, dim / heads]`.
    fn split_heads(&self, x: Tensor<3>) -> Tensor<4> {
        let [batch, tokens, dim] = x.dims();
        x.reshape([batch, tokens, self.heads, dim / self.heads]).swap_dims(1, 2)
    }
}
