//! A transformer over the pixels of a feature map.

use burn::{
    module::Module,
    nn::{
        GroupNorm, GroupNormConfig, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig,
    },
    tensor::{Device, Tensor},
};

use hyperalign_core::precision::{group_norm, layer_norm};

use super::{attention::Attention, feed_forward::FeedForward, pass::Pass};
use crate::blocks::{PointwiseConv, frozen, is_large};

/// Epsilon of the group norm, whatever that of the residual blocks.
const GROUP_NORM_EPS: f64 = 1e-6;

/// The sizes of a [`Transformer2d`].
#[derive(Debug, Clone, Copy)]
pub struct Transformer2dConfig {
    /// Channels of the feature map.
    pub dim: usize,
    /// Width of the text features.
    pub context_dim: usize,
    /// Attention heads.
    pub heads: usize,
    /// Transformer blocks.
    pub layers: usize,
    /// Groups of the norm.
    pub norm_groups: usize,
    /// Whether the projections are stored as linear layers instead of 1x1 convolutions.
    pub linear_projection: bool,
}

/// Attention of the pixels to each other and to the text, beside a shortcut (Rombach et al. 2022,
/// arXiv:2112.10752, appendix E.2.1). It begins as the identity: `proj_out` is zero.
#[derive(Module, Debug)]
pub struct Transformer2d {
    norm: GroupNorm,
    proj_in: Projection,
    transformer_blocks: Vec<TransformerBlock>,
    proj_out: Projection,
}

/// One function, stored in two shapes.
#[derive(Module, Debug)]
enum Projection {
    Pointwise(PointwiseConv),
    Linear(Linear),
}

impl Projection {
    fn new(dim: usize, linear: bool, device: &Device) -> Self {
        if linear {
            Self::Linear(LinearConfig::new(dim, dim).init(device))
        } else {
            Self::Pointwise(PointwiseConv::new(dim, dim, device))
        }
    }

    fn zeros(dim: usize, linear: bool, device: &Device) -> Self {
        if linear {
            let config = LinearConfig::new(dim, dim).with_initializer(Initializer::Zeros);
            Self::Linear(config.init(device))
        } else {
            Self::Pointwise(PointwiseConv::zeros(dim, dim, device))
        }
    }

    fn forward(&self, name: &str, tokens: Tensor<3>, pass: &Pass<'_>) -> Tensor<3> {
        match self {
            Self::Pointwise(conv) => pass.pointwise(name, conv, tokens),
            Self::Linear(linear) => pass.linear(name, linear, tokens),
        }
    }
}

impl Transformer2dConfig {
    /// A fresh transformer.
    pub fn init(&self, device: &Device) -> Transformer2d {
        let Self { dim, context_dim, heads, layers, norm_groups, linear_projection } = *self;
        let norm = GroupNormConfig::new(norm_groups, dim).with_epsilon(GROUP_NORM_EPS);
        Transformer2d {
            norm: norm.init(device),
            proj_in: Projection::new(dim, linear_projection, device),
            transformer_blocks: (0..layers)
                .map(|_| TransformerBlock::new(dim, context_dim, heads, device))
                .collect(),
            proj_out: Projection::zeros(dim, linear_projection, device),
        }
    }
}

impl Transformer2d {
    /// # Shapes
    ///
    /// - `x`: `[batch, dim, height, width]`
    /// - output: the shape of `x`
    pub(super) fn forward(&self, x: Tensor<4>, pass: &Pass<'_>) -> Tensor<4> {
        // Who looks on is to see every intermediate result once, in its turn.
        let [_, _, height, width] = x.dims();
        let is_shown = pass.is_observed() || pass.is_watched([height, width]);
        let around = [pass.time.is_tracked(), pass.context.is_tracked()].contains(&true);
        if is_shown || !is_large(&x) || around {
            return self.run(x, pass);
        }
        let lora = pass.below();
        if !x.is_tracked() && !lora.is_tracked() {
            return self.run(x, pass);
        }
        let (time, context) = (pass.time.clone(), pass.context.clone());
        if lora.is_empty() {
            return frozen(self, [x], move |block, [x]| {
                block.run(x, &Pass::new(&time, &context, None, None))
            });
        }
        let (numbers, layout) = lora.pack();
        frozen(self, [x, numbers], move |block, [x, numbers]| {
            let lora = layout.unpack(numbers);
            block.run(x, &Pass::new(&time, &context, Some(&lora), None))
        })
    }

    fn run(&self, x: Tensor<4>, pass: &Pass<'_>) -> Tensor<4> {
        let [batch, dim, height, width] = x.dims();
        let within = pass.within([height, width]);
        let pixels = group_norm(&self.norm, x.clone()).reshape([batch, dim, height * width]);
        let mut tokens = self.proj_in.forward("proj_in", pixels.swap_dims(1, 2), pass);
        for (i, block) in self.transformer_blocks.iter().enumerate() {
            tokens = block.forward(tokens, &within.item("transformer_blocks", i));
        }
        let tokens = self.proj_out.forward("proj_out", tokens, pass);
        pass.map(x + tokens.swap_dims(1, 2).reshape([batch, dim, height, width]))
    }
}

/// Self-attention, cross-attention and a feed-forward layer, each after a norm and beside a
/// shortcut.
#[derive(Module, Debug)]
pub struct TransformerBlock {
    norm1: LayerNorm,
    attn1: Attention,
    norm2: LayerNorm,
    attn2: Attention,
    norm3: LayerNorm,
    ff: FeedForward,
}

impl TransformerBlock {
    fn new(dim: usize, context_dim: usize, heads: usize, device: &Device) -> Self {
        let norm = || LayerNormConfig::new(dim).init(device);
        Self {
            norm1: norm(),
            attn1: Attention::new(dim, dim, heads, device),
            norm2: norm(),
            attn2: Attention::new(dim, context_dim, heads, device),
            norm3: norm(),
            ff: FeedForward::new(dim, device),
        }
    }

    fn forward(&self, x: Tensor<3>, pass: &Pass<'_>) -> Tensor<3> {
        let hidden = layer_norm(&self.norm1, x.clone());
        let x = x + self.attn1.forward(hidden.clone(), hidden, &pass.child("attn1").unwatched());
        let hidden = layer_norm(&self.norm2, x.clone());
        let x = x + self.attn2.forward(hidden, pass.context.clone(), &pass.child("attn2"));
        let hidden = layer_norm(&self.norm3, x.clone());
        pass.tokens(x + self.ff.forward(hidden, &pass.child("ff")))
    }
}
