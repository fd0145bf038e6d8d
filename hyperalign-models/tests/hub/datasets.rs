//! Data sets: a file at a time, and offline after.

use std::path::Path;

use hyperalign_models::hub::{Dataset, DatasetId, Download, Hub, HubError};

use super::{
    hub,
    server::{COMMIT, Server, Shop},
};

const SHARDS: [&str; 2] =
    ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"];

fn shop() -> Shop {
    let bytes = |seed: u8| (0..60_000u32).map(|i| (i % 251) as u8 ^ seed).collect::<Vec<u8>>();
    let files = [
        ("README.md", b"read me".to_vec()),
        (SHARDS[0], bytes(1)),
        (SHARDS[1], bytes(2)),
        ("data/test-00000-of-00001.parquet", bytes(3)),
    ];
    let files = files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect();
    Shop { files, refusal: 403, ..Shop::default() }
}

fn open(hub: &Hub, name: &str) -> Result<Dataset, HubError> {
    hub.dataset(&name.parse::<DatasetId>()?, &["parquet"])
}

fn whole(hub: &Hub) -> Dataset {
    open(hub, "datasets/we/tiny").expect("a data set")
}

fn paths(set: &Dataset) -> Vec<(&str, Option<u64>, bool)> {
    let files = set.files().iter();
    files.map(|file| (file.path.as_str(), file.size, file.is_cached)).collect()
}

/// Everything below `folder` that is a file.
fn count(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { count(&entry.path()) } else { 1 }).sum()
}

#[test]
fn a_file_arrives_when_it_is_asked_for() {
    let (server, cache) = (Server::start(shop()), tempfile::tempdir().unwrap());
    let hub = hub(&server, cache.path());
    let set = whole(&hub);
    assert_eq!(paths(&set), SHARDS.map(|shard| (shard, Some(60_000), false)));
    assert_eq!(set.commit(), COMMIT);
    assert_eq!(count(cache.path()), 0, "the list alone was asked for");

    let mut seen = Vec::new();
    let path = set.fetch(1, &mut |download: &Download| seen.push(download.clone())).unwrap();
    let root = cache.path().join("datasets--we--tiny");
    assert_eq!(path, root.join("snapshots").join(COMMIT).join(SHARDS[1]));
    assert_eq!(std::fs::read(&path).unwrap(), shop().files[SHARDS[1]]);
    assert_eq!(seen.last().map(|last| (last.done, last.size)), Some((60_000, 60_000)));
    assert_eq!(std::fs::read_to_string(root.join("refs/main")).unwrap(), COMMIT);
    assert_eq!(std::fs::read_dir(root.join("refs")).unwrap().count(), 1, "no other reference");
    let asked = server.requests();
    assert!(!asked.iter().any(|(path, _)| path.contains("train-00000")), "{asked:?}");

    let names: Vec<bool> = whole(&hub).files().iter().map(|file| file.is_cached).collect();
    assert_eq!(names, [false, true]);
}

#[test]
fn a_broken_download_goes_on_where_it_ended() {
    let shop = Shop { breaks: Some(SHARDS[0].to_owned()), ..shop() };
    let (server, cache) = (Server::start(shop), tempfile::tempdir().unwrap());
    let path = whole(&hub(&server, cache.path())).fetch(0, &mut |_| {}).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), self::shop().files[SHARDS[0]]);
    assert!(server.requests().iter().any(|(_, from)| *from == Some(30_000)));
}

#[test]
fn offline_the_list_is_that_of_the_server() {
    let (server, cache) = (Server::start(shop()), tempfile::tempdir().unwrap());
    let online = hub(&server, cache.path());
    let offline =
        Hub { offline: true, endpoint: "http://127.0.0.1:9".to_owned(), ..online.clone() };
    let error = open(&offline, "datasets/we/tiny").unwrap_err();
    assert!(matches!(&error, HubError::NotCached { file, .. } if file.is_empty()), "{error}");

    let path = whole(&online).fetch(1, &mut |_| {}).unwrap();
    let set = whole(&offline);
    let size = Some(60_000);
    assert_eq!(paths(&set), [(SHARDS[0], size, false), (SHARDS[1], size, true)]);
    assert_eq!(set.fetch(1, &mut |_| {}).unwrap(), path);
    let message = set.fetch(0, &mut |_| {}).unwrap_err().to_string();
    assert!(message.contains("datasets/we/tiny") && message.contains(SHARDS[0]), "{message}");

    // A cache that Python filled has no list: what is there is the set.
    std::fs::remove_dir_all(cache.path().join("datasets--we--tiny/hyperalign")).unwrap();
    assert_eq!(paths(&whole(&offline)), [(SHARDS[1], size, true)]);
}

#[test]
fn what_is_missing_or_refused_is_said() {
    let (server, cache) = (Server::start(shop()), tempfile::tempdir().unwrap());
    let hub = hub(&server, cache.path());
    let message = |name: &str| open(&hub, name).unwrap_err().to_string();
    assert!(message("datasets/we/tyni").contains("no `datasets/we/tyni`; is the name right?"));
    assert!(message("we/tiny").contains("hf:datasets/OWNER/NAME"));
    let unknown = message("datasets/we/tiny/train.parquet");
    assert!(unknown.contains("`train.parquet`") && unknown.contains(SHARDS[0]), "{unknown}");
    server.change(|shop| shop.token = Some("hf_x".to_owned()));
    let refused = message("datasets/we/tiny");
    let page = format!("{}/datasets/we/tiny", server.endpoint);
    assert!(refused.contains(&page) && refused.contains("set HF_TOKEN"), "{refused}");
    // A licence that is asked for by the files alone, as the hub does.
    server.change(|shop| shop.token = None);
    let set = whole(&hub);
    server.change(|shop| shop.token = Some("hf_x".to_owned()));
    let error = set.fetch(0, &mut |_| {}).unwrap_err();
    assert!(matches!(error, HubError::Refused { status: 403, .. }), "{error}");
}
