//! `hyperalign eval`: the base and its adapter over the same prompts and seeds.

use std::path::PathBuf;

use hyperalign_core::stop::Stop;
use hyperalign_models::{
    generate::{AdapterFile, Sampling, Way},
    hypernet::Variant,
};
use hyperalign_train::eval::{Evaluation, Format, Method};
use miette::{Diagnostic, IntoDiagnostic};

use crate::args::{SolverArgs, VariantChoice, at_least_one, finite, seed};
use crate::base::{self, BaseOptions};
use crate::context::Context;
use crate::interrupt;
use crate::outcome::Outcome;
use crate::output;
use crate::prompts::PromptArgs;
use crate::scorers::{self, RewardArgs, Scorers};

/// Prompts that are measured where neither a file nor a number is given.
const PROMPTS: usize = 120;

/// Flags of `hyperalign eval`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Base model: the name of an embedded one (emoji-sd, emoji-flux), a folder in diffusers' layout,
    /// a single .safetensors file of Stable Diffusion 1.x or FLUX.1, or `hf:OWNER/NAME[@REVISION]`.
    #[arg(long, value_name = "NAME_OR_DIR")]
    base: String,

    #[command(flatten)]
    base_options: BaseOptions,

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

    /// Sampling steps. Default: what suits the base.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    steps: Option<usize>,

    #[command(flatten)]
    solver: SolverArgs,

    /// Weight of classifier-free guidance. Default: what suits the base.
    #[arg(long, value_name = "X", value_parser = finite)]
    guidance: Option<f64>,

    /// The most pictures made at once. It changes speed and memory only.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = at_least_one)]
    batch: usize,

    #[command(flatten)]
    rewards: RewardArgs,

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
    let (base, preset) = base::open(&args.base, &args.base_options, &device)?;
    let open = |file: &PathBuf| AdapterFile::open(file, base.as_ref(), &device);
    let adapter = args.adapter.as_ref().map(open).transpose().into_diagnostic()?;
    let mut prompts = args.prompts.read(base.as_ref(), args.limit, PROMPTS)?;
    base::warn_of_cuts(base.as_ref(), prompts.iter().map(|prompt| prompt.text.as_str()))?;
    let trained = adapter.as_ref().and_then(|file| file.meta.reward.as_ref());
    let trained = trained.map(|reward| reward.name.as_str());
    let scorers = Scorers::open(base.as_ref(), &mut prompts, &args.rewards, trained, &device)?;
    let (steps, guidance_scale) = (args.steps, args.guidance);
    let sampling = Sampling {
        solver: args.solver.choice(),
        batch: args.batch,
        ..Sampling::new(
            steps.unwrap_or(preset.steps),
            guidance_scale.unwrap_or(preset.guidance_scale),
        )
    };
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
    match scorers::measure(&evaluation)? {
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
    let method = |&choice: &VariantChoice| match (choice.adapted(), adapter) {
        (None, _) => Ok(Method::base()),
        (Some(Variant::P), Some(file)) if file.meta.key_steps.is_empty() => {
            Err(EvalArgsError::NoKeySteps { file: file.path.clone() })
        }
        (variant, Some(file)) => Ok(adapted(file, variant)),
        (Some(_), None) => Err(EvalArgsError::NoAdapter { method: choice }),
    };
    args.method.iter().map(method).collect()
}
