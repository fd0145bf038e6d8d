//! Which component a reference file belongs to, by the stem of its name.

use std::path::Path;

use super::{
    aesthetic, blip, checks::Checks, clip, codecs, flux, geneval, golden::Golden, lora_formats,
    mask2former, methods, pipeline, preprocess, reward_methods, schedulers, t5, test_time,
    tokenizers, unet, vae,
};

/// How a kind of reference file is run.
#[derive(Clone, Copy)]
pub(super) enum Component {
    /// It holds tensors.
    Tensors(fn(&Golden, &mut Checks) -> miette::Result<()>),
    /// It holds lines of JSON.
    Lines(fn(&Path, &mut Checks) -> miette::Result<()>),
    /// There is no code of ours to compare with yet.
    NotBuilt,
}

/// Beginnings of stems. The longest that fits is taken.
const COMPONENTS: [(&str, Component); 31] = [
    ("aesthetic", Component::Tensors(aesthetic::heads)),
    ("blip_reward", Component::Tensors(blip::reward)),
    ("clip_hf", Component::Tensors(clip::transformers)),
    ("clip_preprocess", Component::Tensors(preprocess::preprocess)),
    ("clip_step_aware", Component::Tensors(clip::step_aware)),
    ("clip_text", Component::Tensors(clip::text)),
    ("flux", Component::Tensors(flux::flux)),
    ("geneval_colors", Component::Tensors(geneval::colors)),
    ("lora_formats_clip", Component::Tensors(lora_formats::clip)),
    ("lora_formats_flux", Component::Tensors(lora_formats::flux)),
    ("lora_formats_unet", Component::Tensors(lora_formats::unet)),
    ("mask2former", Component::Tensors(mask2former::network)),
    ("mask2former_mmdet", Component::Tensors(mask2former::mmdet)),
    ("mask2former_preprocess", Component::Tensors(mask2former::preprocess)),
    ("mask2former_post", Component::Tensors(mask2former::instances)),
    ("methods", Component::Tensors(methods::methods)),
    ("methods_gradient", Component::Tensors(reward_methods::methods)),
    ("minilm", Component::NotBuilt),
    ("ms_deform_attn", Component::Tensors(mask2former::deformable_attention)),
    ("open_clip", Component::Tensors(clip::open_clip)),
    ("pipeline_sd", Component::Tensors(pipeline::stable_diffusion)),
    ("real_sd_latent_codecs", Component::Tensors(codecs::codecs)),
    ("schedulers", Component::Tensors(schedulers::schedulers)),
    ("swin", Component::Tensors(mask2former::backbone)),
    ("t5_encoder", Component::Tensors(t5::encoder)),
    ("test_time", Component::Tensors(test_time::methods)),
    ("timestep_embedding", Component::Tensors(unet::timesteps)),
    ("tokenizers", Component::Lines(tokenizers::tokenizers)),
    ("unet", Component::Tensors(unet::unet)),
    ("unet_lora", Component::Tensors(unet::lora)),
    ("vae", Component::Tensors(vae::vae)),
];

/// The component of a file with this stem, and its name.
pub(super) fn component(stem: &str) -> Option<(&'static str, Component)> {
    COMPONENTS
        .into_iter()
        .filter(|(name, _)| stem == *name || stem.starts_with(&format!("{name}_")))
        .max_by_key(|(name, _)| name.len())
}

/// All beginnings.
pub(super) fn names() -> Vec<&'static str> {
    COMPONENTS.iter().map(|(name, _)| *name).collect()
}
