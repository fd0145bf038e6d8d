//! `hyperalign study` from the outside: made, voted over HTTP, killed, reported.

#![cfg(feature = "serve")]
// Helpers of tests are tests.
#![allow(clippy::unwrap_used)]

mod new;
mod report;
mod serve;

#[path = "../client/mod.rs"]
#[allow(dead_code, reason = "tests of other servers need more of it")]
mod client;
#[path = "../gallery/mod.rs"]
mod gallery;

use client::Server;
use gallery::Gallery;
use serde_json::{Value, json};

/// The report of a failure in one line: it is wrapped to the width of a terminal.
fn message(output: &std::process::Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let words = text.split_whitespace().filter(|word| !word.chars().all(|c| "│×╰▶─".contains(c)));
    words.collect::<Vec<_>>().join(" ")
}

/// Three methods on eight prompts, and a study of them: six pairs and two checks.
fn study() -> Gallery {
    let gallery = Gallery::new();
    for method in ["base", "ours", "theirs"] {
        gallery.pictures(method, 0..8, 16);
    }
    let runs = ["study", "new", "base", "ours", "theirs", "--out", "made"];
    gallery.done(&[&runs[..], &["--items", "6", "--checks", "2", "--seed", "3"]].concat());
    gallery
}

fn serve(gallery: &Gallery, arguments: &[&str]) -> Server {
    Server::start("study serve", &gallery.path("."), &[&["made"], arguments].concat())
}

/// The plan, which only the organiser sees.
fn plan(gallery: &Gallery) -> Value {
    serde_json::from_slice(&std::fs::read(gallery.path("made/study.json")).unwrap()).unwrap()
}

fn get(server: &Server, path: &str) -> Value {
    let (status, _, body) = server.ask("GET", path, b"");
    assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

fn vote(gallery: &Gallery, voter: u128, item: usize, question: &str, answer: &str) -> Value {
    json!({"study": plan(gallery)["id"], "voter": format!("{voter:032x}"), "item": item,
        "question": question, "answer": answer})
}

/// Status and body of the answer to a vote.
fn cast(server: &Server, vote: &Value) -> (u16, Value) {
    let (status, _, body) = server.ask("POST", "/votes", vote.to_string().as_bytes());
    (status, serde_json::from_slice(&body).unwrap())
}

/// What somebody answers who prefers `ours` to all and `base` to `theirs`, and sees what is spoiled.
fn honest(item: &Value) -> &'static str {
    let rank = |side: &str| {
        let shown = &item[side];
        let of_method = [1, 2, 0][shown["method"].as_u64().unwrap() as usize];
        of_method - if shown["is_degraded"] == true { 10 } else { 0 }
    };
    if rank("left") > rank("right") { "left" } else { "right" }
}
