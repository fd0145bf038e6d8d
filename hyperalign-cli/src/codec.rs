//! The small codec that flags name, in place of the base's own decoder.

use std::path::Path;

use burn::tensor::Device;
use hyperalign_models::base::Base;
use hyperalign_models::tiny_codec::TinyDecoder;
use hyperalign_models::weights::Folder;
use miette::{Diagnostic, IntoDiagnostic};

/// A codec for other latents than the base's.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("the latents of `{base}` are not those that the small codec decodes")]
#[diagnostic(help("it is made for 4 channels scaled by 0.18215; leave `{flag}` out"))]
struct OtherLatents {
    base: String,
    flag: &'static str,
}

/// The decoder in the folder that `flag` gives, if it is given.
///
/// # Errors
///
/// Fails for a base with other latents, and for a folder without exactly the decoder's weights.
pub fn decoder(
    flag: &'static str,
    folder: Option<&Path>,
    base: &dyn Base,
    device: &Device,
) -> miette::Result<Option<TinyDecoder>> {
    let Some(folder) = folder else { return Ok(None) };
    if !base.autoencoder().is_some_and(TinyDecoder::fits) {
        return Err(OtherLatents { base: base.name().to_owned(), flag }.into());
    }
    TinyDecoder::from_folder(&Folder::disk(folder), device).into_diagnostic().map(Some)
}
