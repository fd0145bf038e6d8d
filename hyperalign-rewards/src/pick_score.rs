//! PickScore: the scaled cosine of a ViT-H/14 that was trained on Pick-a-Pic (Kirstain et al.
//! 2023, arXiv:2305.01569, eq. 1).
//!
//! The factor is the weights' own `exp(logit_scale)`, which is 100. The difference of two scores
//! is the log odds that the first picture is preferred.

use hyperalign_core::resize::Filter;
use hyperalign_models::clip::ClipConfig;

use crate::{
    clip_kind::ClipKind,
    clip_reward::{Range, Scale},
    inputs::Pictures,
    registry::Entry,
};

pub(crate) const ENTRY: Entry = Entry {
    name: "pick_score",
    about: "PickScore v1: scaled cosine of a ViT-H/14 trained on Pick-a-Pic",
    files: "model.safetensors and config.json of yuvalkirstain/PickScore_v1, and vocab.json and \
            merges.txt of laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
    open: |source, device| {
        let weights = source.weights(&[])?;
        Ok(Box::new(KIND.open(source, weights, device)?))
    },
    random: |device| Ok(Box::new(KIND.random(device)?)),
};

const KIND: ClipKind = ClipKind {
    name: "pick_score",
    version: "v1 ViT-H/14",
    pictures: Pictures::Pil,
    filter: Filter::Bicubic,
    scale: Scale::Logit,
    range: Range::Clipped,
    cleans_texts: false,
    config: ClipConfig::vit_h_14,
};
