//! Stable Diffusion 1.x from the one file that its authors publish.

use std::path::Path;

use burn::tensor::Device;
use hyperalign_core::{input, schedule::SchedulerConfig};

use super::{
    Beside, Formats, PipelineError, Sizes, StableDiffusion,
    networks::{Weights, in_part},
};
use crate::{
    tokenizer::Tokenizer,
    vae::AutoencoderKlConfig,
    weights::{
        Folder, LoadError, Tensors, keys,
        published::{self, Kind, SingleFile},
    },
};

/// What every whole vocabulary of CLIP has, beside the file or in a folder `tokenizer` there.
const VOCABULARY: [&str; 2] = ["tokenizer.json", "vocab.json"];

impl StableDiffusion {
    /// Reads Stable Diffusion 1.x from a single file in the layout of its authors. The noise
    /// schedule is that of SD 1.5.
    ///
    /// The file has no vocabulary. It is read from the tokenizer that `beside` names, or else from a
    /// folder `tokenizer` beside the file, or from beside the file. The autoencoder is the one that
    /// `beside` names, or else the file's own.
    ///
    /// # Errors
    ///
    /// Fails if the file holds another model, or holds it not exactly; and if there is no
    /// vocabulary or no autoencoder.
    pub fn from_single_file(
        path: &Path,
        sizes: &Sizes,
        beside: Beside<'_>,
        formats: &Formats,
        device: &Device,
    ) -> Result<Self, PipelineError> {
        let tensors = Tensors::open(path)?;
        let file = || path.display().to_string();
        match published::identify(&tensors) {
            Some(Kind::StableDiffusion1) => {}
            kind => {
                let holds =
                    kind.map_or_else(|| published::unknown(&tensors), |kind| kind.to_string());
                return Err(PipelineError::NoPipeline { file: file(), holds });
            }
        }
        // Before the weights, which take their time.
        let length = sizes.text_encoder.max_position_embeddings;
        let tokenizer = vocabulary(path, beside.tokenizer, length)?;
        let other = beside.vae.map(|path| autoencoder(path, &sizes.vae)).transpose()?;
        if other.is_none() && !published::has_autoencoder(&tensors) {
            return Err(PipelineError::NoAutoencoder { file: file() });
        }
        let own = other.is_none().then(|| keys(&sizes.vae.init(device)));
        let SingleFile { unet, vae, text_encoder, mut passed_over } = SingleFile::new(
            &tensors,
            &keys(&sizes.unet.init(device)),
            own.as_deref(),
            &keys(&sizes.text_encoder.init(device)),
        )?;
        let mut sizes = sizes.clone();
        let vae = match other {
            Some((config, vae)) => {
                let (vae, extras) = match published::identify(&vae) {
                    Some(kind) => published::without_extras(kind, vae),
                    None => (vae, Vec::new()),
                };
                passed_over.extend(in_part("vae", extras));
                sizes.vae = config;
                vae
            }
            None => vae.unwrap_or_default(),
        };
        let scheduler = SchedulerConfig::stable_diffusion();
        let weights = Weights { unet, vae, text_encoder };
        let base = Self::read(&file(), tokenizer, scheduler, &sizes, weights, formats, device)?;
        Ok(base.with_passed_over(passed_over))
    }
}

/// The autoencoder at `path`, in any layout: a file of it or of a whole model, a folder of it, or a
/// folder of a whole model. A file does not tell its sizes, which are `sizes` then.
fn autoencoder(
    path: &Path,
    sizes: &AutoencoderKlConfig,
) -> Result<(AutoencoderKlConfig, Tensors), PipelineError> {
    if path.is_dir() {
        let folder = Folder::disk(path);
        let sub = if folder.contains("vae/config.json") { "vae" } else { "" };
        let config = if sub.is_empty() { "config.json" } else { "vae/config.json" };
        return Ok((folder.read_config(config)?, folder.tensors(sub)?));
    }
    let tensors = Tensors::open(path)?;
    let tensors = match published::has_autoencoder(&tensors) {
        true => tensors.below("first_stage_model."),
        false => tensors,
    };
    Ok((sizes.clone(), tensors))
}

/// CLIP's vocabulary, from the folder `given` or from the places where it may lie.
fn vocabulary(
    path: &Path,
    given: Option<&Path>,
    length: usize,
) -> Result<Tokenizer, PipelineError> {
    let beside = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let beside = beside.unwrap_or(Path::new("."));
    let places = match given {
        Some(folder) => vec![folder.to_owned()],
        None => vec![beside.join("tokenizer"), beside.to_owned()],
    };
    let has_one = |folder: &&std::path::PathBuf| {
        VOCABULARY.iter().any(|name| input::is_there(&folder.join(name)))
    };
    let Some(folder) = places.iter().find(has_one) else {
        return Err(PipelineError::NoVocabulary {
            file: path.display().to_string(),
            tried: places.iter().map(|place| place.display().to_string()).collect(),
        });
    };
    let read = |name: &str| {
        let path = folder.join(name);
        input::read_text(&path).map_err(|source| LoadError::Io { path, source })
    };
    let tokenizer = match folder.join("tokenizer_config.json").is_file() {
        true => Tokenizer::from_dir(folder),
        // Without it nothing tells the length and the padding, which are those of SD 1.5.
        false if folder.join("tokenizer.json").is_file() => {
            Tokenizer::from_json_with(&read("tokenizer.json")?, length, "<|endoftext|>")
        }
        false => {
            Tokenizer::from_vocab_and_merges(&read("vocab.json")?, &read("merges.txt")?, length)
        }
    };
    Ok(tokenizer?)
}
