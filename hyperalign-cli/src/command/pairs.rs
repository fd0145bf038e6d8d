//! `hyperalign pairs`: draws the pictures of an embedded base that methods learn from.

use hyperalign_core::stop::Stop;
use hyperalign_train::data::{
    drawn::{DrawnPrompt, DrawnSet, JudgedPairs},
    world_of,
};
use indicatif::ProgressBar;
use miette::{Diagnostic, IntoDiagnostic};
use serde::Serialize;

use crate::{
    args::{at_least_one, drawn_set},
    base::{self, BaseOptions},
    context::Context,
    interrupt,
    outcome::Outcome,
    output,
};

/// Flags of `hyperalign pairs`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Base of the emoji world: emoji-sd or emoji-flux.
    #[arg(long, value_name = "NAME", default_value = "emoji-sd")]
    base: String,

    /// The set to draw.
    #[arg(long, value_name = "SET", default_value = DrawnSet::Winners.name(), value_parser = drawn_set())]
    data: DrawnSet,

    /// Prompts of the set; training takes sets of 3000 unless told otherwise.
    #[arg(long, value_name = "N", default_value_t = DrawnSet::PROMPTS,
        value_parser = at_least_one)]
    prompts: usize,

    /// Batches that are drawn at the same time. Default: one for each processor.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    threads: Option<usize>,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A base that draws no pictures of the emoji world.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("the base `{given}` is none of the emoji world, whose pictures alone can be judged here")]
#[diagnostic(help("take `--base emoji-sd` or `--base emoji-flux`"))]
struct OtherWorld {
    given: String,
}

/// What was drawn.
#[derive(Debug, Serialize)]
struct Findings {
    file: std::path::PathBuf,
    prompts: usize,
    /// The share of all pictures that show what was asked for.
    right: f64,
    /// The share of the preferred ones that do, where an annotator judges.
    #[serde(skip_serializing_if = "Option::is_none")]
    preferred_right: Option<f64>,
    /// The share of pairs of which one is right and the other is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_by_right: Option<f64>,
}

/// Draws what is not there yet, and says what the set holds.
///
/// # Errors
///
/// Fails for a base that is none of the emoji world, and a cache that cannot be written.
pub fn run(args: &Args, context: &Context) -> miette::Result<Outcome> {
    if base::embedded_base(&args.base).is_none() {
        return Err(OtherWorld { given: args.base.clone() }.into());
    }
    let stop = Stop::default();
    interrupt::request_on_ctrl_c(stop.clone())?;
    let (base, _) = base::open(&args.base, &BaseOptions::default(), &context.device()?)?;
    let set = args.data;
    let world = world_of(base.as_ref());
    let file = set.file(base.as_ref(), world, args.prompts).into_diagnostic()?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let bar = ProgressBar::new(args.prompts as u64);
    let mut progress = |done: usize| bar.set_position(done as u64);
    let threads = args.threads.unwrap_or(processors);
    let drawn = file.read_or_draw(base.as_ref(), threads, &stop, &mut progress);
    bar.finish_and_clear();
    let Some(drawn) = drawn.into_diagnostic()? else {
        output::note("what is drawn is kept; the same command goes on from here");
        return Ok(Outcome::Interrupted);
    };
    let findings = findings(&drawn, set, file.path().to_owned());
    if args.json {
        output::print_json(&findings)?;
    } else {
        output::print(&report(&findings))?;
    }
    Ok(Outcome::Done)
}

fn findings(drawn: &[DrawnPrompt], set: DrawnSet, file: std::path::PathBuf) -> Findings {
    let share = |count: usize, of: usize| count as f64 / of.max(1) as f64;
    let all = || drawn.iter().flat_map(|prompt| &prompt.impressions);
    let answers = set.annotator().map(|annotator| JudgedPairs::answers(drawn, annotator));
    let preferred = |answers: Vec<usize>| {
        let right = drawn.iter().zip(answers).filter(|(one, k)| one.impressions[*k].right);
        share(right.count(), drawn.len())
    };
    let decided = |one: &&DrawnPrompt| one.impressions[0].right != one.impressions[1].right;
    Findings {
        file,
        prompts: drawn.len(),
        right: share(all().filter(|one| one.right).count(), all().count()),
        decided_by_right: answers
            .is_some()
            .then(|| share(drawn.iter().filter(decided).count(), drawn.len())),
        preferred_right: answers.map(preferred),
    }
}

fn report(findings: &Findings) -> String {
    let Findings { file, prompts, right, preferred_right, decided_by_right } = findings;
    let mut text =
        format!("{prompts} prompts in {}\nright: {right:.3} of all pictures\n", file.display());
    if let (Some(preferred), Some(decided)) = (preferred_right, decided_by_right) {
        text += &format!(
            "       {preferred:.3} of the preferred ones; one of two is right in {decided:.3} of \
             the pairs\n"
        );
    }
    text
}
