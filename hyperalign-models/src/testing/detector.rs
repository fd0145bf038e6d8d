//! The smallest detector and the smallest CLIP beside it, as the folder of GenEval's scorer.

use hyperalign_core::testing;
use std::{collections::BTreeMap, path::Path};

use serde_json::{Map, json};

use super::{File, checkpoint, published_file, write_file};
use crate::{
    clip::{ClipConfig, ClipTextConfig, ClipVisionConfig},
    mask2former::{Mask2FormerConfig, mmdet::COCO},
    swin::{SwinConfig, their_name},
    weights::{
        FileFloat, Key,
        published::{MmdetNames, Source},
        reinit, save,
    },
};

/// How sure the detector is of its only class, as a logit.
const SURE: f32 = 12.0;

/// The sizes of a small detector of these classes.
pub fn small_detector(labels: &[&str]) -> Mask2FormerConfig {
    let labels = labels.iter().map(|label| (*label).to_owned());
    Mask2FormerConfig {
        backbone_config: SwinConfig {
            embed_dim: 12,
            depths: vec![1, 2, 1, 1],
            num_heads: vec![1, 2, 3, 6],
            window_size: 4,
            ..SwinConfig::default()
        },
        feature_size: 32,
        mask_feature_size: 32,
        hidden_dim: 32,
        encoder_feedforward_dim: 48,
        encoder_layers: 1,
        decoder_layers: 3,
        num_attention_heads: 4,
        dim_feedforward: 48,
        num_queries: 6,
        id2label: labels.enumerate().collect(),
        ..Mask2FormerConfig::default()
    }
}

/// Writes a detector with random weights, prepared for pictures of 64 pixels, as transformers
/// writes it. Every query of it is an object of the class `found`.
///
/// # Panics
///
/// Panics if it cannot be written.
pub fn write_detector(folder: &Path, labels: &[&str], found: usize) {
    let config = small_detector(labels);
    let network = reinit(config.init(&testing::device()), 5);
    let theirs = |key: &Key| Source::named(their_name(&key.name));
    let mut file = published_file(&network, theirs, "");
    let classes = labels.len() + 1;
    let sure = |class: usize| if class == found { SURE } else { 0.0 };
    let bias = (0..classes).map(sure).collect();
    file.insert("class_predictor.bias".to_owned(), (vec![classes], bias));
    file.insert("criterion.empty_weight".to_owned(), (vec![classes], vec![1.0; classes]));
    std::fs::create_dir_all(folder).expect("a folder");
    write_file(&folder.join("model.safetensors"), &file);
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).expect(name);
    write("config.json", serde_json::to_string(&config).expect("plain data"));
    let size = json!({"height": 64, "width": 64});
    write("preprocessor_config.json", json!({"size": size, "size_divisor": 32}).to_string());
}

/// A small detector of these classes with random weights, every query of which is an object of the
/// class `found`, in the layout of mmdetection with its buffers.
pub fn mmdet_file(labels: &[&str], found: usize, names: MmdetNames) -> File {
    let config = small_detector(labels);
    let network = reinit(config.init(&testing::device()), 5);
    let mut file = published_file(&network, |key| names.mask2former(key), "");
    let sure = |class: usize| if class == found { SURE } else { 0.0 };
    let classes = labels.len() + 1;
    let bias = (0..classes).map(sure).collect();
    file.insert("panoptic_head.cls_embed.bias".to_owned(), (vec![classes], bias));
    let tokens = config.backbone_config.window_size.pow(2);
    for (stage, depth) in config.backbone_config.depths.iter().enumerate() {
        for block in 0..*depth {
            let key = format!("backbone.stages.{stage}.blocks.{block}.attn.w_msa");
            let index = (vec![tokens; 2], vec![0.0; tokens * tokens]);
            file.insert(format!("{key}.relative_position_index"), index);
        }
    }
    file
}

/// Writes [`mmdet_file`] of COCO's classes to `path`, as mmdetection publishes checkpoints.
///
/// # Panics
///
/// Panics if it cannot be written.
pub fn write_mmdet(path: &Path, found: usize) {
    let file = mmdet_file(&COCO, found, MmdetNames::Numbered);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(path, checkpoint(&file)).expect("the checkpoint is written");
}

/// Writes a CLIP with random weights and a vocabulary of single letters, as transformers writes it.
///
/// # Panics
///
/// Panics if it cannot be written.
pub fn write_clip(folder: &Path) {
    let mut vocabulary = Map::new();
    let letters = || '!'..='~';
    let ends = letters().map(|letter| format!("{letter}</w>"));
    let marks = ["<|startoftext|>", "<|endoftext|>"].map(str::to_owned);
    for (id, token) in letters().map(String::from).chain(ends).chain(marks).enumerate() {
        vocabulary.insert(token, id.into());
    }
    let text_config = ClipTextConfig {
        vocab_size: vocabulary.len(),
        hidden_size: 8,
        intermediate_size: 12,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        max_position_embeddings: 64,
        eos_token_id: 2,
        ..ClipTextConfig::default()
    };
    let vision_config = ClipVisionConfig {
        hidden_size: 12,
        intermediate_size: 16,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        image_size: 16,
        patch_size: 8,
        ..ClipVisionConfig::default()
    };
    let config =
        ClipConfig { text_config, vision_config, projection_dim: 6, ..ClipConfig::default() };
    std::fs::create_dir_all(folder).expect("a folder");
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).expect(name);
    write("config.json", serde_json::to_string(&config).expect("plain data"));
    write("vocab.json", serde_json::Value::Object(vocabulary).to_string());
    write("merges.txt", "#version: 0.2\n".to_owned());
    let model = reinit(config.init(&testing::device()), 6);
    let path = folder.join("model.safetensors");
    save(&model, &path, FileFloat::F32, &BTreeMap::new()).expect("the CLIP is written");
}

/// Writes both as the folder of GenEval's scorer.
///
/// # Panics
///
/// Panics if they cannot be written.
pub fn write_geneval(folder: &Path, labels: &[&str], found: usize) {
    write_detector(&folder.join("detector"), labels, found);
    write_clip(&folder.join("clip"));
}
