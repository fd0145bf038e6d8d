//! HPSv2 and HPSv2.1: the cosine of a ViT-H/14 that was trained on preferences (Wu et al. 2023,
//! arXiv:2306.09341).
//!
//! Its own code makes tensors of pictures first and resizes those, so that nothing is rounded. It
//! has no factor on the cosine; its tables print a hundred times the score. Whether it antialiases
//! depends on the torchvision beside it: from 0.17 on it does, before it did not, and published
//! numbers are of both kinds. So each version comes in both ways.

use burn::tensor::Device;
use hyperalign_core::resize::Filter;
use hyperalign_models::clip::ClipConfig;

use crate::{
    OpenError, Reward,
    clip_kind::ClipKind,
    clip_reward::{Range, Scale},
    inputs::Pictures,
    registry::Entry,
    source::Source,
};

/// What the names of those end in that resize without antialiasing.
pub(crate) const NO_ANTIALIAS: &str = "_no_antialias";

/// Files of both versions; the weights are named first.
macro_rules! files {
    ($weights:literal) => {
        concat!(
            $weights,
            " of xswu/HPSv2, and vocab.json and merges.txt of openai/clip-vit-large-patch14"
        )
    };
}

pub(crate) const V2: Entry = Entry {
    name: "hps_v2",
    about: "HPSv2: cosine of a ViT-H/14 trained on preferences",
    files: files!("HPS_v2_compressed.pt"),
    open: |source, device| open(V2_KIND, "HPS_v2_compressed.pt", source, device),
    random: |device| Ok(Box::new(V2_KIND.random(device)?)),
};

pub(crate) const V2_SAMPLED: Entry = Entry {
    name: "hps_v2_no_antialias",
    about: "HPSv2 as torchvision before 0.17 prepared its pictures",
    files: files!("HPS_v2_compressed.pt"),
    open: |source, device| open(V2_KIND_SAMPLED, "HPS_v2_compressed.pt", source, device),
    random: |device| Ok(Box::new(V2_KIND_SAMPLED.random(device)?)),
};

pub(crate) const V2_1: Entry = Entry {
    name: "hps_v2.1",
    about: "HPSv2.1: the same network, trained on more and cleaner preferences",
    files: files!("HPS_v2.1_compressed.pt"),
    open: |source, device| open(V2_1_KIND, "HPS_v2.1_compressed.pt", source, device),
    random: |device| Ok(Box::new(V2_1_KIND.random(device)?)),
};

pub(crate) const V2_1_SAMPLED: Entry = Entry {
    name: "hps_v2.1_no_antialias",
    about: "HPSv2.1 as torchvision before 0.17 prepared its pictures",
    files: files!("HPS_v2.1_compressed.pt"),
    open: |source, device| open(V2_1_KIND_SAMPLED, "HPS_v2.1_compressed.pt", source, device),
    random: |device| Ok(Box::new(V2_1_KIND_SAMPLED.random(device)?)),
};

fn open(
    kind: ClipKind,
    file: &str,
    source: &Source,
    device: &Device,
) -> Result<Box<dyn Reward>, OpenError> {
    let weights = source.weights(&[file])?;
    Ok(Box::new(kind.open(source, weights, device)?))
}

const V2_KIND: ClipKind = ClipKind {
    name: "hps_v2",
    version: "v2.0 ViT-H/14, antialiased tensors",
    pictures: Pictures::Tensor,
    filter: Filter::Bicubic,
    scale: Scale::One,
    range: Range::Clipped,
    cleans_texts: true,
    config: ClipConfig::vit_h_14,
};

const V2_KIND_SAMPLED: ClipKind = ClipKind {
    name: "hps_v2_no_antialias",
    version: "v2.0 ViT-H/14, tensors not antialiased",
    filter: Filter::BicubicSampled,
    ..V2_KIND
};

const V2_1_KIND: ClipKind =
    ClipKind { name: "hps_v2.1", version: "v2.1 ViT-H/14, antialiased tensors", ..V2_KIND };

const V2_1_KIND_SAMPLED: ClipKind = ClipKind {
    name: "hps_v2.1_no_antialias",
    version: "v2.1 ViT-H/14, tensors not antialiased",
    ..V2_KIND_SAMPLED
};
