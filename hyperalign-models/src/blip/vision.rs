//! A vision transformer (Dosovitskiy et al. 2021, arXiv:2010.11929) under the names of timm.

use burn::{
    module::{Module, Param},
    nn::{
        Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Tensor, assert_shape},
};
use hyperalign_core::{attention::attention, fused::gelu};

use super::BlipVisionConfig;

/// Added to variances.
const EPSILON: f64 = 1e-6;
/// Spread of fresh embeddings.
const STD: f64 = 0.02;

/// A vision transformer with a class token and a last norm.
#[derive(Module, Debug)]
pub struct BlipVision {
    cls_token: Param<Tensor<3>>,
    pos_embed: Param<Tensor<3>>,
    patch_embed: PatchEmbed,
    blocks: Vec<Block>,
    norm: LayerNorm,
    img_size: usize,
}

#[derive(Module, Debug)]
struct PatchEmbed {
    proj: Conv2d,
}

/// Attention and a two-layer perceptron, each behind a norm and added to its input.
#[derive(Module, Debug)]
struct Block {
    norm1: LayerNorm,
    attn: Attention,
    norm2: LayerNorm,
    mlp: Mlp,
}

#[derive(Module, Debug)]
struct Attention {
    /// Queries, keys and values in one.
    qkv: Linear,
    proj: Linear,
    heads: usize,
}

#[derive(Module, Debug)]
struct Mlp {
    fc1: Linear,
    fc2: Linear,
}

impl BlipVisionConfig {
    /// A network of these sizes, with values drawn by `device`'s own generator.
    ///
    /// # Panics
    ///
    /// Panics if the heads do not divide the width.
    pub fn init(&self, device: &Device) -> BlipVision {
        let Self { embed_dim: dim, num_heads: heads, patch_size, .. } = *self;
        assert!(
            heads > 0 && dim.is_multiple_of(heads),
            "a width of {dim} cannot be split among {heads} heads"
        );
        let norm = || LayerNormConfig::new(dim).with_epsilon(EPSILON).init(device);
        let linear = |inputs, outputs| LinearConfig::new(inputs, outputs).init(device);
        let normal = Initializer::Normal { mean: 0.0, std: STD };
        let patches = (self.img_size / patch_size).pow(2);
        let block = || Block {
            norm1: norm(),
            attn: Attention { qkv: linear(dim, 3 * dim), proj: linear(dim, dim), heads },
            norm2: norm(),
            mlp: Mlp { fc1: linear(dim, 4 * dim), fc2: linear(4 * dim, dim) },
        };
        BlipVision {
            cls_token: normal.init([1, 1, dim], device),
            pos_embed: normal.init([1, patches + 1, dim], device),
            patch_embed: PatchEmbed {
                proj: Conv2dConfig::new([3, dim], [patch_size; 2])
                    .with_stride([patch_size; 2])
                    .init(device),
            },
            blocks: (0..self.depth).map(|_| block()).collect(),
            norm: norm(),
            img_size: self.img_size,
        }
    }
}

impl BlipVision {
    /// The normed states of class token and patches.
    ///
    /// # Shapes
    ///
    /// - `image`: `[batch, 3, img_size, img_size]`, normalised
    /// - output: `[batch, 1 + patches, embed_dim]`
    ///
    /// # Panics
    ///
    /// Panics if the image is not of the network's size.
    pub fn forward(&self, image: Tensor<4>) -> Tensor<3> {
        let size = self.img_size;
        assert_shape!(image, [_, 3, size, size]);
        let [batch, ..] = image.dims();
        let patches: Tensor<3> = self.patch_embed.proj.forward(image).flatten(2, 3);
        let class = self.cls_token.val().repeat_dim(0, batch);
        let x = Tensor::cat(vec![class, patches.swap_dims(1, 2)], 1) + self.pos_embed.val();
        self.norm.forward(self.blocks.iter().fold(x, |x, block| block.forward(x)))
    }
}

impl Block {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = x.clone() + self.attn.forward(self.norm1.forward(x));
        let hidden = gelu(self.mlp.fc1.forward(self.norm2.forward(x.clone())));
        x + self.mlp.fc2.forward(hidden)
    }
}

impl Attention {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, tokens, dim] = x.dims();
        let qkv = self.qkv.forward(x);
        let part = |k: usize| {
            let part = qkv.clone().narrow(2, k * dim, dim);
            part.reshape([batch, tokens, self.heads, dim / self.heads]).swap_dims(1, 2)
        };
        let out = attention(part(0), part(1), part(2), None);
        self.proj.forward(out.swap_dims(1, 2).reshape([batch, tokens, dim]))
    }
}
