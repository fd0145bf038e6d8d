//! The base model that `--base` names.

use std::path::PathBuf;
use std::sync::Arc;

use burn::tensor::Device;
use hyperalign_models::base::{Base, Preset};
use hyperalign_models::embedded;
use hyperalign_models::pipeline;
use hyperalign_models::weights::Folder;
use miette::{Diagnostic, IntoDiagnostic};

/// What every diffusers folder of a whole pipeline has; an embedded reward model has none.
const INDEX: &str = "model_index.json";

/// A `--base` that is not there.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("unknown base `{given}`: it is no embedded model and no folder")]
pub struct UnknownBase {
    given: String,
    #[help]
    known: String,
}

/// Of the embedded bases: more steps make their pictures no better.
const EMBEDDED: Preset = Preset { steps: 10, guidance_scale: 4.0 };

/// Opens the base called `given`: the name of an embedded model, or a folder in diffusers' layout.
///
/// # Errors
///
/// Fails if there is no such base, or it cannot be read.
pub fn open(given: &str, device: &Device) -> miette::Result<(Arc<dyn Base>, Preset)> {
    let folder = find(given)?;
    let base = pipeline::open(&folder, Some(given), device).into_diagnostic()?;
    let preset = match folder {
        Folder::Embedded { .. } => EMBEDDED,
        _ => base.preset(),
    };
    Ok((base.into(), preset))
}

/// The embedded base called `name`.
pub fn embedded_base(name: &str) -> Option<Folder> {
    embedded::folder(name).filter(|folder| folder.contains(INDEX))
}

/// Looks for the base called `given`, and reads nothing of it.
///
/// # Errors
///
/// Fails if there is no such base.
pub fn find(given: &str) -> Result<Folder, UnknownBase> {
    if let Some(folder) = embedded_base(given) {
        return Ok(folder);
    }
    let path = PathBuf::from(given);
    if path.is_dir() {
        return Ok(Folder::disk(path));
    }
    let names: Vec<_> = embedded::names().filter(|name| embedded_base(name).is_some()).collect();
    let known = match names.is_empty() {
        true => "this program was built without embedded models; give a folder".to_owned(),
        false => format!("embedded models: {}; or give a folder", names.join(", ")),
    };
    Err(UnknownBase { given: given.to_owned(), known })
}
