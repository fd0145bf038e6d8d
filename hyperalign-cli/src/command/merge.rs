//! `hyperalign merge`: shards of a comparison put together, and the report of the whole.

use std::path::PathBuf;

use hyperalign_train::compare::{Folders, merge};
use miette::IntoDiagnostic;

use super::compare::write_report;
use crate::{outcome::Outcome, output};

/// Flags of `hyperalign merge`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folders of shards: each the `--out` of a `hyperalign compare --shard`.
    #[arg(required = true, value_name = "DIR")]
    shards: Vec<PathBuf>,

    /// Folder of the whole. What is there already stays, and may be one of the shards.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Copies the runs and makes the report.
///
/// # Errors
///
/// Fails for folders that hold no comparison, or not the same one, and for files that cannot be
/// read or copied.
pub fn run(args: &Args) -> miette::Result<Outcome> {
    let merged = merge(&args.shards, &args.out).into_diagnostic()?;
    output::note(&format!("{} runs copied", merged.copied));
    for id in &merged.twice {
        let differs = match merged.differing.contains(id) {
            true => ", and its scores are not the same",
            false => "",
        };
        output::warn(&format!("{id} came more than once{differs}; the first was taken"));
    }
    let of_bases = merged.differing.iter().filter(|id| !merged.twice.contains(id));
    for id in of_bases {
        output::warn(&format!(
            "{id}, the base, has other scores in another shard: machines that round otherwise; \
             the first was taken"
        ));
    }
    write_report(&Folders::new(&args.out))?;
    Ok(Outcome::Done)
}
