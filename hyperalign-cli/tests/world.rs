//! `hyperalign world` without and with networks.

mod tiny;

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
    fails(&["--judge", "nobody"], "unknown reward model `nobody`");
    std::fs::create_dir(world.path("judge")).unwrap();
    write_adapter(&world.path("judge/model.safetensors"), &world.path("base"));
    fails(&["--judge", "judge"], "config.json");
    let output = world.run(&["world", "--count", "0"]);
    assert_eq!(output.status.code(), Some(2));
}
