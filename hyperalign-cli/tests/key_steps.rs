//! `hyperalign key-steps` on the smallest base that has every part.

mod tiny;

use hyperalign_core::image;
use tiny::{World, message, write_adapter};

const ROWS: &str = r#"{"tag": "single_object", "include": [{"class": "dog", "count": 1}], "prompt": "a dog"}
{"tag": "colors", "include": [{"class": "heart", "count": 1, "color": "red"}], "prompt": "a red heart"}
"#;

fn json(world: &World, arguments: &[&str]) -> serde_json::Value {
    let output = world.run(&[&["key-steps", "--base", "base", "--json"], arguments].concat());
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn key_steps_are_chosen_and_stored_in_the_adapter() {
    let world = World::new();
    write_adapter(&world.path("adapter.safetensors"), &world.path("base"));
    std::fs::write(world.path("rows.jsonl"), ROWS).unwrap();
    let adapter = ["--adapter", "adapter.safetensors"];
    let flags = ["--prompts", "rows.jsonl", "--steps", "6", "--count", "2"];
    let answer = json(&world, &[&flags[..], &adapter].concat());
    assert_eq!(answer["prompts"], 2);
    assert_eq!(answer["movement"].as_array().unwrap().len(), 6);
    assert_eq!(answer["key_steps"][0], 0);
    assert_eq!(answer["key_steps"].as_array().unwrap().len(), 2);
    let inspected = world.run(&["inspect", "adapter", "adapter.safetensors"]);
    let file: serde_json::Value = serde_json::from_slice(&inspected.stdout).unwrap();
    assert_eq!(file["adapter"]["key_steps"], answer["key_steps"]);
    assert_eq!(file["adapter"]["key_steps_of"], 6);
    let checkpoint = world.run(&["inspect", "checkpoint", "adapter.safetensors"]);
    let file: serde_json::Value = serde_json::from_slice(&checkpoint.stdout).unwrap();
    assert!(file["what"].as_str().unwrap().contains("inspect adapter"), "{}", file["what"]);
}

#[test]
fn what_cannot_be_done_is_said() {
    let world = World::new();
    std::fs::write(world.path("rows.jsonl"), ROWS).unwrap();
    std::fs::write(world.path("bad.jsonl"), "{\"prompt\": \"a dog\"\n").unwrap();
    std::fs::write(world.path("empty.jsonl"), "\n").unwrap();
    let fails = |arguments: &[&str], words: &str| {
        let output = world.run(&[&["key-steps", "--base", "base"], arguments].concat());
        assert_eq!(output.status.code(), Some(1), "{}", message(&output));
        assert!(message(&output).contains(words), "no `{words}` in {}", message(&output));
    };
    fails(&[], "has no prompts of its own");
    fails(&["--prompts", "none.jsonl"], "none.jsonl");
    fails(&["--prompts", "bad.jsonl"], "line 1, column 18: EOF while parsing an object");
    fails(&["--prompts", "empty.jsonl"], "has no prompts");
    fails(&["--prompts", "rows.jsonl", "--steps", "2"], "3 key steps were asked for over 2");
}

#[test]
fn long_prompts_are_told_once_and_the_first_few() {
    let world = World::new();
    let long = |k: usize| format!("a red dog a blue heart{}", " dog".repeat(k));
    let prompts: Vec<String> = (0..8).map(|k| long(k % 7)).collect();
    std::fs::write(world.path("long.txt"), prompts.join("\n")).unwrap();
    let flags = ["--prompts", "long.txt", "--steps", "4", "--count", "1"];
    let output = world.run(&[&["key-steps", "--base", "base"][..], &flags].concat());
    let told = message(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert_eq!(told.matches("cut off: `blue heart").count(), 5, "{told}");
    assert!(told.contains("2 more of 7 prompts are longer than what the base reads"), "{told}");
}

/// Every flag that changes a picture is in its file and in the answer, as it was given.
#[test]
fn a_picture_holds_all_settings() {
    let world = World::new();
    write_adapter(&world.path("adapter.safetensors"), &world.path("base"));
    std::fs::write(world.path("p.txt"), "a dog\n").unwrap();
    let adapter = ["--adapter", "adapter.safetensors"];
    let keys = ["key-steps", "--base", "base", "--prompts", "p.txt", "--count", "2", "--json"];
    let chosen = world.run(&[&keys[..], &["--steps", "4"], &adapter].concat());
    let chosen: serde_json::Value = serde_json::from_slice(&chosen.stdout).unwrap();
    let flags = ["--size", "4x8", "--dtype", "unet=bf16", "--variant", "p", "--steps", "4"];
    let picture = ["sample", "--base", "base", "--prompt", "a dog", "--out", "x.png", "--json"];
    let output = world.run(&[&picture[..], &flags, &adapter].concat());
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let (_, metadata) = image::read_png(&world.path("x.png")).unwrap();
    for settings in [&answer["settings"], &metadata.hyperalign.unwrap()] {
        assert_eq!(settings["size"], serde_json::json!([4, 8]));
        assert_eq!(settings["dtype"], "unet=bf16");
        assert_eq!(settings["variant"], "p");
        assert_eq!(settings["key_steps"], chosen["key_steps"]);
    }
}
