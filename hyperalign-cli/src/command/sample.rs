//! `hyperalign sample`: pictures from prompts.

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::tensor::Device;
use hyperalign_core::contract::Decoder;
use hyperalign_core::image::{self, Metadata, Parameters};
use hyperalign_core::schedule::Solver;
use hyperalign_core::stop::Stop;
use hyperalign_models::base::Base;
use hyperalign_models::generate::{
    Adapted, AdapterFile, Cost, GenerateError, Job, Meter, Plain, Sampling, Shot, Way, generate,
};
use hyperalign_models::hypernet::Variant;
use hyperalign_models::weights;
use hyperalign_rewards::emoji;
use indicatif::ProgressBar;
use miette::{Diagnostic, IntoDiagnostic};
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::{BaseArgs, SolverArgs, StepArgs, VariantChoice, at_least_one, seed};
use crate::base;
use crate::codec;
use crate::context::Context;
use crate::outcome::Outcome;
use crate::output;
use crate::prompts;

/// Pictures of one batch. Their number changes memory and speed, never a picture.
const BATCH: usize = 8;

/// Flags of `hyperalign sample`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    base: BaseArgs,

    /// Trained adapter: the adapter.safetensors of a run.
    #[arg(long, value_name = "FILE")]
    adapter: Option<PathBuf>,

    /// When the adapter writes a new update. Default: as it was trained.
    #[arg(long, value_enum)]
    variant: Option<VariantChoice>,

    /// What to draw. Give it several times for several pictures.
    #[arg(long, required_unless_present = "prompts", value_name = "TEXT")]
    prompt: Vec<String>,

    /// What the pictures are led away from, in the place of an empty prompt. For bases with guidance.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    negative: String,

    /// Draw the prompts of a file, after those of `--prompt`: PartiPrompts' .tsv, GenEval's .jsonl,
    /// HPSv2's or HPDv2's .json or a folder of them, a .csv table, or .txt with a prompt a line.
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

    /// Where to write the picture. Several pictures are numbered, prompt by prompt and for each
    /// prompt seed by seed: heart.png becomes heart-1.png, heart-2.png, ...
    #[arg(long, value_name = "FILE.png", value_parser = png_path)]
    out: PathBuf,

    /// Folder of a small codec (VAEpreview.safetensors) to decode with, instead of the base's
    /// autoencoder: fifty times cheaper, and less sharp. For bases with the latents of Stable
    /// Diffusion 1.x.
    #[arg(long, value_name = "DIR")]
    preview_codec: Option<PathBuf>,

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
    #[error("`--variant {variant}` needs an adapter")]
    #[diagnostic(help("add `--adapter FILE`, or take `--variant none`"))]
    NoAdapter { variant: String },
    #[error(transparent)]
    Generate(#[from] GenerateError),
    #[error(transparent)]
    Write(#[from] image::ImageError),
}

/// One picture that is asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Picture {
    file: PathBuf,
    prompt: String,
    seed: u64,
}

/// What all pictures of the call are made by.
struct Making<'a> {
    base: &'a dyn Base,
    sampling: Sampling,
    solver: Solver,
    adapter: Option<(&'a AdapterFile, Adapted<'a>)>,
    /// What their files say about that.
    settings: Value,
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
        let of_file = prompts::of_file(file, args.limit)?;
        prompts.extend(of_file.into_iter().map(|prompt| prompt.text));
    }
    let pictures = pictures(&args.out, &prompts, &args.seed);
    for picture in &pictures {
        output::check_writable(&picture.file).into_diagnostic()?;
    }
    let device = context.device()?;
    let (base, preset) = args.base.open(&device)?;
    base::check_size(base.as_ref(), args.size, context)?;
    let sampling = args.steps.sampling(preset);
    let file = adapter(args, base.as_ref(), &device)?;
    let chosen = args.variant.and_then(VariantChoice::adapted);
    let adapter = file.as_ref().map(|file| (file, file.adapted(chosen, sampling.steps)));
    let folder = args.preview_codec.as_deref();
    let codec = codec::decoder("--preview-codec", folder, base.as_ref(), &device)?;
    base::warn_of_cuts(base.as_ref(), prompts.iter().map(String::as_str))?;
    check_negative(args, base.as_ref(), sampling.guidance_scale)?;
    let (negative_prompt, solver) = (args.negative.clone(), args.solver.choice());
    let sampling = Sampling { negative_prompt, batch: BATCH, size: args.size, solver, ..sampling };
    let size = sampling.size.map_or(Ok(base.latent_shape()), |size| base.latents_of(size));
    let plan =
        base.plan(sampling.steps, sampling.solver, size.into_diagnostic()?).into_diagnostic()?;
    let solver = base.solver(sampling.solver).into_diagnostic()?;
    let mut making =
        Making { base: base.as_ref(), sampling, solver, adapter, settings: Value::Null };
    making.settings = settings(&making)?;
    making.settings["device"] = context.device_name().into();
    let dtype = args.base.options.dtype().unwrap_or_else(|| "f32".to_owned());
    making.settings["dtype"] = dtype.into();
    making.settings["preview_codec"] = json!(args.preview_codec);
    making.settings["preview_codec_hash"] = json!(codec.as_ref().map(weights::hash));

    let start = Instant::now();
    let bar = ProgressBar::new((pictures.len().div_ceil(BATCH) * plan.steps()) as u64);
    let decoder = codec.as_ref().map(|codec| codec as &dyn Decoder);
    let cost = make(&pictures, &making, decoder, &bar)?;
    bar.finish_and_clear();
    let seconds = start.elapsed().as_secs_f64();
    if args.json {
        let answer = json!({
            "settings": making.settings,
            "pictures": pictures,
            "seconds": seconds,
            "cost": cost,
        });
        output::print_json(&answer)?;
    } else {
        let lines = pictures.iter().map(|p| format!("{}  {}\n", p.file.display(), p.prompt));
        output::print(&lines.collect::<String>())?;
    }
    Ok(Outcome::Done)
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

/// Every prompt with every seed, each with its file.
fn pictures(out: &Path, prompts: &[String], seeds: &[u64]) -> Vec<Picture> {
    let pairs = prompts.iter().flat_map(|prompt| seeds.iter().map(move |&seed| (prompt, seed)));
    let count = prompts.len() * seeds.len();
    pairs
        .enumerate()
        .map(|(k, (prompt, seed))| Picture {
            file: if count == 1 { out.to_owned() } else { numbered(out, k + 1) },
            prompt: prompt.clone(),
            seed,
        })
        .collect()
}

fn numbered(out: &Path, k: usize) -> PathBuf {
    let stem = out.file_stem().unwrap_or_default().to_string_lossy();
    out.with_file_name(format!("{stem}-{k}.png"))
}

fn png_path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.extension() {
        Some(extension) if extension.eq_ignore_ascii_case("png") => Ok(path),
        _ => Err("pictures are written as PNG; end the name in .png".to_owned()),
    }
}

fn size(text: &str) -> Result<[usize; 2], String> {
    let sides = text.split_once('x').and_then(|(height, width)| {
        Some([height.trim().parse().ok()?, width.trim().parse().ok()?])
    });
    sides.filter(|sides: &[usize; 2]| !sides.contains(&0)).ok_or_else(|| {
        "a size is written as height x width in pixels, each at least 1: 512x768".to_owned()
    })
}

/// The adapter that the flags name, if any is used.
fn adapter(args: &Args, base: &dyn Base, device: &Device) -> miette::Result<Option<AdapterFile>> {
    match (&args.adapter, args.variant) {
        (_, Some(VariantChoice::None)) | (None, None) => Ok(None),
        (None, Some(variant)) => {
            Err(SampleError::NoAdapter { variant: variant.to_string() }.into())
        }
        (Some(file), _) => AdapterFile::open(file, base, device).into_diagnostic().map(Some),
    }
}

/// Makes and writes the pictures, batch by batch; what they cost comes back.
fn make(
    pictures: &[Picture],
    making: &Making<'_>,
    decoder: Option<&dyn Decoder>,
    bar: &ProgressBar,
) -> miette::Result<Cost> {
    let shots: Vec<Shot> =
        pictures.iter().map(|picture| Shot::new(picture.prompt.as_str(), picture.seed)).collect();
    let progress = || bar.inc(1);
    let meter = Meter::with_progress(&progress);
    let Making { base, sampling, .. } = making;
    let job = Job { base: *base, sampling, shots: &shots, decoder, meter: &meter };
    let way: &dyn Way = match &making.adapter {
        Some((_, adapted)) => adapted,
        None => &Plain,
    };
    let (mut cost, mut left) = (Cost::default(), pictures.iter());
    generate(way, &job, &Stop::default(), &mut |_, batch| -> Result<(), SampleError> {
        cost += batch.cost;
        for (image, picture) in image::to_images(batch.images).iter().zip(left.by_ref()) {
            let metadata = metadata(picture, image.dimensions(), making);
            image::write_png(&picture.file, image, &metadata)?;
        }
        Ok(())
    })?;
    Ok(cost)
}

/// What the picture's file says about how it was made.
fn metadata(picture: &Picture, size: (u32, u32), making: &Making<'_>) -> Metadata {
    let Making { base, sampling, solver, adapter, settings } = making;
    let mut extra = Vec::new();
    if let Some((file, adapted)) = adapter {
        extra.push(("Variant".to_owned(), adapted.variant.label().to_owned()));
        extra.push(("Adapter".to_owned(), file.path.display().to_string()));
    }
    for laid in base.laid() {
        extra.push(("Lora".to_owned(), format!("{}: {}", laid.file.display(), laid.scale)));
    }
    let parameters = Parameters {
        prompt: picture.prompt.clone(),
        negative_prompt: sampling.negative_prompt.clone(),
        steps: sampling.steps,
        sampler: solver.label().to_owned(),
        cfg_scale: sampling.guidance_scale,
        seed: picture.seed,
        size,
        model_hash: base.weights_hash().chars().take(10).collect(),
        model: base.name().to_owned(),
        extra,
    };
    let mut everything = settings.clone();
    everything["prompt"] = picture.prompt.as_str().into();
    everything["seed"] = picture.seed.into();
    if hyperalign_models::embedded::folder(base.name()).is_some() {
        everything["attribution"] = emoji::ATTRIBUTION.into();
    }
    Metadata { parameters: Some(parameters), hyperalign: Some(everything) }
}

/// What all pictures of the call have in common, in the words of the flags.
fn settings(making: &Making<'_>) -> miette::Result<Value> {
    let Making { base, sampling, solver, adapter, .. } = making;
    let variant = match adapter {
        Some((_, adapted)) => json!(adapted.variant),
        None => json!(VariantChoice::None.to_string()),
    };
    let sha256 = match adapter {
        Some((file, _)) => Some(weights::sha256_of_file(&file.path).into_diagnostic()?),
        None => None,
    };
    let loras = (!base.laid().is_empty()).then(|| json!(base.laid()));
    let keyed = adapter.as_ref().filter(|(_, adapted)| adapted.variant == Variant::P);
    let mut settings = json!({
        "program": concat!("hyperalign ", env!("CARGO_PKG_VERSION")),
        "base": base.name(),
        "base_hash": base.weights_hash(),
        "variant": variant,
        "adapter": adapter.as_ref().map(|(file, _)| &file.path),
        "adapter_sha256": sha256,
        "key_steps": keyed.map(|(_, adapted)| &adapted.key_steps),
        "sampler": solver.name(),
        "steps": sampling.steps,
        "guidance_scale": sampling.guidance_scale,
        "negative_prompt": sampling.negative_prompt,
        "eta": sampling.solver.eta.or(solver.default_eta()),
        "size": sampling.size.unwrap_or(base.picture_size()),
    });
    if let Some(loras) = loras {
        settings["loras"] = loras;
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_picture_has_the_name_that_was_given() {
        let one = pictures(Path::new("a/heart.png"), &["a heart".to_owned()], &[7]);
        assert_eq!(one.len(), 1);
        assert_eq!(one[0].file, Path::new("a/heart.png"));
    }

    #[test]
    fn several_are_numbered_prompt_by_prompt() {
        let prompts = ["a".to_owned(), "b".to_owned()];
        let all = pictures(Path::new("x/p.PNG"), &prompts, &[1, 2]);
        let of = |k: usize| (all[k].file.to_str().unwrap(), all[k].prompt.as_str(), all[k].seed);
        assert_eq!(of(1), ("x/p-2.png", "a", 2));
        assert_eq!(of(2), ("x/p-3.png", "b", 1));
    }
}
