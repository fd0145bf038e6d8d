//! HPSv2 and HPSv2.1: the cosine of a ViT-H/14 that was trained on preferences (Wu et al. 2023,
//! arXiv:2306.09341).
//!
//! Its own code makes tensors of pictures first and resizes those, so that nothing is rounded. It
//! has no factor on the cosine; its tables print a hundred times the score.

use hyperalign_models::clip::ClipConfig;

use crate::{
    clip_scorer::{ClipKind, ClipScorer, Pictures, Scale},
    registry::Entry,
};

pub(crate) const V2: Entry = Entry {
    name: "hps_v2",
    about: "HPSv2: cosine of a ViT-H/14 trained on preferences",
    files: "HPS_v2_compressed.pt of xswu/HPSv2, and vocab.json and merges.txt of \
            openai/clip-vit-large-patch14",
    open: |source, device| {
        let weights = source.weights(&["HPS_v2_compressed.pt"])?;
        Ok(Box::new(ClipScorer::open(KIND_V2, source, weights, device)?))
    },
    random: |device| Ok(Box::new(ClipScorer::random(KIND_V2, device)?)),
};

pub(crate) const V2_1: Entry = Entry {
    name: "hps_v2.1",
    about: "HPSv2.1: the same network, trained on more and cleaner preferences",
    files: "HPS_v2.1_compressed.pt of xswu/HPSv2, and vocab.json and merges.txt of \
            openai/clip-vit-large-patch14",
    open: |source, device| {
        let weights = source.weights(&["HPS_v2.1_compressed.pt"])?;
        Ok(Box::new(ClipScorer::open(KIND_V2_1, source, weights, device)?))
    },
    random: |device| Ok(Box::new(ClipScorer::random(KIND_V2_1, device)?)),
};

const KIND_V2: ClipKind = ClipKind {
    name: "hps_v2",
    version: "v2.0 ViT-H/14, antialiased tensors",
    pictures: Pictures::Tensor,
    scale: Scale::One,
    cleans_texts: true,
    config: ClipConfig::vit_h_14,
};

const KIND_V2_1: ClipKind = ClipKind {
    name: "hps_v2.1",
    version: "v2.1 ViT-H/14, antialiased tensors",
    pictures: Pictures::Tensor,
    scale: Scale::One,
    cleans_texts: true,
    config: ClipConfig::vit_h_14,
};
