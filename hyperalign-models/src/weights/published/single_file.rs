//! Whole models in one file, as the authors of Stable Diffusion publish them.

use crate::weights::{Key, LoadError, Tensors};

/// Where the parts of a model begin in its file.
const DENOISER: &str = "model.diffusion_model.";
const AUTOENCODER: &str = "first_stage_model.";
const TEXT: &str = "cond_stage_model.transformer.";

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
        || key.starts_with("model_ema.")
        // The numbers from 0 to 76.
        || key.ends_with(".position_ids")
}

/// The parts of a single file of Stable Diffusion 1.x, without their prefixes.
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
    /// Takes the file apart.
    ///
    /// # Errors
    ///
    /// Fails if a tensor belongs to no part and is no known extra.
    pub fn new(tensors: &Tensors) -> Result<Self, LoadError> {
        let (passed_over, rest): (Vec<&str>, Vec<&str>) =
            tensors.iter().map(|(key, _)| key).partition(|key| is_extra(key));
        let strange: Vec<_> = rest
            .into_iter()
            .filter(|key| ![DENOISER, AUTOENCODER, TEXT].iter().any(|part| key.starts_with(part)))
            .map(|key| (key.to_owned(), None))
            .collect();
        if !strange.is_empty() {
            let mismatch = crate::weights::KeyMismatch { unused: strange, ..Default::default() };
            return Err(LoadError::Keys { file: tensors.name().to_owned(), mismatch });
        }
        let passed_over = passed_over.into_iter().map(str::to_owned).collect();
        let part = |prefix| tensors.below(prefix).rename(keep);
        Ok(Self {
            unet: part(DENOISER),
            vae: part(AUTOENCODER),
            text_encoder: part(TEXT),
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

fn keep(key: &str) -> Option<String> {
    (!is_extra(key)).then(|| key.to_owned())
}
