//! Whole models in one file, as the authors of Stable Diffusion publish them.

use super::read_as;
use crate::weights::{Key, LoadError, Tensors, check};

/// Where the parts of a model begin in its file.
const DENOISER: &str = "model.diffusion_model.";
const AUTOENCODER: &str = "first_stage_model.";
const TEXT: &str = "cond_stage_model.transformer.";

/// How the keys of the moving average of training begin.
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

/// Whether `key` is something that a published file may hold beside the model, of no use here: the
/// noise schedule, the moving average of training, buffers.
pub fn is_extra(key: &str) -> bool {
    SCHEDULE.contains(&key)
        // The moving average of training; the file holds the weights to be used as well.
        || key.starts_with(AVERAGE)
        // The numbers from 0 to 76.
        || key.ends_with(".position_ids")
}

/// How many of each sort there are among `extras`, in words; nothing if there are none.
pub fn summary(extras: &[String]) -> Option<String> {
    let sorts =
        [("buffer", "of the schedule"), ("weight", "of model_ema.*"), ("list", "position_ids")];
    let mut counts = [0; 3];
    for key in extras {
        let sort = match key {
            _ if SCHEDULE.contains(&key.as_str()) => 0,
            _ if key.starts_with(AVERAGE) => 1,
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

/// The parts of a single file of Stable Diffusion 1.x, under our names.
#[derive(Debug, Clone)]
pub struct SingleFile {
    /// Of the U-Net.
    pub unet: Tensors,
    /// Of the autoencoder.
    pub vae: Tensors,
    /// Of the text encoder.
    pub text_encoder: Tensors,
    /// Keys that are known to be in such files and are of no use here.
    pub passed_over: Vec<String>,
}

impl SingleFile {
    /// Takes the file apart, of networks whose keys are given.
    ///
    /// # Errors
    ///
    /// Fails, in the names of the file, if it does not hold exactly the [`keys`](Self::keys) of
    /// the parts, known extras aside.
    pub fn new(
        tensors: &Tensors,
        unet: &[Key],
        vae: &[Key],
        text_encoder: &[Key],
    ) -> Result<Self, LoadError> {
        let extras = tensors.iter().map(|(key, _)| key).filter(|key| is_extra(key));
        let passed_over = extras.map(str::to_owned).collect();
        let used = tensors.clone().rename(|key| (!is_extra(key)).then(|| key.to_owned()));
        check(&Self::keys(unet, vae, text_encoder), &used)?;
        Ok(Self {
            unet: read_as(&used.below(DENOISER), unet, super::unet(unet))?,
            vae: read_as(&used.below(AUTOENCODER), vae, super::vae(vae))?,
            text_encoder: used.below(TEXT),
            passed_over,
        })
    }

    /// The keys of such a file, given those of its parts.
    pub fn keys(unet: &[Key], vae: &[Key], text_encoder: &[Key]) -> Vec<Key> {
        let under = |prefix: &str, keys: Vec<Key>| -> Vec<Key> {
            let name = |key: Key| Key { name: format!("{prefix}{}", key.name), ..key };
            keys.into_iter().map(name).collect()
        };
        [
            under(DENOISER, super::published_keys(unet, super::unet(unet))),
            under(AUTOENCODER, super::published_keys(vae, super::vae(vae))),
            under(TEXT, text_encoder.to_vec()),
        ]
        .concat()
    }
}
