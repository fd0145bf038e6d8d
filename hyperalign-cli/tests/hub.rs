//! `--base hf:OWNER/NAME`, from a hub of our own on loopback.

#[allow(dead_code, reason = "only the base is needed")]
mod tiny;

#[path = "../../hyperalign-models/tests/hub/server.rs"]
mod server;

use std::path::Path;
use std::process::{Command, Output};

use server::{Server, Shop};
use tiny::{World, message};

/// All files below `folder`, by their paths.
fn files(folder: &Path, prefix: &str, shop: &mut Shop) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            files(&entry.path(), &format!("{name}/"), shop);
        } else {
            shop.files.insert(name, std::fs::read(entry.path()).expect("a file"));
        }
    }
}

fn sample(world: &World, server: &Server, out: &str, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hyperalign"))
        .current_dir(world.path("."))
        .env("HF_HOME", world.path("cache"))
        .env("HF_ENDPOINT", &server.endpoint)
        .env_remove("HF_HUB_CACHE")
        .env_remove("HF_TOKEN")
        .env_remove("HF_HUB_OFFLINE")
        .args(["sample", "--base", "hf:we/tiny", "--steps", "2", "--prompt", "a dog", "--out", out])
        .args(more)
        .output()
        .expect("the program starts")
}

#[test]
fn a_base_of_the_hub_is_downloaded_and_then_used_offline() {
    let world = World::new();
    let mut shop = Shop { refusal: 403, token: Some("hf_x".to_owned()), ..Shop::default() };
    files(&world.path("base"), "", &mut shop);
    let server = Server::start(shop);
    let output = sample(&world, &server, "refused.png", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(message(&output).contains("/we/tiny"), "{}", message(&output));
    assert!(!world.path("refused.png").exists());

    server.change(|shop| shop.token = None);
    let output = sample(&world, &server, "a.png", &[]);
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    server.requests();
    let output = sample(&world, &server, "b.png", &["--offline"]);
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    assert!(server.requests().is_empty());
    let local = world
        .run(&["sample", "--base", "base", "--steps", "2", "--prompt", "a dog", "--out", "c.png"]);
    assert_eq!(local.status.code(), Some(0), "{}", message(&local));
    let pixels = |name: &str| hyperalign_core::image::read_png(&world.path(name)).map(|(p, _)| p);
    assert_eq!(pixels("a.png").unwrap(), pixels("c.png").unwrap());
    assert_eq!(pixels("b.png").unwrap(), pixels("c.png").unwrap());
}
