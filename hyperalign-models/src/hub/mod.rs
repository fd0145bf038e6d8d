//! Models and data sets from the Hugging Face hub, into the cache that Python's `huggingface_hub`
//! shares.
//!
//! Requests and the layout of the cache are those of the crate `hf-hub`. What it leaves open is
//! settled here: which files of a repository are wanted ([`select`], [`dataset`]), that nothing a
//! server says leads out of the cache, that a file is what its fingerprint says, and what to do when
//! access is refused.

pub mod dataset;
mod environment;
mod error;
mod id;
mod repository;
pub mod select;

use std::path::PathBuf;

pub use dataset::{Dataset, DatasetId};
pub use error::HubError;
pub use id::ModelId;
pub use repository::HubFile;

use repository::{Listing, Repository};

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
        let repository = Repository::of_model(self, id);
        if self.offline {
            return cached(&repository);
        }
        let listing = repository.list()?;
        // Offline it tells a download that broke off from a whole one.
        repository.keep(&listing)?;
        let index = || {
            repository.get(&listing.commit, select::INDEX, observer)?;
            repository.read_text(&listing.commit, select::INDEX)
        };
        for file in wanted(&repository, &listing, index)? {
            repository.get(&listing.commit, &file, observer)?;
        }
        Ok(repository.folder(&listing.commit))
    }

    /// The files of the model `id` that [`fetch`](Self::fetch) would have in the cache. Nothing is
    /// downloaded but lists: of files, and of the parts of the pipeline.
    ///
    /// # Errors
    ///
    /// Fails as [`fetch`](Self::fetch) does.
    pub fn files(&self, id: &ModelId) -> Result<Vec<HubFile>, HubError> {
        let repository = Repository::of_model(self, id);
        let listing = match self.offline {
            true => repository.cached_list()?,
            false => repository.list()?,
        };
        let index = || repository.read_text(&listing.commit, select::INDEX);
        let wanted = wanted(&repository, &listing, index)?;
        Ok(listing.files.into_iter().filter(|file| wanted.contains(&file.path)).collect())
    }

    /// The files of the data set `id`, of the first of `endings` that any of them has.
    ///
    /// # Errors
    ///
    /// Fails if the data set is not there, has no such file, or needs a licence that was not
    /// accepted; offline, if nothing of it is in the cache.
    pub fn dataset(&self, id: &DatasetId, endings: &[&str]) -> Result<Dataset, HubError> {
        Dataset::open(self, id, endings)
    }
}

/// The paths of the files that make a model; `index` gives the text of its `model_index.json`.
fn wanted(
    repository: &Repository,
    listing: &Listing,
    index: impl FnOnce() -> Result<String, HubError>,
) -> Result<Vec<String>, HubError> {
    let files: Vec<String> = listing.files.iter().map(|file| file.path.clone()).collect();
    let wanted = match files.iter().any(|file| file == select::INDEX) {
        true => select::pipeline(&files, &index()?)
            .map_err(|reason| HubError::Index { repository: repository.to_string(), reason })?,
        false => select::component(&files),
    };
    match wanted.is_empty() {
        true => Err(HubError::NoModel { repository: repository.to_string() }),
        false => Ok(wanted),
    }
}

/// The folder of a model in the cache. Whether all of it is there is known where its list was kept.
fn cached(repository: &Repository) -> Result<PathBuf, HubError> {
    let commit = repository.cached_commit()?;
    let folder = repository.folder(&commit);
    let known = [select::INDEX, "config.json", "open_clip_config.json"];
    if !known.iter().any(|file| folder.join(file).is_file()) {
        return Err(repository.not_cached(""));
    }
    if let Some(listing) = repository.kept_list(&commit)? {
        let index = || repository.read_text(&commit, select::INDEX);
        let wanted = wanted(repository, &listing, index)?;
        let missing = |file: &&HubFile| !file.is_cached && wanted.contains(&file.path);
        if let Some(file) = listing.files.iter().find(missing) {
            return Err(repository.not_cached(&file.path));
        }
    }
    Ok(folder)
}
