//! Models from the Hugging Face hub, into the cache that Python's `huggingface_hub` shares.
//!
//! Requests and the layout of the cache are those of the crate `hf-hub`. What it leaves open is
//! settled here: which files of a repository are wanted ([`select`]), that nothing a server says
//! leads out of the cache, that a file is what its fingerprint says, and what to do when access
//! is refused.

mod environment;
mod error;
mod id;
pub mod select;

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use hf_hub::{
    Cache, Repo, RepoType,
    api::{
        Progress,
        sync::{Api, ApiBuilder, ApiRepo, Metadata},
    },
};
use hyperalign_core::input;

pub use error::HubError;
pub use id::ModelId;

use crate::weights::sha256_of_file;

/// Attempts at a file after a broken connection; each goes on where the last one ended.
const RETRIES: usize = 3;

/// The hub, or a mirror of it, with a cache on disk.
#[derive(Debug, Clone)]
pub struct Hub {
    /// Where requests go, such as `https://huggingface.co`.
    pub endpoint: String,
    /// The folder `hub` of the cache.
    pub cache: PathBuf,
    /// What grants access to models behind a licence.
    pub token: Option<String>,
    /// Whether only the cache is used.
    pub offline: bool,
}

/// How far the download of a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// The file, by its path in the repository.
    pub file: String,
    /// Bytes that are there.
    pub done: u64,
    /// Bytes of the whole file.
    pub size: u64,
}

impl Hub {
    /// The folder that holds the model `id` in diffusers' layout; what is missing of it is
    /// downloaded. `observer` sees the downloads.
    ///
    /// # Errors
    ///
    /// Fails if the model is not there, is no pipeline, needs a licence that was not accepted, or
    /// cannot be downloaded whole; offline, if it is not in the cache.
    pub fn fetch(
        &self,
        id: &ModelId,
        observer: &mut dyn FnMut(&Download),
    ) -> Result<PathBuf, HubError> {
        if self.offline {
            return self.cached(id);
        }
        let api = ApiBuilder::from_cache(Cache::new(self.cache.clone()))
            .with_endpoint(self.endpoint.trim_end_matches('/').to_owned())
            .with_token(self.token.clone())
            .with_retries(RETRIES)
            .with_progress(false)
            .build()
            .map_err(|error| self.failed(id, "", error))?;
        let repo = self.repo(id);
        let remote = api.repo(repo.clone());
        let info = remote.info().map_err(|error| self.failed(id, "", error))?;
        let commit = checked_name(&info.sha)?.to_owned();
        let files: Vec<String> = info.siblings.into_iter().map(|file| file.rfilename).collect();
        let folder = Cache::new(self.cache.clone()).repo(repo.clone()).pointer_path(&commit);
        let mut get = |file: &str| {
            let there = folder.join(checked_path(file)?);
            if there.exists() {
                return Ok(there);
            }
            self.download(id, &api, &remote, file, observer)
        };
        let wanted = match files.iter().any(|file| file == select::INDEX) {
            true => {
                let index = input::read_text(&get(select::INDEX)?);
                let index = index.map_err(|source| HubError::Cache {
                    path: folder.join(select::INDEX),
                    source,
                })?;
                select::pipeline(&files, &index)
                    .map_err(|reason| HubError::Index { model: id.to_string(), reason })?
            }
            false => select::component(&files),
        };
        if wanted.is_empty() {
            return Err(HubError::NoModel { model: id.to_string() });
        }
        for file in wanted {
            get(&file)?;
        }
        Ok(folder)
    }

    /// The folder of the model `id` in the cache.
    fn cached(&self, id: &ModelId) -> Result<PathBuf, HubError> {
        let repo = Cache::new(self.cache.clone()).repo(self.repo(id));
        // `refs/REVISION` holds the commit of a branch; a commit stands for itself.
        let root = repo.pointer_path("");
        let root = root.parent().unwrap_or(&root);
        let commit = input::read_text(&root.join("refs").join(&id.revision))
            .unwrap_or_else(|_| id.revision.clone());
        let folder = repo.pointer_path(checked_name(commit.trim())?);
        let known = [select::INDEX, "config.json", "open_clip_config.json"];
        match known.iter().any(|file| folder.join(file).is_file()) {
            true => Ok(folder),
            false => Err(HubError::NotCached { model: id.to_string(), cache: self.cache.clone() }),
        }
    }

    fn repo(&self, id: &ModelId) -> Repo {
        Repo::with_revision(id.name.clone(), RepoType::Model, id.revision.clone())
    }

    /// Downloads one file and checks that it is whole.
    fn download(
        &self,
        id: &ModelId,
        api: &Api,
        remote: &ApiRepo,
        file: &str,
        observer: &mut dyn FnMut(&Download),
    ) -> Result<PathBuf, HubError> {
        let failed = |error| self.failed(id, file, error);
        let metadata = api.metadata(&remote.url(file)).map_err(failed)?;
        checked_name(metadata.commit_hash())?;
        let blob = Cache::new(self.cache.clone())
            .repo(self.repo(id))
            .blob_path(checked_name(metadata.etag())?);
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
            return Err(HubError::Damaged { model: id.to_string(), file: file.to_owned(), reason });
        }
        Ok(pointer)
    }

    fn failed(&self, id: &ModelId, file: &str, error: hf_hub::api::sync::ApiError) -> HubError {
        HubError::from_api(id, &self.endpoint, self.token.is_some(), file, error)
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
