//! Files as people have them, given to the program: what it makes of each is one line in a table of
//! bug reports. Every input is made here.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use hyperalign_core::image::{Metadata, encode_png};
use image::RgbImage;
use serde_json::Value;

const PROXY: [&str; 3] = ["score", "--reward", "emoji-proxy"];

struct World(tempfile::TempDir);

impl World {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn at(&self, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        path
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.at(name), bytes).expect("a file");
    }

    fn picture(&self, name: &str, k: u8) {
        self.write(name, picture(k));
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hyperalign"));
        command.current_dir(self.0.path()).args(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program starts")
    }

    /// Each picture with its prompt, of `score --csv`.
    fn scored(&self, arguments: &[&str]) -> Vec<(String, String)> {
        let output = self.run(&[&PROXY, arguments, &["--json"]].concat());
        let json: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("no JSON, but: {}", message(&output)));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let scores = json["scores"].as_array().expect("scores");
        scores.iter().map(|score| (text(&score["image"]), text(&score["prompt"]))).collect()
    }
}

fn picture(k: u8) -> Vec<u8> {
    let picture = RgbImage::from_fn(64, 64, |x, y| image::Rgb([k, x as u8 * 3, y as u8 * 3]));
    encode_png(&picture, &Metadata::default())
}

/// The report in one line: it is wrapped to the width of a terminal.
fn message(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let words = text.split_whitespace().filter(|word| !word.chars().all(|c| "│×╰▶─".contains(c)));
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn pictures_that_share_a_stem_are_compared_with_their_own() {
    let world = World::new();
    for folder in ["A", "B"] {
        world.picture(&format!("{folder}/1.png"), 10);
        world.picture(&format!("{folder}/1.jpg"), 200);
    }
    let compare = ["--prompt", "a dog", "--compare", "A", "B", "--json"];
    let output = world.run(&[&PROXY[..], &compare].concat());
    assert!(output.status.success(), "{}", message(&output));
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["pairs"], 2);
    let of = &json["results"]["emoji-proxy"];
    assert_eq!((of["ties"].as_u64(), of["difference"]["mean"].as_f64()), (Some(2), Some(0.0)));
}

#[test]
fn prompts_are_found_by_the_names_that_lists_have() {
    let world = World::new();
    world.picture("set/train/p1.png", 1);
    world.picture("set/train/p2.png", 2);
    let row = |name: &str, text: &str| {
        format!("{}\n", serde_json::json!({"file_name": name, "text": text}))
    };
    for (list, names, folder) in [
        ("folders.jsonl", ["train/p1.png", "train/p2.png"], "set/train"),
        ("windows.jsonl", ["train\\p1.png", "train\\p2.png"], "set"),
        ("flat.jsonl", ["p1.png", "p2.png"], "set"),
    ] {
        world.write(list, row(names[0], "a red circle") + &row(names[1], "a dog"));
        let prompts: Vec<_> =
            world.scored(&["--prompts", list, folder]).into_iter().map(|found| found.1).collect();
        assert_eq!(prompts, ["a red circle", "a dog"], "{list}");
    }
    world.write("other.jsonl", row("q7.png", "a dog"));
    let output = world.run(&[&PROXY[..], &["--prompts", "other.jsonl", "set"]].concat());
    assert!(message(&output).contains("`q7.png`"), "{}", message(&output));
}

#[test]
fn prompts_come_from_standard_input() {
    let world = World::new();
    world.picture("1.png", 1);
    world.picture("2.png", 2);
    let arguments = ["--prompts", "-", "1.png", "2.png", "--csv"];
    let mut child = world
        .command(&[&PROXY[..], &arguments].concat())
        .stdin(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all("\u{FEFF}# two\r\na dog\r\na red circle\r\n".as_bytes()).expect("written");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("1.png,a dog,") && text.contains("2.png,a red circle,"), "{text}");
}

#[test]
fn what_tools_leave_in_folders_is_named_and_left_out() {
    let world = World::new();
    world.write(
        "0/metadata.jsonl",
        "\u{FEFF}{\"tag\":\"colors\",\"include\":[{\"class\":\"circle\",\"count\":1,\
         \"color\":\"red\"}],\"prompt\":\"a red circle\"}",
    );
    for name in ["0/samples/0000.png", "0/grid.png", "0/samples/x.PNG"] {
        world.picture(name, 3);
    }
    for name in ["0/._grid.png", "0/samples/._0000.png", ".DS_Store", "notes.pdf"] {
        world.write(name, "\0\x05\x16\x07");
    }
    let output = world.run(&[&PROXY[..], &["--csv", "0", "."]].concat());
    let said = message(&output);
    assert!(output.status.success(), "{said}");
    for words in ["1 .DS_Store", "._*", "1 .pdf", "grid.png"] {
        assert!(said.contains(words), "{said}");
    }
    // The second folder holds the first: no picture counts twice.
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 3);
}

#[cfg(unix)]
#[test]
fn pipes_are_refused_and_never_waited_for() {
    let world = World::new();
    world.picture("d/1.png", 1);
    let pipe = world.at("d/5.png");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let start = Instant::now();
    for paths in [&["d"][..], &["d/1.png", "d/5.png"]] {
        let mut child = world
            .command(&[&PROXY[..], &["--prompt", "a dog"], paths].concat())
            .spawn()
            .expect("the program starts");
        while child.try_wait().expect("it can be asked").is_none() {
            assert!(start.elapsed() < Duration::from_secs(240), "it waits for the pipe");
            std::thread::sleep(Duration::from_millis(50));
        }
        let output = child.wait_with_output().expect("it has ended");
        assert_eq!(output.status.code(), Some(1));
        let said = message(&output);
        assert!(
            said.contains("5.png: it is a pipe")
                || said.contains("5.png: cannot be read: it is a pipe"),
            "{said}"
        );
    }
}

/// A copy of an embedded base with one file changed.
fn base(world: &World, name: &str, change: &dyn Fn(&Path)) {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/emoji-sd");
    let mut folders = vec![assets.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("assets") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let inner = path.strip_prefix(&assets).expect("within").to_string_lossy().into_owned();
            world.write(&format!("{name}/{inner}"), fs::read(&path).expect("a file"));
        }
    }
    change(&world.at(name));
}

fn sample(world: &World, base: &str) -> Output {
    world.run(&["sample", "--base", base, "--steps", "1", "--prompt", "a dog", "--out", "x.png"])
}

#[test]
fn what_lies_in_the_place_of_weights_is_told() {
    let world = World::new();
    let weights = "unet/diffusion_pytorch_model.safetensors";
    base(&world, "lfs", &|at| {
        let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{:064}\n", 0);
        fs::write(at.join(weights), pointer).expect("a file");
    });
    let said = message(&sample(&world, "lfs"));
    assert!(said.contains("a Git LFS pointer") && said.contains("git lfs pull"), "{said}");
    #[cfg(unix)]
    {
        base(&world, "dangling", &|at| {
            fs::remove_file(at.join(weights)).expect("removed");
            std::os::unix::fs::symlink("../../blobs/gone", at.join(weights)).expect("a link");
        });
        let said = message(&sample(&world, "dangling"));
        assert!(said.contains("a link that points to nothing") && said.contains("gone"), "{said}");
    }
    base(&world, "lists", &|at| {
        let file = at.join("unet/config.json");
        let text = fs::read_to_string(&file).expect("a config");
        let text = text.replace("\"sample_size\": 16", "\"sample_size\": [16, 16]");
        assert!(text.contains("[16, 16]"), "the config has another size: {text}");
        fs::write(&file, format!("\u{FEFF}{text}")).expect("a file");
    });
    let output = sample(&world, "lists");
    assert!(output.status.success(), "{}", message(&output));
    base(&world, "wrong", &|at| {
        let file = at.join("unet/config.json");
        let text = fs::read_to_string(&file).expect("a config");
        fs::write(&file, text.replace("\"sample_size\": 16", "\"sample_size\": [16, 8]"))
            .expect("a file");
    });
    let said = message(&sample(&world, "wrong"));
    assert!(said.contains("`sample_size`") && said.contains("config.json"), "{said}");
}

#[test]
fn sizes_and_steps_are_refused_before_memory_is_asked_for() {
    let world = World::new();
    let ask = |more: &[&str]| {
        let base = ["sample", "--base", "emoji-sd", "--prompt", "a dog", "--out", "x.png"];
        let output = world.run(&[&base[..], more].concat());
        assert_eq!(output.status.code(), Some(1), "{}", message(&output));
        message(&output)
    };
    let said = ask(&["--size", "1048576x1048576"]);
    assert!(said.contains("GiB to decode"), "{said}");
    let said = ask(&["--size", "9223372036854775800x8"]);
    assert!(said.contains("GiB to decode") || said.contains("multiples of"), "{said}");
    let output = world.run(&["key-steps", "--base", "emoji-sd", "--steps", "3", "--count", "5"]);
    assert!(message(&output).contains("5 key steps"), "{}", message(&output));
}
