//! `hyperalign inspect adapter FILE`.

use std::path::{Path, PathBuf};

use hyperalign_core::device;
use hyperalign_models::hypernet::Adapter;
use hyperalign_models::weights::Tensors;
use miette::{IntoDiagnostic, WrapErr, miette};

use crate::outcome::Outcome;
use crate::output;

/// The key of the metadata under which an adapter file describes itself.
pub(super) const METADATA: &str = "hyperalign";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The adapter file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Prints the metadata as JSON, with the number of tensors and of their values; fails for a file
/// that `sample` would refuse.
pub(super) fn run(args: &Args) -> miette::Result<Outcome> {
    let tensors = Tensors::open(&args.file).into_diagnostic()?;
    let text = tensors.metadata().get(METADATA).ok_or_else(|| {
        miette!(
            "`{}` is a weight file, but not an adapter of this program: it has no metadata called \
             `{METADATA}`",
            args.file.display()
        )
    })?;
    let adapter: serde_json::Value = serde_json::from_str(text)
        .into_diagnostic()
        .wrap_err_with(|| format!("the metadata of `{}` are no JSON", args.file.display()))?;
    load(&args.file)?;
    output::print_json(&serde_json::json!({
        "file": args.file.display().to_string(),
        "tensors": tensors.iter().count(),
        "parameters": parameters(&tensors),
        "adapter": adapter,
    }))?;
    Ok(Outcome::Done)
}

/// Reads the adapter as those do who use it: its keys, finite values and its recorded SHA-256.
pub(super) fn load(path: &Path) -> miette::Result<()> {
    let cpu = device::open("cpu").into_diagnostic()?;
    Adapter::load(path, &cpu).map(|_| ()).into_diagnostic()
}

/// Number of values of all tensors.
pub(super) fn parameters(tensors: &Tensors) -> usize {
    tensors.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
}
