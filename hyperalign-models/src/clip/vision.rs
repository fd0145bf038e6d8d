//! The vision side of CLIP (Dosovitskiy et al. 2021, arXiv:2010.11929, with a norm more).

use burn::{
    module::{Module, Param},
    nn::{
        Embedding, EmbeddingConfig, Initializer, LayerNorm, LayerNormConfig, Linear,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Tensor, assert_shape, s},
};

use super::{
    ClipVisionConfig,
    encoder::{BlockSizes, Encoder},
    step_aware::modulation,
    text::EMBEDDING_STD,
};
use crate::scope::Scope;

/// A vision transformer with a class token (Radford et al. 2021, arXiv:2103.00020, section 2.4).
#[derive(Module, Debug)]
pub struct ClipVisionModel {
    vision_model: VisionTransformer,
}

/// What an image becomes.
#[derive(Debug, Clone)]
pub struct VisionOutput {
    /// Class token and patches after the last block, not normed, `[batch, 1 + patches, dim]`.
    pub last_hidden_state: Tensor<3>,
    /// The normed class token, `[batch, dim]`.
    pub pooled: Tensor<2>,
    /// States before the first block and after each, `[batch, 1 + patches, dim]`.
    pub hidden_states: Vec<Tensor<3>>,
}

impl ClipVisionConfig {
    /// A network of these sizes, with values drawn by `device`'s own generator.
    ///
    /// # Panics
    ///
    /// Panics if the heads do not divide the width.
    pub fn init(&self, device: &Device) -> ClipVisionModel {
        ClipVisionModel { vision_model: VisionTransformer::new(self, false, device) }
    }
}

impl ClipVisionModel {
    /// Encodes images that [`ClipPreprocess`](super::ClipPreprocess) prepared.
    ///
    /// # Shapes
    ///
    /// - `image`: `[batch, channels, image_size, image_size]`
    ///
    /// # Panics
    ///
    /// Panics if the image is not of the network's size.
    pub fn forward(&self, image: Tensor<4>) -> VisionOutput {
        self.vision_model.forward(image, None)
    }
}

#[derive(Module, Debug)]
pub(super) struct VisionTransformer {
    embeddings: VisionEmbeddings,
    /// The published name carries this misspelling.
    pre_layrnorm: LayerNorm,
    encoder: Encoder,
    post_layernorm: LayerNorm,
    modulation: Option<Linear>,
}

impl VisionTransformer {
    /// One that a timestep modulates, or one of CLIP's own.
    pub(super) fn new(config: &ClipVisionConfig, modulated: bool, device: &Device) -> Self {
        let norm = LayerNormConfig::new(config.hidden_size).with_epsilon(config.layer_norm_eps);
        let sizes = BlockSizes {
            dim: config.hidden_size,
            heads: config.num_attention_heads,
            intermediate: config.intermediate_size,
            act: config.hidden_act,
            eps: config.layer_norm_eps,
            causal: false,
            modulated,
        };
        Self {
            embeddings: VisionEmbeddings::new(config, device),
            pre_layrnorm: norm.init(device),
            encoder: Encoder::new(&sizes, config.num_hidden_layers, device),
            post_layernorm: norm.init(device),
            modulation: modulated.then(|| modulation(config.hidden_size, 2, &[], device)),
        }
    }

    /// # Panics
    ///
    /// Panics if a timestep modulates the network and there is no `time`, `[batch, dim]`.
    pub(super) fn forward(&self, image: Tensor<4>, time: Option<&Tensor<2>>) -> VisionOutput {
        let x = self.pre_layrnorm.forward(self.embeddings.forward(image));
        let hidden_states = self.encoder.forward(x, time, &Scope::bare());
        let last_hidden_state =
            hidden_states.last().expect("the first state is always there").clone();
        let class = last_hidden_state.clone().slice(s![.., 0..1, ..]).squeeze_dim(1);
        let pooled = self.post_layernorm.forward::<2>(class);
        let pooled = match (&self.modulation, time) {
            (Some(layer), Some(time)) => {
                let [shift, scale] =
                    layer.forward(time.clone()).chunk(2, 1).try_into().expect("two parts");
                pooled * (scale + 1.0) + shift
            }
            _ => pooled,
        };
        VisionOutput { last_hidden_state, pooled, hidden_states }
    }
}

#[derive(Module, Debug)]
struct VisionEmbeddings {
    class_embedding: Param<Tensor<1>>,
    patch_embedding: Conv2d,
    position_embedding: Embedding,
    image_size: usize,
}

impl VisionEmbeddings {
    fn new(config: &ClipVisionConfig, device: &Device) -> Self {
        let patch = [config.patch_size; 2];
        let normal = Initializer::Normal { mean: 0.0, std: EMBEDDING_STD };
        Self {
            class_embedding: normal.init([config.hidden_size], device),
            patch_embedding: Conv2dConfig::new([config.num_channels, config.hidden_size], patch)
                .with_stride(patch)
                .with_bias(false)
                .init(device),
            position_embedding: EmbeddingConfig::new(config.patches() + 1, config.hidden_size)
                .with_initializer(normal)
                .init(device),
            image_size: config.image_size,
        }
    }

    fn forward(&self, image: Tensor<4>) -> Tensor<3> {
        let size = self.image_size;
        assert_shape!(image, [_, _, size, size]);
        let [batch, ..] = image.dims();
        let patches: Tensor<3> = self.patch_embedding.forward(image).flatten(2, 3);
        let class = self.class_embedding.val().unsqueeze::<3>().repeat_dim(0, batch);
        let x = Tensor::cat(vec![class, patches.swap_dims(1, 2)], 1);
        x + self.position_embedding.weight.val().unsqueeze()
    }
}
