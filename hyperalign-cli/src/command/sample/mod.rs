//! `hyperalign sample`: pictures from prompts.

mod making;
mod pictures;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use burn::tensor::Device;
use hyperalign_core::contract::Decoder;
use hyperalign_core::image;
use hyperalign_core::lora::LoraSet;
use hyperalign_core::memory;
use hyperalign_core::stop::Stop;
use hyperalign_models::base::Base;
use hyperalign_models::generate::{
    Adapted, AdapterFile, GenerateError, Sampling, Sought, TestTime,
};
use hyperalign_models::weights;
use indicatif::ProgressBar;
use miette::{Diagnostic, IntoDiagnostic};
use serde_json::{Value, json};

use making::{Written, make};
use pictures::{pictures, png_path, size};

use crate::args::{BaseArgs, DoseArgs, SolverArgs, StepArgs, VariantChoice, at_least_one, seed};
use crate::base;
use crate::codec;
use crate::context::Context;
use crate::interrupt;
use crate::outcome::Outcome;
use crate::output;
use crate::prompts;
use crate::provenance::{Making, Surroundings};
use crate::rewards;
use crate::shipped;
use crate::test_time::{self, TestTimeArgs};

/// Pictures of one batch. Their number changes memory and speed, never a picture.
const BATCH: usize = 8;

/// Flags of `hyperalign sample`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// TOML file of these options under their long names, as in `steps = 20`; `seed`, `prompt` and
    /// others that can be given several times take a list. An option that is typed beats the file's.
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,

    #[command(flatten)]
    base: BaseArgs,

    /// Trained adapter: the adapter.safetensors of a run, or the name of one that comes with the
    /// program (emoji-sd-s).
    #[arg(long, value_name = "NAME_OR_FILE")]
    adapter: Option<PathBuf>,

    /// When the adapter writes a new update. Default: as it was trained. Without `--adapter`, that of the
    /// program for the base is used.
    #[arg(long, value_enum)]
    variant: Option<VariantChoice>,

    #[command(flatten)]
    dose: DoseArgs,

    /// What to draw. Give it several times for several pictures.
    #[arg(long, required_unless_present = "prompts", value_name = "TEXT")]
    prompt: Vec<String>,

    /// What the pictures are led away from, in the place of an empty prompt. For bases with guidance.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    negative: String,

    /// Draw the prompts of a file, after those of `--prompt`: PartiPrompts' .tsv, GenEval's .jsonl,
    /// HPSv2's or HPDv2's .json or a folder of them, a .csv or .parquet table, .txt with a prompt a
    /// line, or `hf:datasets/OWNER/NAME[@REVISION][/FILE]`.
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,

    /// How many prompts of the file are drawn. Default: all.
    #[arg(long, value_name = "N", requires = "prompts", value_parser = at_least_one)]
    limit: Option<usize>,

    /// Seed of the picture's noise. Give it several times for several pictures of each prompt.
    #[arg(long, value_name = "N", default_value = "0", value_parser = seed)]
    seed: Vec<u64>,

    #[command(flatten)]
    steps: StepArgs,

    #[command(flatten)]
    solver: SolverArgs,

    /// Height and width of the pictures in pixels, such as 512x768. Default: what the base was
    /// made for.
    #[arg(long, value_name = "HEIGHTxWIDTH", value_parser = size, allow_hyphen_values = true)]
    size: Option<[usize; 2]>,

    /// Method that works while the picture is sampled: it draws more than one, or follows the
    /// gradient of a reward. With `--adapter`, over what the adapter makes.
    #[arg(long, value_name = "NAME", value_parser = TestTime::NAMES)]
    method: Option<String>,

    #[arg(long, value_name = "NAME_OR_DIR", requires = "method", help = format!(
        "What `--method` seeks: gold (the embedded world's exact scorer), or a reward: {}. Default: \
         what embedded bases are aligned with",
        rewards::kinds()
    ))]
    reward: Option<String>,

    /// Files of the reward: its folder, or a file in it. With several in a mix, NAME=PATH.
    #[arg(long, value_name = "[NAME=]PATH", requires = "method")]
    reward_weights: Vec<String>,

    #[command(flatten)]
    test_time: TestTimeArgs,

    /// Where to write the picture. Several pictures are numbered, prompt by prompt and for each
    /// prompt seed by seed: heart.png becomes heart-1.png, heart-2.png, ...
    #[arg(long, value_name = "FILE.png", value_parser = png_path)]
    out: PathBuf,

    /// Folder of a small codec (VAEpreview.safetensors) to decode with, instead of the base's
    /// autoencoder: fifty times cheaper, and less sharp. For bases with the latents of Stable
    /// Diffusion 1.x.
    #[arg(long, value_name = "DIR")]
    preview_codec: Option<PathBuf>,

    /// Encode all prompts first, and let go of the text encoders before the first picture. Of FLUX.1 in
    /// q8 that leaves 5 GiB more to the pictures; each prompt takes 8 MiB meanwhile. `--method` may ask
    /// for other prompts.
    #[arg(long, conflicts_with = "method")]
    release_text_encoders: bool,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A request that cannot be met.
#[derive(Debug, thiserror::Error, Diagnostic)]
enum SampleError {
    #[error("`--negative` has no meaning here: {reason}")]
    #[diagnostic(help("leave it out"))]
    NoNegative { reason: &'static str },
    #[error(transparent)]
    Generate(#[from] GenerateError),
    #[error(transparent)]
    Write(#[from] image::ImageError),
}

/// Makes the pictures.
///
/// # Errors
///
/// Fails for a base or an adapter that cannot be read or do not belong together, prompts that
/// cannot be read, words that the base does not know, a number of steps that its schedule cannot
/// take, a solver that does not fit it, weights that are not finite, and files that cannot be
/// written, which is tried before the work begins.
pub fn run(args: &Args, context: &Context) -> miette::Result<Outcome> {
    let mut prompts = args.prompt.clone();
    if let Some(file) = &args.prompts {
        let of_file = prompts::of_file(file, args.limit, args.base.options.offline)?;
        prompts.extend(of_file.into_iter().map(|prompt| prompt.text));
    }
    let pictures = pictures(&args.out, &prompts, &args.seed);
    for picture in &pictures {
        output::check_writable(&picture.file).into_diagnostic()?;
    }
    let device = context.device()?;
    let (mut base, preset) = args.base.open(&device)?;
    base::check_size(base.as_ref(), args.size, context)?;
    if let Some(base) = Arc::get_mut(&mut base).filter(|_| args.release_text_encoders) {
        let negative = std::iter::once(&args.negative);
        let all: Vec<String> = prompts.iter().chain(negative).cloned().collect();
        base.read_ahead(&all, &LoraSet::default()).into_diagnostic()?;
    }
    let sampling = args.steps.sampling(preset);
    let file = adapter(args, base.as_ref(), &device)?;
    let chosen = args.variant.and_then(VariantChoice::adapted);
    args.dose.check(file.is_some())?;
    let dose = args.dose.dose(sampling.steps);
    let adapter =
        file.as_ref().map(|file| (file, Adapted { dose, ..file.adapted(chosen, sampling.steps) }));
    let folder = args.preview_codec.as_deref();
    let codec = codec::decoder("--preview-codec", folder, base.as_ref(), &device)?;
    base::warn_of_cuts(base.as_ref(), prompts.iter().map(String::as_str))?;
    check_negative(args, base.as_ref(), sampling.guidance_scale)?;
    let (negative_prompt, solver) = (args.negative.clone(), args.solver.choice());
    let sampling = Sampling { negative_prompt, batch: BATCH, size: args.size, solver, ..sampling };
    let sought = sought(args, base.as_ref(), adapter.as_ref(), &device)?;
    let sampling = match &sought {
        Some(sought) => {
            sought.check(base.as_ref(), &sampling).into_diagnostic()?;
            sought.sampling(base.as_ref(), &sampling)
        }
        None => sampling,
    };
    let size = sampling.size.map_or(Ok(base.latent_shape()), |size| base.latents_of(size));
    let plan =
        base.plan(sampling.steps, sampling.solver, size.into_diagnostic()?).into_diagnostic()?;
    let solver = base.solver(sampling.solver).into_diagnostic()?;
    let mut making =
        Making { base: base.as_ref(), sampling, solver, adapter, sought, settings: Value::Null };
    let sha256 = file.as_ref().map(|file| file.place.sha256()).transpose();
    making.settings = making.settings(&Surroundings {
        device: context.device_name().to_owned(),
        dtype: args.base.options.dtype(),
        adapter_sha256: sha256.into_diagnostic()?,
        codec: args.preview_codec.clone().zip(codec.as_ref().map(weights::hash)),
    });

    let start = Instant::now();
    // What a search will evaluate depends on what it finds.
    let bar = match &making.sought {
        Some(_) => ProgressBar::new_spinner(),
        None => ProgressBar::new((pictures.len().div_ceil(BATCH) * plan.steps()) as u64),
    };
    let stop = Stop::default();
    if making.sought.is_some() {
        interrupt::request_on_ctrl_c(stop.clone())?;
    }
    let decoder = codec.as_ref().map(|codec| codec as &dyn Decoder);
    let written = make(&pictures, &making, decoder, &bar, &stop)?;
    bar.finish_and_clear();
    let pictures = &pictures[..written.pictures];
    let seconds = start.elapsed().as_secs_f64();
    if args.json {
        let answer = json!({
            "settings": making.settings,
            "pictures": pictures,
            "seconds": seconds,
            "cost": written.cost,
            "peak_memory": memory::peak(),
            "notes": written.notes,
        });
        output::print_json(&answer)?;
    } else {
        let lines = pictures.iter().map(|p| format!("{}  {}\n", p.file.display(), p.prompt));
        output::print(&lines.collect::<String>())?;
        if making.sought.is_some() {
            output::print(&told(&written, seconds))?;
        }
    }
    warn_of_notes(&written);
    Ok(if written.is_all { Outcome::Done } else { Outcome::Interrupted })
}

/// What a method found, and what it cost, in words.
fn told(written: &Written, seconds: f64) -> String {
    let scores = written.notes.iter().filter_map(|note| note["score"].as_f64());
    let scores: Vec<String> = scores.map(|score| format!("{score:.4}")).collect();
    let cost = &written.cost;
    let memory =
        memory::peak().map_or_else(String::new, |peak| format!(", {} MiB at most", peak >> 20));
    let scores = match scores.is_empty() {
        true => String::new(),
        false => format!("scores {}; ", scores.join(", ")),
    };
    format!(
        "{scores}{} evaluations, {} gradients, {} decodings, {} scorings, {seconds:.1} s{memory}\n",
        cost.denoiser_evaluations, cost.gradient_passes, cost.decodes, cost.reward_calls,
    )
}

/// Says what a method had to do without.
fn warn_of_notes(written: &Written) {
    let skipped: u64 = written.notes.iter().filter_map(|note| note["skipped"].as_u64()).sum();
    if skipped > 0 {
        output::warn(&format!("{skipped} scores or gradients were no numbers and passed over"));
    }
    if written.notes.iter().any(|note| note["binds"] == false) {
        output::warn(
            "a prompt names nothing that could be bound, and the semantic part of dymo moved \
             nothing; write it down in a file for `--knowledge`",
        );
    }
}

/// The method that the flags name, if any.
fn sought<'a>(
    args: &Args,
    base: &dyn Base,
    adapter: Option<&(&'a AdapterFile, Adapted<'a>)>,
    device: &Device,
) -> miette::Result<Option<Sought<'a>>> {
    let Some(name) = &args.method else { return Ok(None) };
    let mut methods = args.test_time.methods(&[name.as_str()])?;
    let Some(method) = methods.pop() else { return Ok(None) };
    let given = args.reward.as_deref();
    let reward = test_time::reward(given, &args.reward_weights, base, &method, device)?;
    let method = method.fitted(reward.as_ref()).into_diagnostic()?;
    let adapted = adapter.map(|(_, adapted)| adapted.clone());
    let budget = args.test_time.budget();
    let knowledge = args.test_time.knowledge(std::slice::from_ref(&method))?;
    Ok(Some(Sought { method, reward, adapted, budget, knowledge }))
}

/// Checks that a negative prompt would be read, and knows only words that the base knows.
fn check_negative(args: &Args, base: &dyn Base, guidance_scale: f64) -> miette::Result<()> {
    if args.negative.is_empty() {
        return Ok(());
    }
    if !base.reads_unconditional() {
        let reason = "the base was distilled to be told its guidance, and reads no second prompt";
        return Err(SampleError::NoNegative { reason }.into());
    }
    if guidance_scale == 1.0 {
        let reason = "the weight of guidance is 1, which turns it off";
        return Err(SampleError::NoNegative { reason }.into());
    }
    base::warn_of_cuts(base, std::iter::once(args.negative.as_str()))
}

/// The adapter that the flags name, or the program's own for the base, if any is used.
fn adapter(args: &Args, base: &dyn Base, device: &Device) -> miette::Result<Option<AdapterFile>> {
    let file = match (&args.adapter, args.variant) {
        (_, Some(VariantChoice::None)) | (None, None) => return Ok(None),
        (None, Some(variant)) => {
            let place = shipped::adapter("--variant", variant.to_string(), base.name())?;
            AdapterFile::open_at(place, base, device)
        }
        (Some(given), _) => AdapterFile::open(given, base, device),
    };
    file.into_diagnostic().map(Some)
}
