//! The smallest base that has every part, as a folder, and adapters for it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hyperalign_core::testing;
use hyperalign_models::{
    base::{Adaptable, PromptEncoder},
    hypernet::{AdapterKind, AdapterMeta, HypernetConfig, StaticLoraConfig, Variant},
    pipeline::StableDiffusion,
    testing::small_base,
    weights::{FileFloat, Folder},
};

/// Writes the base as the folder `path`.
pub fn write_base(path: &Path, seed: u64) {
    small_base(seed, &testing::device()).save(path, FileFloat::F32).expect("the base is written");
}

/// Writes an untrained adapter for the base in the folder `base`.
pub fn write_adapter(path: &Path, base: &Path) {
    let device = testing::device();
    let base = StableDiffusion::from_folder(&Folder::disk(base), &device).expect("a base");
    let config = HypernetConfig {
        width: 8,
        layers: 1,
        heads: 2,
        ..HypernetConfig::new(base.lora_targets(), base.feature_dim(None), base.context_dim())
    };
    let kind = AdapterKind::Hypernet(config);
    let meta = AdapterMeta::new("tiny", base.hash(), Variant::S, kind);
    let adapter = meta.init(1, &device.autodiff()).expect("an adapter");
    adapter.save(path, &meta).expect("the adapter is written");
}

/// Writes an untrained static LoRA for the base in the folder `base`.
#[allow(dead_code, reason = "only the tests of a static adapter need one")]
pub fn write_static_lora(path: &Path, base: &Path) {
    let device = testing::device();
    let base = StableDiffusion::from_folder(&Folder::disk(base), &device).expect("a base");
    let config = StaticLoraConfig { rank: 2, alpha: 2.0, targets: base.lora_targets() };
    let kind = AdapterKind::StaticLora(config);
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
        self.run_with(arguments, &[])
    }

    /// The same with variables of the environment.
    pub fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_hyperalign"))
            .current_dir(self.folder.path())
            .args(arguments)
            .envs(variables.iter().copied())
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
