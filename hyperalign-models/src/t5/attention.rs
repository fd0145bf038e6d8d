//! Attention with a learned bias of the distance.

use burn::{
    module::Module,
    nn::{Embedding, EmbeddingConfig, Linear, LinearConfig},
    tensor::{Device, Int, Tensor, TensorData},
};
use hyperalign_core::attention::attention;

use super::T5Config;
use crate::scope::Scope;

/// Attention of the tokens to each other without biases in its layers and without a scale on the
/// scores (arXiv:1910.10683). The first block alone holds the bias of the distances, which all
/// blocks add.
#[derive(Module, Debug)]
pub struct SelfAttention {
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    relative_attention_bias: Option<Embedding>,
    heads: usize,
}

impl SelfAttention {
    /// The attention of block `i`.
    pub fn new(config: &T5Config, i: usize, device: &Device) -> Self {
        let inner = config.num_heads * config.d_kv;
        let linear =
            |d_input, d_output| LinearConfig::new(d_input, d_output).with_bias(false).init(device);
        let bias = EmbeddingConfig::new(config.relative_attention_num_buckets, config.num_heads);
        Self {
            q: linear(config.d_model, inner),
            k: linear(config.d_model, inner),
            v: linear(config.d_model, inner),
            o: linear(inner, config.d_model),
            relative_attention_bias: (i == 0).then(|| bias.init(device)),
            heads: config.num_heads,
        }
    }

    /// The bias of the scores of `tokens` tokens, `[1, heads, tokens, tokens]`.
    ///
    /// # Panics
    ///
    /// Panics in another block than the first.
    pub fn bias(&self, config: &T5Config, tokens: usize) -> Tensor<4> {
        let embedding =
            self.relative_attention_bias.as_ref().expect("the first block holds the bias");
        let device = embedding.weight.val().device();
        let table: Vec<i64> =
            config.positions().table(tokens).into_iter().map(|bucket| bucket as i64).collect();
        let table = Tensor::<2, Int>::from_data(TensorData::new(table, [tokens, tokens]), &device);
        embedding.forward(table).permute([2, 0, 1]).unsqueeze()
    }

    /// # Shapes
    ///
    /// - `x`: `[batch, tokens, d_model]`
    /// - `bias`: `[1 or batch, heads, tokens, tokens]`
    /// - output: the shape of `x`
    pub(super) fn forward(&self, x: Tensor<3>, bias: Tensor<4>, scope: &Scope<'_>) -> Tensor<3> {
        let [batch, tokens, _] = x.dims();
        let [q, k, v] = [("q", &self.q), ("k", &self.k), ("v", &self.v)].map(|(name, linear)| {
            let x = scope.linear(name, linear, x.clone());
            let width = x.dims()[2];
            x.reshape([batch, tokens, self.heads, width / self.heads]).swap_dims(1, 2)
        });
        // Our attention divides the scores by the root of the width, this network does not.
        let width = q.dims()[3];
        let out = attention(q * (width as f64).sqrt(), k, v, Some(bias));
        let joined = out.swap_dims(1, 2).reshape([batch, tokens, self.heads * width]);
        scope.linear("o", &self.o, joined)
    }
}
