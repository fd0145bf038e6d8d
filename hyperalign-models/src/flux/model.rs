//! The network as a whole.

use burn::{
    module::Module,
    nn::{Initializer, Linear, LinearConfig},
    tensor::{Device, Tensor, assert_shape},
};
use hyperalign_core::{
    fused::silu,
    lora::LoraSet,
    precision::{like, to},
};

use super::{
    FluxConfig,
    around::{Around, run_block},
    double::DoubleBlock,
    embedding::TimeTextEmbedding,
    modulation::{Modulation, modulate},
    rotary::{Position, Rotary},
    single::SingleBlock,
};
use crate::{
    scope::{Observer, Scope},
    weights::{
        self, Folder, LoadError, Tensors, keys,
        published::{self, Kind},
    },
};

/// The transformer of FLUX.1, `FluxTransformer2DModel` of diffusers.
///
/// For training from nothing, the modulations and `proj_out` begin at zero, so that a fresh
/// network predicts zero.
#[derive(Module, Debug)]
pub struct FluxTransformer {
    time_text_embed: TimeTextEmbedding,
    context_embedder: Linear,
    x_embedder: Linear,
    transformer_blocks: Vec<DoubleBlock>,
    single_transformer_blocks: Vec<SingleBlock>,
    norm_out: Modulation,
    proj_out: Linear,
    #[module(skip)]
    config: FluxConfig,
}

/// What the network reads.
#[derive(Debug, Clone)]
pub struct FluxInput {
    /// Packed noisy latents, `[batch, image_tokens, in_channels]`.
    pub tokens: Tensor<3>,
    /// Noise levels in `[0, 1]`, `[batch]`.
    pub timesteps: Tensor<1>,
    /// Weights of the guidance that the network was distilled from, `[batch]`, where it reads
    /// them.
    pub guidance: Option<Tensor<1>>,
    /// Token states of the text encoder, `[batch, text_tokens, joint_attention_dim]`.
    pub context: Tensor<3>,
    /// Pooled text features, `[batch, pooled_projection_dim]`.
    pub pooled: Tensor<2>,
    /// Positions of the text tokens.
    pub text_positions: Vec<Position>,
    /// Positions of the image tokens.
    pub image_positions: Vec<Position>,
}

/// Text and image tokens as one, and what every block reads beside them.
struct Streams<'a> {
    x: Tensor<3>,
    around: Around,
    scope: Scope<'a>,
}

impl FluxTransformer {
    pub(super) fn new(config: &FluxConfig, device: &Device) -> Self {
        if let Err(reason) = config.validate() {
            panic!("the configuration of the transformer contradicts itself: {reason}");
        }
        let dim = config.dim();
        Self {
            time_text_embed: TimeTextEmbedding::new(config, device),
            context_embedder: LinearConfig::new(config.joint_attention_dim, dim).init(device),
            x_embedder: LinearConfig::new(config.in_channels, dim).init(device),
            transformer_blocks: (0..config.num_layers)
                .map(|_| DoubleBlock::new(config, device))
                .collect(),
            single_transformer_blocks: (0..config.num_single_layers)
                .map(|_| SingleBlock::new(config, device))
                .collect(),
            norm_out: Modulation::new(dim, 2, device),
            proj_out: LinearConfig::new(dim, config.d_output())
                .with_initializer(Initializer::Zeros)
                .init(device),
            config: config.clone(),
        }
    }

    /// Reads `config.json` and the weights from the component folder `sub` (`transformer`) of
    /// `folder`.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be read, describes another network, or does not hold its weights.
    pub fn from_folder(folder: &Folder, sub: &str, device: &Device) -> Result<Self, LoadError> {
        let config: FluxConfig = folder.read_config(&format!("{sub}/config.json"))?;
        config.init(device).load(&folder.tensors(sub)?)
    }

    /// Fills the network from `tensors`, in the layout of diffusers or in that of its authors
    /// (`flux1-dev.safetensors`).
    ///
    /// # Errors
    ///
    /// Fails if `tensors` does not hold exactly the weights of this network.
    pub fn load(self, tensors: &Tensors) -> Result<Self, LoadError> {
        let tensors = self.arrange(tensors)?;
        weights::load(self, &tensors)
    }

    /// `tensors`, in either of the layouts of [`load`](Self::load), under the names of this
    /// network.
    ///
    /// # Errors
    ///
    /// Fails if `tensors` is in the layout of the network's authors, and not exactly of it.
    pub fn arrange(&self, tensors: &Tensors) -> Result<Tensors, LoadError> {
        if published::identify(tensors) != Some(Kind::FluxBfl) {
            return Ok(tensors.clone());
        }
        published::read_as(tensors, &keys(self), published::flux)
    }

    /// The sizes of the network.
    pub fn config(&self) -> &FluxConfig {
        &self.config
    }

    /// Predicts the velocity of the tokens, with the layers shifted that `lora` names. Whatever
    /// the format of the weights, the output is in that of the tokens.
    ///
    /// # Shapes
    ///
    /// - `lora`: deltas of `batch` rows, or of one row
    /// - output: `[batch, image_tokens, out_channels]`
    ///
    /// # Panics
    ///
    /// Panics if the shapes of `input` are not those of [`FluxInput`].
    pub fn forward(&self, input: FluxInput, lora: Option<&LoraSet>) -> Tensor<3> {
        self.run(input, Scope::root(lora, None))
    }

    /// [`forward`](Self::forward), showing the output of each module to `observer`.
    pub fn forward_observed(
        &self,
        input: FluxInput,
        lora: Option<&LoraSet>,
        observer: Observer<'_>,
    ) -> Tensor<3> {
        self.run(input, Scope::root(lora, Some(observer)))
    }

    /// The image stream after the first `blocks` double blocks, without any update.
    ///
    /// This is the perception encoder of the hypernetwork (arXiv:2601.15968): what the base
    /// itself sees in the tokens.
    ///
    /// # Shapes
    ///
    /// - output: `[batch, image_tokens, dim]`
    ///
    /// # Panics
    ///
    /// Panics if the shapes of `input` are not those of [`FluxInput`].
    pub fn encode(&self, input: FluxInput, blocks: usize) -> Tensor<3> {
        let image_tokens = input.image_positions.len();
        let output = input.tokens.dtype();
        let streams = self.streams(input, Scope::bare());
        let x = self.double_blocks(&streams, blocks);
        to(x.narrow(1, streams.around.text_tokens, image_tokens), output)
    }

    fn run(&self, input: FluxInput, scope: Scope<'_>) -> Tensor<3> {
        let image_tokens = input.image_positions.len();
        let output = input.tokens.dtype();
        let streams = self.streams(input, scope);
        let mut x = self.double_blocks(&streams, self.transformer_blocks.len());
        let Streams { around, scope, .. } = streams;
        let text_tokens = around.text_tokens;
        for (i, block) in self.single_transformer_blocks.iter().enumerate() {
            let scope = scope.item("single_transformer_blocks", i);
            x = run_block(block, x, &around, &scope, SingleBlock::forward);
            if scope.is_observed() {
                scope.child("0").tokens(x.clone().narrow(1, 0, text_tokens));
                scope.child("1").tokens(x.clone().narrow(1, text_tokens, image_tokens));
            }
        }
        let x = x.narrow(1, text_tokens, image_tokens);
        // Unlike in the blocks, the scale comes first.
        let norm_out = scope.child("norm_out");
        let [scale, shift] = self.norm_out.forward(&around.embedding, &norm_out);
        let x = norm_out.tokens(modulate(x, shift, scale));
        to(scope.linear("proj_out", &self.proj_out, x), output)
    }

    fn streams<'a>(&self, input: FluxInput, scope: Scope<'a>) -> Streams<'a> {
        let FluxInput { tokens, timesteps, guidance, context, pooled, .. } = input;
        let [batch] = timesteps.dims();
        assert_shape!(tokens, [batch, input.image_positions.len(), self.config.in_channels]);
        assert_shape!(
            context,
            [batch, input.text_positions.len(), self.config.joint_attention_dim]
        );
        assert_shape!(pooled, [batch, self.config.pooled_projection_dim]);
        let device = tokens.device();
        let own = &self.x_embedder.weight.val();
        let (tokens, context, pooled) = (like(tokens, own), like(context, own), like(pooled, own));
        let embedder = scope.child("time_text_embed");
        let embedding = self.time_text_embed.forward(timesteps, guidance, pooled, &embedder);
        let positions = [input.text_positions, input.image_positions].concat();
        let rotary = Rotary::new(&positions, self.config.axes_dims_rope, &device);
        if scope.is_observed() {
            for (i, table) in rotary.tables().into_iter().enumerate() {
                scope.item("pos_embed", i).vector(table);
            }
        }
        let image = scope.linear("x_embedder", &self.x_embedder, tokens);
        let image = scope.child("x_embedder").tokens(image);
        let text = scope.linear("context_embedder", &self.context_embedder, context);
        let text = scope.child("context_embedder").tokens(text);
        let text_tokens = text.dims()[1];
        let around = Around { embedding: silu(embedding), rotary, text_tokens };
        Streams { x: Tensor::cat(vec![text, image], 1), around, scope }
    }

    fn double_blocks(&self, streams: &Streams<'_>, blocks: usize) -> Tensor<3> {
        let Streams { x, around, scope } = streams;
        let blocks = self.transformer_blocks.iter().take(blocks).enumerate();
        blocks.fold(x.clone(), |x, (i, block)| {
            let scope = scope.item("transformer_blocks", i);
            run_block(block, x, around, &scope, DoubleBlock::forward)
        })
    }
}
