//! One repository of the hub at a revision, whatever it holds: its list of files, and each of them.
//!
//! Files are asked for at the commit of the list, so that a branch which moves meanwhile mixes
//! nothing. The list is kept beside the snapshot, in a folder that Python passes over: offline it
//! tells which files there would be.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use hf_hub::{
    Cache, Repo, RepoType,
    api::{
        Progress,
        sync::{Api, ApiBuilder, ApiError, Metadata},
    },
};
use hyperalign_core::{atomic, input};
use serde::{Deserialize, Serialize};
use ureq::config::RedirectAuthHeaders;

use super::{Download, Hub, HubError, ModelId, dataset::DatasetId};
use crate::weights::sha256_of_file;

/// Attempts at a file after a broken connection; each goes on where the last one ended.
const RETRIES: usize = 3;
/// The longest list of files that is read, in bytes: some 200,000 files.
const LONGEST_LIST: u64 = 64 << 20;
/// The longest text that is read without being kept, in bytes.
const LONGEST_TEXT: u64 = 1 << 20;

/// A file of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubFile {
    /// Its path in the repository.
    pub path: String,
    /// Its bytes, where the server tells.
    pub size: Option<u64>,
    /// Whether it lies in the cache.
    #[serde(skip_deserializing)]
    pub is_cached: bool,
}

/// The files of a repository at one commit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Listing {
    pub(super) commit: String,
    pub(super) files: Vec<HubFile>,
}

/// What a server says of a repository.
#[derive(Deserialize)]
struct Info {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
}

/// A repository at a revision, and the hub that has it.
#[derive(Debug, Clone)]
pub(super) struct Repository {
    hub: Hub,
    kind: RepoType,
    name: String,
    revision: String,
}

impl Repository {
    pub(super) fn of_model(hub: &Hub, id: &ModelId) -> Self {
        let (name, revision) = (id.name.clone(), id.revision.clone());
        Self { hub: hub.clone(), kind: RepoType::Model, name, revision }
    }

    pub(super) fn of_dataset(hub: &Hub, id: &DatasetId) -> Self {
        let (name, revision) = (id.name.clone(), id.revision.clone());
        Self { hub: hub.clone(), kind: RepoType::Dataset, name, revision }
    }

    fn at(&self, revision: &str) -> Repo {
        Repo::with_revision(self.name.clone(), self.kind, revision.to_owned())
    }

    fn cache(&self) -> hf_hub::CacheRepo {
        Cache::new(self.hub.cache.clone()).repo(self.at(&self.revision))
    }

    /// The folder of the files of a commit.
    pub(super) fn folder(&self, commit: &str) -> PathBuf {
        self.cache().pointer_path(commit)
    }

    /// The folder of all that the cache has of the repository.
    fn root(&self) -> PathBuf {
        self.hub.cache.join(self.at(&self.revision).folder_name())
    }

    /// The page that people look at.
    pub(super) fn page(&self) -> String {
        format!("{}/{}", self.hub.endpoint.trim_end_matches('/'), self.at(&self.revision).url())
    }

    pub(super) fn has_token(&self) -> bool {
        self.hub.token.is_some()
    }

    fn api(&self) -> Result<Api, HubError> {
        ApiBuilder::from_cache(Cache::new(self.hub.cache.clone()))
            .with_endpoint(self.hub.endpoint.trim_end_matches('/').to_owned())
            .with_token(self.hub.token.clone())
            .with_retries(RETRIES)
            .with_progress(false)
            .build()
            .map_err(|error| HubError::from_api(self, "", error))
    }

    /// The files that the server has, and which of them are in the cache.
    pub(super) fn list(&self) -> Result<Listing, HubError> {
        let failed = |error| HubError::from_api(self, "", ApiError::RequestError(Box::new(error)));
        let request = self.api()?.repo(self.at(&self.revision)).info_request();
        let mut response = request.query("blobs", "true").call().map_err(failed)?;
        let body = response.body_mut().with_config().limit(LONGEST_LIST);
        let info: Info = body.read_json().map_err(failed)?;
        let commit = checked_name(&info.sha)?.to_owned();
        let folder = self.folder(&commit);
        let file = |Sibling { rfilename: path, size }: Sibling| {
            let is_cached = checked_path(&path).is_ok_and(|path| folder.join(path).exists());
            HubFile { path, size, is_cached }
        };
        Ok(Listing { files: info.siblings.into_iter().map(file).collect(), commit })
    }

    /// The files of the repository as an earlier command left them in the cache: those of the kept
    /// list, or else those that are there.
    pub(super) fn cached_list(&self) -> Result<Listing, HubError> {
        let commit = self.cached_commit()?;
        let listing = self.kept_list(&commit)?.unwrap_or_else(|| {
            let mut files = Vec::new();
            files_below(&self.folder(&commit), "", &mut files);
            Listing { commit, files }
        });
        match listing.files.iter().any(|file| file.is_cached) {
            true => Ok(listing),
            false => Err(self.not_cached("")),
        }
    }

    /// The list of a commit that an earlier command kept, and which of its files are there. A
    /// model that Python downloaded has none, nor has one whose list cannot be read.
    pub(super) fn kept_list(&self, commit: &str) -> Result<Option<Listing>, HubError> {
        let kept = input::read_text(&self.list_path(checked_name(commit)?)).ok();
        let kept = kept.and_then(|text| serde_json::from_str::<Listing>(&text).ok());
        let folder = self.folder(commit);
        Ok(kept.map(|mut listing| {
            for file in &mut listing.files {
                file.is_cached =
                    checked_path(&file.path).is_ok_and(|path| folder.join(path).exists());
            }
            listing
        }))
    }

    /// The commit that the revision was at when it was last asked for.
    pub(super) fn cached_commit(&self) -> Result<String, HubError> {
        // `refs/REVISION` holds the commit of a branch; a commit stands for itself.
        let commit = input::read_text(&self.root().join("refs").join(&self.revision))
            .unwrap_or_else(|_| self.revision.clone());
        Ok(checked_name(commit.trim())?.to_owned())
    }

    pub(super) fn not_cached(&self, file: &str) -> HubError {
        let (repository, file) = (self.to_string(), file.to_owned());
        HubError::NotCached { repository, file, cache: self.hub.cache.clone() }
    }

    fn list_path(&self, commit: &str) -> PathBuf {
        self.root().join("hyperalign").join(format!("{commit}.json"))
    }

    /// Keeps the list for when there is no server.
    pub(super) fn keep(&self, listing: &Listing) -> Result<(), HubError> {
        let path = self.list_path(&listing.commit);
        if path.exists() {
            return Ok(());
        }
        let text = serde_json::to_vec(listing).map_err(std::io::Error::from);
        let written = text.and_then(|text| atomic::write(&path, &text).map_err(|e| e.source));
        written.map_err(|source| HubError::Cache { path, source })
    }

    /// The file `file` of a commit: from the cache, or downloaded into it.
    pub(super) fn get(
        &self,
        commit: &str,
        file: &str,
        observer: &mut dyn FnMut(&Download),
    ) -> Result<PathBuf, HubError> {
        let there = self.folder(commit).join(checked_path(file)?);
        if there.exists() {
            return Ok(there);
        }
        if self.hub.offline {
            return Err(self.not_cached(file));
        }
        let path = self.download(commit, file, observer)?;
        self.cache()
            .create_ref(commit)
            .map_err(|source| HubError::Cache { path: self.root().join("refs"), source })?;
        if self.revision != commit {
            // The crate leaves a reference of the commit to itself, which Python would list.
            let _ = fs::remove_file(self.root().join("refs").join(commit));
        }
        Ok(path)
    }

    /// Downloads one file and checks that it is whole.
    fn download(
        &self,
        commit: &str,
        file: &str,
        observer: &mut dyn FnMut(&Download),
    ) -> Result<PathBuf, HubError> {
        let failed = |error| HubError::from_api(self, file, error);
        let api = self.api()?;
        let remote = api.repo(self.at(commit));
        let metadata = api.metadata(&remote.url(file)).map_err(failed)?;
        checked_name(metadata.commit_hash())?;
        let blob = self.cache().blob_path(checked_name(metadata.etag())?);
        let part = blob.with_extension("part");
        // One that is as long as the file, or longer, would be asked to go on behind its end.
        if fs::metadata(&part).is_ok_and(|part| part.len() >= metadata.size() as u64) {
            fs::remove_file(&part).map_err(|source| HubError::Cache { path: part, source })?;
        }
        let watch = Watch { observer, now: Download { file: file.to_owned(), done: 0, size: 0 } };
        let pointer = remote.download_with_progress(file, watch).map_err(failed)?;
        if let Err(reason) = whole(&pointer, &metadata) {
            for damaged in [&pointer, &blob] {
                let _ = fs::remove_file(damaged);
            }
            let (repository, file) = (self.to_string(), file.to_owned());
            return Err(HubError::Damaged { repository, file, reason });
        }
        Ok(pointer)
    }

    /// The text of a small file, which is kept nowhere.
    pub(super) fn read_text(&self, commit: &str, file: &str) -> Result<String, HubError> {
        let there = self.folder(commit).join(checked_path(file)?);
        if there.exists() {
            return input::read_text(&there)
                .map_err(|source| HubError::Cache { path: there, source });
        }
        if self.hub.offline {
            return Err(self.not_cached(file));
        }
        let failed =
            |error| HubError::from_api(self, file, ApiError::RequestError(Box::new(error)));
        // The token is for this server, and not for wherever it sends us.
        let config = ureq::Agent::config_builder()
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .build();
        let mut request =
            ureq::Agent::from(config).get(self.api()?.repo(self.at(commit)).url(file));
        if let Some(token) = &self.hub.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut response = request.call().map_err(failed)?;
        response.body_mut().with_config().limit(LONGEST_TEXT).read_to_string().map_err(failed)
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.at(&self.revision).url())?;
        if self.revision == "main" { Ok(()) } else { write!(f, "@{}", self.revision) }
    }
}

/// All files below `folder`, by their paths.
fn files_below(folder: &Path, prefix: &str, files: &mut Vec<HubFile>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        match fs::metadata(entry.path()) {
            Ok(about) if about.is_dir() => files_below(&entry.path(), &format!("{path}/"), files),
            Ok(about) => files.push(HubFile { path, size: Some(about.len()), is_cached: true }),
            Err(_) => {}
        }
    }
}

/// Passes the progress of a file on.
struct Watch<'a> {
    observer: &'a mut dyn FnMut(&Download),
    now: Download,
}

impl Progress for Watch<'_> {
    fn init(&mut self, size: usize, _: &str) {
        self.now.done = 0;
        self.now.size = size as u64;
    }

    fn update(&mut self, size: usize) {
        self.now.done += size as u64;
        (self.observer)(&self.now);
    }

    fn finish(&mut self) {}
}

/// Whether the file at `path` is what `metadata` announced.
fn whole(path: &Path, metadata: &Metadata) -> Result<(), String> {
    let failed = |error: std::io::Error| error.to_string();
    let size = path.metadata().map_err(failed)?.len();
    if size != metadata.size() as u64 {
        return Err(format!("it has {size} bytes instead of {}", metadata.size()));
    }
    // Large files go by their SHA-256, small ones by another hash.
    let etag = metadata.etag();
    if etag.len() != 64 || !etag.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(());
    }
    match sha256_of_file(path).map_err(failed)?.eq_ignore_ascii_case(etag) {
        true => Ok(()),
        false => Err("its SHA-256 is not the announced one".to_owned()),
    }
}

/// A name that a server gave, if it can be the name of a file of the cache.
fn checked_name(name: &str) -> Result<&str, HubError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) || name.len() > 200 {
        return Err(HubError::Name { name: name.to_owned() });
    }
    Ok(name)
}

/// A path that a server gave, if it stays below the folder that it is joined to.
fn checked_path(path: &str) -> Result<&Path, HubError> {
    use std::path::Component;
    let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    match inside && !path.is_empty() && !path.contains('\\') {
        true => Ok(Path::new(path)),
        false => Err(HubError::Name { name: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_out_of_the_cache() {
        for name in ["", "..", ".hidden", "a/b", "a\\b", "a b", "\u{e4}"] {
            assert!(checked_name(name).is_err(), "{name:?}");
        }
        assert!(checked_name("0f3-a_b.c").is_ok());
        for path in ["", "/etc/passwd", "../x", "a/../../x", "a\\..\\x"] {
            assert!(checked_path(path).is_err(), "{path:?}");
        }
        assert!(checked_path("unet/config.json").is_ok());
    }
}
