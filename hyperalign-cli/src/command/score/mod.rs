//! `hyperalign score`: scores of pictures that are already there.

mod batch;
mod items;
mod journal;
mod order;
mod pass;
mod report;
mod spread;

use std::{collections::HashMap, path::PathBuf};

use hyperalign_core::stop::Stop;

use crate::{
    args::at_least_one,
    context::Context,
    interrupt,
    outcome::Outcome,
    output,
    rewards::{Judges, NotOpened, RewardArgs},
};
use batch::Batch;
use items::{Item, PromptArgs, collect};
use journal::{Head, Journal, Line};
use pass::Failed;
use report::{Comparison, Left, Report, Who};

/// Flags of `hyperalign score`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Pictures in PNG, JPEG or WebP, and folders of them.
    #[arg(required_unless_present = "compare", value_name = "IMAGES")]
    images: Vec<PathBuf>,

    #[command(flatten)]
    rewards: RewardArgs,

    #[command(flatten)]
    prompts: PromptArgs,

    /// Compare two folders instead: pictures of the same name, how often A's scores higher.
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with = "images")]
    compare: Option<Vec<PathBuf>>,

    /// File to keep scores in, an object a line: an interrupted run goes on from there.
    #[arg(long, value_name = "FILE.jsonl")]
    out: Option<PathBuf>,

    /// The most pictures scored at once. It changes speed and memory only. Default: what half of
    /// the free memory suffices for, up to 16 on a CPU and 64 elsewhere.
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
    let (mut a, b) = match folders.map(Vec::as_slice) {
        Some([a, b]) => {
            let of = |folder: &PathBuf| collect(std::slice::from_ref(folder), &args.prompts);
            (of(a)?, Some(of(b)?))
        }
        _ => (collect(&args.images, &args.prompts)?, None),
    };
    let (judges, not_opened) = Judges::open_what_can_be(&args.rewards, &context.device()?)?;
    for NotOpened { reward, reason } in &not_opened {
        eprintln!("{reward}: {reason}");
    }
    let who = Who::all(&judges);
    let head = Head { rewards: who.iter().map(|w| (w.name.clone(), w.version.clone())).collect() };
    let journal = args.out.as_deref().map(|path| Journal::open(path, &head)).transpose()?;
    interrupt::request_on_ctrl_c(stop.clone())?;
    let batch = args.batch.map(Batch::of).unwrap_or_else(|| {
        let batch = Batch::that_fits(&judges, context.device_name() == "cpu");
        output::note(&batch.to_string());
        batch
    });

    let count = a.len();
    a.extend(b.iter().flatten().cloned());
    let results = pass::run(&judges, &a, batch, journal, &stop)?;
    if results.len() < a.len() {
        let kept = if args.out.is_some() { "kept; the same command goes on" } else { "lost" };
        eprintln!("interrupted: {} of {} pictures are scored, {kept}", results.len(), a.len());
        return Ok(Outcome::Interrupted);
    }
    let mut failed = Vec::new();
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
        let report = Report::new(&who, &lines, Left { failed: &failed, not_opened: &not_opened });
        match (args.json, args.csv) {
            (true, _) => output::print_json(&report)?,
            (_, true) => output::print(&report.csv())?,
            _ => output::print(&report.table())?,
        }
    }
    if !failed.is_empty() {
        eprintln!("{} of {} pictures were not scored:", failed.len(), a.len());
    }
    for Failed { image, reason } in &failed {
        eprintln!("  {image}: {reason}");
    }
    if !not_opened.is_empty() {
        eprintln!("{} of {} rewards were not opened:", not_opened.len(), args.rewards.reward.len());
    }
    for NotOpened { reward, reason } in &not_opened {
        eprintln!("  {reward}: {reason}");
    }
    Ok(match failed.is_empty() && not_opened.is_empty() {
        true => Outcome::Done,
        false => Outcome::Failed,
    })
}

/// Pictures of the same name and prompt; `results` are those of `a`, then those of `b`.
fn pairs(
    a: &[Item],
    b: &[Item],
    results: Vec<pass::Result>,
    failed: &mut Vec<Failed>,
) -> Vec<(Line, Line)> {
    let mut results = results.into_iter();
    let of_a: Vec<pass::Result> = results.by_ref().take(a.len()).collect();
    let keys = b.iter().map(|item| item.key.as_str());
    let mut of_b: HashMap<&str, pass::Result> = keys.zip(results).collect();
    let mut pairs = Vec::new();
    for (item, result) in a.iter().zip(of_a) {
        let alone = |line: &Line, other: &str| Failed {
            image: line.image.display().to_string(),
            reason: format!("{other} has no picture of that name"),
        };
        match (result, of_b.remove(item.key.as_str())) {
            (Ok(a), Some(Ok(b))) if a.prompt == b.prompt => pairs.push((a, b)),
            (Ok(a), Some(Ok(b))) => failed.push(Failed {
                image: a.image.display().to_string(),
                reason: format!("its prompt is `{}`, and B's is `{}`", a.prompt, b.prompt),
            }),
            (Ok(line), None) => failed.push(alone(&line, "B")),
            (a, b) => {
                failed.extend([a.err(), b.and_then(std::result::Result::err)].into_iter().flatten())
            }
        }
    }
    for item in b {
        match of_b.remove(item.key.as_str()) {
            Some(Ok(line)) => failed.push(Failed {
                image: line.image.display().to_string(),
                reason: "A has no picture of that name".to_owned(),
            }),
            Some(Err(reason)) => failed.push(reason),
            None => {}
        }
    }
    pairs
}
