//! `hyperalign inspect`, from the outside.

// Helpers of tests are tests.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn inspect(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hyperalign"))
        .arg("inspect")
        .args(arguments)
        .output()
        .expect("the program starts")
}

/// Keys and shapes of a published model.
fn keys(model: &str) -> HashMap<String, Vec<usize>> {
    let output = inspect(&["keys", model]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    let parsed = text.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        let shape = serde_json::from_value(line["shape"].clone()).unwrap();
        (line["name"].as_str().unwrap().to_owned(), shape)
    });
    parsed.collect()
}

/// Numbers of tensors and parameters of the published files.
#[test]
fn keys_of_the_published_models() {
    for (model, tensors, parameters) in [
        ("sd15-unet", 686, 859_520_964),
        ("sd15-vae", 248, 83_653_863),
        ("sd15-text", 196, 123_060_480),
        ("flux1-dev", 1160, 11_901_408_320),
        ("flux1-schnell", 1156, 11_891_178_560),
        ("flux-vae", 244, 83_819_683),
        ("t5-xxl", 219, 4_762_310_656),
        ("clip-vit-l-14", 590, 427_616_513),
        ("hpsv2", 686, 986_109_441),
        ("pickscore", 910, 986_109_441),
        ("imagereward", 624, 446_665_953),
    ] {
        let keys = keys(model);
        let total: usize = keys.values().map(|shape| shape.iter().product::<usize>()).sum();
        assert_eq!((keys.len(), total), (tensors, parameters), "{model}");
    }
}

#[test]
fn shapes_are_those_of_the_files() {
    let unet = keys("sd15-unet");
    assert_eq!(unet["conv_in.weight"], [320, 4, 3, 3]);
    assert_eq!(
        unet["down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"],
        [320, 768]
    );
    let open_clip = keys("hpsv2");
    assert_eq!(open_clip["logit_scale"], [0; 0]);
    assert_eq!(open_clip["visual.proj"], [1280, 1024]);
    assert_eq!(open_clip["transformer.resblocks.23.attn.in_proj_weight"], [3072, 1024]);
    assert_eq!(keys("pickscore")["visual_projection.weight"], [1024, 1280]);
}

#[test]
fn an_unknown_model_is_wrong_usage() {
    let output = inspect(&["keys", "sd15"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("sd15-unet"));
}

#[test]
fn weight_files_are_read_to_the_end() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/vae_sd_small.safetensors");
    let dir = tempfile::tempdir().unwrap();
    let output = inspect(&["checkpoint", file.to_str().unwrap()]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(answer["parameters"].as_u64().unwrap() > 10_000, "{answer}");

    let mut bytes = std::fs::read(&file).unwrap();
    bytes.truncate(bytes.len() / 2);
    let cut = dir.path().join("cut.safetensors");
    std::fs::write(&cut, bytes).unwrap();
    let output = inspect(&["checkpoint", cut.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cut.safetensors"));

    let output = inspect(&["checkpoint", dir.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("neither a checkpoint"));
}

#[test]
fn a_checkpoint_with_a_changed_file_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = dir.path().join("checkpoints/step-000020");
    std::fs::create_dir_all(&checkpoint).unwrap();
    std::fs::write(checkpoint.join("module.bpk"), "abc").unwrap();
    // The SHA-256 of "abc" (FIPS 180-4, appendix B.1).
    let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let state = serde_json::json!({
        "format": 1, "update": 20, "elapsed_seconds": 1.5, "identity": "test", "settings": {},
        "parameters": [], "files": [{"name": "module.bpk", "sha256": sha256}],
    });
    std::fs::write(checkpoint.join("state.json"), state.to_string()).unwrap();
    let run = dir.path().to_str().unwrap();
    let output = inspect(&["checkpoint", run]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["update"], 20);

    std::fs::write(checkpoint.join("module.bpk"), "abd").unwrap();
    let output = inspect(&["checkpoint", run]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("damaged") && message.contains("module.bpk"), "{message}");
}

#[test]
fn a_file_that_is_no_adapter_is_told() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/vae_sd_small.safetensors");
    let output = inspect(&["adapter", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not an adapter"));
}
