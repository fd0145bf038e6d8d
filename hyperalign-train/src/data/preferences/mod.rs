//! Pictures that people compared: Pick-a-Pic and HPD (sections "data" of arXiv:2305.01569 and
//! arXiv:2306.09341), as published.
//!
//! Opening reads the labels and which rows have a caption. A pair is read when it is asked for, from the page of the file
//! that it lies in, so memory does not grow with the set (some 16 bytes a pair). What comes k-th
//! is a function of the seed and of k: every epoch has its own permutation, and a run that is
//! resumed at item k goes on with exactly that item.

mod columns;
mod error;
mod files;
mod listing;
mod names;
mod pairs;
mod pictures;
mod rank;
mod table;
mod tally;

use std::{
    collections::VecDeque,
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use hyperalign_core::noise::{Purpose, Stream};

use columns::Reader;
use files::{Pictures, files, has_ending};
use listing::Listing;
use table::Table;

pub use error::PreferenceError;
pub use names::{ColumnNames, ColumnNamesError};
pub use pictures::PreferredPictures;

/// A row with a preferred picture, or one that would have one if it had a caption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Pair(Choice),
    WithoutCaption,
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
    without_caption: usize,
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
        Self::open_with(path, seed, &ColumnNames::default())
    }

    /// [`open`](Self::open), of parquet files whose columns are called as `names` says.
    ///
    /// # Errors
    ///
    /// Fails as [`open`](Self::open) does.
    pub fn open_with(path: &Path, seed: u64, names: &ColumnNames) -> Result<Self, PreferenceError> {
        let files = files(path)?;
        let root = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
        let (mut choices, mut without_caption) = (Vec::new(), 0);
        let mut sources = Vec::new();
        for file in files {
            let source = sources.len() as u32;
            let mut found = |found| match found {
                Found::Pair(choice) => choices.push(Choice { source, ..choice }),
                Found::WithoutCaption => without_caption += 1,
            };
            sources.push(match has_ending(&file, "parquet") {
                true => Source::Table(Table::open(&file, names, &mut found)?),
                false => Source::Listing(Listing::open(&file, &mut found)?),
            });
        }
        if choices.is_empty() {
            return Err(PreferenceError::Empty { path: path.to_owned(), without_caption });
        }
        choices.shrink_to_fit();
        Ok(Self {
            seed,
            folder: Pictures { root: root.to_owned() },
            sources,
            choices,
            without_caption,
            footers: Mutex::default(),
            order: Mutex::default(),
        })
    }

    /// How many rows with a preference have no caption, or an empty one. They are left out.
    pub fn without_caption(&self) -> usize {
        self.without_caption
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
        self.choices[self.row(index) as usize]
    }

    /// The number of the pair that comes as item `index`, whatever the epoch.
    fn row(&self, index: u64) -> u32 {
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
        order[position as usize]
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
