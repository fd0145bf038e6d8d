//! The queries: what looks at the maps and says of each object what it is and where.

use burn::{
    module::Module,
    nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig},
    tensor::{Device, Tensor, activation::relu},
};
use hyperalign_core::{
    precision::layer_norm,
    resize::{Filter, resize},
};

use super::{
    Mask2FormerConfig, Mask2FormerTap,
    config::LEVELS,
    masked_attention::{MaskedAttention, QueryAttention},
    pixel_decoder::{PixelFeatures, flat},
    sine::sine_positions,
};
use crate::blocks::PointwiseConv;

/// Added to the scores of pixels that a query must not look at. Its exponential is 0 in f32, and
/// it is a number in half precision.
const BLOCKED: f64 = -10_000.0;

/// The transformer decoder with masked attention (arXiv:2112.01527, section 3.2).
#[derive(Module, Debug)]
pub(super) struct TransformerModule {
    /// Positions of the queries.
    queries_embedder: Embedding,
    /// What the queries are at first.
    queries_features: Embedding,
    /// Only where the maps are of another width than the queries.
    input_projections: Vec<PointwiseConv>,
    decoder: Decoder,
    level_embed: Embedding,
}

#[derive(Module, Debug)]
struct Decoder {
    layers: Vec<DecoderLayer>,
    layernorm: LayerNorm,
    mask_predictor: MaskPredictor,
}

#[derive(Module, Debug)]
struct DecoderLayer {
    self_attn: QueryAttention,
    self_attn_layer_norm: LayerNorm,
    cross_attn: MaskedAttention,
    cross_attn_layer_norm: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    final_layer_norm: LayerNorm,
    pre_norm: bool,
}

#[derive(Module, Debug)]
struct MaskPredictor {
    mask_embedder: [[Linear; 1]; 3],
}

/// What the queries say at one depth.
pub(super) struct QueryStates {
    /// Normed, `[batch, queries, hidden_dim]`.
    pub(super) states: Tensor<3>,
    /// Logits, `[batch, queries, height, width]`.
    pub(super) masks: Tensor<4>,
}

/// A map as keys and values.
struct Level {
    /// `[batch, pixels, hidden_dim]`
    values: Tensor<3>,
    /// `[1, pixels, hidden_dim]`
    positions: Tensor<3>,
    size: [usize; 2],
}

impl TransformerModule {
    pub(super) fn new(config: &Mask2FormerConfig, device: &Device) -> Self {
        let dim = config.hidden_dim;
        let heads = config.num_attention_heads;
        let embedding = |count| EmbeddingConfig::new(count, dim).init(device);
        let norm = || LayerNormConfig::new(dim).init(device);
        let linear = |inputs, outputs| LinearConfig::new(inputs, outputs).init(device);
        let layer = || DecoderLayer {
            self_attn: QueryAttention::new(dim, heads, device),
            self_attn_layer_norm: norm(),
            cross_attn: MaskedAttention::new(dim, heads, device),
            cross_attn_layer_norm: norm(),
            fc1: linear(dim, config.dim_feedforward),
            fc2: linear(config.dim_feedforward, dim),
            final_layer_norm: norm(),
            pre_norm: config.pre_norm,
        };
        let projections = if config.has_input_projections() { LEVELS } else { 0 };
        Self {
            queries_embedder: embedding(config.num_queries),
            queries_features: embedding(config.num_queries),
            input_projections: (0..projections)
                .map(|_| PointwiseConv::new(config.feature_size, dim, device))
                .collect(),
            decoder: Decoder {
                layers: (0..config.layers()).map(|_| layer()).collect(),
                layernorm: norm(),
                mask_predictor: MaskPredictor {
                    mask_embedder: [
                        [linear(dim, dim)],
                        [linear(dim, dim)],
                        [linear(dim, config.mask_feature_size)],
                    ],
                },
            },
            level_embed: embedding(LEVELS),
        }
    }

    /// What the queries say before each layer and after the last. Attention of a layer follows what
    /// they have said before it, or, where there are
    /// some, the logits that `steer` has for it.
    pub(super) fn forward(
        &self,
        features: PixelFeatures,
        steer: Option<&[Tensor<4>]>,
        watch: &mut dyn FnMut(Mask2FormerTap, &Tensor<4>),
    ) -> Vec<QueryStates> {
        let PixelFeatures { levels, masks } = features;
        let [batch, ..] = masks.dims();
        let mut number = 0..;
        let levels = levels.map(|map| self.level(map, number.next().unwrap_or_default()));
        let positions = self.queries_embedder.weight.val().unsqueeze::<3>();
        let mut x = self.queries_features.weight.val().unsqueeze::<3>().repeat_dim(0, batch);
        let mut said = vec![self.decoder.predict(x.clone(), masks.clone())];
        for (i, layer) in self.decoder.layers.iter().enumerate() {
            let level = &levels[i % LEVELS];
            let last = said.last().expect("one prediction before the first layer");
            let masks_before = steer.map_or_else(|| last.masks.clone(), |steer| steer[i].clone());
            let mask = blocked(masks_before, level.size);
            x = layer.forward(x, level, positions.clone(), mask, i, watch);
            said.push(self.decoder.predict(x.clone(), masks.clone()));
        }
        said
    }

    fn level(&self, map: Tensor<4>, level: usize) -> Level {
        let [_, _, height, width] = map.dims();
        let size = [height, width];
        let map = match self.input_projections.get(level) {
            Some(projection) => projection.pixels(map),
            None => map,
        };
        let embed = self.level_embed.weight.val().narrow(0, level, 1);
        let [_, dim] = embed.dims();
        let positions = sine_positions(size, dim, &embed.device()).cast(embed.dtype());
        Level { values: flat(map) + embed.unsqueeze(), positions, size }
    }
}

impl Decoder {
    fn predict(&self, x: Tensor<3>, features: Tensor<4>) -> QueryStates {
        let states = layer_norm(&self.layernorm, x);
        let masks = self.mask_predictor.forward(states.clone(), features);
        QueryStates { states, masks }
    }
}

impl MaskPredictor {
    /// The product of each query with each pixel.
    fn forward(&self, states: Tensor<3>, features: Tensor<4>) -> Tensor<4> {
        let [[first], [second], [third]] = &self.mask_embedder;
        let x = relu(first.forward(states));
        let x = third.forward(relu(second.forward(x)));
        let [batch, queries, _] = x.dims();
        let [_, _, height, width] = features.dims();
        let pixels: Tensor<3> = features.flatten(2, 3);
        x.matmul(pixels).reshape([batch, queries, height, width])
    }
}

/// Logits of masks on a map of this height and width: what masked attention depends on the signs of.
pub(super) fn on_map(masks: Tensor<4>, [height, width]: [usize; 2]) -> Tensor<4> {
    resize(masks, height, width, Filter::BilinearSampled)
}

/// What keeps a query from pixels outside of the mask that it has predicted: those whose logit is
/// below 0 on the map of `size`. A query without any pixel looks at all of them.
fn blocked(masks: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    let [batch, queries, ..] = masks.dims();
    let [height, width] = size;
    let masks = on_map(masks, size);
    let dtype = masks.dtype();
    let outside = masks.lower_elem(0.0).float().cast(dtype);
    let outside = outside.reshape([batch, 1, queries, height * width]);
    let has_some = outside.clone().min_dim(3).neg().add_scalar(1.0);
    (outside * has_some).mul_scalar(BLOCKED)
}

impl DecoderLayer {
    fn forward(
        &self,
        x: Tensor<3>,
        level: &Level,
        positions: Tensor<3>,
        mask: Tensor<4>,
        layer: usize,
        watch: &mut dyn FnMut(Mask2FormerTap, &Tensor<4>),
    ) -> Tensor<3> {
        let mut seen = |tap: Mask2FormerTap, x: &Tensor<3>| watch(tap, &x.clone().unsqueeze_dim(1));
        let key = level.values.clone() + level.positions.clone();
        let x = self.around(&self.cross_attn_layer_norm, x, |x| {
            let query = x + positions.clone();
            let out = self.cross_attn.forward(query, key, level.values.clone(), mask);
            seen(Mask2FormerTap::CrossAttention { layer }, &out);
            out
        });
        let x = self.around(&self.self_attn_layer_norm, x, |x| {
            let out = self.self_attn.forward(x, positions.clone());
            seen(Mask2FormerTap::SelfAttention { layer }, &out);
            out
        });
        let x =
            self.around(&self.final_layer_norm, x, |x| self.fc2.forward(relu(self.fc1.forward(x))));
        seen(Mask2FormerTap::DecoderLayer { layer }, &x);
        x
    }

    /// A part of the layer, its shortcut, and its norm on the side that the network has it.
    fn around(
        &self,
        norm: &LayerNorm,
        x: Tensor<3>,
        part: impl FnOnce(Tensor<3>) -> Tensor<3>,
    ) -> Tensor<3> {
        if self.pre_norm {
            x.clone() + part(layer_norm(norm, x))
        } else {
            layer_norm(norm, x.clone() + part(x))
        }
    }
}
