//! What a file of weights is, by its keys.

use std::fmt;

use crate::weights::Tensors;

/// What a file of weights holds, and in which layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Stable Diffusion 1.x in one file.
    StableDiffusion1,
    /// Stable Diffusion 2.x in one file.
    StableDiffusion2,
    /// Stable Diffusion XL in one file.
    StableDiffusionXl,
    /// The transformer of FLUX.1, in the layout of Black Forest Labs.
    FluxBfl,
    /// The transformer of FLUX.1, in the layout of diffusers.
    Flux,
    /// A U-Net in the layout of diffusers.
    Unet,
    /// An autoencoder in the layout of its authors (FLUX's `ae.safetensors`).
    VaeLdm,
    /// An autoencoder in the layout of diffusers, with the names of before 2023.
    VaeOld,
    /// An autoencoder in the layout of diffusers.
    Vae,
    /// Both sides of CLIP, in the layout of open_clip.
    OpenClip,
    /// Both sides of CLIP, in the layout of transformers.
    Clip,
    /// The text side of CLIP, in the layout of transformers.
    ClipText,
    /// The encoder of T5, in the layout of transformers.
    T5,
    /// A Mask2Former over a Swin, in the layout of transformers.
    Mask2Former,
    /// The same, in the layout of mmdetection.
    Mask2FormerMmdet,
    /// The small encoder of the latents of Stable Diffusion 1.x.
    TinyEncoder,
    /// The small decoder of the latents of Stable Diffusion 1.x.
    TinyDecoder,
}

/// Beginnings of keys that only one kind has; the first that fits counts.
const MARKS: [(&str, Kind); 18] = [
    ("conditioner.embedders.", Kind::StableDiffusionXl),
    ("cond_stage_model.model.", Kind::StableDiffusion2),
    ("cond_stage_model.transformer.", Kind::StableDiffusion1),
    ("double_blocks.0.img_attn.", Kind::FluxBfl),
    ("transformer_blocks.0.attn.add_q_proj.", Kind::Flux),
    ("down_blocks.0.resnets.0.time_emb_proj.", Kind::Unet),
    ("encoder.down.0.block.", Kind::VaeLdm),
    ("encoder.mid_block.attentions.0.query.", Kind::VaeOld),
    ("encoder.down_blocks.0.resnets.", Kind::Vae),
    ("visual.transformer.resblocks.", Kind::OpenClip),
    ("vision_model.encoder.layers.", Kind::Clip),
    ("text_model.encoder.layers.", Kind::ClipText),
    ("encoder.layers.0.self_attn.", Kind::ClipText),
    ("encoder.block.0.layer.0.SelfAttention.", Kind::T5),
    ("model.pixel_level_module.", Kind::Mask2Former),
    ("panoptic_head.query_feat.", Kind::Mask2FormerMmdet),
    ("cv14.", Kind::TinyEncoder),
    ("c4v1.", Kind::TinyDecoder),
];

/// What `tensors` are, if they are something that we have heard of.
pub fn identify(tensors: &Tensors) -> Option<Kind> {
    let has = |mark: &str| tensors.iter().any(|(key, _)| key.starts_with(mark));
    MARKS.iter().find(|(mark, _)| has(mark)).map(|(_, kind)| *kind)
}

/// What `tensors` hold that [`identify`] does not know, as far as their keys tell.
pub fn unknown(tensors: &Tensors) -> String {
    let has = |mark: &str| tensors.iter().any(|(key, _)| key.starts_with(mark));
    let held = [
        (
            "model.diffusion_model.",
            "the U-Net of a model alone, without its text encoder; get the whole model, or put the \
             U-Net into a folder in the layout of diffusers",
        ),
        (
            "input_blocks.0.",
            "a U-Net in the ldm layout alone, without the level `model.diffusion_model.` and the \
             other parts; get the whole model",
        ),
        (
            "state_dict.",
            "tensors below a level `state_dict.`, which a conversion left there; convert the \
             dictionary inside of it",
        ),
        ("lora_unet_", "a LoRA, and no model that it could be laid over"),
        ("control_model.", "a ControlNet, and no model that it could control"),
    ];
    let found = held.into_iter().find(|(mark, _)| has(mark)).map(|(_, what)| what);
    found.unwrap_or("tensors of no model that is known here").to_owned()
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StableDiffusion1 => "Stable Diffusion 1.x, a single file in the ldm layout",
            Self::StableDiffusion2 => "Stable Diffusion 2.x, a single file in the ldm layout",
            Self::StableDiffusionXl => "Stable Diffusion XL, a single file",
            Self::FluxBfl => "FLUX.1's transformer, in the layout of Black Forest Labs",
            Self::Flux => "FLUX.1's transformer, in the layout of diffusers",
            Self::Unet => "a U-Net, in the layout of diffusers",
            Self::VaeLdm => "an autoencoder, in the ldm layout",
            Self::VaeOld => "an autoencoder, in the layout of diffusers before 0.11",
            Self::Vae => "an autoencoder, in the layout of diffusers",
            Self::OpenClip => "CLIP, in the layout of open_clip",
            Self::Clip => "CLIP, in the layout of transformers",
            Self::ClipText => "CLIP's text encoder, in the layout of transformers",
            Self::T5 => "T5's encoder, in the layout of transformers",
            Self::Mask2Former => "Mask2Former over Swin, in the layout of transformers",
            Self::Mask2FormerMmdet => "Mask2Former over Swin, in the layout of mmdetection",
            Self::TinyEncoder => "the small encoder of SD 1.x latents",
            Self::TinyDecoder => "the small decoder of SD 1.x latents",
        })
    }
}
