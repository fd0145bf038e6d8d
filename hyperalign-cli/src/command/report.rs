//! `hyperalign report`: the report of a comparison, made again from its records, or the curves of a
//! training run from its log.

use std::path::PathBuf;

use hyperalign_train::{
    compare::Folders,
    learner::log_path,
    report::{EventFile, of_training, run_log, write_pages},
};
use miette::{Diagnostic, IntoDiagnostic};

use super::compare::write_report;
use crate::{outcome::Outcome, output};

/// Flags of `hyperalign report`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of a comparison (the `--out` of `hyperalign compare`), or of a training run, which may
    /// still go on (that of `hyperalign train`). The report is written to `report` in it.
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    /// Of a training run: write its log to this folder as an event file of TensorBoard instead.
    #[arg(long, value_name = "DIR")]
    tensorboard: Option<PathBuf>,
}

/// A report that cannot be made.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("`--tensorboard` is for the log of a training run, and `{}` is a comparison", folder.display())]
#[diagnostic(help("its runs are in `trained`, each in a folder of its own"))]
struct NoRun {
    folder: PathBuf,
}

/// Makes the report of what there is. Nothing is computed but statistics.
///
/// # Errors
///
/// Fails for a folder that holds no comparison and no run, or where the report cannot be written.
pub fn run(args: &Args) -> miette::Result<Outcome> {
    let is_comparison = args.folder.join(Folders::COMPARISON).is_file();
    if is_comparison && args.tensorboard.is_some() {
        return Err(NoRun { folder: args.folder.clone() }.into());
    }
    let wants_run = args.tensorboard.is_some() || log_path(&args.folder).is_file();
    if is_comparison || !wants_run {
        write_report(&Folders::new(&args.folder))?;
        return Ok(Outcome::Done);
    }
    let log = run_log(&args.folder).into_diagnostic()?;
    let written = match &args.tensorboard {
        Some(folder) => {
            let mut file = EventFile::create(folder, log.began()).into_diagnostic()?;
            file.add(&log).into_diagnostic()?;
            file.path().to_owned()
        }
        None => {
            let title = format!("Training in {}", args.folder.display());
            let pages = args.folder.join("report");
            write_pages(&of_training(&title, log), &pages).into_diagnostic()?;
            pages.join("index.html")
        }
    };
    output::print(&format!("{}\n", written.display()))?;
    Ok(Outcome::Done)
}
