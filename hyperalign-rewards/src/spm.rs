//! The step-aware preference model of SPO: the scaled cosine of PickScore's ViT-H/14, whose vision
//! side reads the timestep that a picture was estimated at (Liang et al. 2024, arXiv:2406.04314,
//! section 3.2). DyMO is guided by it too (arXiv:2412.00759).
//!
//! Its own code scores tensors, resized without antialiasing. A finished picture is one of timestep 0.

use hyperalign_core::resize::Filter;
use hyperalign_models::clip::ClipConfig;

use crate::{
    clip_kind::ClipKind,
    clip_reward::{Range, Scale},
    inputs::Pictures,
    registry::Entry,
};

/// Names that its weights are published under, for Stable Diffusion 1.5 and for SDXL.
const WEIGHTS: [&str; 2] =
    ["sd-v1-5_step-aware_preference_model.bin", "sdxl_step-aware_preference_model.bin"];

pub(crate) const ENTRY: Entry = Entry {
    name: "spm",
    about: "SPO's step-aware preference model: PickScore's network, which reads the timestep too",
    files: "sd-v1-5_step-aware_preference_model.bin of SPO-Diffusion-Models/\
            Step-Aware_Preference_Models, config.json of yuvalkirstain/PickScore_v1, and vocab.json \
            and merges.txt of laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
    open: |source, device| {
        let weights = source.weights(&WEIGHTS)?;
        Ok(Box::new(KIND.open(source, weights, device)?))
    },
    random: |device| Ok(Box::new(KIND.random(device)?)),
};

const KIND: ClipKind = ClipKind {
    name: "spm",
    version: "SPO ViT-H/14, tensors not antialiased",
    pictures: Pictures::Tensor,
    filter: Filter::BicubicSampled,
    scale: Scale::Logit,
    range: Range::ClippedWhenSmall,
    cleans_texts: false,
    config: ClipConfig::spm,
};
