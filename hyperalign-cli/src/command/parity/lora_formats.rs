//! Reference files with one LoRA in several conventions.
//!
//! Tensors below `peft.`, `kohya.` and `bfl.` are those of a file in that convention. All of them are
//! the same LoRA, and give `out.sample`; PEFT's without the configuration that has its alpha gives
//! `out.sample_peft_no_alpha`. What is read in one convention is also written in all of them, and has to
//! be the tensors of the file bit for bit.

use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorData};
use hyperalign_core::lora::LoraSet;
use hyperalign_models::{
    clip::ClipTextConfig,
    flux::FluxConfig,
    lora::{Convention, Family, Layers, LoraFile, Part},
    t5::T5Config,
    unet::UnetConfig,
    weights::{self, Tensors},
};
use miette::{IntoDiagnostic, miette};

use super::{
    checks::{Checks, FORWARD},
    flux,
    golden::{Golden, Values},
};

/// The conventions that a file may hold, and what its tensors begin with.
const CONVENTIONS: [(Convention, &str); 3] =
    [(Convention::Peft, "peft."), (Convention::Kohya, "kohya."), (Convention::Bfl, "bfl.")];

/// `lora_formats_unet*`: a LoRA of the U-Net.
pub(super) fn unet(golden: &Golden, checks: &mut Checks) -> miette::Result<()> {
    let config: UnetConfig = serde_json::from_value(sizes(golden)).into_diagnostic()?;
    let device = checks.device.clone();
    let network = weights::load(config.init(&device), &base(golden, "unet")?).into_diagnostic()?;
    let clip = ClipTextConfig::default().init(&device);
    let layers = Layers::stable_diffusion(&network, &clip);
    let sample = golden.tensor::<4>("in.sample", &device)?;
    let timesteps = golden.tensor::<1>("in.timestep", &device)?.expand([sample.dims()[0]]);
    let context = golden.tensor::<3>("in.encoder_hidden_states", &device)?;
    run(golden, checks, &layers, Part::Denoiser, |lora| {
        network.forward(sample.clone(), timesteps.clone(), context.clone(), lora)
    })
}

/// `lora_formats_flux*`: a LoRA of the transformer of FLUX.1.
pub(super) fn flux(golden: &Golden, checks: &mut Checks) -> miette::Result<()> {
    let config: FluxConfig = serde_json::from_value(sizes(golden)).into_diagnostic()?;
    let device = checks.device.clone();
    let network = weights::load(config.init(&device), &base(golden, "flux")?).into_diagnostic()?;
    let clip = ClipTextConfig::default().init(&device);
    let t5 = T5Config::default().init(&device);
    let layers = Layers::flux(&network, &clip, &t5);
    let inputs = flux::inputs(golden, &device)?;
    run(golden, checks, &layers, Part::Denoiser, |lora| network.forward(inputs.clone(), lora))
}

/// `lora_formats_clip*`: a LoRA of the text encoder of Stable Diffusion.
pub(super) fn clip(golden: &Golden, checks: &mut Checks) -> miette::Result<()> {
    let config: ClipTextConfig = serde_json::from_value(sizes(golden)).into_diagnostic()?;
    let device = checks.device.clone();
    let network =
        weights::load(config.init(&device), &base(golden, "clip_text")?).into_diagnostic()?;
    let layers = Layers::stable_diffusion(&UnetConfig::default().init(&device), &network);
    let ids = golden.ids::<2>("in.input_ids", &device)?;
    run(golden, checks, &layers, Part::TextEncoder, |lora| {
        network.forward_with(ids.clone(), lora).last_hidden_state
    })
}

/// The weights of the file or, where it has none, of that of `component` beside it.
fn base(golden: &Golden, component: &str) -> miette::Result<Tensors> {
    golden.weights().or_else(|_| golden.beside(component)?.weights())
}

/// The sizes of the network alone.
fn sizes(golden: &Golden) -> serde_json::Value {
    let mut config = golden.json().clone();
    if let Some(config) = config.as_object_mut() {
        config.remove("lora");
    }
    config
}

fn run<const D: usize>(
    golden: &Golden,
    checks: &mut Checks,
    layers: &Layers,
    part: Part,
    forward: impl Fn(Option<&LoraSet>) -> Tensor<D>,
) -> miette::Result<()> {
    checks.tensor("out.sample_base", forward(None));
    let tensors = Tensors::open(golden.path()).into_diagnostic()?;
    let header = header(golden)?;
    let mut first: Option<LoraFile> = None;
    for (convention, prefix) in CONVENTIONS {
        let own = tensors.below(prefix);
        if own.iter().next().is_none() {
            continue;
        }
        let read = |header: &BTreeMap<String, String>| {
            LoraFile::read(None, &own.clone().with_metadata(header.clone()), layers)
                .into_diagnostic()
        };
        let output = |file: &LoraFile| forward(Some(&file.set(layers, part, 1.0, &checks.device)));
        let file = read(&header)?;
        let sample = output(&file);
        if convention == Convention::Peft {
            let bare = output(&read(&BTreeMap::new())?);
            checks.tensor("out.sample_peft_no_alpha", bare);
        }
        checks.again("out.sample", prefix.trim_end_matches('.'), sample);
        for (into, prefix) in CONVENTIONS {
            let expected = tensors.below(prefix);
            if expected.iter().next().is_some() {
                written(checks, (convention, &file), (into, &expected), layers)?;
            }
        }
        first.get_or_insert(file);
    }
    checks.done("out.sample");
    let file = first.ok_or_else(|| miette!("the file holds a LoRA in no convention"))?;
    merged(golden, checks, &file, layers, part)
}

/// The header of the PEFT file.
fn header(golden: &Golden) -> miette::Result<BTreeMap<String, String>> {
    let lora = &golden.json()["lora"];
    let own = &lora["peft_file_header"]["lora_adapter_metadata"];
    let text = match own.as_str() {
        Some(text) => text.to_owned(),
        None => serde_json::json!({"lora_alpha": lora["alpha"]}).to_string(),
    };
    if own.is_null() && !lora["alpha"].is_number() {
        return Err(miette!("the config says nothing of `lora.alpha`"));
    }
    Ok(BTreeMap::from([("lora_adapter_metadata".to_owned(), text)]))
}

/// What was read in one convention is written in another as the file has it there.
fn written(
    checks: &mut Checks,
    (from, file): (Convention, &LoraFile),
    (into, expected): (Convention, &Tensors),
    layers: &Layers,
) -> miette::Result<()> {
    let found = Tensors::held("written", file.to_bytes(layers, into)).into_diagnostic()?;
    let differs = |(key, shape): &(&str, &[usize])| {
        let same = matches!((found.f32(key), expected.f32(key)), (Ok(a), Ok(b)) if a == b);
        !same || found.shape(key) != Some(shape)
    };
    let wrong: Vec<&str> = expected.iter().filter(differs).map(|(key, _)| key).collect();
    let (count, of) = (found.iter().count(), expected.iter().count());
    let note = match wrong.first() {
        Some(key) => format!("{} of {of} tensors differ, the first is `{key}`", wrong.len()),
        None => format!("{count} of {of} tensors, bit for bit"),
    };
    let name = format!("{} to {}", short(from), short(into));
    checks.verdict(&name, wrong.is_empty() && count == of, note);
    Ok(())
}

fn short(convention: Convention) -> &'static str {
    let found = CONVENTIONS.iter().find(|(known, _)| *known == convention);
    found.map_or("", |(_, prefix)| prefix.trim_end_matches('.'))
}

/// `out.merged.*`: weights with the update in them.
fn merged(
    golden: &Golden,
    checks: &mut Checks,
    file: &LoraFile,
    layers: &Layers,
    part: Part,
) -> miette::Result<()> {
    let component = match (layers.family(), part) {
        (_, Part::TextEncoder | Part::TextEncoder2) => "clip_text",
        (Family::StableDiffusion1, _) => "unet",
        (Family::Flux1, _) => "flux",
    };
    let weights = base(golden, component)?;
    for name in checks.left() {
        let path = name.strip_prefix("out.merged.").and_then(|name| name.strip_suffix(".weight"));
        let Some(layer) = path.and_then(|path| layers.find(part, path)) else { continue };
        let update = file.updates.get(&layer).ok_or_else(|| miette!("`{name}` has no update"))?;
        let matrix = |values: &[f32], shape: [usize; 2]| {
            Tensor::<2>::from_data(TensorData::new(values.to_vec(), shape), &checks.device)
        };
        let up = matrix(&update.up.values, [update.up.rows, update.up.columns]);
        let down = matrix(&update.down.values, [update.down.rows, update.down.columns]);
        let change = up.matmul(down) * update.scale();
        let key = name.trim_start_matches("out.merged.");
        let weight = weights.f32(key).into_diagnostic()?;
        let change = change.into_data();
        let values = weight.iter().zip(change.iter::<f64>());
        let values = values.map(|(weight, change)| f64::from(*weight) + change).collect();
        let shape = layers.all()[layer].shape.clone();
        checks.values(&name, &Values { shape, values }, FORWARD);
    }
    Ok(())
}
