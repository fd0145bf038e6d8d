//! The backbone.

use burn::{
    module::Module,
    nn::{
        LayerNorm, LayerNormConfig,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Tensor, ops::PadMode},
};
use hyperalign_core::precision::layer_norm;

use super::{
    SwinConfig,
    block::{PatchMerging, SwinBlock},
};

/// Stages of every Swin.
pub(crate) const STAGES: usize = 4;

/// Added to variances outside of the blocks, whatever the configuration says of those inside.
pub(super) const NORM_EPS: f64 = 1e-5;

/// A Swin that gives a normed feature map of each stage.
#[derive(Module, Debug)]
pub struct SwinBackbone {
    embeddings: PatchEmbeddings,
    encoder: Encoder,
    hidden_states_norms: StageNorms,
}

#[derive(Module, Debug)]
struct PatchEmbeddings {
    patch_embeddings: Projection,
    norm: LayerNorm,
    patch_size: usize,
}

#[derive(Module, Debug)]
struct Projection {
    projection: Conv2d,
}

#[derive(Module, Debug)]
struct Encoder {
    layers: Vec<Stage>,
}

#[derive(Module, Debug)]
struct Stage {
    blocks: Vec<SwinBlock>,
    downsample: Option<PatchMerging>,
}

#[derive(Module, Debug)]
struct StageNorms {
    stage1: LayerNorm,
    stage2: LayerNorm,
    stage3: LayerNorm,
    stage4: LayerNorm,
}

/// An intermediate result of a [`SwinBackbone`]. Stages and blocks count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SwinTap {
    /// The normed patches.
    Embeddings,
    /// The tokens after a block.
    Block {
        /// The stage.
        stage: usize,
        /// The block in it.
        block: usize,
    },
    /// The tokens of half the resolution after a stage.
    Downsample {
        /// The stage.
        stage: usize,
    },
}

impl SwinConfig {
    /// A network of these sizes, with values drawn by `device`'s own generator.
    ///
    /// # Panics
    ///
    /// Panics if [`validate`](Self::validate) fails.
    pub fn init(&self, device: &Device) -> SwinBackbone {
        let patch = [self.patch_size; 2];
        let widths = self.widths();
        let norm = |dim| LayerNormConfig::new(dim).with_epsilon(NORM_EPS).init(device);
        let projection = Conv2dConfig::new([self.num_channels, self.embed_dim], patch);
        let stage = |stage: usize| Stage {
            blocks: (0..self.depths[stage])
                .map(|block| SwinBlock::new(self, stage, block, device))
                .collect(),
            downsample: (stage + 1 < STAGES).then(|| PatchMerging::new(widths[stage], device)),
        };
        SwinBackbone {
            embeddings: PatchEmbeddings {
                patch_embeddings: Projection {
                    projection: projection.with_stride(patch).init(device),
                },
                norm: norm(self.embed_dim),
                patch_size: self.patch_size,
            },
            encoder: Encoder { layers: (0..STAGES).map(stage).collect() },
            hidden_states_norms: StageNorms {
                stage1: norm(widths[0]),
                stage2: norm(widths[1]),
                stage3: norm(widths[2]),
                stage4: norm(widths[3]),
            },
        }
    }
}

impl SwinBackbone {
    /// The normed feature map of each stage, at 1, 1/2, 1/4 and 1/8 of the resolution of the
    /// patches. `watch` is shown the intermediate results, `[batch, tokens, dim]`.
    ///
    /// # Shapes
    ///
    /// - `image`: `[batch, channels, height, width]`, normalised; filled up with zeros to whole
    ///   patches
    /// - output: `[batch, embed_dim 2^k, height_k, width_k]`
    pub fn forward(
        &self,
        image: Tensor<4>,
        watch: &mut dyn FnMut(SwinTap, &Tensor<3>),
    ) -> [Tensor<4>; STAGES] {
        let (mut x, mut size) = self.embeddings.forward(image);
        watch(SwinTap::Embeddings, &x);
        let mut maps = Vec::with_capacity(STAGES);
        for (stage, layer) in self.encoder.layers.iter().enumerate() {
            for (block, layer) in layer.blocks.iter().enumerate() {
                x = layer.forward(x, size);
                watch(SwinTap::Block { stage, block }, &x);
            }
            let normed = layer_norm(self.hidden_states_norms.of(stage), x.clone());
            maps.push(grid(normed, size).permute([0, 3, 1, 2]));
            if let Some(downsample) = &layer.downsample {
                x = downsample.forward(x, size);
                size = size.map(|extent| extent.div_ceil(2));
                watch(SwinTap::Downsample { stage }, &x);
            }
        }
        maps.try_into().expect("one map a stage")
    }
}

impl PatchEmbeddings {
    /// The normed patches, and how many there are down and across.
    fn forward(&self, image: Tensor<4>) -> (Tensor<3>, [usize; 2]) {
        let [_, _, height, width] = image.dims();
        let missing = |extent: usize| extent.next_multiple_of(self.patch_size) - extent;
        let image = match (missing(height), missing(width)) {
            (0, 0) => image,
            (down, right) => {
                image.pad([(0, 0), (0, 0), (0, down), (0, right)], PadMode::Constant(0.0))
            }
        };
        let patches = self.patch_embeddings.projection.forward(image);
        let [_, _, rows, columns] = patches.dims();
        let patches: Tensor<3> = patches.flatten(2, 3);
        (layer_norm(&self.norm, patches.swap_dims(1, 2)), [rows, columns])
    }
}

impl StageNorms {
    fn of(&self, stage: usize) -> &LayerNorm {
        [&self.stage1, &self.stage2, &self.stage3, &self.stage4][stage]
    }
}

/// Tokens as the map that they are, `[batch, height, width, channels]`.
pub(super) fn grid(tokens: Tensor<3>, [height, width]: [usize; 2]) -> Tensor<4> {
    let [batch, _, channels] = tokens.dims();
    tokens.reshape([batch, height, width, channels])
}

/// A map `[batch, height, width, channels]` as tokens.
pub(super) fn tokens(map: Tensor<4>) -> Tensor<3> {
    map.flatten(1, 2)
}
