//! Published rewards' files in their published layouts, with tiny networks in them.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use burn::tensor::Device;
use hyperalign_core::testing;
use hyperalign_models::{
    affine::AffineHead,
    bert::{self, BertConfig},
    blip::{BlipConfig, BlipVisionConfig},
    clip::{ClipConfig, ClipTextConfig, ClipVisionConfig, HiddenAct},
    testing::shaken,
    tokenizer::Tokenizer,
    weights::{FileFloat, reinit, save, to_bytes},
};
use hyperalign_rewards::{Files, OpenError, Prompt, Reward, entry, open_one, open_with};
use image::{Rgb, RgbImage};

const WORDS: [&str; 5] = ["a", "red", "heart", "blue", "dog"];
const SIZE: usize = 12;

fn clip(vocab_size: usize) -> ClipConfig {
    ClipConfig {
        text_config: ClipTextConfig {
            vocab_size,
            hidden_size: 8,
            intermediate_size: 12,
            num_hidden_layers: 1,
            num_attention_heads: 2,
            max_position_embeddings: 9,
            hidden_act: HiddenAct::Gelu,
            eos_token_id: 2,
            ..ClipTextConfig::default()
        },
        vision_config: ClipVisionConfig {
            hidden_size: 12,
            intermediate_size: 16,
            num_hidden_layers: 2,
            num_attention_heads: 3,
            image_size: SIZE,
            patch_size: 4,
            hidden_act: HiddenAct::Gelu,
            ..ClipVisionConfig::default()
        },
        projection_dim: 6,
        ..ClipConfig::default()
    }
}

pub fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    std::fs::write(folder.join(name), bytes).unwrap();
}

fn write_tokenizer(folder: &Path) -> usize {
    let tokenizer = Tokenizer::from_words(&WORDS, 9).unwrap();
    write(folder, "tokenizer.json", tokenizer.to_json().unwrap());
    write(folder, "tokenizer_config.json", tokenizer.config_json().to_string());
    tokenizer.vocab_size()
}

/// A safetensors file of plain numbers.
pub fn safetensors(tensors: &[(String, Vec<usize>)]) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (k, (name, shape)) in tensors.iter().enumerate() {
        let start = data.len();
        for i in 0..shape.iter().product() {
            data.extend(((i * 7 + k) as f32 * 0.37).sin().to_le_bytes());
        }
        let offsets = [start, data.len()];
        let entry = serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": offsets});
        header.insert(name.clone(), entry);
    }
    let header = serde_json::Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

pub fn head(prefix: &str, inputs: usize) -> Vec<(String, Vec<usize>)> {
    let keys = AffineHead::keys(inputs).into_iter();
    // The published widths are far wider than a test needs.
    let narrow = |n: usize| if n > 16 { 5 } else { n };
    keys.map(|key| {
        let shape = key.shape.iter().map(|n| if *n == inputs { *n } else { narrow(*n) });
        (format!("{prefix}{}", key.name), shape.collect())
    })
    .collect()
}

/// A CLIP in the layout of transformers, and an aesthetic head over it.
pub fn clip_folder() -> tempfile::TempDir {
    folder_of(false)
}

/// The same of a CLIP that reads the timestep.
pub fn step_aware_folder() -> tempfile::TempDir {
    folder_of(true)
}

fn folder_of(step_aware: bool) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = ClipConfig { step_aware, ..clip(write_tokenizer(folder.path())) };
    write(folder.path(), "config.json", serde_json::to_string(&config).unwrap());
    let model = reinit(config.init(&testing::device()), 3);
    // What reads the timestep begins by giving nothing.
    let model = if step_aware { shaken(model, 0.1) } else { model };
    let path = folder.path().join("model.safetensors");
    save(&model, &path, FileFloat::F32, &BTreeMap::new()).unwrap();
    write(folder.path(), "sac+logos+ava1-l14-linearMSE.safetensors", safetensors(&head("", 6)));
    folder
}

/// ImageReward's one file, its sizes beside it.
pub fn blip_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let vocab_size = write_tokenizer(folder.path());
    let config = BlipConfig {
        vision: BlipVisionConfig {
            embed_dim: 12,
            depth: 1,
            num_heads: 2,
            img_size: SIZE,
            patch_size: 4,
        },
        bert: BertConfig {
            vocab_size,
            hidden_size: 8,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            intermediate_size: 10,
            max_position_embeddings: 9,
            add_cross_attention: true,
            encoder_width: 12,
            ..BertConfig::default()
        },
    };
    write(folder.path(), "config.json", serde_json::to_string(&config).unwrap());
    let blip = reinit(config.init(&testing::device()), 4);
    let networks = to_bytes(&blip, FileFloat::F32, &BTreeMap::new()).unwrap();
    let (header, data) = parts(&networks);
    let renamed = header
        .into_iter()
        .map(|(key, entry)| (format!("blip.{}", bert::their_name(&key)), entry))
        .collect();
    write(folder.path(), "ImageReward.pt", file(renamed, &data));
    add(&folder.path().join("ImageReward.pt"), &head("mlp.", 8));
    folder
}

fn parts(file: &[u8]) -> (serde_json::Map<String, serde_json::Value>, Vec<u8>) {
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header = serde_json::from_slice(&file[8..8 + length]).unwrap();
    (header, file[8 + length..].to_vec())
}

/// Adds tensors of plain numbers to a file.
pub fn add(path: &Path, more: &[(String, Vec<usize>)]) {
    let (mut header, mut data) = parts(&std::fs::read(path).unwrap());
    let (more, more_data) = parts(&safetensors(more));
    for (key, mut entry) in more {
        for offset in entry["data_offsets"].as_array_mut().unwrap() {
            *offset = (offset.as_u64().unwrap() + data.len() as u64).into();
        }
        header.insert(key, entry);
    }
    data.extend(more_data);
    std::fs::write(path, file(header, &data)).unwrap();
}

fn file(header: serde_json::Map<String, serde_json::Value>, data: &[u8]) -> Vec<u8> {
    let text = serde_json::Value::Object(header).to_string();
    let length = (text.len() as u64).to_le_bytes();
    [&length[..], text.as_bytes(), data].concat()
}

/// A smooth picture, for which rounding to 8 bits matters little.
pub fn picture(width: u32, height: u32, phase: f64) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let wave = (f64::from(x) * 0.3 + f64::from(y) * 0.2 + phase).sin();
        Rgb([1.0, 0.5, -1.0].map(|amplitude| (127.5 + 100.0 * amplitude * wave) as u8))
    })
}

pub fn prompts(texts: &[&str]) -> Vec<Prompt> {
    Prompt::of(texts)
}

/// What the library's `open` does, for networks of any sizes.
pub fn open(text: &str, files: &Files, device: &Device) -> Result<Arc<dyn Reward>, OpenError> {
    open_with(text, |name| match (entry(name), files.of(name)) {
        (Some(entry), Some(path)) => Ok(entry.open_any_sizes(path, device)?.into()),
        _ => open_one(name, files, device),
    })
}
