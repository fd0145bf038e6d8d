//! Readers of preference sets on inputs that nobody wrote.

#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "clippy takes helpers outside of `#[test]` functions for the program"
)]

use std::path::Path;

use hyperalign_core::fuzz::{Counting, Fuzz, inputs};
use hyperalign_train::data::Preferences;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A folder for what is read anew for each input, in memory where the system has such a place.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn fuzz(fuzz: &Fuzz, path: &Path) {
    let figures = fuzz.run(inputs(), |bytes| {
        std::fs::write(path, bytes).unwrap();
        let Ok(preferences) = Preferences::open(path, 1) else { return false };
        // As many as a run would draw at once.
        for index in 0..preferences.len().min(4) as u64 {
            let _ = (preferences.preferred(index), preferences.pair(index));
        }
        true
    });
    eprintln!("fuzz {}: {figures}", fuzz.name);
}

#[test]
fn parquet_files() {
    let folder = folder();
    let sets = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/preferences");
    let sample = |name: &str| std::fs::read(sets.join(name)).unwrap();
    let mut corpus = vec![sample("hpd/test.parquet")];
    let entries = std::fs::read_dir(sets.join("pick-a-pic")).unwrap();
    let files = entries.map(|entry| entry.unwrap().path());
    corpus.extend(
        files
            .filter(|file| file.extension().is_some_and(|e| e == "parquet"))
            .map(|f| std::fs::read(f).unwrap()),
    );
    // Pages are unpacked into what their headers promise; larger ones are refused.
    let fuzzed = Fuzz {
        name: "parquet",
        corpus,
        words: &["PAR1", "caption", "label_0"],
        constant: 64 << 20,
    };
    fuzz(&fuzzed, &folder.path().join("set.parquet"));
}

#[test]
fn listings() {
    let folder = folder();
    let entry =
        r#"{"prompt": "a dog", "image_path": ["a.png", "b.png"], "human_preference": [1, 0]}"#;
    let ranked = r#"{"prompt": null, "image_path": ["a.png", "b.png"], "rank": [2, 1]}"#;
    let corpus = vec![format!("[{entry}, {ranked}]").into_bytes()];
    let words = &["null", "[", "{", "\"", "1e999", ",", "\"rank\":"];
    let fuzzed = Fuzz { name: "hpd listing", corpus, words, constant: 1 << 20 };
    fuzz(&fuzzed, &folder.path().join("train.json"));
}
