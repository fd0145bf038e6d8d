//! `hyperalign train` on seeds, folders and data as people have them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant, SystemTime},
};

use hyperalign_core::image::{Metadata, encode_png};
use image::RgbImage;

/// A run of seconds.
const SETTINGS: &str = "
[method]
steps = 3
trajectories = 2
supervised_steps = 1
preferred_batch = 2
[network]
kind = \"hypernet\"
rank = 2
a = 4
b = 4
width = 32
layers = 1
heads = 4
head_gain = 1.0
position_scale = 0.1
[training]
updates = 2
checkpoint_every = 1
[samples]
every = 3
prompts = 2
";

struct World(tempfile::TempDir);

impl World {
    fn new() -> Self {
        let world = Self(tempfile::tempdir().expect("a temporary folder"));
        fs::write(world.at("settings.toml"), SETTINGS).expect("a file");
        world
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn train(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hyperalign"));
        command.current_dir(self.0.path()).args(["train", "--plain", "--no-eval", "--out", "run"]);
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.train(arguments).output().expect("the program starts")
    }

    /// Every file of the run, with its bytes and when it was last changed.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>, SystemTime)> {
        let (mut found, mut folders) = (Vec::new(), vec![self.at("run")]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let changed = path.metadata().and_then(|m| m.modified()).expect("a time");
                found.push((path.clone(), fs::read(&path).expect("a file"), changed));
            }
        }
        found.sort();
        found
    }

    /// HPD's listing of `count` pairs, of which some are damaged and some without a caption.
    fn preferences(&self, count: usize, damaged: &[usize], uncaptioned: &[usize]) {
        let folder = self.at("set");
        fs::create_dir_all(&folder).expect("a folder");
        let mut entries = Vec::new();
        for k in 0..count {
            let picture = RgbImage::from_pixel(64, 64, image::Rgb([k as u8, 90, 90]));
            let file = encode_png(&picture, &Metadata::default());
            let end = if damaged.contains(&k) { file.len() / 2 } else { file.len() };
            fs::write(folder.join(format!("{k}.png")), &file[..end]).expect("a file");
            let prompt = (!uncaptioned.contains(&k)).then_some("a dog");
            let pictures = [format!("{k}.png"), format!("{k}.png")];
            entries.push(serde_json::json!({
                "prompt": prompt, "image_path": pictures, "human_preference": [1, 0],
            }));
        }
        let text = serde_json::to_string(&entries).expect("JSON");
        fs::write(folder.join("train.json"), text).expect("a file");
        // As macOS leaves it beside each file that it packs.
        fs::write(folder.join("._train.json"), b"\0\x05\x16\x07").expect("a file");
    }
}

fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let words = text.split_whitespace().filter(|word| !word.chars().all(|c| "│×╰▶─".contains(c)));
    words.collect::<Vec<_>>().join(" ")
}

const NEW: [&str; 2] = ["--config", "settings.toml"];

#[test]
fn a_run_of_any_seed_goes_on() {
    let world = World::new();
    let seed = u64::MAX.to_string();
    let output = world.run(&[&NEW[..], &["--seed", &seed]].concat());
    assert!(output.status.success(), "{}", said(&output));
    let output = world.run(&["--resume", "--steps", "3"]);
    assert!(output.status.success(), "{}", said(&output));
    let again = world.run(&["--resume", "--steps", "3", "--seed", &seed]);
    assert!(again.status.success(), "{}", said(&again));
    // Settings of an earlier version: a key that has another name now.
    assert!(said(&output).is_empty() || !said(&output).contains("no setting any more"));
}

#[test]
fn a_run_that_is_refused_changes_no_file() {
    let world = World::new();
    assert!(world.run(&NEW).status.success());
    let config = world.at("run/config.toml");
    let text = fs::read_to_string(&config).expect("the settings");
    fs::write(&config, text.replace("rank = 2", "rank = 3")).expect("a file");
    let before = world.files();
    let output = world.run(&["--resume", "--steps", "9"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("rank"), "{}", said(&output));
    assert_eq!(world.files(), before);
    fs::write(&config, text).expect("a file");
    assert!(world.run(&["--resume", "--steps", "3"]).status.success());
}

#[test]
fn a_learning_rate_is_changed_by_its_flag_alone() {
    let world = World::new();
    assert!(world.run(&NEW).status.success());
    let config = world.at("run/config.toml");
    let text = fs::read_to_string(&config).expect("the settings");
    let rate = text.lines().find(|line| line.starts_with("lr = ")).expect("a rate").to_owned();
    fs::write(&config, text.replace(&rate, "lr = 0.5")).expect("a file");
    let refused = world.run(&["--resume", "--steps", "3"]);
    assert!(said(&refused).contains("optimizer.lr"), "{}", said(&refused));
    fs::write(&config, &text).expect("a file");
    let output = world.run(&["--resume", "--steps", "3", "--learning-rate", "0.00002"]);
    assert!(output.status.success(), "{}", said(&output));
    // It is the run's own from there on.
    let output = world.run(&["--resume", "--steps", "4"]);
    assert!(output.status.success(), "{}", said(&output));
    let now = fs::read_to_string(&config).expect("the settings");
    assert!(now.lines().any(|line| line == "lr = 0.00002" || line == "lr = 2e-5"), "{now}");
}

fn until(child: &mut Child, is_there: &Path) {
    let start = Instant::now();
    while !is_there.exists() {
        assert!(child.try_wait().expect("it can be asked").is_none(), "it ended early");
        assert!(start.elapsed() < Duration::from_secs(240), "{} never came", is_there.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn one_run_is_one_process() {
    let world = World::new();
    let mut first =
        world.train(&[&NEW[..], &["--steps", "100000"]].concat()).spawn().expect("it starts");
    until(&mut first, &world.at("run/checkpoints/step-000001"));
    let second = world.run(&["--resume"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(said(&second).contains("another process works in"), "{}", said(&second));
    // A crash leaves no lock behind.
    first.kill().expect("it can be killed");
    first.wait().expect("it ended");
    let third = world.run(&["--resume", "--steps", "1"]);
    assert!(!said(&third).contains("another process"), "{}", said(&third));
    let updates = fs::read_to_string(world.at("run/metrics.jsonl")).expect("the log");
    let mut steps: Vec<&str> = updates.lines().filter_map(|row| row.split(',').next()).collect();
    let all = steps.len();
    steps.dedup();
    assert_eq!(steps.len(), all, "no row comes twice");
}

#[test]
fn damaged_pictures_are_passed_over_told_and_limited() {
    let world = World::new();
    world.preferences(6, &[3], &[]);
    for seed in ["1", "2", "3", "4"] {
        let output = world.run(&[&NEW[..], &["--seed", seed, "--preferences", "set"]].concat());
        assert!(output.status.success(), "seed {seed}: {}", said(&output));
        assert!(said(&output).contains("1 of 6 pictures cannot be read"), "{}", said(&output));
        let log = fs::read_to_string(world.at("run/metrics.jsonl")).expect("the log");
        assert!(log.lines().all(|row| row.contains("passed_over")), "{log}");
        fs::remove_dir_all(world.at("run")).expect("removed");
    }
    world.preferences(40, &(4..40).collect::<Vec<_>>(), &[]);
    let all = [&NEW[..], &["--preferences", "set"]].concat();
    let output = world.run(&all);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("36 of 40 pictures cannot be read"), "{}", said(&output));
    let output = world.run(&[&all[..], &["--max-damaged", "1"]].concat());
    assert!(output.status.success(), "{}", said(&output));
    fs::remove_dir_all(world.at("run")).expect("removed");
    world.preferences(12, &[], &[0, 1, 2, 3, 4, 5]);
    let output = world.run(&all);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("6 of 12 pairs have no caption"), "{}", said(&output));
}

/// A disk that drops out in the middle: what was learned is saved, and the run ends.
#[test]
fn a_set_that_vanishes_ends_the_run_with_what_was_learned() {
    let world = World::new();
    world.preferences(40, &[], &[]);
    let all = [&NEW[..], &["--preferences", "set", "--steps", "100000"]].concat();
    let mut child = world.train(&all).spawn().expect("it starts");
    until(&mut child, &world.at("run/checkpoints/step-000001"));
    fs::rename(world.at("set"), world.at("gone")).expect("renamed");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("cannot be read") && said(&output).contains("is saved"),
        "{}",
        said(&output)
    );
    let log = fs::read_to_string(world.at("run/metrics.jsonl")).expect("the log");
    let last = format!("run/checkpoints/step-{:06}", log.lines().count());
    assert!(world.at(&last).is_dir(), "{last} is the last good one");
    fs::rename(world.at("gone"), world.at("set")).expect("renamed");
    let more = (log.lines().count() + 1).to_string();
    let output = world.run(&["--resume", "--preferences", "set", "--steps", &more]);
    assert!(output.status.success(), "{}", said(&output));
}
