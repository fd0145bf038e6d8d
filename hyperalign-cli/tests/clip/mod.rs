//! The smallest reward: a CLIP as a folder.

use std::collections::BTreeMap;
use std::path::Path;

use hyperalign_core::testing;
use hyperalign_models::clip::{ClipConfig, ClipTextConfig, ClipVisionConfig};
use hyperalign_models::testing::WORDS;
use hyperalign_models::tokenizer::Tokenizer;
use hyperalign_models::weights::{FileFloat, reinit, save};

/// A CLIP in the layout of transformers that knows the base's words.
pub fn write_clip(folder: &Path) {
    let write =
        |name: &str, text: String| std::fs::write(folder.join(name), text).expect("a file of CLIP");
    std::fs::create_dir(folder).expect("a folder");
    let tokenizer = Tokenizer::from_words(&WORDS, 6).expect("a tokenizer");
    write("tokenizer.json", tokenizer.to_json().expect("JSON"));
    write("tokenizer_config.json", tokenizer.config_json().to_string());
    let config = ClipConfig {
        text_config: ClipTextConfig {
            vocab_size: tokenizer.vocab_size(),
            hidden_size: 8,
            intermediate_size: 8,
            num_hidden_layers: 1,
            num_attention_heads: 2,
            max_position_embeddings: 6,
            eos_token_id: 2,
            ..ClipTextConfig::default()
        },
        vision_config: ClipVisionConfig {
            hidden_size: 8,
            intermediate_size: 8,
            num_hidden_layers: 1,
            num_attention_heads: 2,
            image_size: 8,
            patch_size: 4,
            ..ClipVisionConfig::default()
        },
        projection_dim: 4,
        ..ClipConfig::default()
    };
    write("config.json", serde_json::to_string(&config).expect("JSON"));
    let preprocessing = serde_json::json!({
        "image_mean": [0.481_454_66, 0.457_827_5, 0.408_210_73],
        "image_std": [0.268_629_54, 0.261_302_58, 0.275_777_11],
    });
    write("preprocessor_config.json", preprocessing.to_string());
    let model = reinit(config.init(&testing::device()), 3);
    save(&model, &folder.join("model.safetensors"), FileFloat::F32, &BTreeMap::new())
        .expect("the weights are written");
}
