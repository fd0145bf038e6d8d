//! GenEval's scorer over as many pictures as its own set has, with a tiny detector.

// Helpers of tests are tests.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use hyperalign_models::{mask2former::mmdet::COCO, testing::write_geneval};
use hyperalign_rewards::geneval::COLORS;
use image::{Rgb, RgbImage};
use serde_json::{Value, json};

/// The tasks of GenEval's `evaluation_metadata.jsonl`, and how many of its 553 prompts each has.
const TASKS: [(&str, usize); 6] = [
    ("single_object", 80),
    ("two_object", 99),
    ("counting", 80),
    ("colors", 94),
    ("position", 100),
    ("color_attr", 100),
];
/// The only class that the detector finds.
const DOG: usize = 16;

/// A class by GenEval's name.
fn class(k: usize) -> String {
    match COCO[k % COCO.len()] {
        name @ ("mouse" | "keyboard") => format!("computer {name}"),
        "remote" => "tv remote".to_owned(),
        name => name.to_owned(),
    }
}

/// The `k`th row of a task, in the form of GenEval's.
fn row(task: &str, k: usize) -> Value {
    let (one, other) = (class(k), class(k * 7 + 1));
    let color = |k: usize| COLORS[k % COLORS.len()];
    let include = match task {
        "single_object" => json!([{"class": one, "count": 1}]),
        "two_object" => json!([{"class": one, "count": 1}, {"class": other, "count": 1}]),
        "counting" => json!([{"class": one, "count": 2 + k % 3}]),
        "colors" => json!([{"class": one, "count": 1, "color": color(k)}]),
        "position" => json!([
            {"class": other, "count": 1},
            {"class": one, "count": 1, "position": ["left of", 0]},
        ]),
        _ => json!([
            {"class": one, "count": 1, "color": color(k)},
            {"class": other, "count": 1, "color": color(k + 3)},
        ]),
    };
    let mut row = json!({"tag": task, "include": include, "prompt": format!("{task} {k}")});
    if task == "counting" {
        row["exclude"] = json!([{"class": one, "count": 3 + k % 3}]);
    }
    row
}

fn picture(path: &Path, side: u32, k: u32) {
    let picture = RgbImage::from_fn(side, side, |x, y| {
        let wave = (f64::from(x * (k % 5 + 1)) * 0.2 + f64::from(y) * 0.15).sin();
        Rgb([1.0, 0.4, -1.0].map(|a| (127.5 + 120.0 * a * wave) as u8))
    });
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    picture.save(path).unwrap();
}

fn score(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hyperalign"));
    command.current_dir(folder).args(["score", "--reward", "geneval", "--weights", "geneval"]);
    command.args(arguments);
    command
}

fn answer(command: &mut Command) -> Value {
    let output = command.output().expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The whole set, interrupted and gone on with.
#[cfg(unix)]
#[test]
fn all_prompts_are_judged_though_it_is_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    write_geneval(&path.join("geneval"), &COCO, DOG);
    let rows = TASKS.iter().flat_map(|(task, count)| (0..*count).map(|k| row(task, k)));
    let rows: Vec<Value> = rows.collect();
    assert_eq!(rows.len(), 553);
    for (k, row) in rows.iter().enumerate() {
        let own = path.join(format!("in/{k:05}"));
        picture(&own.join("samples/0000.png"), 40 + k as u32 % 3, k as u32);
        fs::write(own.join("metadata.jsonl"), row.to_string()).unwrap();
    }
    let arguments = ["in", "--json", "--out", "scores.jsonl"];
    let mut child = score(path, &arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let journal = path.join("scores.jsonl");
    let lines = || fs::read_to_string(&journal).unwrap_or_default().lines().count();
    while lines() < 20 && child.try_wait().expect("its state").is_none() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.expect("kill").success());
    assert_eq!(child.wait().expect("its end").code(), Some(130));
    let before = lines();
    assert!((20..=553).contains(&before), "{before} lines");

    let found = answer(&mut score(path, &arguments));
    assert_eq!(lines(), 554, "a head and a line for each picture");
    assert_eq!(found["all"]["geneval"]["count"], 553);
    for (task, count) in TASKS {
        assert_eq!(found["groups"][task]["geneval"]["count"], count, "{task}");
    }
    // Of the single objects the dog is right, of two objects none.
    let of = |task: &str| found["groups"][task]["geneval"]["mean"].as_f64().unwrap();
    assert!((of("single_object") - 1.0 / 80.0).abs() < 1e-9, "{}", found["groups"]);
    assert_eq!(of("two_object"), 0.0);
}

/// The numbers of pictures that memory is measured with: a tenth of this, and this.
fn most() -> usize {
    let given = std::env::var("HYPERALIGN_PICTURES").ok().and_then(|count| count.parse().ok());
    given.unwrap_or(40)
}

/// Memory does not depend on how many pictures are judged. Set `HYPERALIGN_PICTURES` for other
/// numbers; what the program held at most is printed.
#[test]
fn memory_is_that_of_a_few_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    write_geneval(&path.join("geneval"), &COCO, DOG);
    let most = most();
    for k in 0..8 {
        picture(&path.join(format!("{k}.png")), 512, k);
    }
    let row = row("colors", DOG).to_string();
    let mut held = Vec::new();
    for count in [most / 10, most] {
        for k in 0..count {
            let own = path.join(format!("{count}/{k:05}"));
            fs::create_dir_all(own.join("samples")).unwrap();
            let name = own.join("samples/0000.png");
            fs::hard_link(path.join(format!("{}.png", k % 8)), name).unwrap();
            fs::write(own.join("metadata.jsonl"), &row).unwrap();
        }
        let arguments = [&count.to_string(), "--batch", "4", "--json"];
        let found = answer(&mut score(path, &arguments));
        assert_eq!(found["all"]["geneval"]["count"], count);
        // Systems that do not tell make no answer.
        let Some(bytes) = found["peak_memory_bytes"].as_u64() else { return };
        eprintln!("{count} pictures of 512x512: {} MiB at most", bytes >> 20);
        held.push(bytes);
    }
    assert!(held[1] < held[0] + (32 << 20), "{held:?}");
}
