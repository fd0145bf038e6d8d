//! `hyperalign world` without and with networks, and `hyperalign pairs`.

mod tiny;

use std::{collections::BTreeMap, path::Path};

use hyperalign_core::testing;
use hyperalign_models::{
    clip::ClipConfig,
    pipeline::StableDiffusion,
    tokenizer::Tokenizer,
    weights::{FileFloat, reinit, save},
};
use hyperalign_rewards::emoji;
use hyperalign_train::pretrain::recipe;
use serde_json::from_value;

use tiny::{World, message, write_adapter};

#[test]
fn the_scorer_is_measured_by_task() {
    let world = World::new();
    let output = world.run(&["world", "--count", "60", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["clean"]["all"]["pictures"], 60);
    assert!(found["clean"]["per_task"]["position"]["right"].as_f64().unwrap() > 0.9);
    assert!(found.get("reconstructions").is_none());

    let output = world.run(&["world", "--count", "12"]);
    let text = String::from_utf8(output.stdout).unwrap();
    for word in ["single_object", "color_attr", "all", "clean right", "12 renders"] {
        assert!(text.contains(word), "no `{word}` in {text}");
    }
}

#[test]
fn what_is_not_of_this_world_is_refused() {
    let world = World::new();
    let fails = |arguments: &[&str], words: &str| {
        let output = world.run(&[&["world"], arguments].concat());
        assert_eq!(output.status.code(), Some(1), "{}", message(&output));
        assert!(message(&output).contains(words), "no `{words}` in {}", message(&output));
    };
    fails(&["--base", "base"], "`base` does not draw");
    fails(&["--judge", "nobody"], "unknown reward `nobody`");
    std::fs::create_dir(world.path("judge")).unwrap();
    write_adapter(&world.path("judge/model.safetensors"), &world.path("base"));
    fails(&["--judge", "judge"], "config.json");
    let output = world.run(&["world", "--count", "0"]);
    assert_eq!(output.status.code(), Some(2));
}

/// Networks of the recipe's sizes before pretraining: a base in `base` and a judge in `judge`.
fn write_untrained(base: &Path, judge: &Path) {
    let device = testing::device();
    let words = emoji::vocabulary();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let tokenizer =
        Tokenizer::from_words(&words, recipe::CONTEXT_LENGTH).expect("a network of the recipe");
    let text: hyperalign_models::clip::ClipTextConfig =
        from_value(recipe::text_encoder(tokenizer.vocab_size())).expect("a network of the recipe");
    let unet: hyperalign_models::unet::UnetConfig =
        from_value(recipe::unet()).expect("a network of the recipe");
    let vae: hyperalign_models::vae::AutoencoderKlConfig =
        from_value(recipe::vae()).expect("a network of the recipe");
    StableDiffusion::new(
        "untrained",
        tokenizer.clone(),
        reinit(text.init(&device), 1),
        reinit(unet.init(&device), 1),
        reinit(vae.init(&device), 1),
        from_value(recipe::scheduler()).expect("a network of the recipe"),
        &device,
    )
    .and_then(|pipeline| pipeline.save(base, FileFloat::F16))
    .expect("a network of the recipe");
    let config = recipe::preference(tokenizer.vocab_size());
    let model = reinit(
        from_value::<ClipConfig>(config.clone()).expect("a network of the recipe").init(&device),
        2,
    );
    std::fs::create_dir(judge).expect("a network of the recipe");
    let write = |name: &str, text: String| {
        std::fs::write(judge.join(name), text).expect("a network of the recipe")
    };
    write("config.json", config.to_string());
    write("tokenizer.json", tokenizer.to_json().expect("a network of the recipe"));
    write("tokenizer_config.json", tokenizer.config_json().to_string());
    let statistics = r#"{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}"#;
    write("preprocessor_config.json", statistics.to_owned());
    save(&model, &judge.join("model.safetensors"), FileFloat::F16, &BTreeMap::new())
        .expect("a network of the recipe");
}

#[test]
fn networks_are_measured_too() {
    let world = World::new();
    write_untrained(&world.path("untrained"), &world.path("judge"));
    let networks = ["--base", "untrained", "--judge", "judge"];
    let sizes = ["--count", "24", "--samples", "12", "--steps", "2"];
    let output = world.run(&[&["world", "--json"], &networks[..], &sizes].concat());
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let rebuilt = &found["reconstructions"];
    let right = rebuilt["exactness"]["all"]["right"].as_f64().unwrap();
    // A blot may look like a thing by accident.
    assert!(rebuilt["psnr"].as_f64().unwrap() < 20.0 && right < 0.1, "{rebuilt}");
    assert_eq!(found["judge"]["orderings"]["all"]["pairs"], 24);
    let samples = &found["judge"]["samples"]["all"];
    assert_eq!((&samples["right"], &samples["wrong"]), (&0.into(), &12.into()));
    // Nothing is right, so nothing can be above what is wrong.
    assert!(samples["auc"].is_null());

    let output = world.run(&[&["world"], &networks[..], &sizes].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    for word in ["rebuilt right", "PSNR", "caption", "AUC", "24 tuning prompts"] {
        assert!(text.contains(word), "no `{word}` in {text}");
    }
}

fn json(output: &std::process::Output) -> serde_json::Value {
    assert_eq!(output.status.code(), Some(0), "{}", message(output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn pairs_are_drawn_once_and_their_shares_told() {
    let world = World::new();
    let cache = world.path("cache");
    let drawn = |more: &[&str]| {
        let arguments = [&["pairs", "--prompts", "12", "--json"], more].concat();
        world.run_with(&arguments, &[("HYPERALIGN_CACHE", cache.to_str().expect("a path"))])
    };
    let first = json(&drawn(&[]));
    assert_eq!(first["prompts"], 12);
    for share in ["right", "preferred_right", "decided_by_right"] {
        let share = first[share].as_f64().expect("a share");
        assert!((0.0..=1.0).contains(&share), "{first}");
    }
    let file = first["file"].as_str().expect("a path");
    let written = std::fs::metadata(file).expect("the set").modified().expect("a time");
    assert_eq!(json(&drawn(&[])), first);
    assert_eq!(std::fs::metadata(file).expect("the set").modified().expect("a time"), written);
    // A reward judges this set, when it is learned from.
    let ranked = json(&drawn(&["--data", "ranked"]));
    assert!(ranked.get("preferred_right").is_none());
    assert_ne!(ranked["file"], first["file"]);
}

#[test]
fn what_cannot_be_drawn_or_learned_from_is_named() {
    let world = World::new();
    let fails = |arguments: &[&str], cache: &str, words: &[&str]| {
        let output = world.run_with(arguments, &[("HYPERALIGN_CACHE", cache)]);
        assert_eq!(output.status.code(), Some(1), "{}", message(&output));
        for word in words {
            assert!(message(&output).contains(word), "no `{word}` in {}", message(&output));
        }
    };
    fails(
        &["pairs", "--base", "base"],
        "cache",
        &["`base` is none of the emoji world", "emoji-sd"],
    );
    let train = ["train", "--plain", "--data", "winners", "--out", "run"];
    fails(&train, "cache", &["hyperalign pairs --base emoji-sd --data winners"]);
    std::fs::write(world.path("file"), "in the way").expect("a file");
    fails(&["pairs", "--prompts", "2"], "file", &["drawn"]);
}
