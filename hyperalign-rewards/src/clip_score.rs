//! CLIP score: the cosine of OpenAI's ViT-L/14 (Radford et al. 2021, arXiv:2103.00020; Hessel et
//! al. 2021, arXiv:2104.08718, without their factor of 2.5).

use burn::tensor::Device;
use hyperalign_core::resize::Filter;
use hyperalign_models::clip::ClipConfig;

use crate::{
    ClipReward, OpenError,
    clip_kind::ClipKind,
    clip_reward::{Range, Scale},
    inputs::Pictures,
    registry::Entry,
    source::Source,
};

pub(crate) const ENTRY: Entry = Entry {
    name: "clip_score",
    about: "cosine of OpenAI's CLIP ViT-L/14",
    files: "model.safetensors, config.json, vocab.json and merges.txt of \
            openai/clip-vit-large-patch14",
    open: |source, device| Ok(Box::new(open(source, device)?)),
    random: |device| Ok(Box::new(random(device)?)),
};

/// Opens the network and its tokenizer.
pub(crate) fn open(source: &Source, device: &Device) -> Result<ClipReward, OpenError> {
    KIND.open(source, source.weights(&[])?, device)
}

/// The published sizes with random weights and the embedded world's words.
pub(crate) fn random(device: &Device) -> Result<ClipReward, OpenError> {
    KIND.random(device)
}

const KIND: ClipKind = ClipKind {
    name: "clip_score",
    version: "ViT-L/14",
    pictures: Pictures::Pil,
    filter: Filter::Bicubic,
    scale: Scale::One,
    range: Range::Clipped,
    cleans_texts: true,
    config: ClipConfig::vit_l_14,
};
