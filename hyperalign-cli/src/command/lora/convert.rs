//! `hyperalign lora convert A B --to CONVENTION`.

use std::path::PathBuf;

use hyperalign_models::base::Base;
use hyperalign_models::lora::{Family, Layers, LoraError, LoraFile, Survey};
use hyperalign_models::weights::Tensors;
use miette::{Diagnostic, IntoDiagnostic};

use super::To;
use crate::base::{self, BaseOptions};
use crate::context::Context;
use crate::outcome::Outcome;
use crate::output;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file to read, in any of the conventions.
    #[arg(value_name = "FROM")]
    from: PathBuf,

    /// The file to write.
    #[arg(value_name = "TO.safetensors", value_parser = safetensors)]
    into: PathBuf,

    /// The convention to write.
    #[arg(long, value_enum)]
    to: To,

    /// Base whose layers are named. Default: the published model that the file is for.
    #[arg(long, value_name = "NAME_OR_DIR")]
    base: Option<String>,

    #[command(flatten)]
    base_options: BaseOptions,
}

/// A conversion that cannot be made.
#[derive(Debug, thiserror::Error, Diagnostic)]
enum ConvertError {
    #[error("`{}` is for no published model that is known here", file.display())]
    #[diagnostic(help("name its base with `--base`"))]
    NoFamily { file: PathBuf },
    #[error("by the layers of {family} as published, {source}")]
    #[diagnostic(help("name the model that it is for with `--base`"))]
    Published { family: Family, source: LoraError },
    #[error("`{}` belongs to the base `{base}`, whose layers have to be known", file.display())]
    #[diagnostic(help("add `--base {base}`"))]
    NeedsBase { file: PathBuf, base: String },
}

/// Writes the file anew. What it says is read again and compared: where a convention cannot hold it
/// as it was, that is told.
pub(super) fn run(args: &Args, context: &Context) -> miette::Result<Outcome> {
    output::check_writable(&args.into).into_diagnostic()?;
    let device = context.device()?;
    let (layers, file) = match &args.base {
        Some(name) => {
            let (base, _) = base::open(name, &args.base_options, &device)?;
            let layers = layers_of(base.as_ref())?;
            let file = LoraFile::open_for(&args.from, &layers, base.as_ref(), &device);
            (layers, file.into_diagnostic()?)
        }
        None => {
            let tensors = Tensors::open(&args.from).into_diagnostic()?;
            if let Some(base) = base_of_ours(&tensors) {
                return Err(ConvertError::NeedsBase { file: args.from.clone(), base }.into());
            }
            let survey = Survey::of(&args.from, &tensors, None, &device).into_diagnostic()?;
            let unknown = || ConvertError::NoFamily { file: args.from.clone() };
            let family = survey.family.ok_or_else(unknown)?;
            let layers = Layers::published(family, &device);
            let file = LoraFile::read(Some(&args.from), &tensors, &layers);
            (layers, file.map_err(|source| ConvertError::Published { family, source })?)
        }
    };
    let convention = args.to.convention();
    let bytes = file.to_bytes(&layers, convention);
    let name = args.into.display().to_string();
    let written = Tensors::held(&name, bytes).into_diagnostic()?;
    let again = LoraFile::read(None, &written, &layers).into_diagnostic()?;
    file.write(&args.into, &layers, convention).into_diagnostic()?;
    let differ = |layer: &&usize| file.updates.get(layer) != again.updates.get(layer);
    let other = file.updates.keys().filter(differ).count();
    output::print(&format!(
        "{name}  {} layers, in the convention of {convention}\n",
        file.updates.len()
    ))?;
    if other > 0 {
        output::note(&format!(
            "{other} layers have other factors there with the same product: this convention keeps \
             several layers as one module"
        ));
    }
    Ok(Outcome::Done)
}

/// The layers of `base` that LoRA files may name.
pub(super) fn layers_of(base: &dyn Base) -> miette::Result<Layers> {
    let none = || LoraError::NoLayers { base: base.name().to_owned() };
    base.lora_layers().ok_or_else(none).into_diagnostic()
}

/// The base that an adapter of this program belongs to.
fn base_of_ours(tensors: &Tensors) -> Option<String> {
    let text = tensors.metadata().get("hyperalign")?;
    let meta: serde_json::Value = serde_json::from_str(text).ok()?;
    Some(meta["base"].as_str().unwrap_or("NAME_OR_DIR").to_owned())
}

/// A name that other programs take for weights.
pub(super) fn safetensors(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.extension().is_some_and(|end| end.eq_ignore_ascii_case("safetensors")) {
        true => Ok(path),
        false => Err("LoRAs are written as safetensors; end the name in .safetensors".to_owned()),
    }
}
