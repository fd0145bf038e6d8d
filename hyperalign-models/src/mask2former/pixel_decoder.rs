//! From the backbone's maps to those that the queries look at and those that masks are made of.

use burn::{
    module::{Module, Param},
    nn::{
        GroupNorm, GroupNormConfig, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig,
        PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Tensor, activation::relu},
};
use hyperalign_core::{
    precision::{group_norm, layer_norm},
    resize::{Filter, resize},
};

use super::{
    Mask2FormerConfig, Mask2FormerTap,
    config::{LEVELS, NORM_GROUPS},
    deformable::DeformableAttention,
    sine::sine_positions,
};
use crate::{blocks::PointwiseConv, swin::STAGES};

/// What the pixel decoder makes of the backbone's maps.
pub(super) struct PixelFeatures {
    /// At 1/32, 1/16 and 1/8 of the picture, `[batch, feature_size, height, width]`.
    pub(super) levels: [Tensor<4>; LEVELS],
    /// At 1/4 of the picture, `[batch, mask_feature_size, height, width]`.
    pub(super) masks: Tensor<4>,
}

/// Deformable attention over the three coarse maps, and a finer map by the way of a feature
/// pyramid (arXiv:2112.01527, section 3.2.1).
#[derive(Module, Debug)]
pub(super) struct PixelDecoder {
    level_embed: Param<Tensor<2>>,
    /// From the coarsest map on.
    input_projections: Vec<(PointwiseConv, GroupNorm)>,
    encoder: Encoder,
    mask_projection: PointwiseConv,
    adapter_1: (PointwiseConv, GroupNorm),
    layer_1: (Conv2d, GroupNorm),
    dim: usize,
}

#[derive(Module, Debug)]
struct Encoder {
    layers: Vec<EncoderLayer>,
}

#[derive(Module, Debug)]
struct EncoderLayer {
    self_attn: DeformableAttention,
    self_attn_layer_norm: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    final_layer_norm: LayerNorm,
}

impl PixelDecoder {
    pub(super) fn new(config: &Mask2FormerConfig, device: &Device) -> Self {
        let dim = config.feature_size;
        let widths = config.backbone_config.widths();
        let norm = || GroupNormConfig::new(NORM_GROUPS, dim).init(device);
        let same = PaddingConfig2d::Explicit(1, 1, 1, 1);
        let layer = || EncoderLayer {
            self_attn: DeformableAttention::new(dim, config.num_attention_heads, device),
            self_attn_layer_norm: LayerNormConfig::new(dim).init(device),
            fc1: LinearConfig::new(dim, config.encoder_feedforward_dim).init(device),
            fc2: LinearConfig::new(config.encoder_feedforward_dim, dim).init(device),
            final_layer_norm: LayerNormConfig::new(dim).init(device),
        };
        Self {
            level_embed: Initializer::Normal { mean: 0.0, std: 1.0 }.init([LEVELS, dim], device),
            input_projections: widths[STAGES - LEVELS..]
                .iter()
                .rev()
                .map(|width| (PointwiseConv::new(*width, dim, device), norm()))
                .collect(),
            encoder: Encoder { layers: (0..config.encoder_layers).map(|_| layer()).collect() },
            mask_projection: PointwiseConv::new(dim, config.mask_feature_size, device),
            adapter_1: (PointwiseConv::new(widths[0], dim, device).without_bias(), norm()),
            layer_1: (
                Conv2dConfig::new([dim, dim], [3, 3])
                    .with_padding(same)
                    .with_bias(false)
                    .init(device),
                norm(),
            ),
            dim,
        }
    }

    pub(super) fn forward(
        &self,
        maps: [Tensor<4>; STAGES],
        watch: &mut dyn FnMut(Mask2FormerTap, &Tensor<4>),
    ) -> PixelFeatures {
        let [finest, coarse @ ..] = maps;
        let device = finest.device();
        let (mut tokens, mut positions, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
        for (level, map) in coarse.into_iter().rev().enumerate() {
            let (projection, norm) = &self.input_projections[level];
            let projected = group_norm(norm, projection.pixels(map));
            watch(Mask2FormerTap::InputProjection { level }, &projected);
            let [_, _, height, width] = projected.dims();
            let embed = self.level_embed.val().narrow(0, level, 1).unsqueeze::<3>();
            let sines = sine_positions([height, width], self.dim, &device);
            watch_sines(&sines, [height, width], level, watch);
            positions.push(sines.cast(embed.dtype()) + embed);
            tokens.push(flat(projected));
            sizes.push([height, width]);
        }
        let positions = Tensor::cat(positions, 1);
        let mut x = Tensor::cat(tokens, 1);
        for (i, layer) in self.encoder.layers.iter().enumerate() {
            x = layer.forward(x, positions.clone(), &sizes, i, watch);
        }
        watch(Mask2FormerTap::Memory, &x.clone().unsqueeze_dim(1));

        let mut first = 0;
        let levels: [Tensor<4>; LEVELS] = [0, 1, 2].map(|level| {
            let [height, width] = sizes[level];
            let part = x.clone().narrow(1, first, height * width);
            first += height * width;
            let map =
                part.swap_dims(1, 2).reshape([-1, self.dim as i64, height as i64, width as i64]);
            watch(Mask2FormerTap::MultiScale { level }, &map);
            map
        });
        let [_, _, height, width] = finest.dims();
        let lateral = group_norm(&self.adapter_1.1, self.adapter_1.0.pixels(finest));
        let fine = lateral + resize(levels[LEVELS - 1].clone(), height, width, Filter::Bilinear);
        let fine = relu(group_norm(&self.layer_1.1, self.layer_1.0.forward(fine)));
        let masks = self.mask_projection.pixels(fine);
        watch(Mask2FormerTap::MaskFeatures, &masks);
        PixelFeatures { levels, masks }
    }
}

impl EncoderLayer {
    fn forward(
        &self,
        x: Tensor<3>,
        positions: Tensor<3>,
        sizes: &[[usize; 2]],
        i: usize,
        watch: &mut dyn FnMut(Mask2FormerTap, &Tensor<4>),
    ) -> Tensor<3> {
        let attended = self.self_attn.forward(x.clone(), positions, sizes);
        watch(Mask2FormerTap::DeformableAttention { layer: i }, &attended.clone().unsqueeze_dim(1));
        let x = layer_norm(&self.self_attn_layer_norm, x + attended);
        let hidden = self.fc2.forward(relu(self.fc1.forward(x.clone())));
        let x = layer_norm(&self.final_layer_norm, x + hidden);
        watch(Mask2FormerTap::EncoderLayer { layer: i }, &x.clone().unsqueeze_dim(1));
        x
    }
}

fn watch_sines(
    sines: &Tensor<3>,
    [height, width]: [usize; 2],
    level: usize,
    watch: &mut dyn FnMut(Mask2FormerTap, &Tensor<4>),
) {
    let dim = sines.dims()[2];
    let map = sines.clone().swap_dims(1, 2).reshape([1, dim, height, width]);
    watch(Mask2FormerTap::SinePositions { level }, &map);
}

/// The pixels of a map as tokens, `[batch, height * width, channels]`.
pub(super) fn flat(map: Tensor<4>) -> Tensor<3> {
    let tokens: Tensor<3> = map.flatten(2, 3);
    tokens.swap_dims(1, 2)
}
