//! The network as a whole.

use burn::{
    module::Module,
    nn::{GroupNorm, GroupNormConfig, conv::Conv2d},
    tensor::{Device, Tensor, assert_shape},
};
use hyperalign_core::{
    contract::TextWatch,
    fused::silu,
    lora::LoraSet,
    precision::{group_norm, like, to},
};

use super::{
    config::UnetConfig, down::DownBlock, mid::MidBlock, pass::Pass, start::UnetStart, up::UpBlock,
};
use crate::{
    blocks::{conv3x3, zero_conv3x3},
    scope::{Observer, Scope},
    timestep_embedding::{TimestepEmbedding, sinusoidal},
    weights::{self, Folder, LoadError},
};

/// The U-Net of Stable Diffusion, `UNet2DConditionModel` of diffusers.
///
/// For training from nothing, the last layer of every residual branch and `conv_out` begin at
/// zero, so that a fresh network predicts zero.
#[derive(Module, Debug)]
pub struct Unet {
    conv_in: Conv2d,
    time_embedding: TimestepEmbedding,
    down_blocks: Vec<DownBlock>,
    up_blocks: Vec<UpBlock>,
    mid_block: MidBlock,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    #[module(skip)]
    config: UnetConfig,
}

impl Unet {
    pub(super) fn new(config: &UnetConfig, device: &Device) -> Self {
        if let Err(reason) = config.validate() {
            panic!("the configuration of the U-Net contradicts itself: {reason}");
        }
        let channels = &config.block_out_channels;
        let first = channels[0];
        Self {
            conv_in: conv3x3([config.in_channels, first], device),
            time_embedding: TimestepEmbedding::new(first, config.d_time(), device),
            down_blocks: (0..channels.len()).map(|i| DownBlock::new(config, i, device)).collect(),
            mid_block: MidBlock::new(config, device),
            up_blocks: (0..channels.len()).map(|i| UpBlock::new(config, i, device)).collect(),
            conv_norm_out: GroupNormConfig::new(config.norm_num_groups, first)
                .with_epsilon(config.norm_eps)
                .init(device),
            conv_out: zero_conv3x3([first, config.out_channels], device),
            config: config.clone(),
        }
    }

    /// Reads `config.json` and the weights from the component folder `sub` (`unet`) of `folder`.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be read, describes another network, or does not hold its weights.
    pub fn from_folder(folder: &Folder, sub: &str, device: &Device) -> Result<Self, LoadError> {
        let config: UnetConfig = folder.read_config(&format!("{sub}/config.json"))?;
        weights::load(config.init(device), &folder.tensors(sub)?)
    }

    /// The sizes of the network.
    pub fn config(&self) -> &UnetConfig {
        &self.config
    }

    /// Predicts from `sample`, with the layers shifted that `lora` names.
    ///
    /// # Shapes
    ///
    /// - `sample`: `[batch, in_channels, height, width]`
    /// - `timesteps`: `[batch]`, steps of the training schedule
    /// - `context`: `[batch, context_tokens, cross_attention_dim]`
    /// - `lora`: deltas of `batch` rows, or of one row
    /// - output: `[batch, out_channels, height, width]`
    pub fn forward(
        &self,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        context: Tensor<3>,
        lora: Option<&LoraSet>,
    ) -> Tensor<4> {
        self.run(None, sample, timesteps, context, lora, None, None)
    }

    /// [`forward`](Self::forward), going on from `start`, which is of the last rows of the batch.
    ///
    /// # Panics
    ///
    /// Panics if `lora` changes a layer that does not [come behind](Self::comes_behind) the start.
    pub fn forward_from(
        &self,
        start: &UnetStart,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        context: Tensor<3>,
        lora: Option<&LoraSet>,
    ) -> Tensor<4> {
        let paths = lora.into_iter().flat_map(LoraSet::iter);
        for (path, _) in paths {
            assert!(self.comes_behind(start.depth, path), "`{path}` has been passed already");
        }
        self.run(Some(start), sample, timesteps, context, lora, None, None)
    }

    /// [`forward`](Self::forward), showing `watch` where the picture looks at the text, by the
    /// layers of at most 16 x 16 pixels.
    pub fn forward_watched(
        &self,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        context: Tensor<3>,
        lora: Option<&LoraSet>,
        watch: Option<TextWatch>,
    ) -> Tensor<4> {
        self.run(None, sample, timesteps, context, lora, None, watch)
    }

    /// [`forward`](Self::forward), showing the output of each module to `observer`.
    pub fn forward_observed(
        &self,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        context: Tensor<3>,
        lora: Option<&LoraSet>,
        observer: Observer<'_>,
    ) -> Tensor<4> {
        self.run(None, sample, timesteps, context, lora, Some(observer), None)
    }

    #[expect(clippy::too_many_arguments, reason = "what the public forms leave out")]
    fn run(
        &self,
        start: Option<&UnetStart>,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        context: Tensor<3>,
        lora: Option<&LoraSet>,
        observer: Option<Observer<'_>>,
        watch: Option<TextWatch>,
    ) -> Tensor<4> {
        let output = sample.dtype();
        let context = self.to_own(context);
        let time = self.time(timesteps, &Scope::root(lora, observer));
        let pass = Pass::new(&time, &context, lora, observer).watching(watch);
        let UnetStart { mut x, mut skips, .. } = match start {
            Some(start) => self.go_on(start, sample, &pass),
            None => self.descend(self.enter(sample, &pass), self.depths(), &pass),
        };
        for (i, block) in self.up_blocks.iter().enumerate() {
            x = block.forward(x, &pass.item("up_blocks", i), &mut skips);
        }
        let x = pass.child("conv_norm_out").map(group_norm(&self.conv_norm_out, x));
        to(pass.conv("conv_out", &self.conv_out, silu(x)), output)
    }

    /// How many blocks [`encode`](Self::encode) has to go through: those on the way down, and the
    /// middle.
    pub fn depths(&self) -> usize {
        self.down_blocks.len() + 1
    }

    /// The features after the first `depth` blocks of the way down, whose last is the middle,
    /// without any update.
    ///
    /// This is the perception encoder of the hypernetwork (arXiv:2601.15968): what the base
    /// itself sees in `sample`.
    ///
    /// # Shapes
    ///
    /// - `sample`, `timesteps`, `context`: as in [`forward`](Self::forward)
    /// - output: `[batch, block_out_channels[depth - 1], ...]`, of half the size of the depth before
    ///   but for the last two blocks and the middle, which share theirs; the middle has the
    ///   channels of the last block
    ///
    /// # Panics
    ///
    /// Panics for a depth of 0 or more than [`depths`](Self::depths).
    pub fn encode(
        &self,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        context: Tensor<3>,
        depth: usize,
    ) -> Tensor<4> {
        self.encode_start(sample, timesteps, context, depth).0
    }

    /// [`encode`](Self::encode), and all that [`forward_from`](Self::forward_from) needs to go on.
    ///
    /// # Panics
    ///
    /// As [`encode`](Self::encode).
    pub fn encode_start(
        &self,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        context: Tensor<3>,
        depth: usize,
    ) -> (Tensor<4>, UnetStart) {
        assert!((1..=self.depths()).contains(&depth), "{depth} of {} blocks", self.depths());
        let output = sample.dtype();
        let context = self.to_own(context);
        let time = self.time(timesteps, &Scope::bare());
        let pass = Pass::new(&time, &context, None, None);
        let start = self.descend(self.enter(sample, &pass), depth, &pass);
        (to(start.x.clone(), output), start)
    }

    /// Whether the layer at `path` comes after the first `depth` blocks of the way down, so that an
    /// update of it leaves their features as they are.
    pub fn comes_behind(&self, depth: usize, path: &str) -> bool {
        let mut parts = path.split('.');
        match (parts.next(), parts.next().and_then(|number| number.parse::<usize>().ok())) {
            (Some("down_blocks"), Some(block)) => block >= depth,
            (Some("mid_block"), _) => depth < self.depths(),
            (Some("up_blocks" | "conv_out"), _) => true,
            _ => false,
        }
    }

    /// `x` in the format of the weights.
    fn to_own<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        like(x, &self.conv_in.weight.val())
    }

    /// The time embedding after the activation that every residual block would apply to it.
    fn time(&self, timesteps: Tensor<1>, scope: &Scope<'_>) -> Tensor<2> {
        let dim = self.config.block_out_channels[0];
        let sinusoids = self.to_own(sinusoidal(timesteps, dim, self.config.sinusoids()));
        let sinusoids = scope.child("time_proj").vector(sinusoids);
        silu(self.time_embedding.forward(sinusoids, &scope.child("time_embedding")))
    }

    /// The first feature map, which every block goes on from.
    fn enter(&self, sample: Tensor<4>, pass: &Pass<'_>) -> UnetStart {
        let [batch, _, _, _] = sample.dims();
        assert_shape!(sample, [_, self.config.in_channels, _, _]);
        assert_shape!(pass.time, [batch, _]);
        assert_shape!(pass.context, [batch, _, self.config.cross_attention_dim]);
        let x = pass.conv("conv_in", &self.conv_in, self.to_own(sample));
        let x = pass.child("conv_in").map(x);
        UnetStart { depth: 0, skips: vec![x.clone()], x }
    }

    /// Goes on through the blocks of the way down, whose last is the middle, until there are `depth`.
    fn descend(&self, start: UnetStart, depth: usize, pass: &Pass<'_>) -> UnetStart {
        let UnetStart { depth: done, mut x, mut skips } = start;
        for (i, block) in self.down_blocks.iter().enumerate().take(depth).skip(done) {
            x = block.forward(x, &pass.item("down_blocks", i), &mut skips);
        }
        if done < depth && depth == self.depths() {
            x = self.mid_block.forward(x, &pass.child("mid_block"));
        }
        UnetStart { depth, x, skips }
    }

    /// The end of the way down for the whole batch, of whose last rows `start` has the beginning.
    fn go_on(&self, start: &UnetStart, sample: Tensor<4>, pass: &Pass<'_>) -> UnetStart {
        let [batch, ..] = sample.dims();
        let [rows, ..] = start.x.dims();
        assert!(rows <= batch, "a start of {rows} rows for a batch of {batch}");
        let first = batch - rows;
        let whole = match first {
            0 => start.clone(),
            _ => {
                let (time, context) = (pass.time.clone(), pass.context.clone());
                let (time, context) = (time.narrow(0, 0, first), context.narrow(0, 0, first));
                // No update comes into it here, so none has to be cut.
                let pass = Pass::new(&time, &context, None, None);
                let entered = self.enter(sample.narrow(0, 0, first), &pass);
                self.descend(entered, start.depth, &pass).followed_by(start)
            }
        };
        self.descend(whole, self.depths(), pass)
    }
}
