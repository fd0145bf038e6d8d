//! `hyperalign compare`, `merge` and `report`, as their user runs, stops and shards them.

mod clip;
mod tiny;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

use clip::write_clip;
use tiny::{World, message, write_adapter, write_base, write_static_lora};

const ROWS: &str = r#"{"tag": "single_object", "include": [{"class": "dog", "count": 1}], "prompt": "a dog"}
{"tag": "colors", "include": [{"class": "heart", "count": 1, "color": "red"}], "prompt": "a red heart"}
"#;

/// Adapters from files and a search, on the smallest base.
const CONFIG: &str = r#"
format = 1
title = "Tiny"
[protocol]
prompts = "rows.jsonl"
rows = 2
kept_rows = 2
probe_prompts = 2
reference = "best"
shown = ["base", "best", "s"]
[scores]
rewards = ["clip"]
primary = "clip"
[[bases]]
name = "tiny"
model = "base"
steps = 2
[[entries]]
name = "s"
adapter = "adapter.safetensors"
[[entries]]
name = "best"
method = "best-of-n"
options = { n = 3 }
[[entries]]
name = "lora"
adapter = "lora.safetensors"
[[claims]]
id = "better"
text = "The best of three is better"
left = "best"
right = ["base"]
"#;

const BROKEN: &str = "[[entries]]\nname = \"broken\"\nadapter = \"other.safetensors\"\n";

fn world(config: &str) -> World {
    let world = World::new();
    write_clip(&world.path("clip"));
    write_adapter(&world.path("adapter.safetensors"), &world.path("base"));
    write_static_lora(&world.path("lora.safetensors"), &world.path("base"));
    write_base(&world.path("another"), 2);
    write_adapter(&world.path("other.safetensors"), &world.path("another"));
    std::fs::write(world.path("rows.jsonl"), ROWS).expect("the rows are written");
    std::fs::write(world.path("tiny.toml"), config).expect("the comparison is written");
    world
}

fn compare(world: &World, more: &[&str]) -> Output {
    world.run(&[&["compare", "--config", "tiny.toml"], more].concat())
}

fn ok(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", message(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The folder of the only run of `entry`.
fn run_of(out: &Path, entry: &str) -> PathBuf {
    let folders = std::fs::read_dir(out.join("measured")).expect("runs");
    let mut folders = folders.map(|folder| folder.expect("a folder").path());
    let is_of = |folder: &PathBuf| {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        name.contains(&format!(".{entry}"))
    };
    folders.find(is_of).unwrap_or_else(|| panic!("there is no run of {entry}"))
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).expect("a file")).expect("JSON")
}

/// The pictures that were kept are those of a blind study, of all methods or of some.
fn become_studies(world: &World, out: &Path) {
    let new = ["study", "new", "--checks", "0", "--out"];
    let all = ok(&world.run(&[&new[..], &["all", "runs/tiny", "--items", "12"]].concat()));
    assert!(all.contains("4 methods, 12 pairs of pictures of 2 prompts"), "{all}");
    let methods = json(&world.path("all/study.json"))["study"]["methods"].clone();
    assert_eq!(methods, serde_json::json!(["base", "s", "best", "lora"]));
    let of = |name: &str, entry: &str| format!("{name}={}", run_of(out, entry).display());
    let (first, second) = (of("plain", "base"), of("found", "best"));
    let some = ok(&world.run(&[&new[..], &["some", &first, &second]].concat()));
    assert!(some.contains("2 methods, 2 pairs of pictures of 2 prompts"), "{some}");
}

#[test]
fn what_fails_is_told_and_the_rest_is_reported() {
    let world = world(&format!("{CONFIG}{BROKEN}"));
    let output = compare(&world, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(message(&output).contains("1 of 5 runs failed"), "{}", message(&output));
    let out = world.path("runs/tiny");
    let numbers = || json(&out.join("report/report.json"));
    let first = numbers();
    let names: Vec<&str> = first["bases"][0]["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["base", "s", "best", "lora"]);
    // An untrained adapter changes nothing, and a search finds what it seeks.
    assert_eq!(first["bases"][0]["entries"][1]["to_base"]["clip"]["mean"], 0.0);
    assert!(first["bases"][0]["entries"][2]["to_base"]["clip"]["mean"].as_f64().unwrap() > 0.0);
    assert!(
        first["missing"][0].as_str().unwrap().contains("another base")
            || first["missing"][0].as_str().unwrap().contains("trained on"),
        "{}",
        first["missing"]
    );
    for file in ["index.html", "report.md", "tiny-wins.png", "tiny-quality-by-time.svg"] {
        assert!(out.join("report").join(file).is_file(), "{file}");
    }
    let distance = &first["bases"][0]["entries"][2]["means"]["distance"];
    assert!(distance.as_f64().unwrap() >= 0.0, "{distance}");

    // The failed one is tried again, and the others are not.
    let record =
        || std::fs::metadata(run_of(&out, "s").join("record.json")).unwrap().modified().unwrap();
    let before = record();
    assert_eq!(compare(&world, &[]).status.code(), Some(1));
    assert_eq!((record(), numbers()), (before, first.clone()));
    let list = ok(&compare(&world, &["--list"]));
    assert!(list.contains("failed in measure tiny.broken") && list.contains("done"), "{list}");

    // Without it there is nothing left to do, and what it left is named.
    std::fs::write(world.path("tiny.toml"), CONFIG).unwrap();
    ok(&compare(&world, &[]));
    let told = numbers()["missing"].to_string();
    assert!(told.contains("earlier form of the file"), "{told}");
    assert_eq!(record(), before);
    let report = std::fs::read(out.join("report/index.html")).unwrap();
    ok(&world.run(&["report", "runs/tiny"]));
    if cfg!(feature = "serve") {
        become_studies(&world, &out);
    }
    assert!(std::fs::read(out.join("report/index.html")).unwrap() == report);
}

#[test]
fn shards_give_what_the_whole_gives() {
    let world = world(CONFIG);
    ok(&compare(&world, &["--out", "whole"]));
    for shard in ["1/2", "2/2"] {
        let out = format!("shard-{}", &shard[..1]);
        ok(&compare(&world, &["--out", &out, "--shard", shard]));
    }
    // One alone says what is missing.
    let alone = world.run(&["merge", "shard-1", "--out", "alone"]);
    ok(&alone);
    assert!(message(&alone).contains("another shard makes it"), "{}", message(&alone));
    ok(&world.run(&["merge", "shard-1", "shard-2", "--out", "merged"]));
    let numbers = |out: &str| {
        let mut numbers = json(&world.path(out).join("report/report.json"));
        for entry in numbers["bases"][0]["entries"].as_array_mut().unwrap() {
            // Of two runs only time and memory differ.
            entry["means"].as_object_mut().unwrap().remove("seconds");
            entry["peak_memory"] = Value::Null;
        }
        numbers
    };
    assert_eq!(numbers("merged"), numbers("whole"));
    let twice = world.run(&["merge", "shard-2", "shard-2", "--out", "twice"]);
    ok(&twice);
    assert!(message(&twice).contains("came more than once"), "{}", message(&twice));

    std::fs::write(world.path("tiny.toml"), CONFIG.replace("rows = 2", "rows = 1")).unwrap();
    ok(&compare(&world, &["--out", "other", "--only", "s"]));
    let output = world.run(&["merge", "shard-1", "other", "--out", "merged"]);
    assert!(message(&output).contains("different comparisons"), "{}", message(&output));
}

#[test]
fn what_cannot_be_compared_is_an_error() {
    let world = world(CONFIG);
    let refused = |from: &str, to: &str, more: &[&str]| {
        std::fs::write(world.path("tiny.toml"), CONFIG.replace(from, to)).unwrap();
        let output = compare(&world, more);
        assert_eq!(output.status.code(), Some(1), "{}", message(&output));
        message(&output)
    };
    let has = |message: String, words: &[&str]| {
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    };
    has(refused("format = 1", "format = 0", &[]), &["format 0", "format 1"]);
    has(refused("name = \"best\"", "name = \"bets\"", &[]), &["`best`", "did you mean `bets`?"]);
    has(refused("n = 3", "m = 3", &[]), &["unknown field `m`", "entries.best.options"]);
    has(refused("best-of-n", "worst-of-n", &[]), &["`worst-of-n`", "best-of-n"]);
    has(
        refused("lora.safetensors", "nothing.safetensors", &[]),
        &["entries.lora", "nothing.safetensors"],
    );
    has(refused("model = \"base\"", "model = \"bass\"", &[]), &["bass"]);
    has(refused("", "", &["--only", "nobody"]), &["nobody", "s, best, lora"]);
    let output = world.run(&["report", "nowhere"]);
    has(message(&output), &["holds no comparison"]);
    assert_eq!(compare(&world, &["--shard", "3/2"]).status.code(), Some(2));
}

/// A training in stages, interrupted after the first, and measured along the way.
#[cfg(unix)]
#[test]
fn an_interrupted_training_goes_on() {
    use nix::{
        sys::signal::{Signal, kill},
        unistd::Pid,
    };
    let root = tempfile::tempdir().unwrap();
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    std::fs::copy(configs.join("quick/s.toml"), root.path().join("s.toml")).unwrap();
    let config = "format = 1\n[protocol]\nrows = 2\nkept_rows = 2\nprobe_prompts = 2\nreference = \"s\"\n\
                  [curves]\npoints = [0.5]\nrows = 2\n[[bases]]\nname = \"emoji-sd\"\nsteps = 2\n\
                  [[entries]]\nname = \"s\"\ncurve = true\n[entries.train]\nconfig = \"s.toml\"\n\
                  data = \"curated\"\nstates_per_update = 2\nsettings.training.updates = 4\n";
    std::fs::write(root.path().join("toy.toml"), config).unwrap();
    let command = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hyperalign"));
        command.current_dir(root.path()).args(["compare", "--config", "toy.toml", "--out", "out"]);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command
    };
    let trained = root.path().join("out/trained");
    let stages = || -> Vec<String> {
        let folders = std::fs::read_dir(&trained).into_iter().flatten().flatten();
        let files = folders.flat_map(|folder| std::fs::read_dir(folder.path()).unwrap().flatten());
        let mut names: Vec<String> =
            files.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
        names.retain(|name| name.starts_with("at-"));
        names.sort();
        names
    };
    let mut child = command().spawn().unwrap();
    while stages().is_empty() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before its first stage");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", message(&output));
    let output = command().output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    assert_eq!(stages(), ["at-2.safetensors", "at-4.safetensors"]);

    let record = json(&run_of(&root.path().join("out"), "s.0").join("record.json"));
    let points: Vec<(u64, f64)> = record["curve"]
        .as_array()
        .unwrap()
        .iter()
        .map(|point| (point["updates"].as_u64().unwrap(), point["states"].as_f64().unwrap()))
        .collect();
    assert_eq!(points, [(2, 4.0), (4, 8.0)]);
    assert_eq!(record["training"]["updates"], 4);
    assert!(record["training"]["seconds"].as_f64().unwrap() > 0.0);
    assert!(record["variation"]["over_steps"].is_number());
    let report = root.path().join("out/report");
    for figure in
        ["over-optimisation", "gain-by-states", "movement", "weights-along-steps", "tasks"]
    {
        assert!(report.join(format!("emoji-sd-{figure}.svg")).is_file(), "{figure}");
    }

    // The curves of the training itself.
    let run = std::fs::read_dir(&trained).unwrap().next().unwrap().unwrap().path().join("run");
    let output = Command::new(env!("CARGO_BIN_EXE_hyperalign")).arg("report").arg(&run).output();
    ok(&output.unwrap());
    let page = std::fs::read_to_string(run.join("report/report.md")).unwrap();
    assert!(page.contains("4 updates in") && page.contains("(loss.svg)"), "{page}");
}
