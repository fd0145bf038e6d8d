//! What the server starts with.

use std::{ffi::OsString, path::PathBuf, sync::Arc};

use hyperalign_core::{memory, stop::Stop};
use hyperalign_models::{
    base::Base,
    generate::{AdapterFile, Sampling},
    hypernet::AdapterPlace,
    lora::{Laid, LoraError, LoraFile},
    weights,
};
use miette::{Diagnostic, IntoDiagnostic};

use super::{
    Args,
    catalog::{Catalog, Limits},
    maker::{Maker, Offered},
    metrics::Metrics,
    progress::Now,
    queue::Queue,
};
use crate::{
    args::{LoraChoice, VariantChoice},
    codec,
    context::Context,
    provenance::Surroundings,
    shipped,
};

/// A server that cannot be.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum StartError {
    /// Nobody could ever show it, or everybody.
    #[error("the API key {0}")]
    #[diagnostic(help(
        "take one of letters, digits and signs without spaces, or leave it out to let everybody in"
    ))]
    Key(&'static str),
    /// Requests name the files, and these have one name.
    #[error("two LoRA files are called `{name}`: {} and {}", first.display(), second.display())]
    #[diagnostic(help("requests name them without their folders; rename one of them"))]
    SameName {
        /// Their name.
        name: String,
        /// One.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
}

/// The key that whoever asks has to show: the flag's, or the variable's.
///
/// # Errors
///
/// Fails for a key that no header can carry.
pub fn key(flag: Option<String>, variable: Option<OsString>) -> Result<Option<String>, StartError> {
    let variable =
        || variable.map(|key| key.into_string().map_err(|_| StartError::Key("is no text")));
    let key = flag.map_or_else(|| variable().transpose(), |key| Ok(Some(key)))?;
    match key {
        Some(key) if key.is_empty() => Err(StartError::Key("is empty")),
        Some(key) if !key.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err(StartError::Key("has letters that a header cannot carry"))
        }
        key => Ok(key),
    }
}

/// Opens what pictures are made with, and tells what of it can be ordered.
///
/// # Errors
///
/// Fails as `hyperalign sample` does for the same flags.
pub fn open(
    args: &Args,
    context: &Context,
    queue: &Arc<Queue>,
    metrics: &Arc<Metrics>,
    now: &Arc<Now>,
) -> miette::Result<(Catalog, Maker)> {
    let device = context.device()?;
    let (base, preset) = args.base.open_bare(&device)?;
    let sampling = Sampling { solver: args.solver.choice(), ..args.steps.sampling(preset) };
    base.plan(sampling.steps, sampling.solver, base.latent_shape()).into_diagnostic()?;
    let side = largest_side(args, base.as_ref(), context)?;
    // What comes with the program can be ordered beside the base, which stays what is made unasked.
    let place = match (&args.adapter, args.variant) {
        (Some(given), _) => Some(AdapterPlace::find(given).into_diagnostic()?),
        (None, Some(VariantChoice::None)) => None,
        (None, Some(variant)) => {
            Some(shipped::adapter("--variant", variant.to_string(), base.name())?)
        }
        (None, None) => AdapterPlace::shipped_for(base.name()),
    };
    let open = |place| AdapterFile::open_at(place, base.as_ref(), &device);
    let mut adapter = place.map(open).transpose().into_diagnostic()?;
    let named = adapter.as_ref().filter(|_| args.adapter.is_some());
    let variant = match args.variant {
        Some(choice) => choice.adapted(),
        None => named.map(|file| file.meta.variant),
    };
    let sha256 = adapter.as_ref().map(|file| file.place.sha256()).transpose();
    // Pictures go to others, whom our folders do not concern.
    if let Some(AdapterFile { place: AdapterPlace::File(path), .. }) = &mut adapter {
        *path = path.file_name().map_or_else(PathBuf::new, PathBuf::from);
    }
    let loras = loras(args.base.options.lora(), base.as_ref(), &device)?;
    let names = loras.iter().map(|(name, (laid, _))| (name.clone(), laid.scale)).collect();
    let folder = args.preview_codec.as_deref();
    let codec = codec::decoder("--preview-codec", folder, base.as_ref(), &device)?;
    let around = Surroundings {
        device: context.device_name().to_owned(),
        dtype: args.base.options.dtype(),
        adapter_sha256: sha256.into_diagnostic()?,
        codec: None,
    };
    let catalog = Catalog {
        base: base.clone(),
        sampling,
        has_adapter: adapter.is_some(),
        variant,
        loras: names,
        limits: Limits { steps: args.max_steps, pictures: args.max_pictures, side },
    };
    let maker = Maker {
        base,
        device,
        adapter,
        loras: loras.into_iter().map(|(_, offered)| offered).collect(),
        codec,
        around,
        batch: args.batch,
        queue: queue.clone(),
        now: now.clone(),
        metrics: metrics.clone(),
        abandoned: Stop::default(),
    };
    Ok((catalog, maker))
}

/// The largest side of a picture that there is memory for, as far as that is known.
fn largest_side(args: &Args, base: &dyn Base, context: &Context) -> miette::Result<usize> {
    let free = memory::available().filter(|_| context.device_name() == "cpu");
    let check = |side| free.map_or(Ok(()), |free| base.check_memory([side, side], free));
    let own = base.picture_size().into_iter().max().unwrap_or(1);
    match args.max_side {
        Some(side) => check(side).into_diagnostic().map(|()| side),
        None if check(2 * own).is_ok() => Ok(2 * own),
        None => Ok(own),
    }
}

/// The LoRA files by their names, which are those of the files without folder and ending.
fn loras(
    choices: &[LoraChoice],
    base: &dyn Base,
    device: &burn::tensor::Device,
) -> miette::Result<Vec<(String, Offered)>> {
    let mut found: Vec<(String, Offered)> = Vec::new();
    if choices.is_empty() {
        return Ok(found);
    }
    let missing = || LoraError::NoLayers { base: base.name().to_owned() };
    let layers = base.lora_layers().ok_or_else(missing).into_diagnostic()?;
    for LoraChoice { file: path, scale } in choices {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(k) = found.iter().position(|(other, _)| *other == name) {
            let (first, second) = (choices[k].file.clone(), path.clone());
            return Err(StartError::SameName { name, first, second }.into());
        }
        let file = LoraFile::open_for(path, &layers, base, device).into_diagnostic()?;
        let sha256 = weights::sha256_of_file(path).into_diagnostic()?;
        let shown = path.file_name().map_or_else(PathBuf::new, PathBuf::from);
        found.push((name, (Laid { file: shown, scale: *scale, sha256 }, file)));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_the_flags_or_the_variables() {
        let of = |flag: Option<&str>, variable: Option<&str>| {
            key(flag.map(str::to_owned), variable.map(OsString::from)).map_err(|e| e.to_string())
        };
        assert_eq!(of(None, None), Ok(None));
        assert_eq!(of(Some("a"), Some("b")), Ok(Some("a".to_owned())));
        assert_eq!(of(None, Some("b")), Ok(Some("b".to_owned())));
        assert_eq!(of(None, Some("")), Err("the API key is empty".to_owned()));
        assert!(of(Some("a b"), None).unwrap_err().contains("a header cannot carry"));
    }
}
