//! `hyperalign inspect adapter NAME_OR_FILE`.

use std::path::PathBuf;

use hyperalign_core::device;
use hyperalign_models::hypernet::{Adapter, AdapterPlace};
use hyperalign_models::weights::Tensors;
use miette::{IntoDiagnostic, WrapErr, miette};

use crate::outcome::Outcome;
use crate::output;

/// The key of the metadata under which an adapter file describes itself.
pub(super) const METADATA: &str = "hyperalign";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The adapter file, or the name of an embedded adapter.
    #[arg(value_name = "NAME_OR_FILE")]
    file: PathBuf,
}

/// Prints the metadata as JSON, with the number of tensors and of their values; fails for a file
/// that `sample` would refuse.
pub(super) fn run(args: &Args) -> miette::Result<Outcome> {
    let place = AdapterPlace::find(&args.file).into_diagnostic()?;
    let tensors = place.tensors().into_diagnostic()?;
    let text = tensors.metadata().get(METADATA).ok_or_else(|| {
        miette!(
            "`{place}` is a weight file, but not an adapter of this program: it has no metadata called \
             `{METADATA}`"
        )
    })?;
    let adapter: serde_json::Value = serde_json::from_str(text)
        .into_diagnostic()
        .wrap_err_with(|| format!("the metadata of `{place}` are no JSON"))?;
    load(&place)?;
    output::print_json(&serde_json::json!({
        "file": place.to_string(),
        "tensors": tensors.iter().count(),
        "parameters": parameters(&tensors),
        "adapter": adapter,
    }))?;
    Ok(Outcome::Done)
}

/// Reads the adapter as those do who use it: its keys, finite values and its recorded SHA-256.
pub(super) fn load(place: &AdapterPlace) -> miette::Result<()> {
    let cpu = device::open("cpu").into_diagnostic()?;
    Adapter::open(place, &cpu).map(|_| ()).into_diagnostic()
}

/// Number of values of all tensors.
pub(super) fn parameters(tensors: &Tensors) -> usize {
    tensors.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
}
