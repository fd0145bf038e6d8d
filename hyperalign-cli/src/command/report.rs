//! `hyperalign report`: the report of a comparison, made again from its records.

use std::path::PathBuf;

use hyperalign_train::compare::Folders;

use super::compare::write_report;
use crate::outcome::Outcome;

/// Flags of `hyperalign report`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the comparison: the `--out` of `hyperalign compare`.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Makes the report of what there is. Nothing is computed but statistics.
///
/// # Errors
///
/// Fails for a folder that holds no comparison, or where the report cannot be written.
pub fn run(args: &Args) -> miette::Result<Outcome> {
    write_report(&Folders::new(&args.folder))?;
    Ok(Outcome::Done)
}
