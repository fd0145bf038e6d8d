//! Whole models in one file, as the authors of Stable Diffusion publish them.

use super::{Kind, read_as, without_extras};
use crate::weights::{Key, LoadError, Tensors, check};

/// Where the parts of a model begin in its file.
const DENOISER: &str = "model.diffusion_model.";
const AUTOENCODER: &str = "first_stage_model.";
pub(super) const TEXT: &str = "cond_stage_model.transformer.";
/// The level between a text encoder and its parts, which some versions of transformers leave out.
const LEVEL: &str = "text_model.";
/// How the keys of those parts begin.
const BELOW_LEVEL: [&str; 3] = ["embeddings.", "encoder.", "final_layer_norm."];

/// The parts of a single file of Stable Diffusion 1.x, under our names.
#[derive(Debug, Clone)]
pub struct SingleFile {
    /// Of the U-Net.
    pub unet: Tensors,
    /// Of the autoencoder; none where another is to be taken.
    pub vae: Option<Tensors>,
    /// Of the text encoder.
    pub text_encoder: Tensors,
    /// Keys that are known to be in such files and are of no use here.
    pub passed_over: Vec<String>,
}

impl SingleFile {
    /// Takes the file apart, of networks whose keys are given. Without keys of an autoencoder, the
    /// one that the file may have is passed over.
    ///
    /// # Errors
    ///
    /// Fails, in the names of the file, if it does not hold exactly the [`keys`](Self::keys) of
    /// the parts, known extras aside.
    pub fn new(
        tensors: &Tensors,
        unet: &[Key],
        vae: Option<&[Key]>,
        text_encoder: &[Key],
    ) -> Result<Self, LoadError> {
        let tensors = with_text_level(tensors.clone(), TEXT);
        let (used, passed_over) = without_extras(Kind::StableDiffusion1, tensors);
        let used = match vae {
            Some(_) => used,
            None => used.rename(|key| (!key.starts_with(AUTOENCODER)).then(|| key.to_owned())),
        };
        check(&Self::keys(unet, vae.unwrap_or_default(), text_encoder), &used)?;
        let vae = vae.map(|vae| read_as(&used.below(AUTOENCODER), vae, super::vae(vae)));
        Ok(Self {
            unet: read_as(&used.below(DENOISER), unet, super::unet(unet))?,
            vae: vae.transpose()?,
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

/// Whether a single file has an autoencoder; those that were made to share one have none.
pub fn has_autoencoder(tensors: &Tensors) -> bool {
    tensors
        .iter()
        .any(|(key, _)| key.strip_prefix(AUTOENCODER).is_some_and(|key| !key.starts_with("loss.")))
}

/// The tensors with the level `text_model.` in the keys below `prefix`, where a text encoder is
/// there without it.
pub fn with_text_level(tensors: Tensors, prefix: &str) -> Tensors {
    let below = |key: &str| key.strip_prefix(prefix).map(str::to_owned);
    if tensors.iter().any(|(key, _)| below(key).is_some_and(|key| key.starts_with(LEVEL))) {
        return tensors;
    }
    tensors.rename(|key| {
        let is_part = |below: &String| BELOW_LEVEL.iter().any(|part| below.starts_with(part));
        Some(match below(key).filter(is_part) {
            Some(below) => format!("{prefix}{LEVEL}{below}"),
            None => key.to_owned(),
        })
    })
}
