//! What reading a folder has in common, whatever the pipeline.

use super::PipelineError;
use crate::{
    tokenizer::{Tokenizer, TokenizerError},
    weights::{Folder, LoadError, sha256},
};

/// The file that says which pipeline a folder holds.
pub(super) const INDEX: &str = "model_index.json";

/// The part of `model_index.json` that is read.
#[derive(serde::Deserialize)]
struct ModelIndex {
    #[serde(rename = "_class_name")]
    class_name: String,
}

/// The class that `model_index.json` of `folder` names.
pub(super) fn class(folder: &Folder) -> Result<String, LoadError> {
    Ok(folder.read_config::<ModelIndex>(INDEX)?.class_name)
}

/// Fails for a folder that names another class.
pub(super) fn check_class(folder: &Folder, expected: &'static str) -> Result<(), PipelineError> {
    let class = class(folder)?;
    match class == expected {
        true => Ok(()),
        false => Err(PipelineError::Class { file: folder.display(INDEX), class, expected }),
    }
}

/// Reads the tokenizer in the part `sub` of `folder`.
pub(super) fn tokenizer(folder: &Folder, sub: &str) -> Result<Tokenizer, TokenizerError> {
    Tokenizer::from_files(|name| -> Result<Option<String>, LoadError> {
        let path = format!("{sub}/{name}");
        if !folder.contains(&path) {
            return Ok(None);
        }
        let bytes = folder.read(&path)?.into_owned();
        String::from_utf8(bytes).map(Some).map_err(|error| LoadError::Config {
            file: folder.display(&path),
            reason: error.to_string(),
        })
    })
}

/// Whether two parts fit; otherwise what does not.
pub(super) fn fit(fits: bool, misfit: impl FnOnce() -> String) -> Result<(), String> {
    if fits { Ok(()) } else { Err(misfit()) }
}

/// Whether a text encoder can read what a tokenizer writes.
pub(super) fn fit_tokenizer(
    tokenizer: &Tokenizer,
    vocab_size: usize,
    positions: Option<usize>,
) -> Result<(), String> {
    fit(tokenizer.vocab_size() <= vocab_size, || {
        format!(
            "the tokenizer has {} tokens, the text encoder {vocab_size}",
            tokenizer.vocab_size()
        )
    })?;
    let tokens = tokenizer.context_length();
    match positions.filter(|positions| tokens > *positions) {
        Some(positions) => Err(format!(
            "the tokenizer makes rows of {tokens} tokens, the text encoder reads {positions}"
        )),
        None => Ok(()),
    }
}

/// One fingerprint of the fingerprints of all parts.
pub(super) fn fingerprint(parts: &[String]) -> String {
    sha256(parts.concat())
}
