//! The autoencoder as a whole.

use burn::{
    module::Module,
    tensor::{Device, Tensor, assert_shape},
};

use hyperalign_core::precision::to;

use super::{
    config::AutoencoderKlConfig, decoder::Decoder, encoder::Encoder, posterior::Posterior,
};
use crate::{
    blocks::PointwiseConv,
    weights::{
        self, Folder, LoadError, Tensors, keys,
        published::{self, Kind},
    },
};

/// The autoencoder of latent diffusion, `AutoencoderKL` of diffusers.
#[derive(Module, Debug)]
pub struct AutoencoderKl {
    encoder: Encoder,
    decoder: Decoder,
    pub(super) quant_conv: Option<PointwiseConv>,
    pub(super) post_quant_conv: Option<PointwiseConv>,
    #[module(skip)]
    config: AutoencoderKlConfig,
}

impl AutoencoderKl {
    pub(super) fn new(config: &AutoencoderKlConfig, device: &Device) -> Self {
        if let Err(reason) = config.validate() {
            panic!("the configuration of the autoencoder contradicts itself: {reason}");
        }
        let latent = config.latent_channels;
        Self {
            encoder: Encoder::new(config, device),
            decoder: Decoder::new(config, device),
            quant_conv: config
                .use_quant_conv
                .then(|| PointwiseConv::new(2 * latent, 2 * latent, device)),
            post_quant_conv: config
                .use_post_quant_conv
                .then(|| PointwiseConv::new(latent, latent, device)),
            config: config.clone(),
        }
    }

    /// Reads `config.json` and the weights from the component folder `sub` (`vae`) of `folder`.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be read, describes another network, or does not hold its weights.
    pub fn from_folder(folder: &Folder, sub: &str, device: &Device) -> Result<Self, LoadError> {
        let config: AutoencoderKlConfig = folder.read_config(&format!("{sub}/config.json"))?;
        config.init(device).load(&folder.tensors(sub)?)
    }

    /// Fills the network from `tensors`, in the layout of diffusers, under the present or the
    /// old names of its attention, or in the layout of its authors (SD 1.5's single file,
    /// FLUX's `ae.safetensors`).
    ///
    /// # Errors
    ///
    /// Fails if `tensors` does not hold exactly the weights of this network.
    pub fn load(self, tensors: &Tensors) -> Result<Self, LoadError> {
        let tensors = self.arrange(tensors)?;
        weights::load(self, &tensors)
    }

    /// `tensors`, in any of the layouts of [`load`](Self::load), under the names of this network.
    ///
    /// # Errors
    ///
    /// Fails if `tensors` is in one of the other layouts, and not exactly of this network.
    pub fn arrange(&self, tensors: &Tensors) -> Result<Tensors, LoadError> {
        let ours = keys(self);
        match published::identify(tensors) {
            Some(Kind::VaeLdm) => published::read_as(tensors, &ours, published::vae(&ours)),
            Some(Kind::VaeOld) => published::read_as(tensors, &ours, published::old_attention),
            _ => Ok(tensors.clone()),
        }
    }

    /// The sizes of the network.
    pub fn config(&self) -> &AutoencoderKlConfig {
        &self.config
    }

    /// The distribution of a picture's latents, unscaled.
    ///
    /// # Shapes
    ///
    /// - `picture`: `[batch, in_channels, height, width]`, in `[-1, 1]`
    /// - output: `[batch, latent_channels, height / f, width / f]` each
    pub fn encode(&self, picture: Tensor<4>) -> Posterior {
        Posterior::from_moments(self.moments(picture))
    }

    /// Mean and log-variance of a picture's latents, side by side and not clamped.
    ///
    /// # Shapes
    ///
    /// - `picture`: `[batch, in_channels, height, width]`, in `[-1, 1]`
    /// - output: `[batch, 2 * latent_channels, height / f, width / f]`
    pub fn moments(&self, picture: Tensor<4>) -> Tensor<4> {
        assert_shape!(picture, [_, self.config.in_channels, _, _]);
        let output = picture.dtype();
        let moments = self.encoder.forward(picture);
        let moments = match &self.quant_conv {
            Some(conv) => conv.pixels(moments),
            None => moments,
        };
        to(moments, output)
    }

    /// The picture of scaled latents, nominally in `[-1, 1]`, not clamped.
    ///
    /// # Shapes
    ///
    /// - `latents`: `[batch, latent_channels, height, width]`
    /// - output: `[batch, out_channels, height * f, width * f]`
    pub fn decode(&self, latents: Tensor<4>) -> Tensor<4> {
        assert_shape!(latents, [_, self.config.latent_channels, _, _]);
        let output = latents.dtype();
        let latents = to(self.unscale(latents), self.decoder.dtype());
        let picture = self.decoder.forward(match &self.post_quant_conv {
            Some(conv) => conv.pixels(latents),
            None => latents,
        });
        to(picture, output)
    }

    /// `(latents - shift_factor) * scaling_factor`: from the autoencoder to the diffusion.
    pub fn scale(&self, latents: Tensor<4>) -> Tensor<4> {
        let latents = match self.config.shift_factor {
            Some(shift) => latents - shift,
            None => latents,
        };
        latents * self.config.scaling_factor
    }

    /// The inverse of [`scale`](Self::scale).
    pub fn unscale(&self, latents: Tensor<4>) -> Tensor<4> {
        let latents = latents / self.config.scaling_factor;
        match self.config.shift_factor {
            Some(shift) => latents + shift,
            None => latents,
        }
    }
}

impl hyperalign_core::contract::Decoder for AutoencoderKl {
    fn decode(&self, latents: Tensor<4>) -> Tensor<4> {
        self.decode(latents)
    }
}
