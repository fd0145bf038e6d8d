//! The two attentions of the transformer decoder.

use burn::{
    module::{Module, Param},
    nn::{Initializer, Linear, LinearConfig},
    tensor::{Device, Tensor, module::linear, s},
};
use hyperalign_core::attention::attention;

/// Splits `[batch, tokens, dim]` into heads, `[batch, heads, tokens, dim / heads]`.
fn split(x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [batch, tokens, dim] = x.dims();
    x.reshape([batch, tokens, heads, dim / heads]).swap_dims(1, 2)
}

fn join(x: Tensor<4>) -> Tensor<3> {
    let [batch, heads, tokens, dim] = x.dims();
    x.swap_dims(1, 2).reshape([batch, tokens, heads * dim])
}

/// Attention of the queries to each other. Their positions are added to queries and keys, not to
/// values.
#[derive(Module, Debug)]
pub(super) struct QueryAttention {
    k_proj: Linear,
    v_proj: Linear,
    q_proj: Linear,
    out_proj: Linear,
    heads: usize,
}

impl QueryAttention {
    pub(super) fn new(dim: usize, heads: usize, device: &Device) -> Self {
        let linear = || LinearConfig::new(dim, dim).init(device);
        Self { k_proj: linear(), v_proj: linear(), q_proj: linear(), out_proj: linear(), heads }
    }

    /// # Shapes
    ///
    /// - `x`: `[batch, queries, dim]`
    /// - `positions`: `[1, queries, dim]`
    /// - output: that of `x`
    pub(super) fn forward(&self, x: Tensor<3>, positions: Tensor<3>) -> Tensor<3> {
        let placed = x.clone() + positions;
        let q = split(self.q_proj.forward(placed.clone()), self.heads);
        let k = split(self.k_proj.forward(placed), self.heads);
        let v = split(self.v_proj.forward(x), self.heads);
        self.out_proj.forward(join(attention(q, k, v, None)))
    }
}

/// Attention of the queries to a map, each to the part that its mask leaves it
/// (arXiv:2112.01527, eq. 2). Its three projections are one matrix in published files.
#[derive(Module, Debug)]
pub(super) struct MaskedAttention {
    /// `[3 dim, dim]`: queries, keys, values.
    in_proj_weight: Param<Tensor<2>>,
    /// `[3 dim]`
    in_proj_bias: Param<Tensor<1>>,
    out_proj: Linear,
    heads: usize,
}

impl MaskedAttention {
    pub(super) fn new(dim: usize, heads: usize, device: &Device) -> Self {
        let xavier = Initializer::XavierUniform { gain: 1.0 };
        Self {
            in_proj_weight: xavier.init_with([3 * dim, dim], Some(dim), Some(3 * dim), device),
            in_proj_bias: Initializer::Zeros.init([3 * dim], device),
            out_proj: LinearConfig::new(dim, dim).init(device),
            heads,
        }
    }

    /// # Shapes
    ///
    /// - `query`: `[batch, queries, dim]`
    /// - `key`, `value`: `[batch, pixels, dim]`
    /// - `mask`: added to the scores, `[batch, 1, queries, pixels]`
    /// - output: that of `query`
    pub(super) fn forward(
        &self,
        query: Tensor<3>,
        key: Tensor<3>,
        value: Tensor<3>,
        mask: Tensor<4>,
    ) -> Tensor<3> {
        let project = |x: Tensor<3>, part: usize| {
            let dim = x.dims()[2];
            let rows = part * dim..(part + 1) * dim;
            let weight = self.in_proj_weight.val().slice(s![rows.clone(), ..]).transpose();
            let bias = self.in_proj_bias.val().slice(s![rows]);
            split(linear(x, weight, Some(bias)), self.heads)
        };
        let out = attention(project(query, 0), project(key, 1), project(value, 2), Some(mask));
        self.out_proj.forward(join(out))
    }
}
