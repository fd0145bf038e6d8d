//! `--tokenizer`, `--components` and `--offline`, wherever a base is opened: each command takes them
//! as they are meant, or says that there is nothing they could mean.

#[allow(dead_code, reason = "only the runner is needed")]
mod tiny;

use std::{
    fs,
    process::{Command, Output},
};

use tiny::{World, message};

/// The commands that open a base, with what they need before they do.
const COMMANDS: [&[&str]; 5] = [
    &["sample", "--prompt", "a dog", "--out", "x.png"],
    &["eval", "--prompts", "prompts.txt"],
    &["key-steps", "--prompts", "prompts.txt"],
    &["world", "--count", "6"],
    &["train", "--preferences", "hpd.json", "--reward", "emoji-proxy", "--out", "run"],
];

/// With a set of prompts, one of preferences, and what begins as Stable Diffusion's single file does.
fn world() -> World {
    let world = World::new();
    let write = |name: &str, text: &str| fs::write(world.path(name), text).expect("a file");
    write("prompts.txt", "a dog\n");
    let pair =
        r#"[{"prompt": "a dog", "image_path": ["a.png", "b.png"], "human_preference": [1, 0]}]"#;
    write("hpd.json", pair);
    let header =
        r#"{"cond_stage_model.transformer.x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let length = (header.len() as u64).to_le_bytes();
    let file = [&length[..], header.as_bytes(), &[0; 4]].concat();
    fs::write(world.path("sd.safetensors"), file).expect("a file");
    world
}

fn run(world: &World, command: &[&str], more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hyperalign"))
        .current_dir(world.path("."))
        .env("HF_HOME", world.path("cache"))
        // Nobody listens there.
        .env("HF_ENDPOINT", "http://127.0.0.1:9")
        .env_remove("HF_HUB_CACHE")
        .env_remove("HF_HUB_OFFLINE")
        .args(command)
        .args(more)
        .output()
        .expect("the program starts")
}

/// Every command fails with these options, and says `words`.
fn all_fail(more: &[&str], words: &str) {
    let world = world();
    for command in COMMANDS {
        let output = run(&world, command, more);
        let message = message(&output);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {message}");
        assert!(message.contains(words), "{command:?}: no `{words}` in {message}");
        assert!(!world.path("run").exists() && !world.path("x.png").exists(), "{command:?}");
    }
}

#[test]
fn the_vocabulary_is_looked_for_where_tokenizer_says() {
    all_fail(&["--base", "sd.safetensors", "--tokenizer", "mine"], "there is none in mine; say");
    all_fail(&["--base", "sd.safetensors"], "there is none in ./tokenizer or .; say");
}

#[test]
fn a_base_with_its_own_parts_takes_no_others() {
    all_fail(&["--base", "base", "--tokenizer", "mine"], "`base` brings all its parts");
    all_fail(&["--base", "base", "--components", "mine"], "leave `--components` out");
    all_fail(&["--base", "sd.safetensors", "--components", "mine"], "is Stable Diffusion 1.x");
}

#[cfg(feature = "hub")]
#[test]
fn offline_asks_no_server() {
    all_fail(&["--base", "hf:we/tiny", "--offline"], "no server is asked offline");
}

#[test]
fn a_folder_without_a_pipeline_says_what_was_expected() {
    all_fail(&["--base", "base/unet"], "no model_index.json in it");
}

/// Without a base there is nothing that they could be about.
#[test]
fn options_of_a_base_need_one() {
    let world = world();
    for more in
        [&["--tokenizer", "x"][..], &["--components", "x"], &["--offline"], &["--dtype", "f16"]]
    {
        let output = run(&world, &["world", "--count", "6"], more);
        let message = message(&output);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains(&format!("`{}` is about a base", more[0])), "{message}");
    }
    assert_eq!(run(&world, &["world", "--steps", "3"], &[]).status.code(), Some(2));
}
