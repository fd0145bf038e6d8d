//! Readers of prompt sets on inputs that nobody wrote.

#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "clippy takes helpers outside of `#[test]` functions for the program"
)]

use std::path::Path;

use hyperalign_core::fuzz::{Counting, Fuzz, inputs};
use hyperalign_rewards::prompts;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Fuzzes files that end in `ending`, of which `samples` are.
fn fuzz(ending: &str, samples: &[&str], words: &[&str]) {
    let path = Path::new("prompts").with_extension(ending);
    let corpus = samples.iter().map(|sample| sample.as_bytes().to_vec()).collect();
    // A prompt of one letter is a few hundred bytes with what belongs to it.
    let fuzz = Fuzz { name: ending, corpus, words, constant: 8 << 20 };
    let figures = fuzz.run(inputs(), |bytes| prompts::parse(&path, bytes).is_ok());
    eprintln!("fuzz {ending}: {figures}");
}

#[test]
fn texts() {
    fuzz("txt", &["a dog\n# x\na cat\r\n"], &["\u{FEFF}", "\r", "\n", "#"]);
}

#[test]
fn lines_of_json() {
    let geneval = "{\"tag\":\"counting\",\"include\":[{\"class\":\"dog\",\"count\":2}],\
                   \"exclude\":[{\"class\":\"dog\",\"count\":3}],\"prompt\":\"two dogs\"}\n";
    let rows = "{\"file_name\": \"a.png\", \"text\": \"a dog\", \"style\": \"photo\"}\n";
    let words = &["null", "[", "{", "\"", "1e999", "\n", "\"count\":", "-1", "\"position\":"];
    fuzz("jsonl", &[geneval, rows], words);
}

#[test]
fn json() {
    let groups = "{\"photo\": [\"a dog\"], \"anime\": [{\"prompt\": \"a cat\"}]}";
    let words = &["null", "[", "{", "\"", "1e999", ",", "\\u0000", "\\ud800"];
    fuzz("json", &["[\"a dog\", {\"caption\": \"a cat\"}]", groups], words);
}

#[test]
fn tables() {
    let words = &["\"", ",", "\t", "\n", "\r", "prompt", "image", "\u{FEFF}"];
    fuzz("csv", &["image,prompt,style\na.png,\"a \"\"red\"\" dog, big\",x\n"], words);
    fuzz("tsv", &["Prompt\tCategory\tNote\na dog\tx\ty\n"], words);
}

#[test]
fn parquet() {
    let sets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hyperalign-train/tests/preferences");
    let files = ["hpd/test.parquet", "pick-a-pic/train-00001-of-00002.parquet"];
    let corpus = files.map(|name| std::fs::read(sets.join(name)).unwrap()).to_vec();
    let words = &["PAR1", "caption", "prompt"];
    // Pages are unpacked into what their headers promise; larger ones are refused.
    let fuzz = Fuzz { name: "parquet prompts", corpus, words, constant: 64 << 20 };
    let path = Path::new("prompts.parquet");
    let figures = fuzz.run(inputs(), |bytes| prompts::parse(path, bytes).is_ok());
    eprintln!("fuzz parquet prompts: {figures}");
}
