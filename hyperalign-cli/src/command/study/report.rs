//! `hyperalign study report`: what the votes come to.

use std::path::PathBuf;

use hyperalign_core::atomic;
use hyperalign_train::{
    report::{markdown, of_study},
    study::{Ballots, PASSED, Study, Summary},
};
use miette::IntoDiagnostic;

use crate::{args::share, outcome::Outcome, output};

/// Flags of `hyperalign study report`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the study. A server may be at work in it.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,

    /// File to write the report to, instead of standard output: JSON if its name ends in .json, else
    /// Markdown.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// The share of their attention checks that voters have to pass; the votes of others do not count.
    #[arg(long, value_name = "SHARE", default_value_t = PASSED, value_parser = share)]
    passed: f64,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Counts the votes and tells what they come to.
///
/// # Errors
///
/// Fails for a folder without a study, votes of another one, and a report that cannot be written.
pub fn run(args: &Args) -> miette::Result<Outcome> {
    let study = Study::open(&args.folder).into_diagnostic()?;
    let path = args.folder.join(Study::VOTES);
    let (ballots, whole) = Ballots::read(&path, &study).into_diagnostic()?;
    if path.metadata().is_ok_and(|about| about.len() > whole) {
        output::warn(&format!(
            "half a vote at the end of `{}` is passed over: a server is writing it, or was killed \
             before it was whole",
            path.display()
        ));
    }
    let summary = Summary::new(&study, &ballots, args.passed);
    let is_json = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "json");
    let text = match args.json || args.out.as_ref().is_some_and(is_json) {
        true => serde_json::to_string_pretty(&summary).into_diagnostic()? + "\n",
        false => markdown(&of_study(&summary)),
    };
    match &args.out {
        Some(out) => atomic::write(out, text.as_bytes()).into_diagnostic()?,
        None => output::print(&text)?,
    }
    Ok(Outcome::Done)
}
