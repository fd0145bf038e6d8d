//! `hyperalign score`: scores of pictures that are already there.

mod batch;
mod comparison;
mod geneval;
pub mod items;
mod journal;
mod names;
mod order;
mod pairs;
pub(super) mod pass;
mod report;
mod spread;

use std::path::PathBuf;

use hyperalign_core::stop::Stop;

use crate::{
    args::at_least_one,
    context::Context,
    interrupt,
    outcome::Outcome,
    output,
    rewards::{JudgeArgs, Judges, NotOpened},
};
use batch::Batch;
use comparison::Comparison;
use items::{PromptArgs, collect, once};
use journal::{Head, Journal};
use pairs::pairs;
use pass::Failed;
use report::{Left, Report, Who};

/// Flags of `hyperalign score`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Pictures in PNG, JPEG or WebP, and folders of them.
    #[arg(required_unless_present = "compare", value_name = "IMAGES")]
    images: Vec<PathBuf>,

    #[command(flatten)]
    rewards: JudgeArgs,

    #[command(flatten)]
    prompts: PromptArgs,

    /// Compare two folders instead: pictures of the same name, how often A's scores higher.
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with = "images")]
    compare: Option<Vec<PathBuf>>,

    /// File to keep scores in, an object a line: an interrupted run goes on from there.
    #[arg(long, value_name = "FILE.jsonl")]
    out: Option<PathBuf>,

    /// The most pictures scored at once. It changes speed and memory only. Default: what half of
    /// the free memory suffices for, up to 32.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    batch: Option<usize>,

    /// Print a line for each picture, separated by commas.
    #[arg(long, conflicts_with_all = ["json", "compare"])]
    csv: bool,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Scores the pictures and prints what came out. A picture that cannot be scored and a reward that
/// cannot be opened do not stop the others.
///
/// # Errors
///
/// Fails if no reward can be opened, for prompts that cannot be read, folders without pictures, and
/// a file of scores that cannot be used.
pub fn run(args: &Args, context: &Context) -> miette::Result<Outcome> {
    let stop = Stop::default();
    let folders = args.compare.as_ref();
    let (mut a, b, mut failed) = match folders.map(Vec::as_slice) {
        Some([a, b]) => {
            let of = |folder: &PathBuf| collect(std::slice::from_ref(folder), &args.prompts);
            let (mut a, b) = (of(a)?, of(b)?);
            a.refused.extend(b.refused);
            (a.items, Some(b.items), a.refused)
        }
        _ => {
            let found = collect(&args.images, &args.prompts)?;
            (once(found.items), None, found.refused)
        }
    };
    let (judges, not_opened) = Judges::open_what_can_be(&args.rewards, &context.device()?)?;
    for NotOpened { reward, reason } in &not_opened {
        output::note(&format!("{reward}: {reason}"));
    }
    let who = Who::all(&judges);
    let head = Head { rewards: who.iter().map(|w| (w.name.clone(), w.version.clone())).collect() };
    let journal = args.out.as_deref().map(|path| Journal::open(path, &head)).transpose()?;
    interrupt::request_on_ctrl_c(stop.clone())?;
    let batch = args.batch.map(Batch::of).unwrap_or_else(|| {
        let batch = Batch::that_fits(&judges);
        output::note(&batch.to_string());
        batch
    });

    let (count, refused) = (a.len(), failed.len());
    a.extend(b.iter().flatten().cloned());
    let results = pass::run(&judges, &a, batch, journal, &stop)?;
    if results.len() < a.len() {
        let kept = if args.out.is_some() { "kept; the same command goes on" } else { "lost" };
        output::note(&format!(
            "interrupted: {} of {} pictures are scored, {kept}",
            results.len(),
            a.len()
        ));
        return Ok(Outcome::Interrupted);
    }
    if let (Some(b), Some([name_a, name_b])) = (b, folders.map(Vec::as_slice)) {
        let pairs = pairs(&a[..count], &b, results, &mut failed);
        let names = [name_a, name_b].map(|folder| folder.display().to_string());
        let comparison =
            Comparison::new(names, &who, &pairs, Left { failed: &failed, not_opened: &not_opened });
        match args.json {
            true => output::print_json(&comparison)?,
            false => output::print(&comparison.table())?,
        }
    } else {
        let mut lines = Vec::new();
        for result in results {
            match result {
                Ok(line) => lines.push(line),
                Err(reason) => failed.push(reason),
            }
        }
        for (reward, count) in report::skipped(&who, &lines) {
            output::note(&format!(
                "{reward} passed over {count} of {} pictures, whose prompts carry no rules; \
                 `--prompts` reads GenEval's metadata",
                lines.len()
            ));
        }
        let report = Report::new(&who, &lines, Left { failed: &failed, not_opened: &not_opened });
        match (args.json, args.csv) {
            (true, _) => output::print_json(&report)?,
            (_, true) => output::print(&report.csv())?,
            _ => output::print(&report.table())?,
        }
    }
    if !failed.is_empty() {
        output::note(&format!(
            "{} of {} pictures were not scored:",
            failed.len(),
            a.len() + refused
        ));
    }
    for Failed { image, reason } in &failed {
        output::note(&format!("  {image}: {reason}"));
    }
    if !not_opened.is_empty() {
        output::note(&format!(
            "{} of {} rewards were not opened:",
            not_opened.len(),
            args.rewards.reward.len()
        ));
    }
    for NotOpened { reward, reason } in &not_opened {
        output::note(&format!("  {reward}: {reason}"));
    }
    Ok(match failed.is_empty() && not_opened.is_empty() {
        true => Outcome::Done,
        false => Outcome::Failed,
    })
}
