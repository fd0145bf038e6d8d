//! Data sets of the hub: which files they have, and each of them when it is asked for.
//!
//! Sets of preferences have hundreds of gigabytes in hundreds of files. So opening one asks for the
//! list alone, and whoever reads it asks for a file at a time.

mod id;
mod select;

use std::path::PathBuf;

pub use id::DatasetId;

use super::{
    Download, Hub, HubError, HubFile,
    repository::{Listing, Repository},
};

/// The files of a data set that were asked for, at one commit.
#[derive(Debug, Clone)]
pub struct Dataset {
    repository: Repository,
    listing: Listing,
    files: Vec<HubFile>,
}

impl Dataset {
    pub(super) fn open(hub: &Hub, id: &DatasetId, endings: &[&str]) -> Result<Self, HubError> {
        let repository = Repository::of_dataset(hub, id);
        let listing = match hub.offline {
            true => repository.cached_list()?,
            false => repository.list()?,
        };
        let all: Vec<String> = listing.files.iter().map(|file| file.path.clone()).collect();
        let paths = select::files(&all, &id.path, endings);
        if paths.is_empty() {
            let of_ending = format!("that ends in .{}", endings.join(", ."));
            let wanted = match id.path.as_str() {
                "" => of_ending,
                path => format!("`{path}`, and none there {of_ending}"),
            };
            return Err(HubError::NoFile {
                repository: repository.to_string(),
                wanted,
                files: all,
            });
        }
        let find = |path: String| listing.files.iter().find(|file| file.path == path).cloned();
        let files = paths.into_iter().filter_map(find).collect();
        Ok(Self { repository, listing, files })
    }

    /// The commit that the files are of.
    pub fn commit(&self) -> &str {
        &self.listing.commit
    }

    /// The files, in the order of their names, as they were when the set was opened.
    pub fn files(&self) -> &[HubFile] {
        &self.files
    }

    /// The folder that the files of the set are below, by their paths.
    pub fn folder(&self) -> PathBuf {
        self.repository.folder(self.commit())
    }

    /// File `index` of [`files`](Self::files); it is downloaded if it is not in the cache.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be downloaded whole; offline, if it is not in the cache.
    ///
    /// # Panics
    ///
    /// Panics if there is no such file.
    pub fn fetch(
        &self,
        index: usize,
        observer: &mut dyn FnMut(&Download),
    ) -> Result<PathBuf, HubError> {
        let path = self.repository.get(self.commit(), &self.files[index].path, observer)?;
        self.repository.keep(&self.listing)?;
        Ok(path)
    }
}
