//! Readers of weights, configurations and pickles on inputs that nobody wrote.

#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "clippy takes helpers outside of `#[test]` functions for the program"
)]

use hyperalign_core::testing;
use std::collections::BTreeMap;

use burn::nn::LinearConfig;
use hyperalign_core::{
    fuzz::{Counting, Fuzz, inputs},
    schedule::{FlowSchedulerConfig, SchedulerConfig},
};
use hyperalign_models::{
    base::Adaptable,
    clip::{ClipConfig, ClipTextConfig},
    flux::FluxConfig,
    generate::Knowledge,
    lora::{Convention, Factor, Float, LoraFile, Part, Update},
    pickle::{Names, Pickle, Policy},
    t5::T5Config,
    testing::{checkpoint, small_flux, stored_zip},
    unet::UnetConfig,
    vae::AutoencoderKlConfig,
    weights::{FileFloat, Tensors, parse_config, published, reinit, to_bytes},
};
use serde::de::DeserializeOwned;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn fuzz(fuzz: &Fuzz, read: impl FnMut(&[u8]) -> bool) {
    let figures = fuzz.run(inputs(), read);
    eprintln!("fuzz {}: {figures}", fuzz.name);
}

#[test]
fn safetensors() {
    let layer = reinit(LinearConfig::new(3, 4).init(&testing::device()), 1);
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    let corpus = [FileFloat::F32, FileFloat::F16];
    let corpus = corpus.map(|float| to_bytes(&layer, float, &metadata).unwrap()).to_vec();
    let words = &[
        "\"dtype\":\"F8_E4M3\"",
        "\"shape\":[",
        "\"data_offsets\":[",
        "__metadata__",
        "[",
        "{",
        "4294967296",
        "null",
        "GGUF",
        "<html",
    ];
    fuzz(&Fuzz { name: "safetensors", corpus, words, constant: 1 << 20 }, |bytes| {
        let Ok(tensors) = Tensors::held("model.safetensors", bytes) else { return false };
        let _ = published::identify(&tensors).map(|kind| published::extras(kind, &tensors));
        tensors.iter().all(|(key, _)| tensors.f32(key).is_ok())
    });
}

#[test]
fn lora_files() {
    let device = testing::device();
    let layers = small_flux(true, &device).lora_layers().unwrap();
    let conventions = [Convention::Peft, Convention::Kohya, Convention::Bfl];
    let wanted = ["attn.to_q", "attn.to_k", "attn.to_v", "norm_out.linear", "x_embedder"];
    let own = layers.all().iter().enumerate();
    let own = own.filter(|(_, layer)| wanted.iter().any(|end| layer.path.ends_with(end)));
    let updates = own.map(|(i, layer)| {
        let factor = |rows: usize, columns: usize| {
            let values = (0..rows * columns).map(|k| (k as f32).sin()).collect();
            Factor { rows, columns, values, float: Float::F16 }
        };
        let (down, up) = (factor(2, layer.d_input()), factor(layer.d_output(), 2));
        (i, Update { down, up, alpha: 3.0 + i as f64 })
    });
    let file = LoraFile {
        name: String::new(),
        conventions: Default::default(),
        updates: updates.collect(),
        metadata: BTreeMap::new(),
    };
    let corpus = conventions.map(|convention| file.to_bytes(&layers, convention)).to_vec();
    let words = &[
        ".lora_A.weight",
        ".lora_down.weight",
        ".alpha",
        ".dora_scale",
        "lora_adapter_metadata",
        "alpha_pattern",
        "lora_unet_",
        "\"shape\":[0,",
        "\"shape\":[]",
        "\"dtype\":\"I64\"",
    ];
    fuzz(&Fuzz { name: "lora", corpus, words, constant: 4 << 20 }, |bytes| {
        let Ok(tensors) = Tensors::held("lora.safetensors", bytes) else { return false };
        let Ok(file) = LoraFile::read(None, &tensors, &layers) else { return false };
        // What is read can be used and written.
        let set = file.set(&layers, Part::Denoiser, 1.0, &device);
        conventions.iter().all(|convention| !file.to_bytes(&layers, *convention).is_empty())
            && set.len() == file.updates.len()
    });
}

/// A dictionary of one tensor, as `torch.save` pickles it.
const STATE: &[u8] =
    b"\x80\x02}q\x00X\x01\x00\x00\x00aq\x01ctorch._utils\n_rebuild_tensor_v2\nq\x02\
    ((X\x07\x00\x00\x00storageq\x03ctorch\nFloatStorage\nq\x04X\x01\x00\x00\x000q\x05X\x03\x00\x00\
    \x00cpuq\x06K\x02tq\x07QK\x00K\x02\x85q\x08K\x01\x85q\x09\x89ccollections\nOrderedDict\nq\x0a)\
    Rq\x0btq\x0cRq\x0ds.";

#[test]
fn torch_archives() {
    let file = [("a".to_owned(), (vec![2], vec![1.0; 2]))].into();
    let corpus = vec![
        stored_zip(&[("x/data.pkl", STATE), ("x/data/0", &[1; 8])]),
        // Of before archives.
        checkpoint(&file),
    ];
    let words = &["PK\x03\x04", "PK\x01\x02", "PK\x05\x06", "(", "]", "}", "t", "R", "."];
    fuzz(&Fuzz { name: "torch archives", corpus, words, constant: 1 << 20 }, |bytes| {
        Tensors::held("model.pt", bytes).is_ok()
    });
}

/// That of files, which name whatever they like: nothing of it is run.
const POLICY: Policy = Policy { names: Names::Any, instructions: 1 << 20 };

#[test]
fn pickles() {
    let dict = b"\x80\x04\x95\x20\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x06images\x94]\x94(C\x02ab\
                 C\x01ce\x8c\x06prompt\x94\x8c\x01xu.";
    let list = b"\x80\x02]q\x00(K\x01G?\xf0\x00\x00\x00\x00\x00\x00NX\x01\x00\x00\x00ae.";
    let words = &["(", "]", "}", ")", "h\0", "q\0", "2", "R", ".", "\u{1}", "e", "u", "s"];
    let corpus = vec![dict.to_vec(), list.to_vec(), STATE.to_vec()];
    fuzz(&Fuzz { name: "pickles", corpus, words, constant: 1 << 20 }, |bytes| {
        let Ok(pickle) = Pickle::read(bytes, POLICY) else { return false };
        let root = pickle.root();
        let _ = (pickle.list(root), pickle.get(root, "images"), pickle.text(root));
        true
    });
}

#[test]
fn knowledge() {
    let sample =
        r#"{"a red dog and a blue heart": [{"dog": ["red"]}, {"heart": ["blue", "big"]}]}"#;
    let words = &["{", "[", "\"", ":", "null", "[[", "{\"\":[]}", "\u{FEFF}", "\\u0000", "1e999"];
    let corpus = vec![sample.as_bytes().to_vec(), b"{}".to_vec()];
    fuzz(&Fuzz { name: "knowledge", corpus, words, constant: 1 << 20 }, |bytes| {
        serde_json::from_slice::<Knowledge>(bytes).is_ok()
    });
}

/// Fuzzes the configuration of which `samples` are.
fn config<C: DeserializeOwned>(name: &str, samples: &[serde_json::Value]) {
    let corpus = samples.iter().map(|sample| sample.to_string().into_bytes()).collect();
    let words = &[
        "null",
        "[64,64]",
        "-1",
        "1e999",
        "[",
        "{",
        "\"",
        "true",
        "18446744073709551616",
        "\u{FEFF}",
        "\"sample_size\":",
        ": -Infinity",
        "NaN",
    ];
    // Keys are tried one by one for the blame, and each try is a copy.
    fuzz(&Fuzz { name, corpus, words, constant: 4 << 20 }, |bytes| {
        parse_config::<C>("config.json", bytes).is_ok()
    });
}

fn json(value: &impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(value).unwrap()
}

#[test]
fn configs_of_unets() {
    config::<UnetConfig>("unet config", &[json(&UnetConfig::sd15())]);
}

#[test]
fn configs_of_autoencoders() {
    let samples = [json(&AutoencoderKlConfig::sd15()), json(&AutoencoderKlConfig::flux1())];
    config::<AutoencoderKlConfig>("vae config", &samples);
}

#[test]
fn configs_of_clip() {
    config::<ClipTextConfig>("clip text config", &[json(&ClipTextConfig::sd15())]);
    config::<ClipConfig>("clip config", &[json(&ClipConfig::vit_l_14())]);
}

#[test]
fn configs_of_flux_and_t5() {
    config::<FluxConfig>("flux config", &[json(&FluxConfig::dev())]);
    config::<T5Config>("t5 config", &[json(&T5Config::xxl())]);
}

#[test]
fn configs_of_schedulers() {
    let sample = serde_json::json!({
        "_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012,
        "beta_schedule": "scaled_linear", "num_train_timesteps": 100, "steps_offset": 1,
    });
    config::<SchedulerConfig>("scheduler config", &[sample]);
    let sample =
        serde_json::json!({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0});
    config::<FlowSchedulerConfig>("flow scheduler config", &[sample]);
}
