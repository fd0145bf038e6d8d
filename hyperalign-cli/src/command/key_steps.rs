//! `hyperalign key-steps`: the steps at which HyperAlign-P writes a new update.

use std::path::PathBuf;

use clap::ValueEnum;
use hyperalign_core::movement::{
    KeyStepError, curvature, key_steps_by_curvature, key_steps_by_share,
};
use hyperalign_core::stop::Stop;
use hyperalign_models::generate::{AdapterFile, Shot};
use hyperalign_models::hypernet::AdapterPlace;
use hyperalign_train::eval::movement;
use miette::{Diagnostic, IntoDiagnostic};
use serde::Serialize;

use crate::args::{BaseArgs, StepArgs, at_least_one};
use crate::base;
use crate::context::Context;
use crate::interrupt;
use crate::outcome::Outcome;
use crate::output;
use crate::prompts::PromptArgs;

/// Flags of `hyperalign key-steps`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    base: BaseArgs,

    /// How many key steps to choose, the first step included.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = at_least_one)]
    count: usize,

    /// What to choose them by.
    #[arg(long, value_enum, default_value = "share")]
    by: Criterion,

    #[command(flatten)]
    prompts: PromptArgs,

    /// How many of the prompts are used.
    #[arg(long, value_name = "N", default_value_t = 96, value_parser = at_least_one)]
    limit: usize,

    #[command(flatten)]
    steps: StepArgs,

    /// Adapter of this base to store the key steps in.
    #[arg(long, value_name = "FILE")]
    adapter: Option<PathBuf>,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// How key steps are chosen from the movement of one-step estimates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Criterion {
    /// They cut the whole movement into equal shares.
    Share,
    /// They are where the movement bends most: peaks of its curvature first.
    Curvature,
}

/// What was measured and chosen.
#[derive(Debug, Serialize)]
struct Answer {
    base: String,
    steps: usize,
    prompts: usize,
    by: Criterion,
    key_steps: Vec<usize>,
    movement: Vec<f64>,
    curvature: Vec<f64>,
}

/// Key steps that have nowhere to go.
#[derive(Debug, thiserror::Error, Diagnostic)]
enum KeyStepsError {
    #[error(
        "`{name}` is part of the program, and key steps are written into the file of an adapter"
    )]
    #[diagnostic(help("give the adapter.safetensors of a run, or leave `--adapter` out"))]
    Embedded { name: &'static str },
}

/// Measures the movement and chooses the key steps.
///
/// # Errors
///
/// Fails for a base, prompts or an adapter that cannot be read or do not belong together, more
/// key steps than steps, and an adapter that cannot be written.
pub fn run(args: &Args, context: &Context) -> miette::Result<Outcome> {
    let stop = Stop::default();
    interrupt::request_on_ctrl_c(stop.clone())?;
    let device = context.device()?;
    let (base, preset) = args.base.open(&device)?;
    let open = |file: &PathBuf| match AdapterPlace::find(file).into_diagnostic()? {
        AdapterPlace::Embedded { name, .. } => Err(KeyStepsError::Embedded { name }.into()),
        place => AdapterFile::open_at(place, base.as_ref(), &device).into_diagnostic(),
    };
    let adapter = args.adapter.as_ref().map(open).transpose()?;
    let (limit, offline) = (args.limit, args.base.options.offline);
    let prompts = args.prompts.read(base.as_ref(), Some(limit), limit, offline)?;
    base::warn_of_cuts(base.as_ref(), prompts.iter().map(|prompt| prompt.text.as_str()))?;
    let shots: Vec<Shot> = (0..).zip(prompts).map(|(seed, prompt)| Shot { prompt, seed }).collect();
    let sampling = args.steps.sampling(preset);
    // Before the pictures, which take their time.
    let steps = base.scheduler(sampling.steps).into_diagnostic()?.steps();
    if args.count > steps {
        return Err(KeyStepError::Count { count: args.count, steps }).into_diagnostic();
    }
    let Some(movement) = movement(base.as_ref(), &sampling, &shots, &stop).into_diagnostic()?
    else {
        return Ok(Outcome::Interrupted);
    };
    let choose = match args.by {
        Criterion::Share => key_steps_by_share,
        Criterion::Curvature => key_steps_by_curvature,
    };
    let key_steps = choose(&movement, args.count).into_diagnostic()?;
    if let Some((path, AdapterFile { adapter, mut meta, .. })) = args.adapter.as_ref().zip(adapter)
    {
        meta.key_steps = key_steps.clone();
        meta.key_steps_of = sampling.steps;
        adapter.save(path, &meta).into_diagnostic()?;
        output::note(&format!(
            "stored in {}: steps {key_steps:?} of {}",
            path.display(),
            sampling.steps
        ));
    }
    let answer = Answer {
        base: base.name().to_owned(),
        steps: sampling.steps,
        prompts: shots.len(),
        by: args.by,
        key_steps,
        curvature: curvature(&movement),
        movement,
    };
    if args.json {
        output::print_json(&answer)?;
    } else {
        output::print(&table(&answer))?;
    }
    Ok(Outcome::Done)
}

/// One line a step; key steps are marked.
fn table(answer: &Answer) -> String {
    let total: f64 = answer.movement.iter().sum();
    let mut sum = 0.0;
    let mut text = "step  movement  share so far  curvature\n".to_owned();
    for (i, (moved, bend)) in answer.movement.iter().zip(&answer.curvature).enumerate() {
        sum += moved;
        let share = if total > 0.0 { sum / total } else { 0.0 };
        let mark = if answer.key_steps.contains(&i) { "  key" } else { "" };
        text += &format!("{i:>4}  {moved:>8.4}  {share:>12.3}  {bend:>9.4}{mark}\n");
    }
    text
}
