//! The network.

#![allow(non_snake_case, reason = "LayerNorm is a published name")]

use burn::{
    module::Module,
    nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig},
    tensor::{Device, Int, Tensor, s},
};
use hyperalign_core::fused::gelu;

use super::{
    BertConfig,
    attention::{Attention, Output},
};

/// Added to the scores of padding, as in the published code. Its exponential is 0 in `f32`.
const MASKED: f64 = -10_000.0;

/// BERT without token types and without a pooler, as BLIP uses it.
#[derive(Module, Debug)]
pub struct BertModel {
    embeddings: Embeddings,
    encoder: Encoder,
}

#[derive(Module, Debug)]
struct Embeddings {
    word_embeddings: Embedding,
    position_embeddings: Embedding,
    LayerNorm: LayerNorm,
}

#[derive(Module, Debug)]
struct Encoder {
    layer: Vec<Layer>,
}

/// Attention to the text, attention to the picture where there is one, and a two-layer
/// perceptron; each added to its input and normed.
#[derive(Module, Debug)]
struct Layer {
    attention: Attention,
    crossattention: Option<Attention>,
    intermediate: Intermediate,
    output: Output,
}

#[derive(Module, Debug)]
struct Intermediate {
    dense: Linear,
}

impl BertConfig {
    /// A network of these sizes, with values drawn by `device`'s own generator.
    ///
    /// # Panics
    ///
    /// Panics if the heads do not divide the width.
    pub fn init(&self, device: &Device) -> BertModel {
        let dim = self.hidden_size;
        let embedding = |count| EmbeddingConfig::new(count, dim).init(device);
        let layer = || Layer {
            attention: Attention::new(self, dim, device),
            crossattention: self
                .add_cross_attention
                .then(|| Attention::new(self, self.encoder_width, device)),
            intermediate: Intermediate {
                dense: LinearConfig::new(dim, self.intermediate_size).init(device),
            },
            output: Output::new(self.intermediate_size, self, device),
        };
        BertModel {
            embeddings: Embeddings {
                word_embeddings: embedding(self.vocab_size),
                position_embeddings: embedding(self.max_position_embeddings),
                LayerNorm: LayerNormConfig::new(dim).with_epsilon(self.layer_norm_eps).init(device),
            },
            encoder: Encoder { layer: (0..self.num_hidden_layers).map(|_| layer()).collect() },
        }
    }
}

impl BertModel {
    /// The states of texts that look at pictures; without pictures, blocks leave that part out.
    ///
    /// # Shapes
    ///
    /// - `ids` and `mask`: `[batch, tokens]`; 0 in the mask is padding, which nobody looks at
    /// - `picture`: `[batch, patches, encoder_width]`
    /// - output: `[batch, tokens, hidden_size]`
    ///
    /// # Panics
    ///
    /// Panics if there are more tokens than positions.
    pub fn forward(
        &self,
        ids: Tensor<2, Int>,
        mask: Tensor<2, Int>,
        picture: Option<Tensor<3>>,
    ) -> Tensor<3> {
        let bias = mask.float().neg().add_scalar(1.0).mul_scalar(MASKED);
        let bias = bias.unsqueeze_dims::<4>(&[1, 1]);
        let mut x = self.embeddings.forward(ids);
        for layer in &self.encoder.layer {
            x = layer.forward(x, bias.clone(), picture.clone());
        }
        x
    }
}

impl Embeddings {
    fn forward(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let [_, tokens] = ids.dims();
        let positions = self.position_embeddings.weight.val();
        let [longest, _] = positions.dims();
        assert!(tokens <= longest, "{tokens} tokens for a text encoder of {longest} positions");
        let positions = positions.slice(s![0..tokens, ..]).unsqueeze();
        self.LayerNorm.forward(self.word_embeddings.forward(ids) + positions)
    }
}

impl Layer {
    fn forward(&self, x: Tensor<3>, bias: Tensor<4>, picture: Option<Tensor<3>>) -> Tensor<3> {
        let mut x = self.attention.forward(x.clone(), x, Some(bias));
        if let (Some(cross), Some(picture)) = (&self.crossattention, picture) {
            x = cross.forward(x, picture, None);
        }
        let hidden = gelu(self.intermediate.dense.forward(x.clone()));
        self.output.forward(hidden, x)
    }
}
