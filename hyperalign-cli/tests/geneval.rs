//! GenEval's scorer in the program, with tiny networks: `score`, `eval` and `detect`.

// Helpers of tests are tests.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "other tests use the rest")]
mod tiny;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use hyperalign_models::testing::{write_detector, write_geneval, write_mmdet};
use image::{Rgb, RgbImage};
use serde_json::Value;

use tiny::{World, message};

/// The detector finds dogs only.
const LABELS: [&str; 4] = ["person", "dog", "keyboard", "car"];
const DOG: usize = 1;

fn row(tag: &str, class: &str, count: usize) -> String {
    format!(
        r#"{{"tag": "{tag}", "include": [{{"class": "{class}", "count": {count}}}], "prompt": "{tag} {count} {class}"}}"#
    )
}

fn picture(path: &Path, k: u32) {
    let picture = RgbImage::from_fn(48 + k % 16, 40, |x, y| {
        let wave = (f64::from(x * (k % 5 + 1)) * 0.2 + f64::from(y) * 0.15).sin();
        Rgb([1.0, 0.4, -1.0].map(|a| (127.5 + 120.0 * a * wave) as u8))
    });
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    picture.save(path).unwrap();
}

/// A folder with the scorer in `geneval` and pictures as GenEval's generation lays them out: a
/// folder for each row, with its metadata.
fn world(rows: &[String], samples: u32) -> World {
    let world = World::new();
    write_geneval(&world.path("geneval"), &LABELS, DOG);
    for (k, row) in rows.iter().enumerate() {
        for sample in 0..samples {
            let name = format!("in/{k:05}/samples/{sample:04}.png");
            picture(&world.path(&name), 7 * k as u32 + sample);
        }
        fs::write(world.path(&format!("in/{k:05}/metadata.jsonl")), row).unwrap();
    }
    world
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", message(output)))
}

const SCORE: [&str; 6] = ["score", "in", "--reward", "geneval", "--weights", "geneval"];

#[test]
fn pictures_in_genevals_folders_are_judged_by_their_metadata() {
    let rows = [
        row("single_object", "dog", 1),
        row("two_object", "car", 1),
        row("counting", "computer keyboard", 2),
    ];
    let world = world(&rows, 2);
    // Pictures without rules: one with a prompt, one without.
    for name in ["in/x/a.png", "in/x/b.png"] {
        picture(&world.path(name), 3);
    }
    fs::write(world.path("in/x/a.txt"), "a dog").unwrap();
    let output = world.run(&[&SCORE[..], &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    assert!(
        message(&output).contains("geneval passed over 2 of 8 pictures"),
        "{}",
        message(&output)
    );
    let found = json(&output);
    assert_eq!(found["skipped"]["geneval"], 2);
    assert_eq!(found["all"]["geneval"]["count"], 6);
    assert_eq!(found["groups"]["single_object"]["geneval"]["mean"], 1.0);
    assert_eq!(found["groups"]["two_object"]["geneval"]["mean"], 0.0);
    let third = 1.0 / 3.0;
    let close = |value: &Value| (value.as_f64().unwrap() - third).abs() < 1e-9;
    for key in ["overall", "pictures", "prompts"] {
        assert!(close(&found["geneval"][key]), "{key}: {}", found["geneval"]);
    }
    assert_eq!(found["scores"][6]["scores"]["geneval"], Value::Null);

    let table = world.run(&SCORE);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("GenEval: 0.3333, the mean of 3 tasks"), "{table}");
    let csv = world.run(&[&SCORE[..], &["--csv"]].concat());
    let csv = String::from_utf8(csv.stdout).unwrap();
    let passed_over = csv.lines().find(|line| line.starts_with("in/x/a.png,")).unwrap();
    assert!(passed_over.starts_with("in/x/a.png,a dog,,,\"not of the published"), "{passed_over}");
}

/// A journal that was cut off goes on, and other rules are judged anew.
#[test]
fn an_interrupted_run_goes_on() {
    let rows: Vec<String> = (0..6)
        .map(|k| row("counting", if k % 2 == 0 { "dog" } else { "car" }, 1 + k / 2))
        .collect();
    let world = world(&rows, 1);
    let run = |out: &str| {
        let output = world.run(&[&SCORE[..], &["--json", "--out", out]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", message(&output));
        (json(&output), message(&output))
    };
    let (whole, _) = run("whole.jsonl");
    let lines = fs::read_to_string(world.path("whole.jsonl")).unwrap();
    // Half of the fourth picture's line.
    let kept: usize = lines.lines().take(4).map(|line| line.len() + 1).sum::<usize>() + 9;
    fs::write(world.path("part.jsonl"), &lines[..kept]).unwrap();
    let (again, said) = run("part.jsonl");
    assert!(said.contains("3 of 6 pictures are scored already"), "{said}");
    assert_eq!(again["scores"], whole["scores"]);
    assert_eq!(fs::read_to_string(world.path("part.jsonl")).unwrap(), lines);

    // The same prompt by other rules.
    let other = rows[0].replace(r#""class": "dog""#, r#""class": "car""#);
    fs::write(world.path("in/00000/metadata.jsonl"), other).unwrap();
    let (_, said) = run("part.jsonl");
    assert!(said.contains("5 of 6 pictures are scored already"), "{said}");
}

#[test]
fn eval_measures_the_prompts_that_carry_rules() {
    let world = World::new();
    write_geneval(&world.path("geneval"), &LABELS, DOG);
    let rows = r#"{"tag": "single_object", "include": [{"class": "dog", "count": 1}], "prompt": "a dog"}
{"tag": "single_object", "include": [{"class": "car", "count": 1}], "prompt": "a heart"}
{"prompt": "a red heart"}
"#;
    fs::write(world.path("rows.jsonl"), rows).unwrap();
    let flags = ["eval", "--base", "base", "--steps", "2", "--prompts", "rows.jsonl", "--reward"];
    let more = ["geneval", "--reward-weights", "geneval"];
    let output = world.run(&[&flags[..], &more, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    let found = json(&output);
    assert_eq!(found["skipped"]["geneval"], 1);
    assert_eq!(found["methods"]["base"]["geneval"], 0.5);
    let table = world.run(&[&flags[..], &more].concat());
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("geneval: over the other rows; 1 of 3 come without rules."), "{table}");

    // Prompts none of which can be judged are refused before pictures are made.
    fs::write(world.path("rows.jsonl"), "{\"prompt\": \"a dog\"}\n").unwrap();
    let output = world.run(&[&flags[..], &more].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(message(&output).contains("has none"), "{}", message(&output));
}

#[test]
fn detect_shows_what_was_found_and_why_it_is_wrong() {
    let world = world(&[row("single_object", "dog", 1), row("single_object", "car", 1)], 1);
    let flags = ["detect", "in", "--weights", "geneval"];
    let output = world.run(&[&flags[..], &["--out", "seen.png", "--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    let found = json(&output);
    let object = &found[0]["objects"][0];
    assert_eq!(object["class"], "dog");
    assert!(object["color"].is_string() && object["score"].as_f64().unwrap() > 0.3);
    let edges: Vec<u64> =
        object["box"].as_array().unwrap().iter().map(|edge| edge.as_u64().unwrap()).collect();
    let size: Vec<u64> = serde_json::from_value(found[0]["size"].clone()).unwrap();
    assert!(edges[0] < edges[2] && edges[2] <= size[0] && edges[3] <= size[1], "{edges:?}");
    assert_eq!((&found[0]["correct"], &found[1]["correct"]), (&true.into(), &false.into()));
    assert_eq!(found[1]["reasons"][0], "expected at least 1 car, found 0");
    let seen = image::open(world.path("seen.png")).unwrap().to_rgb8();
    assert_eq!((u64::from(seen.height()), u64::from(seen.width())), (40 + 8 + 40, 55));
    let first = image::open(world.path("in/00000/samples/0000.png")).unwrap().to_rgb8();
    assert_ne!(
        first.get_pixel(edges[0] as u32, edges[1] as u32),
        seen.get_pixel(edges[0] as u32, edges[1] as u32)
    );

    // Nothing is that sure.
    let text = world.run(&[&flags[..], &["--confidence", "0.9999"]].concat());
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("nothing was found") && text.contains("right"), "{text}");
}

/// Ctrl-C ends it after the picture at hand, with what was found by then.
#[cfg(unix)]
#[test]
fn detect_can_be_interrupted() {
    let rows: Vec<String> = (0..60).map(|_| row("single_object", "dog", 1)).collect();
    let world = world(&rows, 1);
    let mut child = Command::new(env!("CARGO_BIN_EXE_hyperalign"))
        .current_dir(world.path(""))
        .args(["detect", "in", "--weights", "geneval", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // What its files hold besides is told once they are open, before the first picture.
    let mut told = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut line = String::new();
    told.read_line(&mut line).expect("a line");
    assert!(line.contains("passed over in geneval"), "{line}");
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.expect("kill").success());
    told.read_to_string(&mut line).expect("the rest");
    let output = child.wait_with_output().expect("its end");
    assert_eq!(output.status.code(), Some(130), "{line}");
    let found = json(&output).as_array().expect("a list").len();
    assert!(line.contains(&format!("{found} of 60 pictures were looked at")), "{line}");
}

#[test]
fn a_detector_is_known_by_its_keys() {
    let world = World::new();
    write_detector(&world.path("detector"), &LABELS, DOG);
    let output = world.run(&["inspect", "checkpoint", "detector"]);
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    let found = json(&output);
    assert!(found["what"].as_str().unwrap().contains("Mask2Former over Swin"), "{found}");
    assert_eq!(found["passed_over"], serde_json::json!(["criterion.empty_weight"]));
    assert_eq!(
        (&found["missing"], &found["problems"]),
        (&Value::Array(vec![]), &Value::Array(vec![]))
    );
}

/// The only pickle of a network that is looked into: GenEval's own detector.
#[test]
fn a_checkpoint_of_mmdetection_is_known_by_its_keys() {
    let world = World::new();
    write_mmdet(&world.path("detector.pth"), DOG);
    let output = world.run(&["inspect", "checkpoint", "detector.pth"]);
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    let found = json(&output);
    assert!(found["what"].as_str().unwrap().contains("mmdetection"), "{found}");
    assert_eq!(found["passed_over"].as_array().unwrap().len(), 5, "{found}");
    assert_eq!(found["problems"], Value::Array(vec![]));
    fs::write(world.path("base.ckpt"), b"PK\x03\x04 no archive").unwrap();
    let output = world.run(&["inspect", "checkpoint", "base.ckpt"]);
    assert_eq!(output.status.code(), Some(1), "{}", message(&output));
}

#[test]
fn what_cannot_be_judged_is_said() {
    let rows = [row("single_object", "zebra", 1), row("single_object", "dog", 1)];
    let world = world(&rows, 1);
    let output = world.run(&SCORE);
    assert_eq!(output.status.code(), Some(1));
    let said = message(&output);
    assert!(said.contains("`zebra`") && said.contains("1 of 2 pictures were not scored"), "{said}");

    // A head for another task, no detector at all, a sum that a mix makes of texts alone.
    write_detector(&world.path("panoptic"), &["dog", "wall-brick"], 0);
    for (weights, words) in [("panoptic", "`wall-brick`"), ("in", "folder `detector`")] {
        let output = world.run(&["score", "in", "--reward", "geneval", "--weights", weights]);
        assert_eq!(output.status.code(), Some(1));
        assert!(message(&output).contains(words), "{}", message(&output));
    }
    let output = world.run(&["detect", "none.png", "--weights", "geneval"]);
    assert!(message(&output).contains("none.png"), "{}", message(&output));
    // Larger than any picture of the allowed size, and not read.
    let large = fs::File::create(world.path("large.png")).unwrap();
    large.set_len(300 << 20).unwrap();
    for command in [
        &["detect", "large.png", "--weights", "geneval"][..],
        &["score", "large.png", "--reward", "gold"],
    ] {
        let output = world.run(command);
        assert_eq!(output.status.code(), Some(1));
        assert!(message(&output).contains("it has 314572800 bytes"), "{}", message(&output));
    }
    let output = world.run(&["detect", "in", "--weights", "geneval", "--confidence", "1"]);
    assert_eq!(output.status.code(), Some(2), "{}", message(&output));
}
