//! The encoder as a whole.

use burn::{
    module::Module,
    nn::{Embedding, EmbeddingConfig, Initializer, RmsNorm},
    tensor::{DType, Device, Int, Tensor},
};
use hyperalign_core::{
    lora::LoraSet,
    precision::{like, rms_norm, to},
};

use super::{
    T5Config,
    block::{Block, norm},
};
use crate::{
    scope::Scope,
    weights::{
        self, Folder, LoadError, Tensors,
        published::{Kind, without_extras},
    },
};

/// Spread of freshly initialised embeddings.
const EMBEDDING_STD: f64 = 0.02;
/// Added to the scores of tokens that are masked.
const MASKED: f64 = -1e9;

/// The encoder of T5 v1.1, `T5EncoderModel` of `transformers`.
#[derive(Module, Debug)]
pub struct T5EncoderModel {
    shared: Embedding,
    encoder: Encoder,
    #[module(skip)]
    config: T5Config,
}

#[derive(Module, Debug)]
struct Encoder {
    block: Vec<Block>,
    final_layer_norm: RmsNorm,
}

impl T5EncoderModel {
    pub(super) fn new(config: &T5Config, device: &Device) -> Self {
        if let Err(reason) = config.validate() {
            panic!("the configuration of T5 contradicts itself: {reason}");
        }
        Self {
            shared: EmbeddingConfig::new(config.vocab_size, config.d_model)
                .with_initializer(Initializer::Normal { mean: 0.0, std: EMBEDDING_STD })
                .init(device),
            encoder: Encoder {
                block: (0..config.num_layers).map(|i| Block::new(config, i, device)).collect(),
                final_layer_norm: norm(config, device),
            },
            config: config.clone(),
        }
    }

    /// Reads the network of the sizes `config` from `tensors`.
    ///
    /// # Errors
    ///
    /// Fails if the tensors are not exactly those of the network, or its sizes cannot be.
    pub fn from_tensors(
        config: &T5Config,
        tensors: Tensors,
        device: &Device,
    ) -> Result<Self, LoadError> {
        let (tensors, _) = without_extras(Kind::T5, tensors);
        weights::load(config.init(device), &tensors)
    }

    /// Reads `config.json` and the weights from the component folder `sub` (`text_encoder_2`) of
    /// `folder`.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be read, describes another network, or does not hold its weights.
    pub fn from_folder(folder: &Folder, sub: &str, device: &Device) -> Result<Self, LoadError> {
        let file = format!("{sub}/config.json");
        let config: T5Config = folder.read_config(&file)?;
        Self::from_tensors(&config, folder.tensors(sub)?, device)
    }

    /// The sizes of the network.
    pub fn config(&self) -> &T5Config {
        &self.config
    }

    /// Encodes token ids, whatever the format of the weights into that of the device.
    ///
    /// # Shapes
    ///
    /// - `ids`: `[batch, tokens]`
    /// - `mask`: `[batch, tokens]`, 1 for tokens that take part and 0 for others; without it all
    ///   do, padding too, which is how FLUX.1 calls the network
    /// - output: `[batch, tokens, d_model]`
    pub fn forward(&self, ids: Tensor<2, Int>, mask: Option<Tensor<2>>) -> Tensor<3> {
        self.forward_with(ids, mask, None)
    }

    /// [`forward`](Self::forward) with the layers shifted that `lora` names.
    pub fn forward_with(
        &self,
        ids: Tensor<2, Int>,
        mask: Option<Tensor<2>>,
        lora: Option<&LoraSet>,
    ) -> Tensor<3> {
        let scope = Scope::root(lora, None).child("encoder");
        let [batch, tokens] = ids.dims();
        let wide = DType::from(ids.device().settings().float_dtype);
        let mut x = self.shared.forward(ids);
        let Some(first) = self.encoder.block.first() else { return to(x, wide) };
        let bias = first.bias(&self.config, tokens);
        let bias = match mask {
            Some(mask) => {
                let masked = ((mask - 1.0) * -MASKED).reshape([batch, 1, 1, tokens]);
                bias.clone() + like(masked, &bias)
            }
            None => bias,
        };
        for (i, block) in self.encoder.block.iter().enumerate() {
            x = block.forward(x, bias.clone(), &scope.item("block", i));
        }
        to(rms_norm(&self.encoder.final_layer_norm, x), wide)
    }
}
