//! `hyperalign key-steps`: the steps at which HyperAlign-P writes a new update.

use std::path::PathBuf;

use clap::ValueEnum;
use hyperalign_core::movement::{curvature, key_steps_by_curvature, key_steps_by_share};
use hyperalign_core::stop::Stop;
use hyperalign_models::generate::{AdapterFile, Sampling, Shot};
use hyperalign_train::eval::movement;
use miette::IntoDiagnostic;
use serde::Serialize;

use crate::args::{at_least_one, finite};
use crate::base::{self, BaseOptions};
use crate::context::Context;
use crate::interrupt;
use crate::outcome::Outcome;
use crate::output;
use crate::prompts::PromptArgs;

/// Flags of `hyperalign key-steps`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Base model: the name of an embedded one (emoji-sd, emoji-flux), a folder in diffusers' layout,
    /// a single .safetensors file of Stable Diffusion 1.x or FLUX.1, or `hf:OWNER/NAME[@REVISION]`.
    #[arg(long, value_name = "NAME_OR_DIR")]
    base: String,

    #[command(flatten)]
    base_options: BaseOptions,

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

    /// Sampling steps. Default: what suits the base.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    steps: Option<usize>,

    /// Weight of classifier-free guidance. Default: what suits the base.
    #[arg(long, value_name = "X", value_parser = finite)]
    guidance: Option<f64>,

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
    let (base, preset) = base::open(&args.base, &args.base_options, &device)?;
    let open = |file: &PathBuf| AdapterFile::open(file, base.as_ref(), &device);
    let adapter = args.adapter.as_ref().map(open).transpose().into_diagnostic()?;
    let prompts = args.prompts.read(base.as_ref(), Some(args.limit), args.limit)?;
    base::warn_of_cuts(base.as_ref(), prompts.iter().map(|prompt| prompt.text.as_str()))?;
    let shots: Vec<Shot> = (0..).zip(prompts).map(|(seed, prompt)| Shot { prompt, seed }).collect();
    let sampling = Sampling::new(
        args.steps.unwrap_or(preset.steps),
        args.guidance.unwrap_or(preset.guidance_scale),
    );
    let Some(movement) = movement(base.as_ref(), &sampling, &shots, &stop).into_diagnostic()?
    else {
        return Ok(Outcome::Interrupted);
    };
    let choose = match args.by {
        Criterion::Share => key_steps_by_share,
        Criterion::Curvature => key_steps_by_curvature,
    };
    let key_steps = choose(&movement, args.count).into_diagnostic()?;
    if let Some(AdapterFile { path, adapter, mut meta }) = adapter {
        meta.key_steps = key_steps.clone();
        meta.key_steps_of = sampling.steps;
        adapter.save(&path, &meta).into_diagnostic()?;
        eprintln!("stored in {}: steps {key_steps:?} of {}", path.display(), sampling.steps);
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
