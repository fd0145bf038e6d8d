//! The base model that `--base` names.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use burn::tensor::Device;
use hyperalign_core::memory;
use hyperalign_models::base::{Base, Cut, Preset};
use hyperalign_models::embedded;
use hyperalign_models::lora::Overlaid;
use hyperalign_models::pipeline::{self, Beside, Formats};
use hyperalign_models::weights::{Folder, published};
use miette::{Diagnostic, IntoDiagnostic};

use crate::{args::LoraChoice, context::Context, hub, output};

/// What every diffusers folder of a whole pipeline has; an embedded reward model has none.
const INDEX: &str = "model_index.json";

/// How a base is found and read.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct BaseOptions {
    /// Folder with CLIP's vocabulary, for Stable Diffusion in one file, which has none. Default:
    /// the folder `tokenizer` beside the file, or the file's own.
    #[arg(long, value_name = "DIR")]
    tokenizer: Option<PathBuf>,

    /// Autoencoder for Stable Diffusion in one file that has none, or instead of its own: a
    /// .safetensors file, or a folder in diffusers' layout.
    #[arg(long, value_name = "FILE|DIR")]
    vae: Option<PathBuf>,

    /// Folder with what belongs to the transformer of FLUX.1 in one file: tokenizer, tokenizer_2,
    /// text_encoder, text_encoder_2 and ae.safetensors (or vae). Default: the file's own.
    #[arg(long, value_name = "DIR")]
    components: Option<PathBuf>,

    /// Take what is named by `hf:` from the cache and ask no server (as HF_HUB_OFFLINE=1 does).
    #[arg(long)]
    pub offline: bool,

    /// Number format of the base's weights, in which it also computes: f32, f16 or bf16 for all
    /// parts, or one for each as in unet=q8,vae=f32. q8 holds the matrices of transformer blocks in 8
    /// bits, with the rest in bf16, in which it computes; q8-f16 and q8-f32 compute in these. Parts
    /// are text_encoder, unet and vae; of FLUX.1 text_encoder, text_encoder_2, transformer and vae.
    /// Default: f32.
    #[arg(long, value_name = "FORMAT")]
    dtype: Option<Formats>,

    /// LoRA file to lay over the base, with its strength: of PEFT or diffusers, of kohya's
    /// sd-scripts, of ComfyUI or Black Forest Labs, or a static LoRA that was trained here. Give it
    /// several times for several; they add up, with each other and with an adapter.
    #[arg(long, value_name = "FILE[=SCALE]")]
    lora: Vec<LoraChoice>,
}

impl BaseOptions {
    /// The first of the options that was given.
    pub fn first_given(&self) -> Option<&'static str> {
        let given = [
            ("--tokenizer", self.tokenizer.is_some()),
            ("--vae", self.vae.is_some()),
            ("--components", self.components.is_some()),
            ("--offline", self.offline),
            ("--dtype", self.dtype.is_some()),
            ("--lora", !self.lora.is_empty()),
        ];
        given.into_iter().find_map(|(option, is_given)| is_given.then_some(option))
    }

    /// The LoRA files, with their strengths.
    #[cfg(feature = "serve")]
    pub fn lora(&self) -> &[LoraChoice] {
        &self.lora
    }

    /// The number formats, where some were given.
    pub fn dtype(&self) -> Option<String> {
        self.dtype.as_ref().map(ToString::to_string)
    }
}

/// A `--base` that is not there.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("unknown base `{given}`: it is no embedded model, no folder and no file")]
pub struct UnknownBase {
    given: String,
    #[help]
    known: String,
}

/// Of the embedded bases: more steps make their pictures no better.
const EMBEDDED: Preset = Preset { steps: 10, guidance_scale: 4.0 };

/// Opens the base called `given` as `options` say, with the LoRA files laid over it that they name:
/// the name of an embedded model, a folder in
/// diffusers' layout, a single file of Stable Diffusion 1.x, FLUX.1 as Black Forest Labs publish
/// it, or `hf:OWNER/NAME[@REVISION]`.
///
/// # Errors
///
/// Fails if there is no such base, or it cannot be had or read.
pub fn open(
    given: &str,
    options: &BaseOptions,
    device: &Device,
) -> miette::Result<(Arc<dyn Base>, Preset)> {
    let (base, preset) = open_bare(given, options, device)?;
    Ok((overlaid(base, options, device)?, preset))
}

/// [`open`] without the LoRA files.
///
/// # Errors
///
/// Fails if there is no such base, or it cannot be had or read.
pub fn open_bare(
    given: &str,
    options: &BaseOptions,
    device: &Device,
) -> miette::Result<(Arc<dyn Base>, Preset)> {
    let formats = options.dtype.clone().unwrap_or_default();
    let beside = Beside {
        tokenizer: options.tokenizer.as_deref(),
        vae: options.vae.as_deref(),
        components: options.components.as_deref(),
    };
    let folder = match place(given)? {
        Place::File(path) => {
            let base = pipeline::open_file(&path, beside, &formats, device).into_diagnostic()?;
            tell_passed_over(base.passed_over(), given);
            let preset = base.preset();
            return Ok((base.into(), preset));
        }
        Place::Hub(id) => Folder::disk(hub::download(&id, options.offline)?),
        Place::Folder(folder) => folder,
    };
    let base =
        pipeline::open_in(&folder, Some(given), beside, &formats, device).into_diagnostic()?;
    tell_passed_over(base.passed_over(), given);
    let preset = match folder {
        Folder::Embedded { .. } => EMBEDDED,
        _ => base.preset(),
    };
    Ok((base.into(), preset))
}

/// `base` with the LoRA files laid over it that `options` name.
fn overlaid(
    base: Arc<dyn Base>,
    options: &BaseOptions,
    device: &Device,
) -> miette::Result<Arc<dyn Base>> {
    if options.lora.is_empty() {
        return Ok(base);
    }
    let files: Vec<(PathBuf, f64)> =
        options.lora.iter().map(|LoraChoice { file, scale }| (file.clone(), *scale)).collect();
    Ok(Arc::new(Overlaid::new(base, &files, device).into_diagnostic()?))
}

/// Checks that pictures of `size` fit into memory, before it is asked for. What a device other than
/// the CPU has, the system does not tell.
///
/// # Errors
///
/// Fails for a size that the base cannot read or that takes more than there is.
pub fn check_size(
    base: &dyn Base,
    size: Option<[usize; 2]>,
    context: &Context,
) -> miette::Result<()> {
    let Some(size) = size else { return Ok(()) };
    base.latents_of(size).into_diagnostic()?;
    match memory::available().filter(|_| context.device_name() == "cpu") {
        Some(free) => base.check_memory(size, free).into_diagnostic(),
        None => Ok(()),
    }
}

/// Tells what the files of `given` hold that was not read.
pub fn tell_passed_over(extras: &[String], given: &str) {
    if let Some(extras) = published::summary(extras) {
        output::note(&format!("passed over in {given}: {extras}"));
    }
}

/// Prompts that are shown of those that are too long.
const CUTS_SHOWN: usize = 5;

/// Tells which prompts are longer than the base can read, and what of them is lost: each once, and
/// of many prompts the first few with the number of the others.
///
/// # Errors
///
/// Fails if the base does not know a word of a prompt.
pub fn warn_of_cuts<'a>(
    base: &dyn Base,
    prompts: impl Iterator<Item = &'a str>,
) -> miette::Result<()> {
    let mut seen = HashSet::new();
    let prompts: Vec<String> =
        prompts.filter(|prompt| seen.insert(*prompt)).map(str::to_owned).collect();
    warn_of_weights(&prompts);
    let cuts = base.cut_off(&prompts).into_diagnostic()?;
    let cut: BTreeSet<usize> = cuts.iter().map(|cut| cut.prompt).collect();
    let shown: BTreeSet<usize> = cut.iter().take(CUTS_SHOWN).copied().collect();
    for cut in cuts.iter().filter(|cut| shown.contains(&cut.prompt)) {
        output::warn(&told_of_cut(cut));
    }
    if cut.len() > shown.len() {
        output::warn(&format!(
            "{} more of {} prompts are longer than what the base reads",
            cut.len() - shown.len(),
            prompts.len()
        ));
    }
    Ok(())
}

/// Tells that weights of words, as other programs read them, are plain text here.
fn warn_of_weights(prompts: &[String]) {
    if let Some(found) = prompts.iter().find_map(|prompt| weighted(prompt)) {
        output::warn(&told_of_weights(found));
    }
}

/// What is said of a prompt that is too long.
pub fn told_of_cut(cut: &Cut) -> String {
    let Cut { encoder, tokens, text, .. } = cut;
    format!(
        "a prompt is longer than what the base reads ({encoder}: {tokens} tokens); cut off: `{}`",
        text.trim()
    )
}

/// What is said of a prompt with a [weighted] word.
pub fn told_of_weights(found: &str) -> String {
    format!(
        "`{found}` is plain text here: the weights that other programs read in prompts, (word:1.2), \
         are not read"
    )
}

/// The first `(word:1.2)` of a prompt.
pub fn weighted(prompt: &str) -> Option<&str> {
    prompt.match_indices('(').find_map(|(start, _)| {
        let end = start + prompt[start..].find(')')?;
        let (words, weight) = prompt[start + 1..end].rsplit_once(':')?;
        let is_weight = weight.trim().parse::<f64>().is_ok_and(f64::is_finite);
        (is_weight && !words.trim().is_empty()).then(|| &prompt[start..=end])
    })
}

/// The embedded base called `name`.
pub fn embedded_base(name: &str) -> Option<Folder> {
    embedded::folder(name).filter(|folder| folder.contains(INDEX))
}

/// Where a base is.
#[derive(Debug)]
pub enum Place {
    /// A folder on disk or in the program.
    Folder(Folder),
    /// A single file.
    File(PathBuf),
    /// On the Hugging Face hub, or in its cache.
    Hub(String),
}

/// Looks for the base called `given`, and reads nothing of it.
///
/// # Errors
///
/// Fails if there is no such base here; a base of the hub is not asked for.
pub fn place(given: &str) -> Result<Place, UnknownBase> {
    if let Some(folder) = embedded_base(given) {
        return Ok(Place::Folder(folder));
    }
    let path = PathBuf::from(given);
    if hyperalign_core::input::is_there(&path) {
        return Ok(Place::File(path));
    }
    if let Some(id) = hub::name(&path) {
        return Ok(Place::Hub(id.to_owned()));
    }
    if path.is_dir() {
        return Ok(Place::Folder(Folder::disk(path)));
    }
    let names: Vec<_> = embedded::names().filter(|name| embedded_base(name).is_some()).collect();
    let others = "a folder in diffusers' layout, a .safetensors file of Stable Diffusion 1.x or \
                  FLUX.1, or hf:OWNER/NAME";
    let known = match names.is_empty() {
        true => format!("this program was built without embedded models; give {others}"),
        false => format!("embedded models: {}; or give {others}", names.join(", ")),
    };
    Err(UnknownBase { given: given.to_owned(), known })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_words_are_found() {
        assert_eq!(weighted("a (red:1.2) dog"), Some("(red:1.2)"));
        assert_eq!(weighted("((a dog), (small cat:0.8))"), Some("(small cat:0.8)"));
        for plain in
            ["a dog", "a dog (red)", "at (12:30 o'clock)", "(:1.2)", "a (dog: small)", "(a:1"]
        {
            assert_eq!(weighted(plain), None, "{plain}");
        }
    }
}
