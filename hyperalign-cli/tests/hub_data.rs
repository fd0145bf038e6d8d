//! Prompts and preferences by `hf:datasets/OWNER/NAME`, from a hub of our own on loopback.

#[allow(dead_code, reason = "only the files are needed")]
#[path = "../../hyperalign-models/tests/hub/server.rs"]
mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hyperalign_core::testing;
use hyperalign_models::{testing::small_world, weights::FileFloat};
use server::{Server, Shop};

/// A run of an instant that learns from pictures alone.
const SETTINGS: &str = "
method = { name = \"fine-tuning\", batch = 4 }
trajectory = { steps = 2, key_steps = [0] }
network = { kind = \"static-lora\", rank = 2 }
training = { updates = 2, shards = 1 }
samples.every = 0
";
const SHARDS: [&str; 2] =
    ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"];

/// A folder with a base that knows the words of Pick-a-Pic's sample, and a hub that has it.
struct World {
    folder: tempfile::TempDir,
    server: Server,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let numbers: Vec<String> = (0..21).map(|number| number.to_string()).collect();
        let words: Vec<&str> =
            ["picture"].into_iter().chain(numbers.iter().map(String::as_str)).collect();
        let base = small_world(&words, 1, &testing::device());
        base.save(&folder.path().join("base"), FileFloat::F32).expect("the base is written");
        std::fs::write(folder.path().join("run.toml"), SETTINGS).expect("a file");
        let mut shop = Shop { refusal: 403, ..Shop::default() };
        let sets =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../hyperalign-train/tests/preferences");
        for shard in SHARDS {
            let name = shard.replace("data/", "pick-a-pic/");
            shop.files.insert(shard.to_owned(), std::fs::read(sets.join(name)).expect("a set"));
        }
        let tables: [(&str, &[u8]); 3] = [
            ("prompts/a.tsv", b"Prompt\tCategory\npicture 1\tx\npicture 2\tx\n"),
            ("prompts/b.tsv", b"Prompt\tCategory\npicture 3\tx\n"),
            ("README.md", b"a set"),
        ];
        shop.files.extend(tables.map(|(name, text)| (name.to_owned(), text.to_vec())));
        Self { folder, server: Server::start(shop) }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_hyperalign"))
            .current_dir(self.folder.path())
            .env("HF_HOME", self.at("cache"))
            .env("HF_ENDPOINT", &self.server.endpoint)
            .env_remove("HF_HUB_CACHE")
            .env_remove("HF_TOKEN")
            .env_remove("HF_HUB_OFFLINE")
            .args(arguments)
            .output()
            .expect("the program starts")
    }

    fn train(&self, out: &str, more: &[&str]) -> Output {
        let flags = ["train", "--base", "base", "--out", out, "--plain", "--no-eval"];
        self.run(&[&flags[..], more].concat())
    }

    /// The files that were downloaded since the last call, by the ends of their names.
    fn downloaded(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.server.requests().into_iter().map(|(path, _)| path).collect();
        names.retain(|path| path.contains("/resolve/"));
        names.sort();
        names.dedup();
        names.into_iter().filter_map(|path| path.rsplit('/').next().map(str::to_owned)).collect()
    }
}

const SET: &str = "hf:datasets/we/tiny";
const NEW: [&str; 4] = ["--config", "run.toml", "--preferences", SET];

fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let words = text.split_whitespace().filter(|word| !word.chars().all(|c| "│×╰▶─".contains(c)));
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_run_learns_from_a_data_set_and_goes_on_offline() {
    let world = World::new();
    let output = world.train("run", &NEW);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("2 of 2 files"), "{}", said(&output));
    assert_eq!(world.downloaded().len(), 2, "both: the check looks at 256 pictures");
    let go_on = ["--resume", "--steps", "4", "--preferences", SET];
    let output = world.train("run", &[&go_on[..], &["--offline"]].concat());
    assert!(output.status.success(), "{}", said(&output));
    assert!(world.server.requests().is_empty());

    // Where the files came from tells nothing: those of a folder in one file are learned from alike.
    let one = format!("{SET}/{}", SHARDS[0]);
    let data = ["--config", "run.toml", "--preferences"];
    assert!(world.train("hub", &[&data[..], &[one.as_str()]].concat()).status.success());
    let local = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hyperalign-train/tests/preferences");
    let local = local.join("pick-a-pic/train-00000-of-00002.parquet").display().to_string();
    assert!(world.train("local", &[&data[..], &[local.as_str()]].concat()).status.success());
    let adapter =
        |run: &str| std::fs::read(world.at(run).join("adapter.safetensors")).expect("a file");
    let tensors = |bytes: &[u8]| -> Vec<u8> {
        let header = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
        bytes[8 + header..].to_vec()
    };
    assert_eq!(tensors(&adapter("hub")), tensors(&adapter("local")));
}

#[test]
fn a_dry_run_lists_downloads_and_makes_none() {
    let world = World::new();
    let dry = [&NEW[..], &["--prompts", "hf:datasets/we/tiny/prompts/a.tsv", "--dry-run"]].concat();
    let output = world.train("run", &dry);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", said(&output));
    for words in
        [SHARDS[0], SHARDS[1], "prompts/a.tsv", "to download: 2", "free: ", "nothing measured"]
    {
        assert!(text.contains(words), "no `{words}` in {text}");
    }
    assert!(
        world.downloaded().is_empty() && !world.at("cache").exists() && !world.at("run").exists()
    );

    let offline = [&dry[..], &["--offline", "--json"]].concat();
    let output = world.train("run", &offline);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("is not in the cache"), "{}", said(&output));

    assert!(world.train("run", &dry[..dry.len() - 1]).status.success());
    world.server.requests();
    let output = world.train("other", &[&dry[..], &["--json"]].concat());
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(found["updates"], 2, "{found}");
    assert_eq!(found["downloads"]["missing_bytes"], 0, "{found}");
    assert!(found["downloads"]["sources"][0]["files"][1]["is_cached"].as_bool().unwrap_or(false));
    assert!(world.downloaded().is_empty());
    let output = world.train("other", &[&dry[..], &["--offline"]].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("2 updates of") && text.contains("offline, so nobody knows"), "{text}");
}

#[test]
fn prompts_come_from_a_data_set() {
    let world = World::new();
    let sample = |prompts: &str, more: &[&str]| {
        let flags = [
            "sample",
            "--base",
            "base",
            "--steps",
            "1",
            "--prompts",
            prompts,
            "--out",
            "out/p.png",
        ];
        world.run(&[&flags[..], more].concat())
    };
    let pictures = || {
        let count = std::fs::read_dir(world.at("out")).map_or(0, Iterator::count);
        let _ = std::fs::remove_dir_all(world.at("out"));
        count
    };
    let output = sample(&format!("{SET}/prompts/a.tsv"), &[]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!((pictures(), world.downloaded()), (2, vec!["a.tsv".to_owned()]));
    let output = sample(&format!("{SET}/prompts/a.tsv"), &["--offline"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!((pictures(), world.server.requests().len()), (2, 0));

    // Tables of captions, of which no more files are fetched than are needed.
    let output = sample(SET, &["--limit", "3"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(
        (pictures(), world.downloaded()),
        (3, vec!["train-00000-of-00002.parquet".to_owned()])
    );

    for (given, words) in [
        ("hf:datasets/we/tiny/prompts", "a.tsv, prompts/b.tsv"),
        ("hf:datasets/we/tiny/none.tsv", "`none.tsv`"),
        ("hf:datasets/we/tyni", "no `datasets/we/tyni`"),
        ("hf:we/tiny", "hf:datasets/OWNER/NAME"),
    ] {
        let output = sample(given, &[]);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains(words), "no `{words}` in {}", said(&output));
    }
}
