//! The base model that `--base` names.

use std::path::PathBuf;

use burn::tensor::Device;
use hyperalign_models::embedded;
use hyperalign_models::pipeline::StableDiffusion;
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

/// How pictures are sampled from a base where nobody says otherwise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preset {
    /// Sampling steps.
    pub steps: usize,
    /// Weight of classifier-free guidance.
    pub guidance_scale: f64,
}

impl Preset {
    /// Of the paper's evaluation of Stable Diffusion 1.5 (arXiv:2601.15968).
    const STABLE_DIFFUSION: Self = Self { steps: 50, guidance_scale: 7.5 };
    /// More steps make the embedded world's pictures no better.
    const EMBEDDED: Self = Self { steps: 10, guidance_scale: 4.0 };
}

/// Opens the base called `given`: the name of an embedded model, or a folder in diffusers' layout.
///
/// # Errors
///
/// Fails if there is no such base, or it cannot be read.
pub fn open(given: &str, device: &Device) -> miette::Result<(StableDiffusion, Preset)> {
    let (folder, preset) = find(given)?;
    let base = StableDiffusion::from_folder(&folder, device).into_diagnostic()?;
    Ok((base, preset))
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
pub fn find(given: &str) -> Result<(Folder, Preset), UnknownBase> {
    if let Some(folder) = embedded_base(given) {
        return Ok((folder, Preset::EMBEDDED));
    }
    let path = PathBuf::from(given);
    if path.is_dir() {
        return Ok((Folder::disk(path), Preset::STABLE_DIFFUSION));
    }
    let names: Vec<_> = embedded::names().filter(|name| embedded_base(name).is_some()).collect();
    let known = match names.is_empty() {
        true => "this program was built without embedded models; give a folder".to_owned(),
        false => format!("embedded models: {}; or give a folder", names.join(", ")),
    };
    Err(UnknownBase { given: given.to_owned(), known })
}
