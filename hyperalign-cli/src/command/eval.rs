//! `hyperalign eval`: the base and its adapter over the same prompts and seeds.

use std::path::PathBuf;

use hyperalign_core::stop::Stop;
use hyperalign_models::{
    generate::{AdapterFile, Sampling, Way},
    hypernet::Variant,
};
use hyperalign_train::eval::{Evaluation, Format, Method};
use miette::{Diagnostic, IntoDiagnostic};

use crate::args::{BaseArgs, SolverArgs, StepArgs, VariantChoice, at_least_one, seed};
use crate::base;
use crate::context::Context;
use crate::interrupt;
use crate::outcome::Outcome;
use crate::output;
use crate::prompts::PromptArgs;
use crate::rewards::{self, ScorerArgs, Scorers};

/// Prompts that are measured where neither a file nor a number is given.
const PROMPTS: usize = 120;

/// Flags of `hyperalign eval`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    base: BaseArgs,

    /// What to measure; several (none,s,p,i) for a comparison. Default: the base, and the
    /// adapter as it was trained.
    #[arg(long, value_enum, value_delimiter = ',')]
    method: Vec<VariantChoice>,

    /// Trained adapter: the adapter.safetensors of a run.
    #[arg(long, value_name = "FILE")]
    adapter: Option<PathBuf>,

    #[command(flatten)]
    prompts: PromptArgs,

    /// How many of the prompts are used. Default: all of a file.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    limit: Option<usize>,

    /// Pictures of each prompt. Every picture has a seed of its own; methods share them.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    seeds: usize,

    /// Seed of the first picture; the others follow.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = seed)]
    seed: u64,

    #[command(flatten)]
    steps: StepArgs,

    #[command(flatten)]
    solver: SolverArgs,

    /// The most pictures made at once. It changes speed and memory only.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = at_least_one)]
    batch: usize,

    #[command(flatten)]
    rewards: ScorerArgs,

    /// Folder to keep results in: an interrupted evaluation goes on from there.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,

    /// Print Markdown instead of plain text.
    #[arg(long, conflicts_with = "json")]
    markdown: bool,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A comparison that cannot be made.
#[derive(Debug, thiserror::Error, Diagnostic)]
enum EvalArgsError {
    #[error("`--method {method}` needs an adapter")]
    #[diagnostic(help("add `--adapter FILE`, or take `--method none`"))]
    NoAdapter { method: VariantChoice },
    #[error("`--method p` needs key steps, and `{}` has none", file.display())]
    #[diagnostic(help("choose them with `hyperalign key-steps --base .. --adapter {}`", file.display()))]
    NoKeySteps { file: PathBuf },
    #[error(
        "`--method {given}` asks for several variants of `{}`, which is a static LoRA: its update is \
         the same at every step, and s, p and i are one",
        file.display()
    )]
    #[diagnostic(help(
        "name one of them (`--method none,s`), or leave `--method` out to compare the base with it"
    ))]
    StaticVariants { given: String, file: PathBuf },
}

/// Measures the methods and prints the table.
///
/// # Errors
///
/// Fails for a base, an adapter, prompts or scorers that cannot be read or do not belong
/// together, words that the base does not know, a number of steps that its schedule cannot take,
/// and weights that are not finite.
pub fn run(args: &Args, context: &Context) -> miette::Result<Outcome> {
    // Before the base is read, which may take its time.
    let needs_one = args.method.iter().find(|method| method.adapted().is_some());
    if let (Some(&method), None) = (needs_one, &args.adapter) {
        return Err(EvalArgsError::NoAdapter { method }.into());
    }
    let stop = Stop::default();
    interrupt::request_on_ctrl_c(stop.clone())?;
    let device = context.device()?;
    let (base, preset) = args.base.open(&device)?;
    let open = |file: &PathBuf| AdapterFile::open(file, base.as_ref(), &device);
    let adapter = args.adapter.as_ref().map(open).transpose().into_diagnostic()?;
    let mut prompts = args.prompts.read(base.as_ref(), args.limit, PROMPTS)?;
    base::warn_of_cuts(base.as_ref(), prompts.iter().map(|prompt| prompt.text.as_str()))?;
    let trained = adapter.as_ref().and_then(|file| file.meta.reward.as_ref());
    let trained = trained.map(|reward| reward.name.as_str());
    let scorers = Scorers::open(base.as_ref(), &mut prompts, &args.rewards, trained, &device)?;
    let solver = args.solver.choice();
    let sampling = Sampling { solver, batch: args.batch, ..args.steps.sampling(preset) };
    let space = scorers.space();
    let evaluation = Evaluation {
        base: base.as_ref(),
        methods: methods(args, adapter.as_ref(), sampling.steps)?,
        prompts: &prompts,
        seeds: args.seeds,
        first_seed: args.seed,
        sampling,
        measures: scorers.measures(space.as_ref()),
        cache: args.cache.clone(),
        stop,
    };
    match rewards::measure(&evaluation)? {
        Some(summary) if args.json => output::print_json(&summary)?,
        Some(summary) => {
            let format = if args.markdown { Format::Markdown } else { Format::Plain };
            output::print(&summary.report(format))?;
        }
        None => return Ok(Outcome::Interrupted),
    }
    Ok(Outcome::Done)
}

/// The methods that the flags name.
fn methods<'a>(
    args: &Args,
    adapter: Option<&'a AdapterFile>,
    steps: usize,
) -> Result<Vec<Method<'a>>, EvalArgsError> {
    let adapted = |file: &'a AdapterFile, variant| {
        let way = file.adapted(variant, steps);
        Method::new(way.name(), way)
    };
    if args.method.is_empty() {
        let adapted = adapter.map(|file| adapted(file, None));
        return Ok(std::iter::once(Method::base()).chain(adapted).collect());
    }
    let is_static = |file: &AdapterFile| file.adapter.hypernet().is_none();
    let variants = args.method.iter().filter(|method| method.adapted().is_some()).count();
    if let Some(file) = adapter.filter(|file| variants > 1 && is_static(file)) {
        let given: Vec<String> = args.method.iter().map(ToString::to_string).collect();
        let (given, file) = (given.join(","), file.path.clone());
        return Err(EvalArgsError::StaticVariants { given, file });
    }
    let method = |&choice: &VariantChoice| match (choice.adapted(), adapter) {
        (None, _) => Ok(Method::base()),
        (Some(Variant::P), Some(file)) if file.meta.key_steps.is_empty() && !is_static(file) => {
            Err(EvalArgsError::NoKeySteps { file: file.path.clone() })
        }
        (variant, Some(file)) => Ok(adapted(file, variant)),
        (Some(_), None) => Err(EvalArgsError::NoAdapter { method: choice }),
    };
    args.method.iter().map(method).collect()
}
