//! The text side of CLIP, which is also the text encoder of Stable Diffusion 1.x.

use burn::{
    module::Module,
    nn::{Embedding, EmbeddingConfig, Initializer, LayerNorm, LayerNormConfig},
    tensor::{DType, Device, Int, Tensor},
};
use hyperalign_core::{
    lora::LoraSet,
    precision::{layer_norm, to},
};

use super::{
    ClipTextConfig,
    encoder::{BlockSizes, Encoder},
};
use crate::{
    scope::Scope,
    weights::{
        Folder, LoadError, Tensors, load,
        published::{Kind, without_extras},
    },
};

/// Spread of freshly initialised embeddings, as in arXiv:2103.00020.
pub(super) const EMBEDDING_STD: f64 = 0.02;

/// The value of `eos_token_id` that means "the highest id" in configs written before
/// `transformers` stored the true one.
const EOS_BY_HIGHEST_ID: u32 = 2;

/// A causal text transformer (Radford et al. 2021, arXiv:2103.00020, section 2.4).
#[derive(Module, Debug)]
pub struct ClipTextModel {
    text_model: TextTransformer,
    #[module(skip)]
    config: ClipTextConfig,
}

/// What a text becomes.
#[derive(Debug, Clone)]
pub struct TextOutput {
    /// Token states after the last norm, `[batch, tokens, dim]`: the context of Stable Diffusion.
    pub last_hidden_state: Tensor<3>,
    /// The last state of the end token, `[batch, dim]`.
    pub pooled: Tensor<2>,
    /// States before the first block and after each, not normed, `[batch, tokens, dim]`.
    pub hidden_states: Vec<Tensor<3>>,
}

impl ClipTextConfig {
    /// A network of these sizes, with values drawn by `device`'s own generator.
    ///
    /// # Panics
    ///
    /// Panics if the heads do not divide the width.
    pub fn init(&self, device: &Device) -> ClipTextModel {
        ClipTextModel { text_model: TextTransformer::new(self, device), config: self.clone() }
    }
}

impl ClipTextModel {
    /// Reads the network of the sizes `config` from `tensors`.
    ///
    /// # Errors
    ///
    /// Fails if the tensors are not exactly those of the network.
    pub fn from_tensors(
        config: &ClipTextConfig,
        tensors: Tensors,
        device: &Device,
    ) -> Result<Self, LoadError> {
        let (tensors, _) = without_extras(Kind::ClipText, tensors);
        load(config.init(device), &tensors)
    }

    /// Reads `config.json` and the weights from the component folder `sub` (`text_encoder`) of
    /// `folder`.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be read, describes another network, or does not hold its weights.
    pub fn from_folder(folder: &Folder, sub: &str, device: &Device) -> Result<Self, LoadError> {
        let config: ClipTextConfig = folder.read_config(&format!("{sub}/config.json"))?;
        Self::from_tensors(&config, folder.tensors(sub)?, device)
    }

    /// The sizes of the network.
    pub fn config(&self) -> &ClipTextConfig {
        &self.config
    }

    /// Encodes token ids, whatever the format of the weights into that of the device. Every position
    /// takes part, padding too, as in Stable Diffusion.
    ///
    /// # Shapes
    ///
    /// - `ids`: `[batch, tokens]`
    ///
    /// # Panics
    ///
    /// Panics if there are more tokens than positions.
    pub fn forward(&self, ids: Tensor<2, Int>) -> TextOutput {
        self.forward_with(ids, None)
    }

    /// [`forward`](Self::forward) with the layers shifted that `lora` names.
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward).
    pub fn forward_with(&self, ids: Tensor<2, Int>, lora: Option<&LoraSet>) -> TextOutput {
        let wide = DType::from(ids.device().settings().float_dtype);
        let TextOutput { last_hidden_state, pooled, hidden_states } =
            self.text_model.forward(ids, &Scope::root(lora, None).child("text_model"));
        TextOutput {
            last_hidden_state: to(last_hidden_state, wide),
            pooled: to(pooled, wide),
            hidden_states: hidden_states.into_iter().map(|states| to(states, wide)).collect(),
        }
    }
}

#[derive(Module, Debug)]
pub(super) struct TextTransformer {
    embeddings: TextEmbeddings,
    encoder: Encoder,
    final_layer_norm: LayerNorm,
    #[module(skip)]
    eos_token_id: u32,
}

impl TextTransformer {
    pub(super) fn new(config: &ClipTextConfig, device: &Device) -> Self {
        let embedding = |n| {
            EmbeddingConfig::new(n, config.hidden_size)
                .with_initializer(Initializer::Normal { mean: 0.0, std: EMBEDDING_STD })
                .init(device)
        };
        let sizes = BlockSizes {
            dim: config.hidden_size,
            heads: config.num_attention_heads,
            intermediate: config.intermediate_size,
            act: config.hidden_act,
            eps: config.layer_norm_eps,
            causal: true,
            modulated: false,
        };
        Self {
            embeddings: TextEmbeddings {
                token_embedding: embedding(config.vocab_size),
                position_embedding: embedding(config.max_position_embeddings),
            },
            encoder: Encoder::new(&sizes, config.num_hidden_layers, device),
            final_layer_norm: LayerNormConfig::new(config.hidden_size)
                .with_epsilon(config.layer_norm_eps)
                .init(device),
            eos_token_id: config.eos_token_id,
        }
    }

    pub(super) fn forward(&self, ids: Tensor<2, Int>, scope: &Scope<'_>) -> TextOutput {
        let [batch, _] = ids.dims();
        let hidden_states = self.embeddings.forward(ids.clone());
        let hidden_states = self.encoder.forward(hidden_states, None, &scope.child("encoder"));
        let last = hidden_states.last().expect("the first state is always there").clone();
        let last_hidden_state = layer_norm(&self.final_layer_norm, last);
        let [_, _, dim] = last_hidden_state.dims();
        let position = self.pooled_position(ids).reshape([batch, 1, 1]).repeat_dim(2, dim);
        let pooled = last_hidden_state.clone().gather(1, position).reshape([batch, dim]);
        TextOutput { last_hidden_state, pooled, hidden_states }
    }

    /// The position of the end token in each row, `[batch, 1]`.
    fn pooled_position(&self, ids: Tensor<2, Int>) -> Tensor<2, Int> {
        match self.eos_token_id {
            EOS_BY_HIGHEST_ID => ids.argmax(1),
            eos => ids.equal_elem(eos as i32).int().argmax(1),
        }
    }
}

#[derive(Module, Debug)]
struct TextEmbeddings {
    token_embedding: Embedding,
    position_embedding: Embedding,
}

impl TextEmbeddings {
    fn forward(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let [_, tokens] = ids.dims();
        let positions = self.position_embedding.weight.val();
        let [longest, dim] = positions.dims();
        assert!(tokens <= longest, "{tokens} tokens for a text encoder of {longest} positions");
        let positions = positions.slice([0..tokens, 0..dim]).unsqueeze();
        self.token_embedding.forward(ids) + positions
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{TensorData, s};
    use hyperalign_core::testing;

    use super::*;

    fn config() -> ClipTextConfig {
        ClipTextConfig {
            vocab_size: 50,
            hidden_size: 16,
            intermediate_size: 32,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            max_position_embeddings: 8,
            eos_token_id: 2,
            ..ClipTextConfig::default()
        }
    }

    fn ids(rows: &[[i32; 6]]) -> Tensor<2, Int> {
        let values = rows.concat();
        Tensor::from_data(TensorData::new(values, [rows.len(), 6]), &testing::device())
    }

    fn row(x: &Tensor<3>, batch: usize, token: usize) -> TensorData {
        x.clone().slice(s![batch..batch + 1, token..token + 1, ..]).into_data()
    }

    #[test]
    fn a_state_does_not_depend_on_later_tokens() {
        let model = config().init(&testing::device());
        let out = model.forward(ids(&[[1, 5, 9, 30, 49, 0], [1, 5, 9, 7, 7, 7]]));
        for states in out.hidden_states.iter().chain([&out.last_hidden_state]) {
            for token in 0..3 {
                assert_eq!(row(states, 0, token), row(states, 1, token), "token {token}");
            }
        }
        let last = &out.last_hidden_state;
        assert_ne!(row(last, 0, 3), row(last, 1, 3), "a token does not reach its own state");
        let changed = model.forward(ids(&[[2, 5, 9, 30, 49, 0]])).last_hidden_state;
        assert_ne!(
            row(last, 0, 4),
            row(&changed, 0, 4),
            "the first token does not reach the fifth"
        );
    }

    #[test]
    fn pooled_is_the_state_of_the_end_token() {
        let rows = ids(&[[1, 5, 49, 0, 0, 0], [1, 9, 7, 8, 49, 49]]);
        for eos_token_id in [2, 49] {
            let config = ClipTextConfig { eos_token_id, ..config() };
            let out = config.init(&testing::device()).forward(rows.clone());
            for (batch, token) in [(0, 2), (1, 4)] {
                let pooled = out.pooled.clone().slice(s![batch..batch + 1, ..]).into_data();
                let state = row(&out.last_hidden_state, batch, token);
                assert_eq!(
                    pooled.try_to_vec::<f32>().unwrap(),
                    state.try_to_vec::<f32>().unwrap(),
                    "eos_token_id {eos_token_id}, row {batch}"
                );
            }
        }
    }

    #[test]
    fn a_named_end_token_need_not_be_the_highest() {
        let config = ClipTextConfig { eos_token_id: 7, ..config() };
        let out = config.init(&testing::device()).forward(ids(&[[1, 5, 7, 40, 7, 0]]));
        assert_eq!(
            out.pooled.into_data().try_to_vec::<f32>().unwrap(),
            row(&out.last_hidden_state, 0, 2).try_to_vec::<f32>().unwrap()
        );
    }
}
