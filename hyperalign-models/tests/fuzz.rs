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
    clip::{ClipConfig, ClipTextConfig},
    flux::FluxConfig,
    generate::Knowledge,
    pickle::{Names, Pickle, Policy},
    t5::T5Config,
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

/// A dictionary of one tensor, as `torch.save` pickles it.
const STATE: &[u8] =
    b"\x80\x02}q\x00X\x01\x00\x00\x00aq\x01ctorch._utils\n_rebuild_tensor_v2\nq\x02\
    ((X\x07\x00\x00\x00storageq\x03ctorch\nFloatStorage\nq\x04X\x01\x00\x00\x000q\x05X\x03\x00\x00\
    \x00cpuq\x06K\x02tq\x07QK\x00K\x02\x85q\x08K\x01\x85q\x09\x89ccollections\nOrderedDict\nq\x0a)\
    Rq\x0btq\x0cRq\x0ds.";

/// An archive of stored members, as torch.save writes it.
fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let header = |mark: &[u8; 4], lead: usize, name: &str, size: usize, offset: Option<usize>| {
        let mut bytes = mark.to_vec();
        bytes.resize(lead, 0);
        bytes.extend([0; 8]);
        bytes.extend((size as u32).to_le_bytes().repeat(2));
        bytes.extend((name.len() as u16).to_le_bytes());
        bytes.extend([0; 2]);
        if let Some(offset) = offset {
            bytes.extend([0; 10]);
            bytes.extend((offset as u32).to_le_bytes());
        }
        bytes.extend(name.as_bytes());
        bytes
    };
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in members {
        directory.extend(header(b"PK\x01\x02", 12, name, content.len(), Some(file.len())));
        file.extend(header(b"PK\x03\x04", 10, name, content.len(), None));
        file.extend(*content);
    }
    let start = file.len() as u32;
    file.extend(&directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend((members.len() as u16).to_le_bytes().repeat(2));
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend([0; 2]);
    file
}

#[test]
fn torch_archives() {
    let corpus = vec![archive(&[("x/data.pkl", STATE), ("x/data/0", &[1; 8])])];
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
