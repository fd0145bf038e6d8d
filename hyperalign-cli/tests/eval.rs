//! `hyperalign eval` on the smallest base that has every part.

mod tiny;

use tiny::{World, message, write_adapter};

const ROWS: &str = r#"{"tag": "single_object", "include": [{"class": "dog", "count": 1}], "prompt": "a dog"}
{"tag": "colors", "include": [{"class": "heart", "count": 1, "color": "red"}], "prompt": "a red heart"}
"#;

const FLAGS: [&str; 8] =
    ["eval", "--base", "base", "--steps", "2", "--prompts", "rows.jsonl", "--seeds"];

fn world() -> World {
    let world = World::new();
    write_adapter(&world.path("adapter.safetensors"), &world.path("base"));
    std::fs::write(world.path("rows.jsonl"), ROWS).expect("the rows are written");
    world
}

#[test]
fn methods_are_compared_and_results_kept() {
    let world = world();
    let flags =
        ["2", "--adapter", "adapter.safetensors", "--method", "none,s,i", "--cache", "kept"];
    let run = |more: &[&str]| {
        let output = world.run(&[&FLAGS[..], &flags, more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", message(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let summary: serde_json::Value = serde_json::from_str(&run(&["--json"])).unwrap();
    let names: Vec<&String> = summary["methods"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["base", "hyperalign-s", "hyperalign-i"]);
    let s = &summary["methods"]["hyperalign-s"];
    assert_eq!(s["pictures"], 4);
    assert_eq!(s["diversity"], summary["methods"]["base"]["diversity"], "it is untrained");
    // Pictures of 8 x 8 are not of the world that the exact scorer knows.
    assert_eq!(s.get("gold"), None);
    assert_eq!(summary["diversity_space"], "pixels");
    assert_eq!(std::fs::read_dir(world.path("kept")).unwrap().count(), 3);

    let again: serde_json::Value = serde_json::from_str(&run(&["--json"])).unwrap();
    assert_eq!(again, summary, "the times too: everything was kept");
    let table = run(&[]);
    assert!(table.contains("hyperalign-i") && table.contains("var/steps"), "{table}");
    assert!(run(&["--markdown"]).starts_with("| method"));
}

#[test]
fn the_adapter_is_measured_as_it_was_trained() {
    let world = world();
    let output = world.run(&[&FLAGS[..], &["1", "--adapter", "adapter.safetensors"]].concat());
    let table = String::from_utf8(output.stdout).unwrap();
    let names = table.lines().skip(1).take(2).map(|line| line.split(' ').next().unwrap());
    assert_eq!(names.collect::<Vec<_>>(), ["base", "hyperalign-s"]);
}

#[test]
fn what_cannot_be_done_is_said() {
    let world = world();
    let fails = |arguments: &[&str], words: &str| {
        let output = world.run(&[&FLAGS[..], &["1"], arguments].concat());
        assert_eq!(output.status.code(), Some(1), "{}", message(&output));
        assert!(message(&output).contains(words), "no `{words}` in {}", message(&output));
    };
    let adapter = ["--adapter", "adapter.safetensors"];
    fails(&["--method", "s"], "`--method s` needs an adapter");
    fails(&[&adapter[..], &["--method", "p"]].concat(), "hyperalign key-steps");
    fails(&[&adapter[..], &["--method", "s,s"]].concat(), "`hyperalign-s` comes twice");
    fails(&["--proxy", "nothing"], "unknown reward model `nothing`");
    fails(&["--cache", "rows.jsonl"], "cannot write");
}
