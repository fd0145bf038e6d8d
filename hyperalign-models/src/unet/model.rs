//! The network as a whole.

use burn::{
    module::Module,
    nn::{GroupNorm, GroupNormConfig, conv::Conv2d},
    tensor::{Device, Tensor, assert_shape},
};
use hyperalign_core::{
    contract::{Answer, Conditioning, Denoiser, Prediction, TextWatch},
    fused::silu,
    lora::LoraSet,
    precision::{group_norm, like, to},
};

use super::{config::UnetConfig, down::DownBlock, mid::MidBlock, pass::Pass, up::UpBlock};
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
        self.run(sample, timesteps, context, lora, None, None)
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
        self.run(sample, timesteps, context, lora, None, watch)
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
        self.run(sample, timesteps, context, lora, Some(observer), None)
    }

    fn run(
        &self,
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
        let (x, mut skips) = self.descend(sample, &pass, self.down_blocks.len());
        let mut x = self.mid_block.forward(x, &pass.child("mid_block"));
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
        assert!((1..=self.depths()).contains(&depth), "{depth} of {} blocks", self.depths());
        let output = sample.dtype();
        let context = self.to_own(context);
        let time = self.time(timesteps, &Scope::bare());
        let pass = Pass::new(&time, &context, None, None);
        let (x, _) = self.descend(sample, &pass, depth);
        let x = match depth == self.depths() {
            true => self.mid_block.forward(x, &pass.child("mid_block")),
            false => x,
        };
        to(x, output)
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

    /// The feature map after at most `depth` blocks, and the skips.
    fn descend(
        &self,
        sample: Tensor<4>,
        pass: &Pass<'_>,
        depth: usize,
    ) -> (Tensor<4>, Vec<Tensor<4>>) {
        let [batch, _, _, _] = sample.dims();
        assert_shape!(sample, [_, self.config.in_channels, _, _]);
        assert_shape!(pass.time, [batch, _]);
        assert_shape!(pass.context, [batch, _, self.config.cross_attention_dim]);
        let x = pass.conv("conv_in", &self.conv_in, self.to_own(sample));
        let mut x = pass.child("conv_in").map(x);
        let mut skips = vec![x.clone()];
        for (i, block) in self.down_blocks.iter().enumerate().take(depth) {
            x = block.forward(x, &pass.item("down_blocks", i), &mut skips);
        }
        (x, skips)
    }
}

/// A [`Unet`] together with what it was trained to predict.
#[derive(Debug, Clone)]
pub struct UnetDenoiser {
    /// The network.
    pub unet: Unet,
    /// What its output means; the `prediction_type` of the folder's scheduler.
    pub prediction: Prediction,
}

impl Denoiser for UnetDenoiser {
    fn answer(
        &self,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        conditioning: &Conditioning,
        lora: Option<&LoraSet>,
        _: Option<TextWatch>,
    ) -> Answer {
        Answer::from(self.unet.forward(sample, timesteps, conditioning.context.clone(), lora))
    }

    fn prediction(&self) -> Prediction {
        self.prediction
    }
}
