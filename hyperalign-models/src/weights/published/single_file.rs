//! Whole models in one file, as the authors of Stable Diffusion publish them.

use super::{Kind, read_as, without_extras};
use crate::weights::{Key, LoadError, Tensors, check};

/// Where the parts of a model begin in its file.
const DENOISER: &str = "model.diffusion_model.";
const AUTOENCODER: &str = "first_stage_model.";
pub(super) const TEXT: &str = "cond_stage_model.transformer.";

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
        let (used, passed_over) = without_extras(Kind::StableDiffusion1, tensors.clone());
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
