//! The layers of a base that a LoRA can adapt.

use std::fmt;

use burn::tensor::Device;

use crate::{
    clip::{ClipTextConfig, ClipTextModel},
    flux::{FluxConfig, FluxTransformer},
    t5::{T5Config, T5EncoderModel},
    unet::{Unet, UnetConfig},
    weights::{Key, layers_of},
};

/// A family of models, whose LoRA files have names of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Stable Diffusion 1.x.
    StableDiffusion1,
    /// FLUX.1.
    Flux1,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StableDiffusion1 => "Stable Diffusion 1.x",
            Self::Flux1 => "FLUX.1",
        })
    }
}

/// A network of a base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The network that is sampled from.
    Denoiser,
    /// CLIP.
    TextEncoder,
    /// T5, of FLUX.1.
    TextEncoder2,
}

impl Part {
    /// What diffusers calls the part in a model of `family`.
    pub fn name(self, family: Family) -> &'static str {
        match (self, family) {
            (Self::Denoiser, Family::StableDiffusion1) => "unet",
            (Self::Denoiser, Family::Flux1) => "transformer",
            (Self::TextEncoder, _) => "text_encoder",
            (Self::TextEncoder2, _) => "text_encoder_2",
        }
    }
}

/// A linear layer or a convolution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The network that it is in.
    pub part: Part,
    /// Its path in that network, as diffusers and transformers name it.
    pub path: String,
    /// The shape of its weight in a published file: `[d_output, d_input]`, or
    /// `[channels_out, channels_in, height, width]`.
    pub shape: Vec<usize>,
}

impl Layer {
    /// Numbers that the layer makes of one input.
    pub fn d_output(&self) -> usize {
        self.shape[0]
    }

    /// Numbers that it makes them of; of a convolution those below its kernel.
    pub fn d_input(&self) -> usize {
        self.shape[1..].iter().product()
    }

    /// The highest rank that an update can have.
    pub fn most_rank(&self) -> usize {
        self.d_input().min(self.d_output())
    }
}

/// All layers of a base that a LoRA can adapt.
#[derive(Debug, Clone)]
pub struct Layers {
    family: Family,
    layers: Vec<Layer>,
}

impl Layers {
    /// Those of Stable Diffusion with these networks.
    pub fn stable_diffusion(unet: &Unet, text_encoder: &ClipTextModel) -> Self {
        let parts =
            [(Part::Denoiser, layers_of(unet)), (Part::TextEncoder, layers_of(text_encoder))];
        Self::of(Family::StableDiffusion1, parts)
    }

    /// Those of FLUX.1 with these networks.
    pub fn flux(
        transformer: &FluxTransformer,
        text_encoder: &ClipTextModel,
        text_encoder_2: &T5EncoderModel,
    ) -> Self {
        let parts = [
            (Part::Denoiser, layers_of(transformer)),
            (Part::TextEncoder, layers_of(text_encoder)),
            (Part::TextEncoder2, layers_of(text_encoder_2)),
        ];
        Self::of(Family::Flux1, parts)
    }

    /// Those of the published models of `family`, without any of their weights: the networks are
    /// put together on `device` and never initialised, so that no memory is taken.
    pub fn published(family: Family, device: &Device) -> Self {
        let clip = ClipTextConfig::sd15().init(device);
        match family {
            Family::StableDiffusion1 => {
                Self::stable_diffusion(&UnetConfig::sd15().init(device), &clip)
            }
            Family::Flux1 => {
                let (flux, t5) = (FluxConfig::dev().init(device), T5Config::xxl().init(device));
                Self::flux(&flux, &clip, &t5)
            }
        }
    }

    fn of<const N: usize>(family: Family, parts: [(Part, Vec<Key>); N]) -> Self {
        let layers = parts.into_iter().flat_map(|(part, keys)| {
            keys.into_iter().map(move |Key { name, shape }| Layer { part, path: name, shape })
        });
        Self { family, layers: layers.collect() }
    }

    /// The family of the base.
    pub fn family(&self) -> Family {
        self.family
    }

    /// The layers, part by part, in the order of their networks.
    pub fn all(&self) -> &[Layer] {
        &self.layers
    }

    /// The place among [`all`](Self::all) of the layer at `path` in `part`.
    pub fn find(&self, part: Part, path: &str) -> Option<usize> {
        self.layers.iter().position(|layer| layer.part == part && layer.path == path)
    }

    /// What a layer is called for people, such as `unet.conv_in`.
    pub fn name(&self, layer: usize) -> String {
        let Layer { part, path, .. } = &self.layers[layer];
        format!("{}.{path}", part.name(self.family))
    }
}
