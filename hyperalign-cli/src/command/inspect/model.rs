//! What a file or a folder of weights is, and what is missing from it.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;
use hyperalign_models::clip::{ClipConfig, ClipTextConfig, open_clip};
use hyperalign_models::flux::FluxConfig;
use hyperalign_models::t5::T5Config;
use hyperalign_models::tiny_codec::{TinyDecoder, TinyEncoder};
use hyperalign_models::unet::UnetConfig;
use hyperalign_models::vae::AutoencoderKlConfig;
use hyperalign_models::weights::published::{self, Kind, SingleFile, published_keys};
use hyperalign_models::weights::{Folder, Key, KeyMismatch, LoadError, Tensors, compare, keys};
use miette::IntoDiagnostic;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::adapter::{self, parameters};
use super::memory::{Memory, Sizes};

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
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<Memory>,
}

/// The network of a component: its class, and its keys where we know it.
struct Network {
    class: String,
    keys: Option<Vec<Key>>,
}

/// Describes the weight file `path`. There is no configuration, so what is known by its keys is
/// compared with the published model of that kind.
pub(super) fn file(path: &Path) -> miette::Result<Weights> {
    let tensors = Tensors::open(path).into_diagnostic()?;
    let kind = published::identify(&tensors);
    let known = kind.and_then(|kind| expected(kind, &tensors));
    let (name, keys) = known.unzip();
    let what = match kind {
        Some(kind) => kind.to_string(),
        None if tensors.metadata().contains_key(adapter::METADATA) => {
            "an adapter: `hyperalign inspect adapter` tells more".to_owned()
        }
        None => "not known here".to_owned(),
    };
    let mut weights = describe(&tensors, what, keys.as_deref())?;
    weights.compared_with = name.map(str::to_owned);
    // Nothing is known of one that has other sizes than the published model.
    if weights.other_shapes.is_empty() {
        weights.memory = match kind {
            Some(Kind::StableDiffusion1) => Some(Sizes::sd15().memory(weights.parameters)),
            Some(Kind::FluxBfl | Kind::Flux) => {
                Some(Sizes::flux1(flux(&tensors)).memory_beside_others(weights.parameters))
            }
            _ => None,
        };
    }
    Ok(weights)
}

/// Describes the model folder `path`: a pipeline, a single network, or weight files with parts beside
/// them, as Black Forest Labs publish FLUX.1. Nothing if it is none of them.
pub(super) fn folder(path: &Path) -> miette::Result<Option<serde_json::Value>> {
    let folder = Folder::disk(path);
    let json = |value| serde_json::to_value(value).into_diagnostic();
    if folder.contains("config.json") {
        return component(&folder, "").and_then(json).map(Some);
    }
    #[derive(serde::Deserialize)]
    struct Index {
        #[serde(rename = "_class_name")]
        class: String,
        #[serde(flatten)]
        parts: BTreeMap<String, serde_json::Value>,
    }
    if !folder.contains("model_index.json") {
        let parts = loose(path, &folder)?;
        let parameters = parts.iter().map(|part| part.parameters).sum();
        let (folder, what) = (path.display().to_string(), "weight files".to_owned());
        let model = Model { folder, what, parameters, parts, memory: None };
        return if model.parts.is_empty() { Ok(None) } else { json_of(model).map(Some) };
    }
    let Index { class, parts: names } = folder.read_config("model_index.json").into_diagnostic()?;
    let mut parts = Vec::new();
    for name in names.keys().filter(|name| name.as_str() != "safety_checker") {
        if folder.contains(&format!("{name}/config.json")) {
            parts.push(component(&folder, name)?);
        }
    }
    let parameters = parts.iter().map(|part| part.parameters).sum();
    let memory = Sizes::read(&folder).map(|sizes| sizes.memory(parameters));
    let folder = path.display().to_string();
    let model = Model { folder, what: class, parameters, parts, memory };
    json_of(model).map(Some)
}

fn json_of(model: Model) -> miette::Result<serde_json::Value> {
    serde_json::to_value(model).into_diagnostic()
}

/// The weight files in a folder without an index, and the networks in the folders below it.
fn loose(path: &Path, folder: &Folder) -> miette::Result<Vec<Weights>> {
    let mut names: Vec<String> = std::fs::read_dir(path)
        .into_diagnostic()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort_unstable();
    let mut parts = Vec::new();
    for name in names {
        if name.ends_with(".safetensors") {
            parts.push(file(&path.join(name))?);
        } else if folder.contains(&format!("{name}/config.json")) {
            parts.push(component(folder, &name)?);
        }
    }
    Ok(parts)
}

fn component(folder: &Folder, sub: &str) -> miette::Result<Weights> {
    let network = network(folder, sub).into_diagnostic()?;
    let tensors = folder.tensors(sub).into_diagnostic()?;
    let kind = published::identify(&tensors);
    let what = match kind {
        Some(kind) => format!("{}: {kind}", network.class),
        None => network.class,
    };
    let keys = network.keys.map(|ours| in_layout_of(kind, ours));
    let mut weights = describe(&tensors, what, keys.as_deref())?;
    weights.compared_with = keys.map(|_| "its config.json".to_owned());
    Ok(weights)
}

/// Reads every value, so that a damaged file is an error here and not in the middle of a run.
fn describe(tensors: &Tensors, what: String, expected: Option<&[Key]>) -> miette::Result<Weights> {
    let mut formats = BTreeMap::new();
    for (key, _) in tensors.iter() {
        let format = tensors.dtype(key).unwrap_or_default();
        if format.starts_with('F') || format.starts_with("BF") {
            tensors.f32(key).into_diagnostic()?;
        }
        *formats.entry(format).or_insert(0) += 1;
    }
    let (passed_over, _): (Vec<&str>, Vec<&str>) =
        tensors.iter().map(|(key, _)| key).partition(|key| published::is_extra(key));
    let passed_over: Vec<String> = passed_over.into_iter().map(str::to_owned).collect();
    let used = tensors.clone().rename(|key| (!published::is_extra(key)).then(|| key.to_owned()));
    let KeyMismatch { missing, unused, shapes } = match expected {
        Some(keys) => compare(keys, &used),
        None => KeyMismatch::default(),
    };
    let names =
        |keys: Vec<(String, Option<String>)>| keys.into_iter().map(|(key, _)| key).collect();
    Ok(Weights {
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
        memory: None,
        metadata: tensors.metadata().clone(),
    })
}

/// The network that the `config.json` in the part `sub` describes.
fn network(folder: &Folder, sub: &str) -> Result<Network, LoadError> {
    fn read<T: DeserializeOwned>(folder: &Folder, file: &str) -> Result<T, LoadError> {
        folder.read_config(file)
    }
    let file = if sub.is_empty() { "config.json".to_owned() } else { format!("{sub}/config.json") };
    let json: serde_json::Value = folder.read_config(&file)?;
    let class = json["_class_name"].as_str().or_else(|| json["architectures"][0].as_str());
    let class = class.unwrap_or("no class named").to_owned();
    let device = Device::default();
    let keys = match class.as_str() {
        "UNet2DConditionModel" => Some(keys(&read::<UnetConfig>(folder, &file)?.init(&device))),
        "AutoencoderKL" => Some(keys(&read::<AutoencoderKlConfig>(folder, &file)?.init(&device))),
        "FluxTransformer2DModel" => Some(keys(&read::<FluxConfig>(folder, &file)?.init(&device))),
        "CLIPTextModel" => Some(keys(&read::<ClipTextConfig>(folder, &file)?.init(&device))),
        "CLIPModel" => Some(keys(&read::<ClipConfig>(folder, &file)?.init(&device))),
        "T5EncoderModel" => Some(keys(&read::<T5Config>(folder, &file)?.init(&device))),
        _ => None,
    };
    Ok(Network { class, keys })
}

/// The keys of the network whose keys are `ours` in a file of another layout.
fn in_layout_of(kind: Option<Kind>, ours: Vec<Key>) -> Vec<Key> {
    match kind {
        Some(Kind::VaeLdm) => published_keys(&ours, published::vae(&ours)),
        Some(Kind::VaeOld) => published_keys(&ours, published::old_attention),
        Some(Kind::FluxBfl) => published_keys(&ours, published::flux),
        Some(Kind::OpenClip) => open_clip::from_transformers(&ours),
        _ => ours,
    }
}

/// The published transformer that the file of a FLUX.1 most likely is.
fn flux(tensors: &Tensors) -> FluxConfig {
    let guided = ["guidance_in.", "time_text_embed.guidance_embedder."];
    match tensors.iter().any(|(key, _)| guided.iter().any(|part| key.starts_with(part))) {
        true => FluxConfig::dev(),
        false => FluxConfig::schnell(),
    }
}

/// The published model that a file of this kind most likely is, and the keys of its file.
fn expected(kind: Kind, tensors: &Tensors) -> Option<(&'static str, Vec<Key>)> {
    let device = Device::default();
    let has = |part: &str| tensors.iter().any(|(key, _)| key.starts_with(part));
    let vae = || match has("quant_conv.") {
        true => ("Stable Diffusion 1.5", keys(&AutoencoderKlConfig::sd15().init(&device))),
        false => ("FLUX.1", keys(&AutoencoderKlConfig::flux1().init(&device))),
    };
    let flux = || {
        let config = flux(tensors);
        let name = if config.guidance_embeds { "FLUX.1 [dev]" } else { "FLUX.1 [schnell]" };
        (name, keys(&config.init(&device)))
    };
    let (name, ours) = match kind {
        Kind::StableDiffusion1 => {
            let unet = keys(&UnetConfig::sd15().init(&device));
            let vae = keys(&AutoencoderKlConfig::sd15().init(&device));
            let text = keys(&ClipTextConfig::sd15().init(&device));
            ("Stable Diffusion 1.5", SingleFile::keys(&unet, &vae, &text))
        }
        Kind::FluxBfl | Kind::Flux => flux(),
        Kind::Unet => ("Stable Diffusion 1.5", keys(&UnetConfig::sd15().init(&device))),
        Kind::VaeLdm | Kind::VaeOld | Kind::Vae => vae(),
        Kind::ClipText => ("OpenAI's ViT-L/14", keys(&ClipTextConfig::sd15().init(&device))),
        Kind::Clip | Kind::OpenClip => {
            match tensors.shape("logit_scale").is_some() && has("visual.transformer.resblocks.31.")
                || has("vision_model.encoder.layers.31.")
            {
                true => ("a ViT-H/14", keys(&ClipConfig::vit_h_14().init(&device))),
                false => ("OpenAI's ViT-L/14", keys(&ClipConfig::vit_l_14().init(&device))),
            }
        }
        Kind::T5 => ("T5 v1.1 XXL", keys(&T5Config::xxl().init(&device))),
        Kind::TinyEncoder => ("VAElight", keys(&TinyEncoder::new(&device))),
        Kind::TinyDecoder => ("VAElight", keys(&TinyDecoder::new(&device))),
        _ => return None,
    };
    Some((name, in_layout_of(Some(kind), ours)))
}
