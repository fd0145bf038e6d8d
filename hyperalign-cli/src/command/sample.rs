//! `hyperalign sample`: pictures from prompts.

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::tensor::{Device, Tensor};
use hyperalign_core::adapter::{AdapterSource, NoAdapter};
use hyperalign_core::denoiser::Decoder;
use hyperalign_core::image::{self, Metadata, Parameters};
use hyperalign_core::schedule::Solver;
use hyperalign_models::base::Base;
use hyperalign_models::hypernet::{Adapter, Variant};
use hyperalign_models::pipeline::TextToImage;
use hyperalign_models::tiny_codec::TinyDecoder;
use hyperalign_models::weights;
use hyperalign_rewards::emoji;
use indicatif::ProgressBar;
use miette::{Diagnostic, IntoDiagnostic};
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::{SolverArgs, VariantChoice, at_least_one, finite, seed};
use crate::base::{self, BaseOptions};
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
    /// Base model: the name of an embedded one (emoji-sd, emoji-flux), a folder in diffusers' layout,
    /// a single .safetensors file of Stable Diffusion 1.x or FLUX.1, or `hf:OWNER/NAME[@REVISION]`.
    #[arg(long, value_name = "NAME_OR_DIR")]
    base: String,

    #[command(flatten)]
    base_options: BaseOptions,

    /// Trained adapter: the adapter.safetensors of a run.
    #[arg(long, value_name = "FILE")]
    adapter: Option<PathBuf>,

    /// When the adapter writes a new update. Default: as it was trained.
    #[arg(long, value_enum)]
    variant: Option<VariantChoice>,

    /// What to draw. Give it several times for several pictures.
    #[arg(long, required_unless_present = "prompts", value_name = "TEXT")]
    prompt: Vec<String>,

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

    /// Sampling steps. Default: what suits the base.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    steps: Option<u32>,

    #[command(flatten)]
    solver: SolverArgs,

    /// Weight of classifier-free guidance; 1 turns it off. Default: what suits the base.
    #[arg(long, value_name = "X", value_parser = finite)]
    guidance: Option<f64>,

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
    #[error("`--variant {variant}` needs an adapter")]
    #[diagnostic(help("add `--adapter FILE`, or take `--variant none`"))]
    NoAdapter { variant: String },
    #[error("the picture of `{prompt}` (seed {seed}) has values that are no numbers")]
    #[diagnostic(help("the weights of the base or the adapter are damaged, or overflow here"))]
    NotFinite { prompt: String, seed: u64 },
}

/// One picture that is asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Picture {
    file: PathBuf,
    prompt: String,
    seed: u64,
}

/// A trained adapter, and how it is used.
struct Adaptation {
    adapter: Adapter,
    variant: Variant,
    /// Those of this run, for the variant P.
    key_steps: Vec<usize>,
    file: PathBuf,
    /// Of the file.
    sha256: String,
}

/// What all pictures of the call are made by.
struct Job<'a> {
    way: TextToImage<'a>,
    solver: Solver,
    adaptation: Option<Adaptation>,
    codec: Option<TinyDecoder>,
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
    let (base, preset) = base::open(&args.base, &args.base_options, &device)?;
    base::check_size(base.as_ref(), args.size, context)?;
    let steps = args.steps.map_or(preset.steps, |steps| steps as usize);
    let adaptation = adaptation(args, base.as_ref(), steps, &device)?;
    let folder = args.preview_codec.as_deref();
    let codec = codec::decoder("--preview-codec", folder, base.as_ref(), &device)?;
    base::warn_of_cuts(base.as_ref(), prompts.iter().map(String::as_str))?;
    let guidance_scale = args.guidance.unwrap_or(preset.guidance_scale);
    let way = TextToImage {
        size: args.size,
        solver: args.solver.choice(),
        ..TextToImage::new(base.as_ref(), steps, guidance_scale)
    };
    let evaluations = way.scheduler().into_diagnostic()?.steps();
    let solver = base.solver(way.solver).into_diagnostic()?;
    let mut settings = settings(&way, solver, adaptation.as_ref());
    settings["device"] = context.device_name().into();
    settings["dtype"] = args.base_options.dtype().unwrap_or_else(|| "f32".to_owned()).into();
    settings["preview_codec"] = json!(args.preview_codec);
    settings["preview_codec_hash"] = json!(codec.as_ref().map(weights::hash));
    let job = Job { way, solver, adaptation, codec, settings };

    let start = Instant::now();
    let bar = ProgressBar::new((pictures.len().div_ceil(BATCH) * evaluations) as u64);
    for batch in pictures.chunks(BATCH) {
        make(batch, &job, &bar)?;
    }
    bar.finish_and_clear();
    let seconds = start.elapsed().as_secs_f64();
    if args.json {
        let settings = job.settings;
        let answer = json!({ "settings": settings, "pictures": pictures, "seconds": seconds });
        output::print_json(&answer)?;
    } else {
        let lines = pictures.iter().map(|p| format!("{}  {}\n", p.file.display(), p.prompt));
        output::print(&lines.collect::<String>())?;
    }
    Ok(Outcome::Done)
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

/// The adapter that the flags name, if any is used, for a run of `steps` steps.
fn adaptation(
    args: &Args,
    base: &dyn Base,
    steps: usize,
    device: &Device,
) -> miette::Result<Option<Adaptation>> {
    let file = match (&args.adapter, args.variant) {
        (_, Some(VariantChoice::None)) | (None, None) => return Ok(None),
        (None, Some(variant)) => {
            return Err(SampleError::NoAdapter { variant: variant.to_string() }.into());
        }
        (Some(file), _) => file,
    };
    let (adapter, meta) = Adapter::load(file, device).into_diagnostic()?;
    meta.check_base(base.name(), base.hash()).into_diagnostic()?;
    let variant = args.variant.and_then(VariantChoice::adapted).unwrap_or(meta.variant);
    let key_steps = meta.key_steps_for(steps);
    let sha256 = weights::sha256(hyperalign_core::input::read(file).into_diagnostic()?);
    Ok(Some(Adaptation { adapter, variant, key_steps, file: file.clone(), sha256 }))
}

/// Makes and writes the pictures of one batch.
fn make(batch: &[Picture], job: &Job<'_>, bar: &ProgressBar) -> miette::Result<()> {
    let way = &job.way;
    let prompts: Vec<&str> = batch.iter().map(|picture| picture.prompt.as_str()).collect();
    let seeds: Vec<u64> = batch.iter().map(|picture| picture.seed).collect();
    let source: Box<dyn AdapterSource + '_> = match &job.adaptation {
        Some(Adaptation { adapter, variant, key_steps, .. }) => {
            adapter.source(way.base, *variant, key_steps.clone())
        }
        None => Box::new(NoAdapter),
    };
    let latents =
        way.latents(&prompts, &seeds, source.as_ref(), &mut |_| bar.inc(1)).into_diagnostic()?;
    let images = match &job.codec {
        Some(codec) => codec.decode(latents),
        None => way.base.decode(latents),
    };
    for (k, picture) in batch.iter().enumerate() {
        let row: Tensor<4> = images.clone().slice(k..k + 1);
        if !row.is_finite().all().into_scalar::<bool>() {
            let Picture { prompt, seed, .. } = picture.clone();
            return Err(SampleError::NotFinite { prompt, seed }.into());
        }
    }
    for (picture, image) in batch.iter().zip(image::to_images(images)) {
        let metadata = metadata(picture, image.dimensions(), job);
        image::write_png(&picture.file, &image, &metadata).into_diagnostic()?;
    }
    Ok(())
}

/// What the picture's file says about how it was made.
fn metadata(picture: &Picture, size: (u32, u32), job: &Job<'_>) -> Metadata {
    let (way, base) = (&job.way, job.way.base);
    let mut extra = Vec::new();
    if let Some(Adaptation { variant, file, .. }) = &job.adaptation {
        extra.push(("Variant".to_owned(), variant.label().to_owned()));
        extra.push(("Adapter".to_owned(), file.display().to_string()));
    }
    let parameters = Parameters {
        prompt: picture.prompt.clone(),
        negative_prompt: way.negative_prompt.clone(),
        steps: way.steps,
        sampler: job.solver.label().to_owned(),
        cfg_scale: way.guidance_scale,
        seed: picture.seed,
        size,
        model_hash: base.hash().chars().take(10).collect(),
        model: base.name().to_owned(),
        extra,
    };
    let mut everything = job.settings.clone();
    everything["prompt"] = picture.prompt.as_str().into();
    everything["seed"] = picture.seed.into();
    if hyperalign_models::embedded::folder(base.name()).is_some() {
        everything["attribution"] = emoji::ATTRIBUTION.into();
    }
    Metadata { parameters: Some(parameters), hyperalign: Some(everything) }
}

/// What all pictures of the call have in common, in the words of the flags.
fn settings(way: &TextToImage, solver: Solver, adaptation: Option<&Adaptation>) -> Value {
    let variant = match adaptation {
        Some(adaptation) => json!(adaptation.variant),
        None => json!(VariantChoice::None.to_string()),
    };
    let keyed = adaptation.filter(|adaptation| adaptation.variant == Variant::P);
    json!({
        "program": concat!("hyperalign ", env!("CARGO_PKG_VERSION")),
        "base": way.base.name(),
        "base_hash": way.base.hash(),
        "variant": variant,
        "adapter": adaptation.map(|adaptation| &adaptation.file),
        "adapter_sha256": adaptation.map(|adaptation| &adaptation.sha256),
        "key_steps": keyed.map(|adaptation| &adaptation.key_steps),
        "sampler": solver.name(),
        "steps": way.steps,
        "guidance_scale": way.guidance_scale,
        "eta": way.solver.eta.or(solver.default_eta()),
        "size": way.size.unwrap_or(way.base.picture_size()),
    })
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
