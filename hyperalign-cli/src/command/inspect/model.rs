//! What a file or a folder of weights is, and what is missing from it.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;
use hyperalign_models::clip::{ClipConfig, ClipTextConfig};
use hyperalign_models::flux::FluxConfig;
use hyperalign_models::hypernet::AdapterPlace;
use hyperalign_models::mask2former::{self, Mask2FormerConfig};
use hyperalign_models::pipeline::PipelineError;
use hyperalign_models::t5::T5Config;
use hyperalign_models::unet::UnetConfig;
use hyperalign_models::vae::AutoencoderKlConfig;
use hyperalign_models::weights::published::{self, Kind};
use hyperalign_models::weights::{Folder, Key, KeyMismatch, LoadError, Tensors, compare, keys};
use miette::IntoDiagnostic;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::adapter::{self, parameters};
use super::likely::{expected, flux, in_layout_of};
use super::memory::{Memory, Sizes};
use super::parts::{self, INDEX, Index};

/// Formats that weights are read from.
const READABLE: [&str; 4] = ["F16", "BF16", "F32", "F64"];
/// More problems of one kind than this say nothing new.
const SHOWN: usize = 5;

/// What is known of one weight file, or of the shards of one network.
#[derive(Debug, Serialize)]
pub(super) struct Weights {
    file: String,
    /// What it holds, and in which layout.
    what: String,
    tensors: usize,
    pub(super) parameters: usize,
    bytes: usize,
    /// Number of tensors in each number format.
    formats: BTreeMap<String, usize>,
    /// What its keys were compared with, if there was something.
    #[serde(skip_serializing_if = "Option::is_none")]
    compared_with: Option<String>,
    /// Keys of the network that the file does not have.
    missing: Vec<String>,
    /// Keys of the file that the network does not have.
    extra: Vec<String>,
    /// Keys of another shape, with the expected and the found one.
    other_shapes: Vec<(String, Vec<usize>, Vec<usize>)>,
    /// Known extras, which reading passes over.
    passed_over: Vec<String>,
    /// Why it cannot be loaded; empty for one that can.
    problems: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<Memory>,
    metadata: BTreeMap<String, String>,
}

/// What is known of a folder of a whole pipeline.
#[derive(Debug, Serialize)]
pub(super) struct Model {
    folder: String,
    /// The class that diffusers gives it.
    what: String,
    parameters: usize,
    parts: Vec<Weights>,
    /// Parts that the index names or the pipeline is read from, and that are not there.
    missing_parts: Vec<String>,
    /// Why it cannot be loaded, whichever part that is in; empty for one that can.
    problems: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<Memory>,
}

/// What is known of a path, and why it cannot be loaded.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) json: serde_json::Value,
    pub(super) problems: Vec<String>,
}

impl Answer {
    fn new(value: &impl Serialize, problems: &[String]) -> miette::Result<Self> {
        let json = serde_json::to_value(value).into_diagnostic()?;
        Ok(Self { json, problems: problems.to_owned() })
    }
}

/// The network of a component: its class, and its keys where we know it.
struct Network {
    class: String,
    keys: Option<Vec<Key>>,
}

/// Describes the weight file `path`. There is no configuration, so what is known by its keys is
/// compared with the published model of that kind.
pub(super) fn file(path: &Path) -> miette::Result<Answer> {
    let weights = weight_file(path)?;
    Answer::new(&weights, &weights.problems)
}

fn weight_file(path: &Path) -> miette::Result<Weights> {
    let tensors = match Tensors::open(path) {
        Err(LoadError::Pickle { file }) => detector(path, LoadError::Pickle { file }),
        tensors => tensors,
    };
    let tensors = tensors.into_diagnostic()?;
    let kind = published::identify(&tensors);
    let is_adapter = kind.is_none() && tensors.metadata().contains_key(adapter::METADATA);
    let tensors = match kind {
        Some(Kind::StableDiffusion1) => {
            published::with_text_level(tensors, "cond_stage_model.transformer.")
        }
        Some(Kind::ClipText) => published::with_text_level(tensors, ""),
        _ => tensors,
    };
    let known = kind.and_then(|kind| expected(kind, &tensors));
    let (name, keys) = known.unzip();
    let what = match kind {
        Some(kind) => kind.to_string(),
        None if is_adapter => "an adapter: `hyperalign inspect adapter` tells more".to_owned(),
        None => "not known here".to_owned(),
    };
    // The other kinds are parts of models, whose sizes a file alone does not tell.
    let must_fit = kind == Some(Kind::StableDiffusion1);
    let mut weights = describe(&tensors, what, keys.as_deref(), must_fit);
    weights.compared_with = name.map(str::to_owned);
    let refused = |what: &str| {
        format!("`{}` holds {what}; as a base in one file it is not read", path.display())
    };
    match kind {
        Some(Kind::StableDiffusion1) if !published::has_autoencoder(&tensors) => {
            let file = path.display().to_string();
            weights.problems.insert(0, PipelineError::NoAutoencoder { file }.to_string());
        }
        Some(kind @ (Kind::StableDiffusion2 | Kind::StableDiffusionXl)) => {
            weights.problems.push(refused(&kind.to_string()));
        }
        None if !is_adapter => weights.problems.push(refused(&published::unknown(&tensors))),
        _ => {}
    }
    if is_adapter {
        let place = AdapterPlace::File(path.to_owned());
        weights.problems.extend(adapter::load(&place).err().map(|error| error.to_string()));
    }
    // Nothing is known of one that has other sizes than the published model.
    if weights.other_shapes.is_empty() {
        weights.memory = match kind {
            Some(Kind::StableDiffusion1) => Some(Sizes::sd15().memory()),
            // Its other parts are files of their own.
            Some(Kind::FluxBfl | Kind::Flux) => Some(Sizes::flux1(flux(&tensors)).memory()),
            _ => None,
        };
    }
    Ok(weights)
}

/// The tensors of a detector of mmdetection, the only network of a base or a judge that is read from
/// a pickle alone; `refused` for others.
fn detector(path: &Path, refused: LoadError) -> Result<Tensors, LoadError> {
    let tensors = Tensors::open_pytorch(path)?;
    match published::identify(&tensors) {
        Some(Kind::Mask2FormerMmdet) => Ok(tensors),
        _ => Err(refused),
    }
}

/// Describes the model folder `path`: a pipeline, a single network, or weight files with parts beside
/// them, as Black Forest Labs publish FLUX.1. Nothing if it is none of them.
pub(super) fn folder(path: &Path) -> miette::Result<Option<Answer>> {
    let folder = Folder::disk(path);
    if folder.contains("config.json") {
        let weights = component(&folder, "");
        return Answer::new(&weights, &weights.problems).map(Some);
    }
    let model = match folder.contains(INDEX) {
        true => pipeline(path, &folder)?,
        false => loose(path, &folder)?,
    };
    let empty = model.parts.is_empty() && model.problems.is_empty();
    if empty { Ok(None) } else { Answer::new(&model, &model.problems).map(Some) }
}

/// Describes a pipeline part by part. Parts that it is not read from make no problem.
fn pipeline(path: &Path, folder: &Folder) -> miette::Result<Model> {
    let index: Index = folder.read_config(INDEX).into_diagnostic()?;
    let mut parts = Vec::new();
    let mut missing_parts = Vec::new();
    let mut problems: Vec<String> = index.foreign().into_iter().collect();
    for name in index.parts() {
        let needed = index.needs(name);
        if !parts::is_there(path, name) {
            missing_parts.push(name.to_owned());
            if needed {
                problems.push(format!("the part `{name}` is missing: there is no folder of it"));
            }
        } else if parts::has_no_weights(name) {
            let problem = parts::problem(folder, path, &index.class, name);
            problems.extend(problem.filter(|_| needed));
        } else if needed || (name != "safety_checker" && has_config(folder, name)) {
            let part = component(folder, name);
            problems.extend(part.problems.iter().filter(|_| needed).cloned());
            parts.push(part);
        }
    }
    let parameters = parts.iter().map(|part| part.parameters).sum();
    let memory = Sizes::read(folder).map(|sizes| sizes.memory());
    let folder = path.display().to_string();
    Ok(Model { folder, what: index.class, parameters, parts, missing_parts, problems, memory })
}

fn has_config(folder: &Folder, part: &str) -> bool {
    folder.contains(&format!("{part}/config.json"))
}

/// The weight files in a folder without an index, and the networks in the folders below it.
fn loose(path: &Path, folder: &Folder) -> miette::Result<Model> {
    let mut names: Vec<String> = std::fs::read_dir(path)
        .into_diagnostic()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort_unstable();
    let mut parts = Vec::new();
    for name in names {
        if name.ends_with(".safetensors") {
            parts.push(weight_file(&path.join(name))?);
        } else if has_config(folder, &name) {
            parts.push(component(folder, &name));
        }
    }
    Ok(Model {
        folder: path.display().to_string(),
        what: "weight files".to_owned(),
        parameters: parts.iter().map(|part| part.parameters).sum(),
        problems: parts.iter().flat_map(|part| part.problems.clone()).collect(),
        parts,
        missing_parts: Vec::new(),
        memory: None,
    })
}

/// Describes the network in the part `sub`, as far as its files can be read.
fn component(folder: &Folder, sub: &str) -> Weights {
    let mut problems = Vec::new();
    let mut or_problem = |error: LoadError| problems.push(error.to_string());
    let tensors = folder.tensors(sub);
    let kind = tensors.as_ref().ok().and_then(published::identify);
    let network = network(folder, sub, kind).map_err(&mut or_problem).ok();
    let tensors = tensors.map_err(&mut or_problem).ok();
    let tensors = match kind {
        Some(Kind::ClipText) => tensors.map(|tensors| published::with_text_level(tensors, "")),
        _ => tensors,
    };
    let (class, keys) = match network {
        Some(network) => (network.class, network.keys),
        None => ("its configuration cannot be read".to_owned(), None),
    };
    let what = match kind {
        Some(kind) => format!("{class}: {kind}"),
        None => class,
    };
    let is_there = tensors.is_some();
    let tensors = tensors.unwrap_or_default();
    let keys = keys.filter(|_| is_there).map(|ours| in_layout_of(kind, ours));
    let mut weights = describe(&tensors, what, keys.as_deref(), true);
    if !is_there {
        weights.file = folder.display(sub);
    }
    weights.compared_with = keys.map(|_| "its config.json".to_owned());
    weights.problems.splice(0..0, problems);
    weights
}

/// Reads every value, so that a damaged file is told here and not in the middle of a run; where the
/// keys `must_fit`, others than the `expected` are a problem.
fn describe(tensors: &Tensors, what: String, expected: Option<&[Key]>, must_fit: bool) -> Weights {
    let passed_over = published::identify(tensors)
        .map(|kind| published::extras(kind, tensors))
        .unwrap_or_default();
    let mut formats = BTreeMap::new();
    let mut unreadable = Vec::new();
    for (key, _) in tensors.iter() {
        let format = tensors.dtype(key).unwrap_or_default();
        // Of a file that is not known, integers may be what it is for.
        let is_weight = expected.is_some() || READABLE.contains(&format.as_str());
        if is_weight && !passed_over.iter().any(|extra| extra == key) {
            unreadable.extend(tensors.f32(key).err().map(|error| error.to_string()));
        }
        *formats.entry(format).or_insert(0) += 1;
    }
    let mut problems: Vec<String> = unreadable.iter().take(SHOWN).cloned().collect();
    if unreadable.len() > SHOWN {
        let (more, file) = (unreadable.len() - SHOWN, tensors.name());
        problems.push(format!("{more} more tensors of `{file}` cannot be read"));
    }
    let used = tensors.clone().without(&passed_over);
    let mismatch = match expected {
        Some(keys) => compare(keys, &used),
        None => KeyMismatch::default(),
    };
    if must_fit && !mismatch.is_empty() {
        let (file, mismatch) = (tensors.name().to_owned(), mismatch.clone());
        problems.push(LoadError::Keys { file, mismatch }.to_string());
    }
    let KeyMismatch { missing, unused, shapes } = mismatch;
    let names =
        |keys: Vec<(String, Option<String>)>| keys.into_iter().map(|(key, _)| key).collect();
    Weights {
        file: tensors.name().to_owned(),
        what,
        tensors: tensors.iter().count(),
        parameters: parameters(&used),
        bytes: tensors.bytes(),
        formats,
        compared_with: None,
        missing: names(missing),
        extra: names(unused),
        other_shapes: shapes,
        passed_over,
        problems,
        memory: None,
        metadata: tensors.metadata().clone(),
    }
}

/// The network that the `config.json` in the part `sub` describes. One that does not say its class,
/// as ours of text encoders do not, is of the class that its weights are of.
fn network(folder: &Folder, sub: &str, kind: Option<Kind>) -> Result<Network, LoadError> {
    fn read<T: DeserializeOwned>(folder: &Folder, file: &str) -> Result<T, LoadError> {
        folder.read_config(file)
    }
    let file = if sub.is_empty() { "config.json".to_owned() } else { format!("{sub}/config.json") };
    let json: serde_json::Value = folder.read_config(&file)?;
    let class = json["_class_name"].as_str().or_else(|| json["architectures"][0].as_str());
    let of_kind = match kind {
        Some(Kind::ClipText) => "CLIPTextModel",
        Some(Kind::T5) => "T5EncoderModel",
        Some(Kind::Mask2Former) => "Mask2FormerForUniversalSegmentation",
        _ => "no class named",
    };
    let class = class.unwrap_or(of_kind).to_owned();
    let device = Device::default();
    let keys = match class.as_str() {
        "UNet2DConditionModel" => Some(keys(&read::<UnetConfig>(folder, &file)?.init(&device))),
        "AutoencoderKL" => Some(keys(&read::<AutoencoderKlConfig>(folder, &file)?.init(&device))),
        "FluxTransformer2DModel" => Some(keys(&read::<FluxConfig>(folder, &file)?.init(&device))),
        "CLIPTextModel" => Some(keys(&read::<ClipTextConfig>(folder, &file)?.init(&device))),
        "CLIPModel" => Some(keys(&read::<ClipConfig>(folder, &file)?.init(&device))),
        "Mask2FormerForUniversalSegmentation" => {
            Some(mask2former::weight_keys(&read::<Mask2FormerConfig>(folder, &file)?))
        }
        "T5EncoderModel" => Some(keys(&read::<T5Config>(folder, &file)?.init(&device))),
        _ => None,
    };
    Ok(Network { class, keys })
}
