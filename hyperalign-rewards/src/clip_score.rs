//! CLIP score: the cosine of OpenAI's ViT-L/14 (Radford et al. 2021, arXiv:2103.00020; Hessel et
//! al. 2021, arXiv:2104.08718, without their factor of 2.5).

use hyperalign_core::resize::Filter;
use hyperalign_models::clip::ClipConfig;

use crate::{clip_kind::ClipKind, clip_reward::Scale, inputs::Pictures, registry::Entry};

pub(crate) const ENTRY: Entry = Entry {
    name: "clip_score",
    about: "cosine of OpenAI's CLIP ViT-L/14",
    files: "model.safetensors, config.json, vocab.json and merges.txt of \
            openai/clip-vit-large-patch14",
    open: |source, device| {
        let weights = source.weights(&[])?;
        Ok(Box::new(KIND.open(source, weights, device)?))
    },
    random: |device| Ok(Box::new(KIND.random(device)?)),
};

const KIND: ClipKind = ClipKind {
    name: "clip_score",
    version: "ViT-L/14",
    pictures: Pictures::Pil,
    filter: Filter::Bicubic,
    scale: Scale::One,
    cleans_texts: true,
    config: ClipConfig::vit_l_14,
};
