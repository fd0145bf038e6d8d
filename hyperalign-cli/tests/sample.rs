//! `hyperalign sample` on the smallest base that has every part.

use std::path::Path;
use std::process::{Command, Output};

use burn::tensor::Device;
use hyperalign_core::{image, schedule::SchedulerConfig};
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
fn write_base(path: &Path, seed: u64) {
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
fn write_adapter(path: &Path, base: &Path) {
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

struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write_base(&folder.path().join("base"), 1);
        Self { folder }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `hyperalign sample --base base --steps 2 ARGUMENTS`, or with the steps among them, in the folder.
    fn sample(&self, arguments: &[&str]) -> Output {
        self.sample_from("base", arguments)
    }

    fn sample_from(&self, base: &str, arguments: &[&str]) -> Output {
        let steps = if arguments.contains(&"--steps") { vec![] } else { vec!["--steps", "2"] };
        Command::new(env!("CARGO_BIN_EXE_hyperalign"))
            .current_dir(self.folder.path())
            .args(["sample", "--base", base])
            .args([arguments, &steps].concat())
            .output()
            .expect("the program starts")
    }
}

/// The report in one line: it is wrapped to the width of a terminal.
fn message(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let words = text.split_whitespace().filter(|word| !word.chars().all(|c| "│×╰▶─".contains(c)));
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_picture_says_how_it_was_made() {
    let world = World::new();
    let output = world.sample(&["--prompt", "a red dog", "--seed", "7", "--out", "new/dog.png"]);
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    let (picture, metadata) = image::read_png(&world.path("new/dog.png")).unwrap();
    assert_eq!(picture.dimensions(), (8, 8));
    let parameters = metadata.parameters.unwrap();
    assert_eq!((parameters.prompt.as_str(), parameters.seed), ("a red dog", 7));
    let everything = metadata.hyperalign.unwrap();
    assert_eq!(everything["variant"], "none");
    assert_eq!(everything["steps"], 2);
}

#[test]
fn an_untrained_adapter_changes_nothing_and_is_named_in_the_picture() {
    let world = World::new();
    write_adapter(&world.path("adapter.safetensors"), &world.path("base"));
    let prompt = ["--prompt", "a blue heart"];
    world.sample(&[&prompt[..], &["--out", "base.png"]].concat());
    let adapter = ["--adapter", "adapter.safetensors", "--variant", "i", "--out", "adapted.png"];
    let output = world.sample(&[&prompt[..], &adapter].concat());
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    let (base, _) = image::read_png(&world.path("base.png")).unwrap();
    let (adapted, metadata) = image::read_png(&world.path("adapted.png")).unwrap();
    assert_eq!(base, adapted);
    assert_eq!(metadata.hyperalign.unwrap()["variant"], "hyperalign-i");
}

#[test]
fn several_pictures_do_not_depend_on_each_other() {
    let world = World::new();
    let many = ["--prompt", "a dog", "--prompt", "a heart", "--seed", "1", "--seed", "2"];
    let output = world.sample(&[&many[..], &["--out", "p.png", "--json"]].concat());
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["pictures"][2]["file"], "p-3.png");
    assert_eq!(answer["pictures"].as_array().unwrap().len(), 4);
    world.sample(&["--prompt", "a heart", "--seed", "1", "--out", "alone.png"]);
    let (together, _) = image::read_png(&world.path("p-3.png")).unwrap();
    let (alone, _) = image::read_png(&world.path("alone.png")).unwrap();
    let differs = together.as_raw().iter().zip(alone.as_raw()).any(|(a, b)| a.abs_diff(*b) > 1);
    assert!(!differs);
}

#[test]
fn what_cannot_be_done_is_said_and_leaves_nothing() {
    let world = World::new();
    write_base(&world.path("other"), 2);
    write_adapter(&world.path("other.safetensors"), &world.path("other"));
    std::fs::write(world.path("broken.safetensors"), "not tensors").unwrap();
    std::fs::write(world.path("file"), "").unwrap();
    let fails = |base: &str, arguments: &[&str], words: &[&str]| {
        let prompt =
            if arguments.contains(&"--prompt") { vec![] } else { vec!["--prompt", "a dog"] };
        let out = if arguments.contains(&"--out") { vec![] } else { vec!["--out", "x.png"] };
        let output = world.sample_from(base, &[&prompt[..], &out, arguments].concat());
        assert_eq!(output.status.code(), Some(1), "{}", message(&output));
        for word in words {
            assert!(message(&output).contains(word), "no `{word}` in {}", message(&output));
        }
    };
    fails("emojis", &[], &["unknown base `emojis`", "embedded"]);
    fails("base", &["--prompt", "a purple dog"], &["purple"]);
    fails("base", &["--variant", "s"], &["`--variant s` needs an adapter", "--adapter FILE"]);
    fails("base", &["--adapter", "other.safetensors"], &["trained on the base `tiny`"]);
    fails("base", &["--adapter", "broken.safetensors"], &["broken.safetensors"]);
    fails("base", &["--adapter", "none.safetensors"], &["none.safetensors"]);
    fails("base", &["--out", "file/x.png"], &["file/x.png"]);
    fails("base", &["--steps", "2000"], &["2000"]);
    assert!(!world.path("x.png").exists());
}

#[test]
fn wrong_usage_ends_with_2() {
    let world = World::new();
    let fails = |arguments: &[&str], words: &str| {
        let output = world.sample(&[&["--prompt", "a dog"][..], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{}", message(&output));
        assert!(message(&output).contains(words), "no `{words}` in {}", message(&output));
    };
    fails(&["--out", "x.jpg"], "end the name in .png");
    fails(&["--out", "x.png", "--steps", "0"], "0 is not in 1..");
    fails(&["--out", "x.png", "--variant", "x"], "none, s, p, i");
    fails(&[], "--out");
}
