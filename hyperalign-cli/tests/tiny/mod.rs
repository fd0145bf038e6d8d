//! The smallest base that has every part, as a folder, and adapters for it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use burn::tensor::Device;
use hyperalign_core::schedule::SchedulerConfig;
use hyperalign_models::{
    base::Base,
    clip::ClipTextConfig,
    hypernet::{AdapterKind, AdapterMeta, HypernetConfig, Variant},
    pipeline::StableDiffusion,
    tokenizer::Tokenizer,
    unet::UnetConfig,
    vae::AutoencoderKlConfig,
    weights::{FileFloat, Folder, reinit},
};

const WORDS: [&str; 5] = ["a", "red", "blue", "dog", "heart"];

/// Writes the base as the folder `path`.
pub fn write_base(path: &Path, seed: u64) {
    let device = Device::flex();
    let text = ClipTextConfig {
        vocab_size: 8,
        hidden_size: 8,
        intermediate_size: 8,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        max_position_embeddings: 6,
        eos_token_id: 2,
        ..ClipTextConfig::default()
    };
    let unet: UnetConfig = serde_json::from_str(
        r#"{"sample_size": 4, "in_channels": 2, "out_channels": 2, "layers_per_block": 1,
            "block_out_channels": [4, 8], "norm_num_groups": 2, "cross_attention_dim": 8,
            "attention_head_dim": 2, "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
            "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"]}"#,
    )
    .expect("a configuration");
    let vae: AutoencoderKlConfig = serde_json::from_str(
        r#"{"sample_size": 8, "latent_channels": 2, "layers_per_block": 1,
            "block_out_channels": [4, 4], "norm_num_groups": 2,
            "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"],
            "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"]}"#,
    )
    .expect("a configuration");
    let base = StableDiffusion::new(
        "test",
        Tokenizer::from_words(&WORDS, 6).expect("five words"),
        reinit(text.init(&device), seed),
        reinit(unet.init(&device), seed),
        reinit(vae.init(&device), seed),
        SchedulerConfig::stable_diffusion(),
        &device,
    );
    base.and_then(|base| base.save(path, FileFloat::F32)).expect("the base is written");
}

/// Writes an untrained adapter for the base in the folder `base`.
pub fn write_adapter(path: &Path, base: &Path) {
    let device = Device::flex();
    let base = StableDiffusion::from_folder(&Folder::disk(base), &device).expect("a base");
    let config = HypernetConfig {
        width: 8,
        layers: 1,
        heads: 2,
        ..HypernetConfig::new(base.lora_targets(), base.feature_dim(), base.context_dim())
    };
    let kind = AdapterKind::Hypernet(config);
    let meta = AdapterMeta::new("tiny", base.hash(), Variant::S, kind);
    let adapter = meta.init(1, &device.autodiff()).expect("an adapter");
    adapter.save(path, &meta).expect("the adapter is written");
}

/// A folder for one test, with the base in `base`.
pub struct World {
    folder: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write_base(&folder.path().join("base"), 1);
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `hyperalign ARGUMENTS` in the folder.
    pub fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_hyperalign"))
            .current_dir(self.folder.path())
            .args(arguments)
            .output()
            .expect("the program starts")
    }
}

/// The report in one line: it is wrapped to the width of a terminal.
pub fn message(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let words = text.split_whitespace().filter(|word| !word.chars().all(|c| "│×╰▶─".contains(c)));
    words.collect::<Vec<_>>().join(" ")
}
