//! `hyperalign lora bake`: what an adapter emits for a prompt, as a file for other programs.

use std::ops::ControlFlow;
use std::path::PathBuf;

use hyperalign_core::lora::LoraSet;
use hyperalign_models::generate::{AdapterFile, Generation, Sampling};
use hyperalign_models::hypernet::{Adapter, Variant};
use hyperalign_models::lora::{Baked, LoraFile, bake, mean_of};
use miette::{Diagnostic, IntoDiagnostic};
use serde_json::json;

use super::To;
use super::compare::{Distances, compare};
use super::convert::{layers_of, safetensors};
use crate::args::{BaseArgs, SolverArgs, StepArgs, VariantChoice, at_least_one, seed};
use crate::base;
use crate::context::Context;
use crate::outcome::Outcome;
use crate::output;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    base: BaseArgs,

    /// Trained adapter: the adapter.safetensors of a run, or the name of one that comes with the
    /// program (emoji-sd-s).
    #[arg(long, value_name = "NAME_OR_FILE")]
    adapter: PathBuf,

    /// The prompt that the update is for.
    #[arg(long, value_name = "TEXT")]
    prompt: String,

    /// Sampling step whose update is taken: 0 is that of the initial noise, which is HyperAlign-I.
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "mean_over_steps")]
    step: usize,

    /// Take the mean of the updates of all steps.
    #[arg(long)]
    mean_over_steps: bool,

    /// Rank of the mean. Default: that of the adapter. The mean is cut to it as well as can be, and
    /// the error is printed.
    #[arg(long, value_name = "N", requires = "mean_over_steps", value_parser = at_least_one)]
    rank: Option<usize>,

    /// When the adapter writes a new update on the way. Default: as it was trained.
    #[arg(long, value_enum)]
    variant: Option<VariantChoice>,

    /// Seed of the initial noise.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = seed)]
    seed: u64,

    #[command(flatten)]
    steps: StepArgs,

    #[command(flatten)]
    solver: SolverArgs,

    /// Sample the prompt too, by the base, by the adapter as S and with the baked file, and print
    /// how far their pictures are apart.
    #[arg(long)]
    compare: bool,

    /// The file to write.
    #[arg(long, value_name = "FILE.safetensors", value_parser = safetensors)]
    out: PathBuf,

    /// The convention to write.
    #[arg(long, value_enum, default_value = "peft")]
    to: To,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A LoRA that cannot be baked.
#[derive(Debug, thiserror::Error, Diagnostic)]
enum BakeError {
    #[error("`--step {step}` of a run of {steps} steps, whose last is {}", steps - 1)]
    #[diagnostic(help("take an earlier step, or more `--steps`"))]
    Step { step: usize, steps: usize },
    #[error("`{}` has trained whole weights, which no LoRA of a small rank is", file.display())]
    #[diagnostic(help("use it with `--adapter`, or the model folder beside it with `--base`"))]
    FullWeights { file: PathBuf },
    #[error("`--variant none` has no update to bake")]
    #[diagnostic(help("leave it out"))]
    NoVariant,
}

/// Samples as far as is needed, takes the updates, and writes them.
pub(super) fn run(args: &Args, context: &Context) -> miette::Result<Outcome> {
    output::check_writable(&args.out).into_diagnostic()?;
    let device = context.device()?;
    let (base, preset) = args.base.open(&device)?;
    let layers = layers_of(base.as_ref())?;
    let adapter = AdapterFile::open(&args.adapter, base.as_ref(), &device).into_diagnostic()?;
    if matches!(adapter.adapter, Adapter::FullWeights(_)) {
        return Err(BakeError::FullWeights { file: args.adapter.clone() }.into());
    }
    base::warn_of_cuts(base.as_ref(), std::iter::once(args.prompt.as_str()))?;
    let variant = match args.variant.map(VariantChoice::adapted) {
        Some(None) => return Err(BakeError::NoVariant.into()),
        Some(variant) => variant,
        // The first update is the same in all of them, and the one of I is for all steps.
        None => (adapter.meta.variant == Variant::I && args.step > 0).then_some(Variant::S),
    };
    let sampling = Sampling { solver: args.solver.choice(), ..args.steps.sampling(preset) };
    let generation = Generation::new(base.as_ref(), &sampling, std::slice::from_ref(&args.prompt));
    let generation = generation.into_diagnostic()?;
    let steps = generation.scheduler().steps();
    if args.step >= steps {
        return Err(BakeError::Step { step: args.step, steps }.into());
    }
    let adapted = adapter.adapted(variant, sampling.steps);
    let mut updates: Vec<LoraSet> = Vec::new();
    let source = adapted.source(base.as_ref());
    generation.run(source.as_ref(), &[args.seed], &mut |state| {
        if args.mean_over_steps || state.i == args.step {
            updates.extend(state.lora.cloned());
        }
        match !args.mean_over_steps && state.i >= args.step {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    let name = args.out.display().to_string();
    let Baked { mut file, error } = match args.mean_over_steps {
        true => {
            let own = || updates[0].iter().map(|(_, delta)| delta.down.dims()[2]).max();
            let rank = args.rank.or_else(own).unwrap_or(1);
            mean_of(&name, &updates, rank, &layers)
        }
        false => Baked { file: bake(&name, &updates[0], 0, &layers), error: 0.0 },
    };
    file.metadata = described(args, base.name(), base.weights_hash());
    file.write(&args.out, &layers, args.to.convention()).into_diagnostic()?;
    let distances = args
        .compare
        .then(|| compare(base.as_ref(), &generation, &adapter, (&file, &layers), args.seed));
    answer(args, &file, updates.len(), error, distances)
}

/// What the file says about itself.
fn described(args: &Args, base: &str, hash: &str) -> std::collections::BTreeMap<String, String> {
    let of = match args.mean_over_steps {
        true => "the mean over all steps".to_owned(),
        false => format!("step {}", args.step),
    };
    let baked = json!({
        "program": concat!("hyperalign ", env!("CARGO_PKG_VERSION")),
        "base": base,
        "base_hash": hash,
        "adapter": args.adapter,
        "prompt": args.prompt,
        "seed": args.seed,
        "update": of,
    });
    [("hyperalign_baked".to_owned(), baked.to_string())].into()
}

fn answer(
    args: &Args,
    file: &LoraFile,
    updates: usize,
    error: f64,
    distances: Option<Distances>,
) -> miette::Result<Outcome> {
    let rank = file.updates.values().map(|update| update.rank()).max().unwrap_or(0);
    if args.json {
        output::print_json(&json!({
            "file": args.out,
            "layers": file.updates.len(),
            "rank": rank,
            "updates": updates,
            "relative_error": error,
            "distance_to_s": distances,
        }))?;
        return Ok(Outcome::Done);
    }
    let mut text = format!(
        "{}  {} layers of rank {rank}, in the convention of {}\n",
        args.out.display(),
        file.updates.len(),
        args.to.convention()
    );
    if args.mean_over_steps {
        text +=
            &format!("the mean of {updates} updates, cut with a relative error of {error:.2e}\n");
    }
    if let Some(Distances { base, baked }) = distances {
        text += &format!(
            "pictures: {baked:.1} of 255 from HyperAlign-S, from which the base is {base:.1}\n"
        );
    }
    output::print(&text)?;
    Ok(Outcome::Done)
}
