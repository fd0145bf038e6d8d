//! `hyperalign report`: the report of a comparison, made again from its records, or the curves of a
//! training run from its log.

use std::path::{Path, PathBuf};

use hyperalign_core::input;
use hyperalign_train::{
    compare::Folders,
    learner::{log_path, log_rows},
    report::{of_training, write_pages},
};
use miette::IntoDiagnostic;

use super::compare::write_report;
use crate::{outcome::Outcome, output};

/// Sample grids that the report of a training run shows: the last ones.
const GRIDS: usize = 6;

/// Flags of `hyperalign report`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of a comparison (the `--out` of `hyperalign compare`), or of a training run, which may
    /// still go on (that of `hyperalign train`). The report is written to `report` in it.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Makes the report of what there is. Nothing is computed but statistics.
///
/// # Errors
///
/// Fails for a folder that holds no comparison and no run, or where the report cannot be written.
pub fn run(args: &Args) -> miette::Result<Outcome> {
    let is_comparison = args.folder.join(Folders::COMPARISON).is_file();
    if log_path(&args.folder).is_file() && !is_comparison {
        let rows = log_rows(&args.folder).into_diagnostic()?;
        let title = format!("Training in {}", args.folder.display());
        let document = of_training(&title, &rows, grids(&args.folder)?);
        let pages = args.folder.join("report");
        write_pages(&document, &pages).into_diagnostic()?;
        output::print(&format!("{}\n", pages.join("index.html").display()))?;
        return Ok(Outcome::Done);
    }
    write_report(&Folders::new(&args.folder))?;
    Ok(Outcome::Done)
}

/// The last sample grids of a run, with the updates that they were made after.
fn grids(run: &Path) -> miette::Result<Vec<(u64, Vec<u8>)>> {
    let Ok(entries) = std::fs::read_dir(run.join("samples")) else { return Ok(Vec::new()) };
    let mut found: Vec<(u64, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let update = name.strip_prefix("step-")?.strip_suffix(".png")?.parse().ok()?;
            Some((update, entry.path()))
        })
        .collect();
    found.sort();
    let last = found.split_off(found.len().saturating_sub(GRIDS));
    let read = |(update, path): (u64, PathBuf)| Ok((update, input::read(&path).into_diagnostic()?));
    last.into_iter().map(read).collect()
}
