//! A block of the encoder.

#![expect(non_snake_case, reason = "names in the published file")]

use burn::{
    module::Module,
    nn::{Linear, LinearConfig, RmsNorm, RmsNormConfig},
    tensor::{Device, Tensor},
};
use hyperalign_core::{fused::gelu_tanh, precision::rms_norm};

use super::{T5Config, attention::SelfAttention};
use crate::scope::Scope;

/// Attention, then a feed-forward layer, each after a norm and beside a shortcut. The published
/// network numbers the two in a list called `layer`.
#[derive(Module, Debug)]
pub struct Block {
    layer: (AttentionLayer, FeedForwardLayer),
}

#[derive(Module, Debug)]
struct AttentionLayer {
    SelfAttention: SelfAttention,
    layer_norm: RmsNorm,
}

#[derive(Module, Debug)]
struct FeedForwardLayer {
    DenseReluDense: FeedForward,
    layer_norm: RmsNorm,
}

/// `wo(gelu(x wi_0) (x wi_1))` (Shazeer 2020, arXiv:2002.05202), with gelu in its tanh form.
#[derive(Module, Debug)]
struct FeedForward {
    wi_0: Linear,
    wi_1: Linear,
    wo: Linear,
}

/// The norm of the network: no mean, no bias; mean squares in f32 whatever its precision.
pub(super) fn norm(config: &T5Config, device: &Device) -> RmsNorm {
    RmsNormConfig::new(config.d_model).with_epsilon(config.layer_norm_epsilon).init(device)
}

impl Block {
    /// Block `i`.
    pub fn new(config: &T5Config, i: usize, device: &Device) -> Self {
        let linear =
            |d_input, d_output| LinearConfig::new(d_input, d_output).with_bias(false).init(device);
        let attention = AttentionLayer {
            SelfAttention: SelfAttention::new(config, i, device),
            layer_norm: norm(config, device),
        };
        let feed_forward = FeedForwardLayer {
            DenseReluDense: FeedForward {
                wi_0: linear(config.d_model, config.d_ff),
                wi_1: linear(config.d_model, config.d_ff),
                wo: linear(config.d_ff, config.d_model),
            },
            layer_norm: norm(config, device),
        };
        Self { layer: (attention, feed_forward) }
    }

    /// The bias of the scores, of the first block; see [`SelfAttention::bias`].
    pub fn bias(&self, config: &T5Config, tokens: usize) -> Tensor<4> {
        self.layer.0.SelfAttention.bias(config, tokens)
    }

    /// # Shapes
    ///
    /// - `x`: `[batch, tokens, d_model]`
    /// - `bias`: `[1 or batch, heads, tokens, tokens]`
    /// - output: the shape of `x`
    pub(super) fn forward(&self, x: Tensor<3>, bias: Tensor<4>, scope: &Scope<'_>) -> Tensor<3> {
        let (attention, feed_forward) = &self.layer;
        let hidden = rms_norm(&attention.layer_norm, x.clone());
        let inner = scope.child("layer.0.SelfAttention");
        let x = x + attention.SelfAttention.forward(hidden, bias, &inner);
        let hidden = rms_norm(&feed_forward.layer_norm, x.clone());
        let FeedForward { wi_0, wi_1, wo } = &feed_forward.DenseReluDense;
        let inner = scope.child("layer.1.DenseReluDense");
        let gate = gelu_tanh(inner.linear("wi_0", wi_0, hidden.clone()));
        x + inner.linear("wo", wo, gate * inner.linear("wi_1", wi_1, hidden))
    }
}
