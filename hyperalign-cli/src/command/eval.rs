//! `hyperalign eval`: the base and its adapter over the same prompts and seeds.

mod choice;

use std::path::PathBuf;

use hyperalign_core::stop::Stop;
use hyperalign_models::{
    generate::{Adapted, AdapterFile, Sampling, Sought, TestTime, Way},
    hypernet::{AdapterPlace, Variant},
};
use hyperalign_train::eval::{Evaluation, Format, Method};
use miette::{Diagnostic, IntoDiagnostic};

use self::choice::{AdapterChoice, MethodChoice};
use crate::args::{BaseArgs, DoseArgs, SolverArgs, StepArgs, at_least_one, seed};
use crate::base;
use crate::context::Context;
use crate::interrupt;
use crate::outcome::Outcome;
use crate::output;
use crate::prompts::PromptArgs;
use crate::rewards::{self, ScorerArgs, Scorers};
use crate::shipped;
use crate::test_time::{TestTimeArgs, TestTimeArgsError};

/// Prompts that are measured where neither a file nor a number is given.
const PROMPTS: usize = 120;

/// Flags of `hyperalign eval`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    base: BaseArgs,

    #[arg(long, value_name = "METHOD", value_delimiter = ',', help = format!(
        "What to measure; several for a comparison: none (the base), the adapter as s, p or i, or a \
         method that seeks the proxy while the picture is sampled: {}. With the adapter under it, \
         s+best-of-n. Default: the base, and the adapter as it was trained",
        TestTime::NAMES.join(", ")
    ))]
    method: Vec<MethodChoice>,

    #[command(flatten)]
    test_time: TestTimeArgs,

    /// Trained adapter: the adapter.safetensors of a run, or the name of one that comes with the program
    /// (emoji-sd-s), which is also the default for its base. Several are compared with each other and
    /// with the base if each has a name, which may say how it is used: `--adapter ours=a.safetensors
    /// --adapter ours-as-i:i=a.safetensors --adapter lora=b.safetensors`.
    #[arg(long, value_name = "[NAME[:VARIANT]=]FILE")]
    adapter: Vec<AdapterChoice>,

    #[command(flatten)]
    dose: DoseArgs,

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
    #[error("with several adapters each needs a name, and `{}` has none", file.display())]
    #[diagnostic(help("write `--adapter NAME={}`", file.display()))]
    NoName { file: PathBuf },
    #[error("`--method` says how one adapter is used, and there are {count} with names")]
    #[diagnostic(help(
        "say it with the name, as in `--adapter ours-as-i:i=FILE`, and leave `--method` out"
    ))]
    NamedMethods { count: usize },
    #[error("`--method p` needs key steps, and `{file}` has none")]
    #[diagnostic(help("choose them with `hyperalign key-steps --base .. --adapter {file}`"))]
    NoKeySteps { file: String },
    #[error(
        "`--method {given}` asks for several variants of `{file}`, which is a static LoRA: its update \
         is the same at every step, and s, p and i are one"
    )]
    #[diagnostic(help(
        "name one of them (`--method none,s`), or leave `--method` out to compare the base with it"
    ))]
    StaticVariants { given: String, file: String },
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
    let needs_one = args.method.iter().find(|method| method.variant.adapted().is_some());
    let shipped = match (needs_one, args.adapter.as_slice()) {
        (Some(method), []) => {
            Some(shipped::adapter("--method", method.to_string(), &args.base.name)?)
        }
        _ => None,
    };
    let are_named = args.adapter.len() > 1 || args.adapter.iter().any(|one| one.name.is_some());
    if are_named {
        if let Some(AdapterChoice { file, .. }) = args.adapter.iter().find(|one| one.name.is_none())
        {
            return Err(EvalArgsError::NoName { file: file.clone() }.into());
        }
        if !args.method.is_empty() {
            return Err(EvalArgsError::NamedMethods { count: args.adapter.len() }.into());
        }
    }
    let names: Vec<&str> = args.method.iter().filter_map(|method| method.test_time).collect();
    let test_time = args.test_time.methods(&names)?;
    let stop = Stop::default();
    interrupt::request_on_ctrl_c(stop.clone())?;
    let device = context.device()?;
    let (base, preset) = args.base.open(&device)?;
    let given = args.adapter.iter().map(|one| AdapterPlace::find(&one.file));
    let open = |place| AdapterFile::open_at(place?, base.as_ref(), &device);
    let adapters = given.chain(shipped.map(Ok)).map(open).collect::<Result<Vec<_>, _>>();
    let adapters = adapters.into_diagnostic()?;
    args.dose.check(!adapters.is_empty())?;
    let offline = args.base.options.offline;
    let mut prompts = args.prompts.read(base.as_ref(), args.limit, PROMPTS, offline)?;
    base::warn_of_cuts(base.as_ref(), prompts.iter().map(|prompt| prompt.text.as_str()))?;
    let trained = adapters.iter().find_map(|file| file.meta.reward.as_ref());
    let trained = trained.map(|reward| reward.name.as_str());
    let scorers = {
        let (seek, prompts) = (!test_time.is_empty(), &mut prompts);
        Scorers::open(base.as_ref(), prompts, &args.rewards, trained, seek, &device)?
    };
    let solver = args.solver.choice();
    let sampling = Sampling { solver, batch: args.batch, ..args.steps.sampling(preset) };
    let space = scorers.space();
    let seekers = seekers(&test_time, &scorers, args)?;
    for sought in &seekers {
        sought.check(base.as_ref(), &sampling).into_diagnostic()?;
        let own = sought.sampling(base.as_ref(), &sampling).solver;
        if let Some(solver) = own.solver.filter(|_| own != sampling.solver) {
            output::warn(&format!(
                "{} is sampled with {solver}, which draws noise, and other rows with the base's \
                 own solver; give `--scheduler` and `--eta` to compare them on one plan",
                sought.method.name()
            ));
        }
    }
    let evaluation = Evaluation {
        base: base.as_ref(),
        methods: match are_named {
            true => named(args, &adapters, sampling.steps)?,
            false => methods(args, adapters.first(), &seekers, sampling.steps)?,
        },
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

/// The methods that seek a reward, over the base.
fn seekers(
    methods: &[TestTime],
    scorers: &Scorers,
    args: &Args,
) -> miette::Result<Vec<Sought<'static>>> {
    let knowledge = args.test_time.knowledge(methods)?;
    let sought = |method: &TestTime| {
        let missing = TestTimeArgsError::NoReward { method: method.name(), flag: "proxy" };
        let reward = scorers.sought().ok_or(missing)?;
        let (method, budget) = (method.clone(), args.test_time.budget());
        Ok(Sought { method, reward, adapted: None, budget, knowledge: knowledge.clone() })
    };
    methods.iter().map(sought).collect()
}

/// The base, and each adapter under its name.
fn named<'a>(
    args: &Args,
    adapters: &'a [AdapterFile],
    steps: usize,
) -> Result<Vec<Method<'a>>, EvalArgsError> {
    let method = |(choice, file): (&AdapterChoice, &'a AdapterFile)| {
        check_key_steps(choice.variant, file)?;
        let name = choice.name.clone().unwrap_or_default();
        let dose = args.dose.dose(steps);
        Ok(Method::new(name, Adapted { dose, ..file.adapted(choice.variant, steps) }))
    };
    let adapted = args.adapter.iter().zip(adapters).map(method);
    std::iter::once(Ok(Method::base())).chain(adapted).collect()
}

fn is_static(file: &AdapterFile) -> bool {
    file.adapter.hypernet().is_none()
}

/// Fails where `file` is to be used as P and has no key steps; a static LoRA needs none.
fn check_key_steps(variant: Option<Variant>, file: &AdapterFile) -> Result<(), EvalArgsError> {
    if variant == Some(Variant::P) && file.meta.key_steps.is_empty() && !is_static(file) {
        return Err(EvalArgsError::NoKeySteps { file: file.place.to_string() });
    }
    Ok(())
}

/// The methods that the flags name.
fn methods<'a>(
    args: &Args,
    adapter: Option<&'a AdapterFile>,
    seekers: &[Sought<'static>],
    steps: usize,
) -> Result<Vec<Method<'a>>, EvalArgsError> {
    let dosed = |file: &'a AdapterFile, variant| {
        let dose = args.dose.dose(steps);
        Adapted { dose, ..file.adapted(variant, steps) }
    };
    let adapted = |file: &'a AdapterFile, variant| {
        let way = dosed(file, variant);
        Method::new(way.name(), way)
    };
    if args.method.is_empty() {
        let adapted = adapter.map(|file| adapted(file, None));
        return Ok(std::iter::once(Method::base()).chain(adapted).collect());
    }
    let is_variant =
        |choice: &&MethodChoice| choice.variant.adapted().is_some() && choice.test_time.is_none();
    let variants = args.method.iter().filter(is_variant).count();
    if let Some(file) = adapter.filter(|file| variants > 1 && is_static(file)) {
        let given: Vec<String> = args.method.iter().map(ToString::to_string).collect();
        let (given, file) = (given.join(","), file.place.to_string());
        return Err(EvalArgsError::StaticVariants { given, file });
    }
    let method = |choice: &MethodChoice| {
        let variant = choice.variant.adapted();
        let file = adapter.filter(|_| variant.is_some());
        file.map_or(Ok(()), |file| check_key_steps(variant, file))?;
        let seeker = choice
            .test_time
            .and_then(|name| seekers.iter().find(|seeker| seeker.method.name() == name).cloned());
        Ok(match (seeker, file) {
            (Some(seeker), file) => {
                let adapted = file.map(|file| dosed(file, variant));
                let way: Sought<'a> = Sought { adapted, ..seeker };
                Method::new(way.name(), way)
            }
            (None, Some(file)) => adapted(file, variant),
            (None, None) => Method::base(),
        })
    };
    args.method.iter().map(method).collect()
}
