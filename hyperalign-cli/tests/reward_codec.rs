//! `hyperalign train --reward-codec` and `hyperalign sample --preview-codec` on the smallest base with
//! the latents of Stable Diffusion 1.x.

#[allow(dead_code, reason = "only the runner is needed")]
mod tiny;

use std::collections::BTreeMap;

use hyperalign_core::image::{self, Metadata};
use hyperalign_core::testing;
use hyperalign_models::testing::small_sd1;
use hyperalign_models::tiny_codec::TinyDecoder;
use hyperalign_models::weights::{FileFloat, hash, reinit, save};
use tiny::{World, message};

const SETTINGS: &str = "
[method]
steps = 2
trajectories = 1
supervised_steps = 1
preferred_batch = 1
min_signal = 0.0
max_signal = 1.0

[network]
kind = \"static-lora\"
rank = 1

[training]
updates = 1
shards = 1

[samples]
every = 0
prompts = 1
";

/// The base in `sd`, and codecs of two seeds with the hashes of their weights.
fn world() -> (World, [String; 2]) {
    let (world, device) = (World::new(), testing::device());
    small_sd1(1, &device).save(&world.path("sd"), FileFloat::F32).expect("a base");
    let hashes = [1, 2].map(|seed| {
        let codec = reinit(TinyDecoder::new(&device), seed);
        let file = world.path(&format!("codec-{seed}/VAEpreview.safetensors"));
        save(&codec, &file, FileFloat::F32, &BTreeMap::new()).expect("a codec");
        hash(&codec)
    });
    (world, hashes)
}

#[test]
fn a_run_belongs_to_its_codec() {
    let (world, hashes) = world();
    let picture = ::image::RgbImage::new(64, 64);
    image::write_png(&world.path("a.png"), &picture, &Metadata::default()).unwrap();
    std::fs::copy(world.path("a.png"), world.path("b.png")).unwrap();
    let pair =
        r#"[{"prompt": "a dog", "image_path": ["a.png", "b.png"], "human_preference": [1, 0]}]"#;
    std::fs::write(world.path("hpd.json"), pair).unwrap();
    std::fs::write(world.path("run.toml"), SETTINGS).unwrap();
    let parts = ["train", "--base", "sd", "--preferences", "hpd.json", "--reward", "emoji-proxy"];
    let run = |more: &[&str]| world.run(&[&parts[..], &["--out", "run", "--plain"], more].concat());
    let output = run(&["--config", "run.toml", "--reward-codec", "codec-1"]);
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    let refused = |more: &[&str], words: &str| {
        let output = run(&[&["--resume", "--steps", "2"], more].concat());
        assert_eq!(output.status.code(), Some(1), "{}", message(&output));
        assert!(message(&output).contains("belongs to another run"), "{}", message(&output));
        assert!(message(&output).contains(words), "no {words} in {}", message(&output));
    };
    refused(&[], "reward_codec");
    refused(&["--reward-codec", "codec-2"], &hashes[1][..8]);
    let output = run(&["--resume", "--steps", "2", "--reward-codec", "codec-1"]);
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
}

#[test]
fn a_picture_names_the_codec_that_made_it() {
    let (world, [hash, _]) = world();
    let flags = ["sample", "--base", "sd", "--prompt", "a dog", "--steps", "2", "--out", "x.png"];
    let output = world.run(&[&flags[..], &["--preview-codec", "codec-1"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    let (picture, metadata) = image::read_png(&world.path("x.png")).unwrap();
    assert_eq!(picture.dimensions(), (64, 64));
    let everything = metadata.hyperalign.unwrap();
    assert_eq!(everything["preview_codec"], "codec-1");
    assert_eq!(everything["preview_codec_hash"], hash);
}
