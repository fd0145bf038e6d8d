//! BERT's attention, to the text itself or to a picture.

#![allow(non_snake_case, reason = "LayerNorm is a published name")]

use burn::{
    module::Module,
    nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig},
    tensor::{Device, Tensor},
};
use hyperalign_core::attention::attention;

use super::BertConfig;

/// Attention with its output behind a norm: `norm(x + dense(attend(x, context)))`.
#[derive(Module, Debug)]
pub(super) struct Attention {
    attend: Attend,
    output: Output,
}

/// Scaled dot-product attention (Vaswani et al. 2017, arXiv:1706.03762, eq. 1).
#[derive(Module, Debug)]
struct Attend {
    query: Linear,
    key: Linear,
    value: Linear,
    heads: usize,
}

/// A linear layer, added to a residual and normed: BERT norms behind, not before.
#[derive(Module, Debug)]
pub(super) struct Output {
    dense: Linear,
    LayerNorm: LayerNorm,
}

impl Attention {
    /// Attention to states of the width `context`.
    pub(super) fn new(config: &BertConfig, context: usize, device: &Device) -> Self {
        let (dim, heads) = (config.hidden_size, config.num_attention_heads);
        assert!(
            heads > 0 && dim.is_multiple_of(heads),
            "a width of {dim} cannot be split among {heads} heads"
        );
        Self {
            attend: Attend {
                query: LinearConfig::new(dim, dim).init(device),
                key: LinearConfig::new(context, dim).init(device),
                value: LinearConfig::new(context, dim).init(device),
                heads,
            },
            output: Output::new(dim, config, device),
        }
    }

    /// `bias` is added to the scores.
    pub(super) fn forward(
        &self,
        x: Tensor<3>,
        context: Tensor<3>,
        bias: Option<Tensor<4>>,
    ) -> Tensor<3> {
        let out = self.attend.forward(x.clone(), context, bias);
        self.output.forward(out, x)
    }
}

impl Attend {
    fn forward(&self, x: Tensor<3>, context: Tensor<3>, bias: Option<Tensor<4>>) -> Tensor<3> {
        let [batch, tokens, dim] = x.dims();
        let split = |x: Tensor<3>| {
            let [_, tokens, _] = x.dims();
            x.reshape([batch, tokens, self.heads, dim / self.heads]).swap_dims(1, 2)
        };
        let q = split(self.query.forward(x));
        let k = split(self.key.forward(context.clone()));
        let v = split(self.value.forward(context));
        attention(q, k, v, bias).swap_dims(1, 2).reshape([batch, tokens, dim])
    }
}

impl Output {
    /// Of a layer with `inputs` inputs.
    pub(super) fn new(inputs: usize, config: &BertConfig, device: &Device) -> Self {
        Self {
            dense: LinearConfig::new(inputs, config.hidden_size).init(device),
            LayerNorm: LayerNormConfig::new(config.hidden_size)
                .with_epsilon(config.layer_norm_eps)
                .init(device),
        }
    }

    pub(super) fn forward(&self, x: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
        self.LayerNorm.forward(self.dense.forward(x) + residual)
    }
}
