//! `hyperalign inspect`, from the outside.

// Helpers of tests are tests.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "only the base is needed")]
mod tiny;

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use sha2::{Digest, Sha256};

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
    parse(&String::from_utf8(output.stdout).unwrap())
}

fn parse(text: &str) -> HashMap<String, Vec<usize>> {
    let parsed = text.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        let shape = serde_json::from_value(line["shape"].clone()).unwrap();
        (line["name"].as_str().unwrap().to_owned(), shape)
    });
    parsed.collect()
}

/// Every published model, its reference list, and of that list: the number of tensors, the number
/// of values, and the beginning of the SHA-256 of its sorted lines `name 2x3`.
const PUBLISHED: [(&str, &str, usize, usize, &str); 17] = [
    ("sd15-unet", "sd15_unet.diffusers", 686, 859_520_964, "1503dcc8197def83"),
    ("sd15-vae", "sd15_vae.diffusers", 248, 83_653_863, "f7ac48fdd0003763"),
    ("sd15-vae-legacy", "sd15_vae.diffusers_legacy", 248, 83_653_863, "1ca2452cfc5a22a8"),
    ("sd15-text", "clip_l_text.transformers", 196, 123_060_480, "502dbc9c96ade6ae"),
    ("sd15-single-file", "sd15_single_file.ldm", 1130, 1_066_235_307, "055d680c6c7f608b"),
    ("flux1-dev", "flux1_dev.diffusers", 1160, 11_901_408_320, "a2bdb971085dd86c"),
    ("flux1-schnell", "flux1_schnell.diffusers", 1156, 11_891_178_560, "28abdfc633f86c04"),
    ("flux1-dev-bfl", "flux1_dev.bfl", 780, 11_901_408_320, "95bdb57298d07abf"),
    ("flux-vae", "flux_vae.diffusers", 244, 83_819_683, "129cf253774ad960"),
    ("flux-ae-bfl", "flux_ae.bfl", 244, 83_819_683, "a7a23e66b94002cf"),
    ("t5-xxl", "t5_xxl_encoder.transformers", 219, 4_762_310_656, "1fa9a0cd5283ea08"),
    ("hpsv2", "open_clip_vit_h_14", 686, 986_109_441, "817582bdda3ccc12"),
    ("pickscore", "pickscore_v1.transformers", 910, 986_109_441, "3c186380c6957314"),
    ("clip-vit-l-14", "clip_vit_l_14.transformers", 590, 427_616_513, "bd276ee18e87557c"),
    ("imagereward", "imagereward_v1.0", 624, 446_665_953, "0e639d6be1fa1592"),
    ("mask2former-swin-s", "mask2former_swin_s_coco", 758, 68_739_628, "444299faa8bec702"),
    // No list: of the modules in xtask/golden/mmdet.py at these sizes.
    ("mask2former-swin-s-mmdet", "", 625, 68_739_547, "0a5999b9e0dce193"),
];

/// Compared key by key where `HYPERALIGN_MANIFESTS` names a folder with the reference lists, and
/// by their hashes everywhere.
#[test]
fn keys_of_the_published_models() {
    let folder = std::env::var_os("HYPERALIGN_MANIFESTS");
    for (model, list, tensors, parameters, hash) in PUBLISHED {
        let keys = keys(model);
        if let Some(folder) = folder.as_ref().filter(|_| !list.is_empty()) {
            let path = Path::new(folder).join(format!("{list}.jsonl"));
            let mut expected = parse(&std::fs::read_to_string(path).unwrap());
            let buffers = ["position_ids", "relative_position_index"];
            expected.retain(|name, _| !buffers.iter().any(|buffer| name.ends_with(buffer)));
            assert_eq!(keys, expected, "{model}");
        }
        let total: usize = keys.values().map(|shape| shape.iter().product::<usize>()).sum();
        assert_eq!((keys.len(), total), (tensors, parameters), "{model}");
        let line = |(name, shape): (&String, &Vec<usize>)| {
            let shape: Vec<String> = shape.iter().map(ToString::to_string).collect();
            format!("{name} {}\n", shape.join("x"))
        };
        let mut lines: Vec<String> = keys.iter().map(line).collect();
        lines.sort();
        let digest = Sha256::digest(lines.concat());
        let digest: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, hash, "{model}");
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

    std::fs::remove_file(&cut).unwrap();
    let output = inspect(&["checkpoint", dir.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("neither a checkpoint"));
    let output = inspect(&["checkpoint", "nothing-here"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing-here"));
}

/// The answer about `path`.
fn described(path: &Path) -> Value {
    let output = inspect(&["checkpoint", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The answer about what cannot be loaded, and the message beside it.
fn refused(path: &Path) -> (Value, String) {
    let output = inspect(&["checkpoint", path.to_str().unwrap()]);
    let message = tiny::message(&output);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(message.contains("cannot be loaded"), "{message}");
    (serde_json::from_slice(&output.stdout).unwrap(), message)
}

/// One after the other, each is taken from a whole folder.
#[test]
fn what_a_folder_lacks_is_told_and_the_rest_is_described() {
    let dir = tempfile::tempdir().unwrap();
    let lacks = |what: &str, words: &str| {
        let base = dir.path().join("base");
        tiny::write_base(&base, 1);
        let path = base.join(what);
        let removed = if path.is_dir() {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        removed.unwrap();
        let (answer, message) = refused(&base);
        let problems = answer["problems"].to_string();
        assert!(problems.contains(words), "without {what}: {problems}");
        assert!(message.contains(words), "without {what}: {message}");
        assert!(answer["parts"].as_array().unwrap().len() >= 2, "without {what}: {answer}");
        assert!(answer["parameters"].as_u64().unwrap() > 0);
        answer["missing_parts"].clone()
    };
    for part in ["vae", "unet", "text_encoder", "tokenizer", "scheduler"] {
        let missing = lacks(part, &format!("the part `{part}` is missing"));
        assert_eq!(missing, serde_json::json!([part]));
    }
    for (file, words) in [
        ("unet/config.json", "cannot read"),
        ("vae/diffusion_pytorch_model.safetensors", "no weights in"),
        ("scheduler/scheduler_config.json", "scheduler_config.json"),
        ("tokenizer/tokenizer.json", "cannot be read"),
    ] {
        assert_eq!(lacks(file, words), serde_json::json!([]), "{file}");
    }
}

#[test]
fn a_part_that_is_not_read_may_be_missing() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("base");
    tiny::write_base(&base, 1);
    let index = base.join("model_index.json");
    let text = std::fs::read_to_string(&index).unwrap();
    let mut json: Value = serde_json::from_str(&text).unwrap();
    json["safety_checker"] = serde_json::json!(["stable_diffusion", "Checker"]);
    std::fs::write(&index, json.to_string()).unwrap();
    let answer = described(&base);
    assert_eq!(answer["missing_parts"], serde_json::json!(["safety_checker"]));
    json["_class_name"] = "StableDiffusionXLPipeline".into();
    std::fs::write(&index, json.to_string()).unwrap();
    let (_, message) = refused(&base);
    assert!(message.contains("StableDiffusionXLPipeline"), "{message}");
}

/// Puts another format into the header of a weight file, as long as the one that was there.
fn relabel(path: &Path, from: &str, to: &str) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = bytes.windows(from.len()).position(|part| part == from.as_bytes()).unwrap();
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn weights_of_other_formats_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("base");
    tiny::write_base(&base, 1);
    relabel(&base.join("unet/diffusion_pytorch_model.safetensors"), "F32", "I32");
    let (answer, message) = refused(&base);
    assert!(message.contains("is stored as I32"), "{message}");
    assert_eq!(answer["parts"][1]["formats"]["I32"], 1);
}

#[test]
fn a_damaged_adapter_is_refused_as_sampling_does() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("base");
    tiny::write_base(&base, 1);
    let file = dir.path().join("adapter.safetensors");
    let flip = |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 1;
    let nan = |bytes: &mut Vec<u8>| {
        let end = bytes.len();
        bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    };
    let of = |what: &str| inspect(&[what, file.to_str().unwrap()]);
    for (damage, words) in [
        (None, ""),
        (Some(&flip as &dyn Fn(&mut Vec<u8>)), "not those that were written"),
        (Some(&nan), "not finite"),
    ] {
        tiny::write_adapter(&file, &base);
        if let Some(damage) = damage {
            let mut bytes = std::fs::read(&file).unwrap();
            damage(&mut bytes);
            std::fs::write(&file, bytes).unwrap();
        }
        let status = Some(i32::from(damage.is_some()));
        for what in ["adapter", "checkpoint"] {
            let output = of(what);
            let message = tiny::message(&output);
            assert_eq!(output.status.code(), status, "{what}: {message}");
            assert!(message.contains(words), "{what}: {message}");
        }
    }
}

#[test]
fn a_flux_is_described_with_an_index_and_without() {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/emoji-flux");
    let answer = described(&assets);
    assert_eq!(answer["what"], "FluxPipeline");
    assert_eq!(answer["parts"].as_array().unwrap().len(), 4);
    let memory = |kind: &str| answer["memory"]["bf16"][kind].as_u64().unwrap();
    assert!(memory("sampling") > memory("weights"));
    assert!(memory("training") > memory("sampling"));

    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (assets.join("text_encoder"), dir.path().join("text_encoder"));
    std::fs::create_dir(&to).unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
    let weights = assets.join("transformer/diffusion_pytorch_model.safetensors");
    std::fs::copy(weights, dir.path().join("flux1-small.safetensors")).unwrap();
    let answer = described(dir.path());
    assert_eq!(answer["what"], "weight files");
    let parts = answer["parts"].as_array().unwrap();
    assert_eq!(parts.len(), 2);
    assert_eq!(parts[1]["missing"].as_array().unwrap().len(), 0);
    // It has FLUX.1's layout, but not its sizes, which are all that one file tells.
    assert!(!parts[0]["other_shapes"].as_array().unwrap().is_empty());
    assert!(parts.iter().all(|part| part.get("memory").is_none()), "{parts:?}");
    let empty = tempfile::tempdir().unwrap();
    let output = inspect(&["checkpoint", empty.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_model_folder_is_described_part_by_part() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("base");
    tiny::write_base(&base, 1);
    let answer = described(&base);
    assert_eq!(answer["what"], "StableDiffusionPipeline");
    let parts = answer["parts"].as_array().unwrap();
    assert_eq!(parts.len(), 3);
    for part in parts {
        for list in ["missing", "extra", "other_shapes"] {
            assert_eq!(part[list].as_array().unwrap().len(), 0, "{part}");
        }
        assert_eq!(part["formats"]["F32"], part["tensors"]);
    }
    let memory = |kind: &str| answer["memory"]["f32"][kind].as_u64().unwrap();
    let weights = 4 * answer["parameters"].as_u64().unwrap();
    assert_eq!(memory("weights"), weights);
    assert!(memory("sampling") > weights && memory("training") > memory("sampling"));

    let unet = base.join("unet/diffusion_pytorch_model.safetensors");
    std::fs::copy(&unet, base.join("vae/diffusion_pytorch_model.safetensors")).unwrap();
    let (answer, message) = refused(&base);
    let vae = &answer["parts"][2];
    assert!(message.contains("does not fit the network"), "{message}");
    assert!(vae["missing"][0].as_str().unwrap().starts_with("decoder."), "{vae}");
    assert!(!vae["extra"].as_array().unwrap().is_empty());
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
