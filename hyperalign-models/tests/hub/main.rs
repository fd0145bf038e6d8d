//! Downloads from a hub of our own, on loopback.

#![allow(
    clippy::unwrap_used,
    reason = "clippy takes helpers outside of `#[test]` functions for the program"
)]

mod datasets;
mod server;

use std::{collections::BTreeMap, path::Path};

use hyperalign_models::hub::{Download, Hub, HubError, ModelId};
use server::{COMMIT, Server, Shop};
use sha2::{Digest, Sha256};

/// A pipeline of which nobody wants the pickles.
fn shop() -> Shop {
    let weights: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
    let files = [
        ("README.md", b"read me".to_vec()),
        ("model_index.json", br#"{"_class_name": "X", "unet": ["a", "B"]}"#.to_vec()),
        ("unet/config.json", b"{}".to_vec()),
        ("unet/diffusion_pytorch_model.safetensors", weights),
        ("unet/diffusion_pytorch_model.bin", vec![1; 10]),
    ];
    let files: BTreeMap<String, Vec<u8>> =
        files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect();
    Shop { files, refusal: 403, ..Shop::default() }
}

const WEIGHTS: &str = "unet/diffusion_pytorch_model.safetensors";

fn hub(server: &Server, cache: &Path) -> Hub {
    Hub { endpoint: server.endpoint.clone(), cache: cache.to_owned(), token: None, offline: false }
}

fn id() -> ModelId {
    "we/tiny".parse().unwrap()
}

fn fetch(hub: &Hub) -> Result<std::path::PathBuf, HubError> {
    hub.fetch(&id(), &mut |_| {})
}

#[test]
fn what_is_wanted_arrives_once_and_lies_where_python_looks() {
    let (server, cache) = (Server::start(shop()), tempfile::tempdir().unwrap());
    let hub = hub(&server, cache.path());
    let mut last = None;
    let folder = hub.fetch(&id(), &mut |download| last = Some(download.clone())).unwrap();
    assert_eq!(folder, cache.path().join("models--we--tiny/snapshots").join(COMMIT));
    assert_eq!(std::fs::read(folder.join(WEIGHTS)).unwrap(), shop().files[WEIGHTS]);
    assert!(!folder.join("README.md").exists());
    assert!(!folder.join("unet/diffusion_pytorch_model.bin").exists());
    let size = 100_000;
    assert_eq!(last, Some(Download { file: WEIGHTS.to_owned(), done: size, size }));
    let main = std::fs::read_to_string(cache.path().join("models--we--tiny/refs/main")).unwrap();
    assert_eq!(main, COMMIT);

    server.requests();
    fetch(&hub).unwrap();
    assert_eq!(server.requests().len(), 1, "the list of files, and no file");

    // Offline, with nobody there.
    let offline = Hub { offline: true, endpoint: "http://127.0.0.1:9".to_owned(), ..hub };
    assert_eq!(fetch(&offline).unwrap(), folder);
    let commit = ModelId { revision: COMMIT.to_owned(), ..id() };
    assert_eq!(offline.fetch(&commit, &mut |_| {}).unwrap(), folder);
    let other: ModelId = "we/other".parse().unwrap();
    let error = offline.fetch(&other, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("not in the cache"), "{error}");
}

#[test]
fn a_broken_download_goes_on_where_it_ended() {
    let shop = Shop { breaks: Some(WEIGHTS.to_owned()), ..shop() };
    let (server, cache) = (Server::start(shop), tempfile::tempdir().unwrap());
    let folder = fetch(&hub(&server, cache.path())).unwrap();
    assert_eq!(std::fs::read(folder.join(WEIGHTS)).unwrap(), self::shop().files[WEIGHTS]);
    let parts: Vec<_> = server.requests().into_iter().filter_map(|(_, from)| from).collect();
    assert!(parts.contains(&50_000), "asked for bytes from {parts:?}");
}

#[test]
fn a_part_of_another_run_is_used_or_thrown_away() {
    let content = &shop().files[WEIGHTS];
    let hash: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    let begin = |cache: &Path, length: usize| {
        let blobs = cache.join("models--we--tiny/blobs");
        std::fs::create_dir_all(&blobs).unwrap();
        let begun: Vec<u8> = content.iter().cycle().take(length).copied().collect();
        std::fs::write(blobs.join(format!("{hash}.part")), begun).unwrap();
    };
    for length in [30_000, 100_000, 200_000] {
        let (server, cache) = (Server::start(shop()), tempfile::tempdir().unwrap());
        begin(cache.path(), length);
        let folder = fetch(&hub(&server, cache.path())).unwrap();
        assert_eq!(&std::fs::read(folder.join(WEIGHTS)).unwrap(), content, "{length} bytes");
        let resumed = server.requests().iter().any(|(_, from)| *from == Some(30_000));
        assert_eq!(resumed, length == 30_000);
    }
    // A mirror that always sends the whole file.
    let server = Server::start(Shop { whole_only: true, ..shop() });
    let cache = tempfile::tempdir().unwrap();
    begin(cache.path(), 30_000);
    let hub = hub(&server, cache.path());
    assert!(matches!(fetch(&hub).unwrap_err(), HubError::Damaged { .. }));
    let folder = fetch(&hub).unwrap();
    assert_eq!(&std::fs::read(folder.join(WEIGHTS)).unwrap(), content);
}

#[test]
fn damage_is_found_and_removed() {
    let damaged = Shop { spoils: Some(WEIGHTS.to_owned()), ..shop() };
    let (server, cache) = (Server::start(damaged), tempfile::tempdir().unwrap());
    let hub = hub(&server, cache.path());
    let error = fetch(&hub).unwrap_err();
    assert!(matches!(&error, HubError::Damaged { file, .. } if file == WEIGHTS), "{error}");
    // Offline nobody can finish it, and what there is is no model.
    let offline = Hub { offline: true, ..hub.clone() };
    let error = fetch(&offline).unwrap_err();
    assert!(matches!(&error, HubError::NotCached { file, .. } if file == WEIGHTS), "{error}");
    server.change(|shop| shop.spoils = None);
    let folder = fetch(&hub).unwrap();
    assert_eq!(fetch(&offline).unwrap(), folder);
    assert_eq!(std::fs::read(folder.join(WEIGHTS)).unwrap(), shop().files[WEIGHTS]);
}

#[test]
fn a_refusal_names_the_page_of_the_licence() {
    for refusal in [401, 403] {
        let shop = Shop { token: Some("hf_good".to_owned()), refusal, ..shop() };
        let (server, cache) = (Server::start(shop), tempfile::tempdir().unwrap());
        let hub = hub(&server, cache.path());
        let message = fetch(&hub).unwrap_err().to_string();
        let page = format!("{}/we/tiny", server.endpoint);
        assert!(message.contains(&page) && message.contains("set HF_TOKEN"), "{message}");
        let other = Hub { token: Some("hf_bad".to_owned()), ..hub.clone() };
        let message = fetch(&other).unwrap_err().to_string();
        assert!(message.contains("account that accepted"), "{message}");
        assert!(!message.contains("hf_bad"), "a token does not belong in a message");
        fetch(&Hub { token: Some("hf_good".to_owned()), ..hub }).unwrap();
    }
}

#[test]
fn what_is_not_there_is_said() {
    let (server, cache) = (Server::start(shop()), tempfile::tempdir().unwrap());
    let hub = hub(&server, cache.path());
    let error = hub.fetch(&"we/nothing".parse().unwrap(), &mut |_| {}).unwrap_err();
    assert!(matches!(error, HubError::NotFound { .. }), "{error}");
    server.change(|shop| shop.files.retain(|name, _| name == "README.md"));
    assert!(matches!(fetch(&hub).unwrap_err(), HubError::NoModel { .. }));
    server.change(|shop| {
        shop.files.insert("model_index.json".to_owned(), b"<html>".to_vec());
    });
    assert!(matches!(fetch(&hub).unwrap_err(), HubError::Index { .. }));
    let nobody = Hub { endpoint: "http://127.0.0.1:9".to_owned(), ..hub };
    let error = fetch(&nobody).unwrap_err();
    assert!(error.to_string().contains("--offline"), "{error}");
}

#[test]
fn what_would_be_downloaded_is_told_and_not_downloaded() {
    let (server, cache) = (Server::start(shop()), tempfile::tempdir().unwrap());
    let hub = hub(&server, cache.path());
    let told = |hub: &Hub| -> Vec<(String, Option<u64>, bool)> {
        let files = hub.files(&id()).unwrap().into_iter();
        files.map(|file| (file.path, file.size, file.is_cached)).collect()
    };
    let files = |is_cached: bool| {
        let sizes = [("model_index.json", 40), ("unet/config.json", 2), (WEIGHTS, 100_000)];
        sizes.map(|(name, size)| (name.to_owned(), Some(size), is_cached))
    };
    assert_eq!(told(&hub), files(false));
    assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 0, "the cache is untouched");
    fetch(&hub).unwrap();
    assert_eq!(told(&hub), files(true));
    let refused = Shop { token: Some("hf_x".to_owned()), refusal: 401, ..shop() };
    server.change(|shop| *shop = refused);
    assert!(matches!(hub.files(&id()).unwrap_err(), HubError::Refused { .. }));
}

#[test]
fn a_server_cannot_write_outside_of_the_cache() {
    let mut evil = shop();
    let index = br#"{"unet": ["a", "B"], "..": ["a", "B"]}"#.to_vec();
    evil.files.insert("model_index.json".to_owned(), index);
    evil.files.insert("../evil.json".to_owned(), b"{}".to_vec());
    let (server, cache) = (Server::start(evil), tempfile::tempdir().unwrap());
    let error = fetch(&hub(&server, cache.path())).unwrap_err();
    assert!(matches!(error, HubError::Name { .. }), "{error}");
}
