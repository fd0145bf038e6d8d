//! `hyperalign pairs`, and training on what it has drawn.

mod tiny;

use serde_json::Value;
use tiny::{World, message};

fn json(output: &std::process::Output) -> Value {
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
