//! Files of the hub, downloaded where a bar shows it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyperalign_models::hub::{Dataset, DatasetId, Download, Hub, HubError, HubFile, ModelId};
use hyperalign_train::data::{ShardError, Shards};
use indicatif::{ProgressBar, ProgressStyle};
use miette::{Diagnostic, IntoDiagnostic};

use super::HUB;
use crate::output;

/// A data set that cannot be had or used.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum DataError {
    /// The hub says so.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// Files of which one is meant.
    #[error("`{given}` has several files that may be meant: {files}")]
    #[diagnostic(help("name one, as in `{given}/{first}`"))]
    Several {
        /// What was given.
        given: String,
        /// What it has.
        files: String,
        /// One of them.
        first: String,
    },
    /// A listing whose pictures are elsewhere.
    #[error(
        "`{given}` is no parquet file: pictures that a listing names are not fetched one by one"
    )]
    #[diagnostic(help(
        "download the data set, unpack its archives beside the listing, and give the folder"
    ))]
    NoTable {
        /// What was given.
        given: String,
    },
}

/// The folder of the model `id` of the hub; what is missing is downloaded.
///
/// # Errors
///
/// Fails if it cannot be had.
pub fn download(id: &str, offline: bool) -> miette::Result<PathBuf> {
    let id: ModelId = id.parse().into_diagnostic()?;
    let hub = Hub::from_env(offline).into_diagnostic()?;
    let bar = bar();
    let folder = hub.fetch(&id, &mut |download| show(&bar, download));
    bar.finish_and_clear();
    folder.into_diagnostic()
}

/// Files of a data set, each downloaded when it is asked for.
#[derive(Debug, Clone)]
pub struct Data {
    given: String,
    set: Dataset,
    shows_progress: Arc<AtomicBool>,
}

impl Data {
    /// What the hub calls `name`, of the first of `endings` that any file has.
    ///
    /// # Errors
    ///
    /// Fails if there is no such data set or no such file; offline, if it is not in the cache.
    pub fn open(name: &str, offline: bool, endings: &[&str]) -> Result<Self, DataError> {
        let id: DatasetId = name.parse()?;
        let set = Hub::from_env(offline)?.dataset(&id, endings)?;
        let shows_progress = Arc::new(AtomicBool::new(true));
        Ok(Self { given: format!("{HUB}{id}"), set, shows_progress })
    }

    /// Preferences, which are read from parquet files only.
    ///
    /// # Errors
    ///
    /// Fails as [`open`](Self::open) does, and for files of another kind.
    pub fn preferences(name: &str, offline: bool) -> Result<Self, DataError> {
        let data = Self::open(name, offline, &["parquet"])?;
        let is_table = |file: &HubFile| file.path.to_ascii_lowercase().ends_with(".parquet");
        match data.files().iter().all(is_table) {
            true => Ok(data),
            false => Err(DataError::NoTable { given: data.given }),
        }
    }

    /// The files.
    pub fn files(&self) -> &[HubFile] {
        self.set.files()
    }

    /// Their paths.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files().iter().map(|file| file.path.as_str())
    }

    /// Fails if there are several files, of which one is meant.
    ///
    /// # Errors
    ///
    /// Then.
    pub fn single(&self) -> Result<(), DataError> {
        let paths: Vec<&str> = self.paths().collect();
        match paths.as_slice() {
            [first, _, ..] => Err(DataError::Several {
                given: self.given.clone(),
                files: paths.join(", "),
                first: (*first).to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// The commit that they are of.
    pub fn commit(&self) -> &str {
        self.set.commit()
    }

    /// The folder that they are below.
    pub fn folder(&self) -> PathBuf {
        self.set.folder()
    }

    /// Tells how much there is, and how much of it is still to come; `when` says when.
    pub fn tell(&self, when: &str) {
        let sum = |files: &mut dyn Iterator<Item = &HubFile>| -> (usize, u64) {
            files.fold((0, 0), |(count, bytes), file| (count + 1, bytes + file.size.unwrap_or(0)))
        };
        let missing = sum(&mut self.files().iter().filter(|file| !file.is_cached));
        if missing.0 > 0 {
            let all = sum(&mut self.files().iter());
            output::note(&format!(
                "{}: {} of {} files ({} of {}) are not in the cache and are downloaded {when}",
                self.given,
                missing.0,
                all.0,
                size(missing.1),
                size(all.1)
            ));
        }
    }

    /// File `index`; it is downloaded if it is not in the cache.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be had.
    pub fn fetch(&self, index: usize) -> Result<PathBuf, DataError> {
        let bar = match self.shows_progress.load(Ordering::Relaxed) {
            true => bar(),
            false => ProgressBar::hidden(),
        };
        let path = self.set.fetch(index, &mut |download| show(&bar, download));
        bar.finish_and_clear();
        Ok(path?)
    }

    /// What shows a bar while it is true: once a run draws its own, none is wanted.
    pub fn shows_progress(&self) -> Arc<AtomicBool> {
        self.shows_progress.clone()
    }
}

impl Shards for Data {
    fn count(&self) -> usize {
        self.files().len()
    }

    fn get(&self, index: usize) -> Result<PathBuf, ShardError> {
        Ok(self.fetch(index)?)
    }
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {eta}");
    ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn show(bar: &ProgressBar, download: &Download) {
    bar.set_length(download.size);
    bar.set_position(download.done);
    bar.set_message(download.file.clone());
}

/// Bytes as people read them.
pub(super) fn size(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "bytes");
    for larger in ["KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    if unit == "bytes" { format!("{bytes} {unit}") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_at_a_glance() {
        let found = [0, 1023, 1536, 5 << 20, 3 << 40].map(size);
        assert_eq!(found, ["0 bytes", "1023 bytes", "1.5 KiB", "5.0 MiB", "3072.0 GiB"]);
    }
}
