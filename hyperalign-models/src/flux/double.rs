//! A block of two streams.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};

use super::{
    FluxConfig,
    around::Around,
    attention::JointAttention,
    feed_forward::FeedForward,
    modulation::{Modulation, modulate},
};
use crate::scope::Scope;

/// Joint attention and a feed-forward layer for each stream (the MM-DiT block of Esser et al.
/// 2024, arXiv:2403.03206, figure 2b).
#[derive(Module, Debug)]
pub struct DoubleBlock {
    norm1: Modulation,
    norm1_context: Modulation,
    attn: JointAttention,
    ff: FeedForward,
    ff_context: FeedForward,
}

impl DoubleBlock {
    /// A fresh block.
    pub fn new(config: &FluxConfig, device: &Device) -> Self {
        let dim = config.dim();
        Self {
            norm1: Modulation::new(dim, 6, device),
            norm1_context: Modulation::new(dim, 6, device),
            attn: JointAttention::new(config, device),
            ff: FeedForward::new(dim, device),
            ff_context: FeedForward::new(dim, device),
        }
    }

    /// # Shapes
    ///
    /// - `x`: `[batch, text_tokens + image_tokens, dim]`
    /// - output: the same
    pub(super) fn forward(&self, x: Tensor<3>, around: &Around, scope: &Scope<'_>) -> Tensor<3> {
        let Around { embedding, rotary, text_tokens } = around;
        let image_tokens = x.dims()[1] - text_tokens;
        let text = x.clone().narrow(1, 0, *text_tokens);
        let image = x.narrow(1, *text_tokens, image_tokens);
        let [shift, scale, gate, mlp_shift, mlp_scale, mlp_gate] =
            self.norm1.forward(embedding, &scope.child("norm1"));
        let [t_shift, t_scale, t_gate, t_mlp_shift, t_mlp_scale, t_mlp_gate] =
            self.norm1_context.forward(embedding, &scope.child("norm1_context"));
        let attn = scope.child("attn");
        let (image_out, text_out) = self.attn.forward(
            modulate(image.clone(), shift, scale),
            modulate(text.clone(), t_shift, t_scale),
            rotary,
            &attn,
        );
        let image = image + gate * attn.child("0").tokens(image_out);
        let text = text + t_gate * attn.child("1").tokens(text_out);
        let image_out = modulate(image.clone(), mlp_shift, mlp_scale);
        let image_out = self.ff.forward(image_out, &scope.child("ff"));
        let text_out = modulate(text.clone(), t_mlp_shift, t_mlp_scale);
        let text_out = self.ff_context.forward(text_out, &scope.child("ff_context"));
        let text = scope.child("0").tokens(text + t_mlp_gate * text_out);
        let image = scope.child("1").tokens(image + mlp_gate * image_out);
        Tensor::cat(vec![text, image], 1)
    }
}
