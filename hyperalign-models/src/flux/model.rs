//! The network as a whole.

use std::ops::Range;

use burn::{
    module::Module,
    nn::{Initializer, Linear, LinearConfig},
    tensor::{Device, Tensor, assert_shape},
};
use hyperalign_core::{
    contract::TextWatch,
    fused::silu,
    lora::LoraSet,
    precision::{like, to},
};

use super::{
    FluxConfig, FluxInput, FluxStart,
    around::{Around, run_block},
    double::DoubleBlock,
    embedding::TimeTextEmbedding,
    modulation::{Modulation, modulate},
    rotary::Rotary,
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
        self.run(None, input, Scope::root(lora, None))
    }

    /// [`forward`](Self::forward), going on from `start`, which is of the last rows of the batch.
    ///
    /// # Panics
    ///
    /// Panics as [`forward`](Self::forward) does, and if `lora` changes a layer that does not
    /// [come behind](Self::comes_behind) the start.
    pub fn forward_from(
        &self,
        start: &FluxStart,
        input: FluxInput,
        lora: Option<&LoraSet>,
    ) -> Tensor<3> {
        for (path, _) in lora.into_iter().flat_map(LoraSet::iter) {
            assert!(self.comes_behind(start.blocks, path), "`{path}` has been passed already");
        }
        self.run(Some(start), input, Scope::root(lora, None))
    }

    /// [`forward`](Self::forward), showing `watch` where the image looks at the text, by the double
    /// blocks.
    pub fn forward_watched(
        &self,
        input: FluxInput,
        lora: Option<&LoraSet>,
        watch: Option<TextWatch>,
    ) -> Tensor<3> {
        self.run(None, input, Scope::root(lora, None).watching(watch))
    }

    /// [`forward`](Self::forward), showing the output of each module to `observer`.
    pub fn forward_observed(
        &self,
        input: FluxInput,
        lora: Option<&LoraSet>,
        observer: Observer<'_>,
    ) -> Tensor<3> {
        self.run(None, input, Scope::root(lora, Some(observer)))
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
        self.encode_start(input, blocks).0
    }

    /// [`encode`](Self::encode), and all that [`forward_from`](Self::forward_from) needs to go on.
    ///
    /// # Panics
    ///
    /// As [`encode`](Self::encode).
    pub fn encode_start(&self, input: FluxInput, blocks: usize) -> (Tensor<3>, FluxStart) {
        let image_tokens = input.image_positions.len();
        let output = input.tokens.dtype();
        let Streams { x, around, scope } = self.streams(input, Scope::bare());
        let x = self.double_blocks(x, 0..blocks, &around, &scope);
        let features = x.clone().narrow(1, around.text_tokens, image_tokens);
        (to(features, output), FluxStart { blocks, x })
    }

    /// Whether the layer at `path` comes after the first `blocks` double blocks, so that an update
    /// of it leaves their features as they are.
    pub fn comes_behind(&self, blocks: usize, path: &str) -> bool {
        let mut parts = path.split('.');
        match (parts.next(), parts.next().and_then(|number| number.parse::<usize>().ok())) {
            (Some("transformer_blocks"), Some(block)) => block >= blocks,
            (Some("single_transformer_blocks" | "norm_out" | "proj_out"), _) => true,
            _ => false,
        }
    }

    fn run(&self, start: Option<&FluxStart>, input: FluxInput, scope: Scope<'_>) -> Tensor<3> {
        let image_tokens = input.image_positions.len();
        let output = input.tokens.dtype();
        let all = self.transformer_blocks.len();
        let begun = start.map(|start| (start.blocks, self.begun(start, &input)));
        let Streams { x, around, scope } = self.streams(input, scope);
        let (blocks, x) = begun.unwrap_or((0, x));
        let mut x = self.double_blocks(x, blocks..all, &around, &scope);
        let text_tokens = around.text_tokens;
        for (i, block) in self.single_transformer_blocks.iter().enumerate() {
            let scope = scope.item("single_transformer_blocks", i).watching(None);
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
        let side = |axis: usize| {
            let places = input.image_positions.iter().map(|position| position[axis] as usize + 1);
            places.max().unwrap_or(0)
        };
        let size = [side(1), side(2)];
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
        let around = Around { embedding: silu(embedding), rotary, text_tokens, size };
        Streams { x: Tensor::cat(vec![text, image], 1), around, scope }
    }

    /// The streams of the whole batch after the blocks of `start`, which has its last rows.
    fn begun(&self, start: &FluxStart, input: &FluxInput) -> Tensor<3> {
        let ([batch, ..], [rows, ..]) = (input.tokens.dims(), start.x.dims());
        assert!(rows <= batch, "a start of {rows} rows for a batch of {batch}");
        if rows == batch {
            return start.x.clone();
        }
        // No update comes into it here, so none has to be cut.
        let first = input.first(batch - rows);
        let (_, first) = self.encode_start(first, start.blocks);
        Tensor::cat(vec![first.x, start.x.clone()], 0)
    }

    fn double_blocks(
        &self,
        x: Tensor<3>,
        blocks: Range<usize>,
        around: &Around,
        scope: &Scope<'_>,
    ) -> Tensor<3> {
        blocks.fold(x, |x, i| {
            let block = &self.transformer_blocks[i];
            let scope = scope.item("transformer_blocks", i);
            run_block(block, x, around, &scope, DoubleBlock::forward)
        })
    }
}
