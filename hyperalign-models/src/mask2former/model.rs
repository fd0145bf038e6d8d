//! The network.

use burn::{
    module::Module,
    nn::{Linear, LinearConfig},
    tensor::{Device, Tensor},
};

use super::{
    Mask2FormerConfig,
    pixel_decoder::PixelDecoder,
    transformer::{TransformerModule, on_map},
};
use crate::swin::{SwinBackbone, SwinTap};

/// A Mask2Former over a Swin.
#[derive(Module, Debug)]
pub struct Mask2Former {
    model: Networks,
    class_predictor: Linear,
}

#[derive(Module, Debug)]
struct Networks {
    pixel_level_module: PixelLevelModule,
    transformer_module: TransformerModule,
}

#[derive(Module, Debug)]
struct PixelLevelModule {
    encoder: SwinBackbone,
    decoder: PixelDecoder,
}

/// What the queries say of a picture.
#[derive(Debug, Clone)]
pub struct Prediction {
    /// Logits of the classes and, last, of no object, `[batch, queries, classes + 1]`.
    pub classes: Tensor<3>,
    /// Logits of the masks at a quarter of the resolution, `[batch, queries, height, width]`.
    pub masks: Tensor<4>,
}

/// An intermediate result of a [`Mask2Former`]. Levels count from the coarsest, layers, stages and
/// blocks from 0. Maps are `[batch, channels, height, width]`, tokens `[batch, 1, tokens, dim]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mask2FormerTap {
    /// Tokens of the backbone.
    Backbone(SwinTap),
    /// A normed map of the backbone.
    Stage {
        /// The stage.
        stage: usize,
    },
    /// A map as the pixel decoder begins with it.
    InputProjection {
        /// The level.
        level: usize,
    },
    /// The positions of a map's pixels.
    SinePositions {
        /// The level.
        level: usize,
    },
    /// Tokens that deformable attention gives.
    DeformableAttention {
        /// The layer of the pixel decoder.
        layer: usize,
    },
    /// Tokens after a layer of the pixel decoder.
    EncoderLayer {
        /// The layer.
        layer: usize,
    },
    /// Tokens after its last layer.
    Memory,
    /// The same as maps.
    MultiScale {
        /// The level.
        level: usize,
    },
    /// What masks are made of.
    MaskFeatures,
    /// Tokens that masked attention gives.
    CrossAttention {
        /// The layer of the transformer decoder.
        layer: usize,
    },
    /// Tokens that attention between the queries gives.
    SelfAttention {
        /// The layer.
        layer: usize,
    },
    /// Queries after a layer.
    DecoderLayer {
        /// The layer.
        layer: usize,
    },
    /// Logits of the classes before a layer, as tokens.
    Classes {
        /// The layer.
        layer: usize,
    },
    /// Logits of the masks before a layer.
    Masks {
        /// The layer.
        layer: usize,
    },
}

impl Mask2FormerConfig {
    /// A network of these sizes, with values drawn by `device`'s own generator.
    ///
    /// # Panics
    ///
    /// Panics if [`validate`](Self::validate) fails.
    pub fn init(&self, device: &Device) -> Mask2Former {
        Mask2Former {
            model: Networks {
                pixel_level_module: PixelLevelModule {
                    encoder: self.backbone_config.init(device),
                    decoder: PixelDecoder::new(self, device),
                },
                transformer_module: TransformerModule::new(self, device),
            },
            class_predictor: LinearConfig::new(self.hidden_dim, self.classes() + 1).init(device),
        }
    }
}

/// Logits of masks, `[batch, queries, height, width]`, on a map of another height and width: what
/// masked attention depends on the signs of.
pub fn masks_on_map(masks: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    on_map(masks, size)
}

impl Mask2Former {
    /// What the queries say of pictures in the end.
    ///
    /// # Shapes
    ///
    /// - `image`: `[batch, 3, height, width]`, normalised
    /// - output: masks of `[batch, queries, ceil(height / 4), ceil(width / 4)]`
    pub fn forward(&self, image: Tensor<4>) -> Prediction {
        self.forward_observed(image, &mut |_, _| {})
    }

    /// [`forward`](Self::forward), with each intermediate result shown to `watch`; the predictions
    /// of the auxiliary heads are among them.
    pub fn forward_observed(
        &self,
        image: Tensor<4>,
        watch: &mut dyn FnMut(Mask2FormerTap, &Tensor<4>),
    ) -> Prediction {
        self.run(image, None, watch)
    }

    /// [`forward_observed`](Self::forward_observed) with attention of each layer held to the given
    /// masks, as logits, and not to its own predictions: what each layer computes can then be
    /// compared though a logit at 0 has fallen to the other side before it.
    ///
    /// # Shapes
    ///
    /// - `masks`: for each layer, as [`Prediction::masks`]
    ///
    /// # Panics
    ///
    /// Panics if there are fewer masks than layers.
    pub fn forward_steered(
        &self,
        image: Tensor<4>,
        masks: &[Tensor<4>],
        watch: &mut dyn FnMut(Mask2FormerTap, &Tensor<4>),
    ) -> Prediction {
        self.run(image, Some(masks), watch)
    }

    fn run(
        &self,
        image: Tensor<4>,
        steer: Option<&[Tensor<4>]>,
        watch: &mut dyn FnMut(Mask2FormerTap, &Tensor<4>),
    ) -> Prediction {
        let PixelLevelModule { encoder, decoder } = &self.model.pixel_level_module;
        let maps = encoder.forward(image, &mut |tap, x| {
            watch(Mask2FormerTap::Backbone(tap), &x.clone().unsqueeze_dim(1));
        });
        for (stage, map) in maps.iter().enumerate() {
            watch(Mask2FormerTap::Stage { stage }, map);
        }
        let features = decoder.forward(maps, watch);
        let mut said = self.model.transformer_module.forward(features, steer, watch);
        let last = said.pop().expect("one prediction at least");
        for (layer, auxiliary) in said.into_iter().enumerate() {
            let classes = self.class_predictor.forward(auxiliary.states);
            watch(Mask2FormerTap::Classes { layer }, &classes.unsqueeze_dim(1));
            watch(Mask2FormerTap::Masks { layer }, &auxiliary.masks);
        }
        Prediction { classes: self.class_predictor.forward(last.states), masks: last.masks }
    }
}

#[cfg(test)]
mod tests {
    use hyperalign_core::testing;

    use super::*;
    use crate::{testing::small_detector, weights::reinit};

    /// Held to its own masks a network says what it says; held to others it does not.
    #[test]
    fn attention_is_steered() {
        let device = testing::device();
        let config = small_detector(&["dog", "car"]);
        let network = reinit(config.init(&device), 7);
        let image = Tensor::<1, burn::tensor::Int>::arange(0..3 * 64 * 96, &device).float();
        let image = image.sin().reshape([1, 3, 64, 96]);
        let mut masks = Vec::new();
        let plain = network.forward_observed(image.clone(), &mut |tap, x| {
            if matches!(tap, Mask2FormerTap::Masks { .. }) {
                masks.push(x.clone());
            }
        });
        assert_eq!(masks.len(), config.layers());
        let difference = |masks: &[Tensor<4>]| {
            let steered = network.forward_steered(image.clone(), masks, &mut |_, _| {});
            (steered.classes - plain.classes.clone()).abs().max().into_scalar::<f32>()
        };
        assert_eq!(difference(&masks), 0.0);
        let others: Vec<_> = masks.into_iter().map(Tensor::neg).collect();
        assert!(difference(&others) > 1e-4);
    }
}
