//! Pictures that people compared: Pick-a-Pic and HPD (sections "data" of arXiv:2305.01569 and
//! arXiv:2306.09341), as published.
//!
//! Opening reads the labels only. A pair is read when it is asked for, from the page of the file
//! that it lies in, so memory does not grow with the set (some 16 bytes a pair). What comes k-th
//! is a function of the seed and of k: every epoch has its own permutation, and a run that is
//! resumed at item k goes on with exactly that item.

mod columns;
mod listing;
mod pairs;
mod pictures;
mod rank;
mod table;

use std::{
    collections::VecDeque,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use hyperalign_core::{
    image::DecodeError,
    noise::{Purpose, Stream},
};

use columns::Reader;
use listing::Listing;
use table::Table;

pub use pictures::PreferredPictures;

/// Why preferences cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PreferenceError {
    /// A file or folder cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is nothing of a known kind.
    #[error(
        "`{}` is neither a .parquet file, nor HPD's .json, nor a folder of them",
        path.display()
    )]
    Kind {
        /// What was given.
        path: PathBuf,
    },
    /// A parquet file is damaged.
    #[error("`{}` is not a whole parquet file: {reason}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A parquet file has other columns.
    #[error(
        "`{}` has the columns {columns}; expected Pick-a-Pic's (caption, jpg_0, jpg_1, label_0) \
         or HPD's (prompt, image_path or images, human_preference or rank)",
        path.display()
    )]
    Schema {
        /// The file.
        path: PathBuf,
        /// What it has.
        columns: String,
    },
    /// A JSON file is not HPD's.
    #[error(
        "`{}`: {error}; expected a list of {{\"prompt\", \"image_path\": [..], \
         \"human_preference\" or \"rank\": [..]}}",
        path.display()
    )]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        error: serde_json::Error,
    },
    /// One row cannot be used.
    #[error("`{}`, {place}: {reason}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Which row.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// No row has a preferred picture.
    #[error("`{}` has no pair of which one picture is preferred", path.display())]
    Empty {
        /// What was given.
        path: PathBuf,
    },
    /// A picture cannot be used.
    #[error("the picture of the prompt `{prompt}`: {source}")]
    Picture {
        /// The prompt.
        prompt: String,
        /// What is wrong.
        source: DecodeError,
    },
}

/// Where a pair lies, and which of its pictures is preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Choice {
    source: u32,
    group: u32,
    row: u32,
    preferred: u16,
    rejected: u16,
}

/// A prompt and two pictures of it, as the bytes of their files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The prompt.
    pub prompt: String,
    /// The picture that was preferred.
    pub preferred: Vec<u8>,
    /// The other.
    pub rejected: Vec<u8>,
}

#[derive(Debug)]
enum Source {
    Table(Table),
    Listing(Listing),
}

/// The folders that paths of a set may be relative to.
#[derive(Debug)]
struct Pictures {
    root: PathBuf,
}

impl Pictures {
    /// HPD's archives unpack to a folder by split beside the listings.
    const FOLDERS: [&str; 4] = ["", "train", "test", "images"];

    fn read(&self, path: &str) -> Result<Vec<u8>, PreferenceError> {
        let candidates = Self::FOLDERS.map(|folder| self.root.join(folder).join(path));
        let found = candidates.iter().find(|candidate| candidate.is_file());
        let path = found.unwrap_or(&candidates[0]);
        std::fs::read(path)
            .map_err(|source| PreferenceError::Unreadable { path: path.clone(), source })
    }
}

/// How many footers of parquet files are held.
const FOOTERS: usize = 16;

/// A permutation of one epoch.
type Order = (u64, Arc<Vec<u32>>);

/// A set of pairs in an order of its own.
pub struct Preferences {
    seed: u64,
    folder: Pictures,
    sources: Vec<Source>,
    choices: Vec<Choice>,
    footers: Mutex<VecDeque<(u32, Arc<Reader>)>>,
    order: Mutex<Option<Order>>,
}

impl fmt::Debug for Preferences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Preferences");
        text.field("folder", &self.folder).field("seed", &self.seed).field("pairs", &self.len());
        text.finish_non_exhaustive()
    }
}

impl Preferences {
    /// Opens the file or the folder at `path`; `seed` is that of the order.
    ///
    /// # Errors
    ///
    /// Fails if there is no file of a known kind, one is damaged, or no pair has a preference.
    pub fn open(path: &Path, seed: u64) -> Result<Self, PreferenceError> {
        let files = files(path)?;
        let root = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
        let mut choices = Vec::new();
        let mut sources = Vec::new();
        for file in files {
            let source = sources.len() as u32;
            let mut found = |choice| choices.push(Choice { source, ..choice });
            sources.push(match file.extension() {
                Some(ending) if ending == "parquet" => {
                    Source::Table(Table::open(&file, &mut found)?)
                }
                _ => Source::Listing(Listing::open(&file, &mut found)?),
            });
        }
        if choices.is_empty() {
            return Err(PreferenceError::Empty { path: path.to_owned() });
        }
        choices.shrink_to_fit();
        Ok(Self {
            seed,
            folder: Pictures { root: root.to_owned() },
            sources,
            choices,
            footers: Mutex::default(),
            order: Mutex::default(),
        })
    }

    /// How many pairs have a preferred picture. Ties and rows without a label are left out, as
    /// Diffusion-DPO does (arXiv:2311.12908, section 5.1).
    #[expect(clippy::len_without_is_empty, reason = "an empty set is not opened")]
    pub fn len(&self) -> usize {
        self.choices.len()
    }

    /// Item `index` of the endless sequence of epochs.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be read or a row is damaged.
    pub fn pair(&self, index: u64) -> Result<Pair, PreferenceError> {
        let choice = self.choice(index);
        Ok(Pair {
            prompt: self.prompt_of(choice)?,
            preferred: self.picture_of(choice, choice.preferred)?,
            rejected: self.picture_of(choice, choice.rejected)?,
        })
    }

    /// Prompt and preferred picture of item `index`; the other picture is not read.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be read or a row is damaged.
    pub fn preferred(&self, index: u64) -> Result<(String, Vec<u8>), PreferenceError> {
        let choice = self.choice(index);
        Ok((self.prompt_of(choice)?, self.picture_of(choice, choice.preferred)?))
    }

    /// Prompt and rejected picture of item `index`; the preferred picture is not read.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be read or a row is damaged.
    pub fn rejected(&self, index: u64) -> Result<(String, Vec<u8>), PreferenceError> {
        let choice = self.choice(index);
        Ok((self.prompt_of(choice)?, self.picture_of(choice, choice.rejected)?))
    }

    /// The first `count` different prompts of the sequence, or as many as the first epoch has.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be read or a row is damaged.
    pub fn prompts(&self, count: usize) -> Result<Vec<String>, PreferenceError> {
        let mut prompts: Vec<String> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for index in 0..self.len() as u64 {
            if prompts.len() == count {
                break;
            }
            let prompt = self.prompt_of(self.choice(index))?;
            if seen.insert(prompt.clone()) {
                prompts.push(prompt);
            }
        }
        Ok(prompts)
    }

    fn choice(&self, index: u64) -> Choice {
        let (epoch, position) = (index / self.len() as u64, index % self.len() as u64);
        let mut held = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let order = match &*held {
            Some((of, order)) if *of == epoch => order.clone(),
            _ => {
                let mut order: Vec<u32> = (0..self.len() as u32).collect();
                Stream::new(self.seed, Purpose::Data, epoch as u32, u32::MAX).shuffle(&mut order);
                held.insert((epoch, Arc::new(order))).1.clone()
            }
        };
        self.choices[order[position as usize] as usize]
    }

    fn prompt_of(&self, choice: Choice) -> Result<String, PreferenceError> {
        match &self.sources[choice.source as usize] {
            Source::Table(table) => {
                table.prompt(self.footer(choice.source, table)?.as_ref(), choice)
            }
            Source::Listing(listing) => Ok(listing.prompt(choice)),
        }
    }

    fn picture_of(&self, choice: Choice, which: u16) -> Result<Vec<u8>, PreferenceError> {
        match &self.sources[choice.source as usize] {
            Source::Table(table) => {
                let footer = self.footer(choice.source, table)?;
                table.picture(footer.as_ref(), choice, which, &self.folder)
            }
            Source::Listing(listing) => listing.picture(choice, which, &self.folder),
        }
    }

    fn footer(&self, source: u32, table: &Table) -> Result<Arc<Reader>, PreferenceError> {
        let held = || self.footers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, reader)) = held().iter().find(|(of, _)| *of == source) {
            return Ok(reader.clone());
        }
        let reader = Arc::new(table.reader()?);
        let mut footers = held();
        if footers.len() == FOOTERS {
            footers.pop_front();
        }
        footers.push_back((source, reader.clone()));
        Ok(reader)
    }
}

/// The files of a set, in the order of their names.
fn files(path: &Path) -> Result<Vec<PathBuf>, PreferenceError> {
    let has = |file: &Path, known: &str| file.extension().is_some_and(|ending| ending == known);
    if path.is_file() && (has(path, "parquet") || has(path, "json")) {
        return Ok(vec![path.to_owned()]);
    }
    let unreadable = |source| PreferenceError::Unreadable { path: path.to_owned(), source };
    if !path.is_dir() {
        path.metadata().map_err(unreadable)?;
        return Err(PreferenceError::Kind { path: path.to_owned() });
    }
    let entries: Vec<_> =
        std::fs::read_dir(path).and_then(Iterator::collect).map_err(unreadable)?;
    let mut all: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    all.sort();
    // A folder of parquet files may have other JSON beside them, such as its description.
    let kind = if all.iter().any(|file| has(file, "parquet")) { "parquet" } else { "json" };
    all.retain(|file| has(file, kind));
    if all.is_empty() {
        return Err(PreferenceError::Kind { path: path.to_owned() });
    }
    Ok(all)
}
