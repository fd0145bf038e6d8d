//! What published files are known to hold beside a network, and is of no use here.

use super::{Kind, mmdet, single_file::TEXT};
use crate::{mask2former, swin, weights::Tensors};

/// How the keys of the moving average of training begin. The file holds the weights to be used as
/// well.
const AVERAGE: &str = "model_ema.";

/// The noise schedule of training and what derives from it. We make it from its two ends.
const SCHEDULE: [&str; 14] = [
    "betas",
    "alphas_cumprod",
    "alphas_cumprod_prev",
    "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod",
    "sqrt_recip_alphas_cumprod",
    "sqrt_recipm1_alphas_cumprod",
    "posterior_variance",
    "posterior_log_variance_clipped",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
    "logvar",
    "lvlb_weights",
];

/// How keys begin that trainers and mergers leave in a single file: the loss of the autoencoder,
/// embeddings that were learned beside, the steps of k-diffusion.
const LEFT_BESIDE: [&str; 3] = ["first_stage_model.loss.", "embedding_manager.", "denoiser."];
/// What they leave of a whole CLIP, of which only the text side is used, and counters.
const LEFT: [&str; 8] = [
    "cond_stage_model.logit_scale",
    "cond_stage_model.text_projection",
    "cond_stage_model.transformer.logit_scale",
    "cond_stage_model.transformer.text_projection.weight",
    "logit_scale",
    "text_projection.weight",
    "global_step",
    "epoch",
];
/// The same of an autoencoder alone.
const LEFT_OF_VAE: [&str; 2] = ["loss.", AVERAGE];

/// Where the two sides of CLIP have their positions.
const POSITIONS: [&str; 2] = ["text_model.embeddings.", "vision_model.embeddings."];

/// T5's table of tokens, and its other name: some files hold it twice.
const TOKENS: &str = "shared.weight";
const TOKENS_AGAIN: &str = "encoder.embed_tokens.weight";

/// The keys of `tensors`, a file of the given kind, that such a file may hold beside the network:
/// the noise schedule, the moving average and the leavings of training in a single file, the numbers
/// from 0 on of CLIP's positions, T5's second table of tokens, and of a Mask2Former buffers and a norm
/// that nothing uses. One that has not the shape of what it repeats
/// is none of them.
pub fn extras(kind: Kind, tensors: &Tensors) -> Vec<String> {
    match kind {
        Kind::StableDiffusion1 | Kind::StableDiffusion2 | Kind::StableDiffusionXl => {
            let of_training = |key: &&str| {
                SCHEDULE.contains(key) || key.starts_with(AVERAGE) || is_left_beside(key)
            };
            let keys = tensors.iter().map(|(key, _)| key).filter(of_training);
            keys.map(str::to_owned).chain(positions(tensors, TEXT)).collect()
        }
        Kind::Clip => positions(tensors, "").collect(),
        Kind::ClipText => {
            let left = LEFT.into_iter().filter(|key| tensors.contains(key)).map(str::to_owned);
            positions(tensors, "").chain(left).collect()
        }
        Kind::VaeLdm | Kind::VaeOld | Kind::Vae => {
            let is_left = |key: &&str| LEFT_OF_VAE.iter().any(|left| key.starts_with(left));
            tensors.iter().map(|(key, _)| key).filter(is_left).map(str::to_owned).collect()
        }
        Kind::T5 => {
            let again = tensors
                .shape(TOKENS_AGAIN)
                .filter(|again| tensors.shape(TOKENS).is_some_and(|tokens| tokens == *again));
            again.map(|_| TOKENS_AGAIN.to_owned()).into_iter().collect()
        }
        Kind::Mask2Former => {
            let is_extra = |key: &&str| {
                *key == mask2former::EMPTY_WEIGHT
                    || key.ends_with(swin::POSITION_INDEX)
                    || key.contains(swin::UNUSED_NORM)
            };
            tensors.iter().map(|(key, _)| key).filter(is_extra).map(str::to_owned).collect()
        }
        Kind::Mask2FormerMmdet => {
            let places = |key: &&str| key.ends_with(mmdet::POSITION_INDEX);
            tensors.iter().map(|(key, _)| key).filter(places).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}

fn is_left_beside(key: &str) -> bool {
    LEFT.contains(&key) || LEFT_BESIDE.iter().any(|left| key.starts_with(left))
}

/// The lists of as many numbers as there are positions, below `prefix`.
fn positions(tensors: &Tensors, prefix: &str) -> impl Iterator<Item = String> {
    POSITIONS.into_iter().filter_map(move |side| {
        let ids = format!("{prefix}{side}position_ids");
        let table = tensors.shape(&format!("{prefix}{side}position_embedding.weight"))?;
        let count: usize = tensors.shape(&ids)?.iter().product();
        (table.first() == Some(&count)).then_some(ids)
    })
}

/// `tensors`, a file of the given kind, without its [`extras`], and these.
pub(crate) fn without_extras(kind: Kind, tensors: Tensors) -> (Tensors, Vec<String>) {
    let extras = extras(kind, &tensors);
    (tensors.without(&extras), extras)
}

/// Whether the key, which may have the name of its part before it, is one that trainers leave.
fn is_of_trainers(key: &str) -> bool {
    let own = key.rsplit('/').next().unwrap_or(key);
    is_left_beside(own) || own.starts_with(LEFT_OF_VAE[0])
}

/// How many of each sort there are among `extras`, in words; nothing if there are none.
pub fn summary(extras: &[String]) -> Option<String> {
    let sorts = [
        ("buffer", "of the schedule"),
        ("weight", "of model_ema.*"),
        ("list", "position_ids"),
        ("second table", "of T5's tokens"),
        ("weight", "of BLIP's contrastive loss"),
        ("tensor", "of trainers and mergers"),
        ("list", "of the places in Swin's windows"),
        ("buffer", "of Mask2Former's training loss"),
        ("weight", "of a norm after Swin that nothing uses"),
    ];
    let mut counts = [0; 9];
    for key in extras {
        let sort = match key {
            _ if SCHEDULE.contains(&key.as_str()) => 0,
            _ if key.starts_with(AVERAGE) => 1,
            _ if key.ends_with(TOKENS_AGAIN) => 3,
            _ if is_of_trainers(key) => 5,
            _ if key.ends_with(swin::POSITION_INDEX) || key.ends_with(mmdet::POSITION_INDEX) => 6,
            _ if key == mask2former::EMPTY_WEIGHT => 7,
            _ if key.contains(swin::UNUSED_NORM) => 8,
            _ if !key.ends_with("position_ids") => 4,
            _ => 2,
        };
        counts[sort] += 1;
    }
    let told = sorts.iter().zip(counts).filter(|(_, count)| *count > 0);
    let told = told.map(|((noun, which), count)| {
        format!("{count} {noun}{} {which}", if count == 1 { "" } else { "s" })
    });
    let told = told.collect::<Vec<_>>().join(", ");
    (!told.is_empty()).then_some(told)
}
