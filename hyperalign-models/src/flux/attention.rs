//! Attention of the two streams to each other, and of the one stream to itself.

use burn::{
    module::Module,
    nn::{Linear, LinearConfig, RmsNorm, RmsNormConfig},
    tensor::{Device, Tensor},
};
use hyperalign_core::{
    attention::{attention, attention_weights},
    precision::rms_norm,
};

use super::{FluxConfig, rotary::Rotary};
use crate::scope::Scope;

/// Epsilon of the norms of queries and keys.
const EPS: f64 = 1e-6;

/// Attention over text and image together, with projections for each stream, and with queries and
/// keys that are normed (Dehghani et al. 2023, arXiv:2302.05442, section 2) and then rotated.
#[derive(Module, Debug)]
pub struct JointAttention {
    norm_q: RmsNorm,
    norm_k: RmsNorm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: [Linear; 1],
    norm_added_q: RmsNorm,
    norm_added_k: RmsNorm,
    add_q_proj: Linear,
    add_k_proj: Linear,
    add_v_proj: Linear,
    to_add_out: Linear,
    heads: usize,
}

impl JointAttention {
    /// A fresh attention.
    pub fn new(config: &FluxConfig, device: &Device) -> Self {
        let (linear, norm) = layers(config, device);
        Self {
            norm_q: norm(),
            norm_k: norm(),
            to_q: linear(),
            to_k: linear(),
            to_v: linear(),
            to_out: [linear()],
            norm_added_q: norm(),
            norm_added_k: norm(),
            add_q_proj: linear(),
            add_k_proj: linear(),
            add_v_proj: linear(),
            to_add_out: linear(),
            heads: config.num_attention_heads,
        }
    }

    /// # Shapes
    ///
    /// - `image`: `[batch, image_tokens, dim]`
    /// - `text`: `[batch, text_tokens, dim]`
    /// - `rotary`: of the text tokens, then of the image tokens
    /// - `size`: rows and columns of the image tokens
    /// - output: image and text, of their shapes
    pub(super) fn forward(
        &self,
        image: Tensor<3>,
        text: Tensor<3>,
        rotary: &Rotary,
        size: [usize; 2],
        scope: &Scope<'_>,
    ) -> (Tensor<3>, Tensor<3>) {
        let project = |linear: &Linear, name: &str, x: &Tensor<3>| {
            split_heads(scope.linear(name, linear, x.clone()), self.heads)
        };
        let join = |text: Tensor<4>, image: Tensor<4>| Tensor::cat(vec![text, image], 2);
        let q = join(
            rms_norm(&self.norm_added_q, project(&self.add_q_proj, "add_q_proj", &text)),
            rms_norm(&self.norm_q, project(&self.to_q, "to_q", &image)),
        );
        let k = join(
            rms_norm(&self.norm_added_k, project(&self.add_k_proj, "add_k_proj", &text)),
            rms_norm(&self.norm_k, project(&self.to_k, "to_k", &image)),
        );
        let v = join(
            project(&self.add_v_proj, "add_v_proj", &text),
            project(&self.to_v, "to_v", &image),
        );
        let (text_tokens, image_tokens) = (text.dims()[1], image.dims()[1]);
        scope.looks(size, || {
            // The image looks at itself too.
            let q = rotary.rotate(q.clone()).narrow(2, text_tokens, image_tokens);
            attention_weights(q, rotary.rotate(k.clone())).narrow(3, 0, text_tokens)
        });
        let out = attend(q, k, v, rotary);
        let image = out.clone().narrow(1, text_tokens, image_tokens);
        let text = out.narrow(1, 0, text_tokens);
        (
            scope.linear("to_out.0", &self.to_out[0], image),
            scope.linear("to_add_out", &self.to_add_out, text),
        )
    }
}

/// Attention of a single block, whose output projection is part of the block.
#[derive(Module, Debug)]
pub struct SelfAttention {
    norm_q: RmsNorm,
    norm_k: RmsNorm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    heads: usize,
}

impl SelfAttention {
    /// A fresh attention.
    pub fn new(config: &FluxConfig, device: &Device) -> Self {
        let (linear, norm) = layers(config, device);
        Self {
            norm_q: norm(),
            norm_k: norm(),
            to_q: linear(),
            to_k: linear(),
            to_v: linear(),
            heads: config.num_attention_heads,
        }
    }

    /// # Shapes
    ///
    /// - `x`: `[batch, tokens, dim]`
    /// - output: the same
    pub(super) fn forward(&self, x: Tensor<3>, rotary: &Rotary, scope: &Scope<'_>) -> Tensor<3> {
        let project = |linear: &Linear, name: &str| {
            split_heads(scope.linear(name, linear, x.clone()), self.heads)
        };
        let q = rms_norm(&self.norm_q, project(&self.to_q, "to_q"));
        let k = rms_norm(&self.norm_k, project(&self.to_k, "to_k"));
        attend(q, k, project(&self.to_v, "to_v"), rotary)
    }
}

/// Makers of the layers that both kinds of attention are built of.
fn layers<'a>(
    config: &FluxConfig,
    device: &'a Device,
) -> (impl Fn() -> Linear + use<'a>, impl Fn() -> RmsNorm + use<'a>) {
    let (dim, head_dim) = (config.dim(), config.attention_head_dim);
    (
        move || LinearConfig::new(dim, dim).init(device),
        move || RmsNormConfig::new(head_dim).with_epsilon(EPS).init(device),
    )
}

/// `[batch, tokens, dim]` to `[batch, heads, tokens, dim / heads]`.
fn split_heads(x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [batch, tokens, dim] = x.dims();
    x.reshape([batch, tokens, heads, dim / heads]).swap_dims(1, 2)
}

/// Rotates queries and keys, attends, and joins the heads, `[batch, tokens, dim]`.
fn attend(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, rotary: &Rotary) -> Tensor<3> {
    let [batch, heads, tokens, head_dim] = q.dims();
    let out = attention(rotary.rotate(q), rotary.rotate(k), v, None);
    out.swap_dims(1, 2).reshape([batch, tokens, heads * head_dim])
}
