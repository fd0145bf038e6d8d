//! Reference files with one LoRA in several conventions.
//!
//! Tensors below `peft.`, `kohya.` and `bfl.` are those of a file in that convention. All of them are
//! the same LoRA, and give `out.sample`; PEFT's without the configuration that has its alpha gives
//! `out.sample_peft_no_alpha`.

use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorData};
use hyperalign_core::lora::LoraSet;
use hyperalign_models::{
    clip::ClipTextConfig,
    flux::FluxConfig,
    lora::{Convention, Layers, LoraFile, Part},
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
    let network = weights::load(config.init(&device), &golden.weights()?).into_diagnostic()?;
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
    let network = weights::load(config.init(&device), &golden.weights()?).into_diagnostic()?;
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
    let network = weights::load(config.init(&device), &golden.weights()?).into_diagnostic()?;
    let layers = Layers::stable_diffusion(&UnetConfig::default().init(&device), &network);
    let ids = golden.ids::<2>("in.input_ids", &device)?;
    run(golden, checks, &layers, Part::TextEncoder, |lora| {
        network.forward_with(ids.clone(), lora).last_hidden_state
    })
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
        let output = |file: &LoraFile| {
            forward(Some(&file.set(layers, part, 1.0, &checks.device)))
        };
        let file = read(&header)?;
        let sample = output(&file);
        if convention == Convention::Peft {
            let bare = output(&read(&BTreeMap::new())?);
            checks.tensor("out.sample_peft_no_alpha", bare);
        }
        checks.again("out.sample", prefix.trim_end_matches('.'), sample);
        round_trip(checks, &file, convention, &own, layers)?;
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

/// What is written in a convention is what was read in it, bit for bit.
fn round_trip(
    checks: &mut Checks,
    file: &LoraFile,
    convention: Convention,
    own: &Tensors,
    layers: &Layers,
) -> miette::Result<()> {
    let again = Tensors::held("written", file.to_bytes(layers, convention)).into_diagnostic()?;
    let differ = |(key, shape): (&str, &[usize])| {
        let same = again.shape(key) == Some(shape)
            && matches!((again.f32(key), own.f32(key)), (Ok(a), Ok(b)) if a == b);
        if same { None } else { Some(key.to_owned()) }
    };
    let wrong: Vec<String> = own.iter().filter_map(differ).collect();
    let count = again.iter().count();
    let note = match wrong.first() {
        Some(key) => format!("{} tensors differ, the first is `{key}`", wrong.len()),
        None => format!("{count} tensors written as they were read"),
    };
    let ok = wrong.is_empty() && count == own.iter().count();
    checks.verdict(&format!("write as {convention}"), ok, note);
    Ok(())
}

/// `out.merged.*`: weights with the update in them.
fn merged(
    golden: &Golden,
    checks: &mut Checks,
    file: &LoraFile,
    layers: &Layers,
    part: Part,
) -> miette::Result<()> {
    let weights = golden.weights()?;
    for name in checks.left() {
        let path =
            name.strip_prefix("out.merged.").and_then(|name| name.strip_suffix(".weight"));
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
