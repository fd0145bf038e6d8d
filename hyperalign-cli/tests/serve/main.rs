//! `hyperalign serve` from the outside: its protocols, its limits, and very many clients.

#![cfg(feature = "serve")]
// Helpers of tests are tests.
#![allow(clippy::unwrap_used)]

mod access;
mod ends;
mod load;
mod openai;
mod start;
mod stream;
mod webui;

#[path = "../client/mod.rs"]
mod client;
#[path = "../tiny/mod.rs"]
mod tiny;

use base64::{Engine, prelude::BASE64_STANDARD};
use client::Server;
use serde_json::Value;
use tiny::{World, message};

const GENERATIONS: &str = "/v1/images/generations";

/// A server of the tiny base in `world`, two steps a picture where nothing else is said.
fn start(world: &World, arguments: &[&str]) -> Server {
    let own = ["--base", "base", "--steps", "2"];
    Server::start("serve", &world.path("."), &[&own[..], arguments].concat())
}

/// Status and JSON of the answer to a request.
fn ask(server: &Server, path: &str, body: &Value) -> (u16, Value) {
    let (status, _, body) = server.ask("POST", path, body.to_string().as_bytes());
    (status, serde_json::from_slice(&body).unwrap())
}

fn get(server: &Server, path: &str) -> Value {
    let (status, _, body) = server.ask("GET", path, b"");
    assert_eq!(status, 200, "{path}");
    serde_json::from_slice(&body).unwrap()
}

/// The files of pictures that `body` is answered with.
fn pictures(server: &Server, body: &Value) -> Vec<Vec<u8>> {
    let (status, answer) = ask(server, GENERATIONS, body);
    assert_eq!(status, 200, "{answer}");
    answer["data"].as_array().unwrap().iter().map(|picture| file(&picture["b64_json"])).collect()
}

fn file(base64: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(base64.as_str().unwrap()).unwrap()
}

/// The file that `hyperalign sample` writes.
fn sampled(world: &World, arguments: &[&str]) -> Vec<u8> {
    let own = ["sample", "--base", "base", "--steps", "2", "--out", "sampled.png"];
    let output = world.run(&[&own[..], arguments].concat());
    assert!(output.status.success(), "{}", message(&output));
    std::fs::read(world.path("sampled.png")).unwrap()
}

/// One number of the metrics.
fn metric(server: &Server, name: &str) -> f64 {
    let (_, _, text) = server.ask("GET", "/metrics", b"");
    let text = String::from_utf8(text).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("hyperalign_{name} ")));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

/// Waits for something that takes a moment.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = std::time::Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < std::time::Duration::from_secs(60), "{what} never came");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
