//! Pictures that people compared: Pick-a-Pic and HPD (sections "data" of arXiv:2305.01569 and
//! arXiv:2306.09341), as published.
//!
//! Opening reads the labels and which rows have a caption. A pair is read when it is asked for, from the page of the file
//! that it lies in, so memory does not grow with the set (some 16 bytes a pair). What comes k-th
//! is a function of the seed and of k: every epoch has its own permutation, and a run that is
//! resumed at item k goes on with exactly that item. Files that have to be fetched are opened one at
//! a time, when the order comes to them; then the permutation is one of the files and of the pairs
//! in each.

mod columns;
mod error;
mod files;
mod listing;
mod names;
mod opened;
mod pairs;
mod pictures;
mod rank;
mod shards;
mod table;
mod tally;

use std::{
    collections::VecDeque,
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use columns::Reader;
use files::{Pictures, files};
use opened::{Opened, Source};
use shards::Order;
use table::Table;

pub use error::PreferenceError;
pub use names::{ColumnNames, ColumnNamesError};
pub use pictures::PreferredPictures;
pub use shards::{ShardError, Shards};

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

/// How many footers of parquet files are held.
const FOOTERS: usize = 16;

/// Files that are fetched when the order comes to them.
struct Pending {
    shards: Box<dyn Shards>,
    order: Vec<usize>,
    names: ColumnNames,
}

/// A set of pairs in an order of its own.
pub struct Preferences {
    folder: Pictures,
    pending: Option<Pending>,
    opened: RwLock<Opened>,
    footers: Mutex<VecDeque<(u32, Arc<Reader>)>>,
    order: Order,
}

impl fmt::Debug for Preferences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Preferences");
        text.field("folder", &self.folder).field("order", &self.order).field("pairs", &self.len());
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
        let mut opened = Opened::default();
        for file in files(path)? {
            opened.add(&file, names)?;
        }
        if opened.choices.is_empty() {
            return Err(opened.empty(path));
        }
        opened.choices.shrink_to_fit();
        opened.end_block();
        let root = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
        Ok(Self::new(root, seed, opened, None))
    }

    /// The set whose files are `shards`, of which each is fetched when the order comes to it: the
    /// first one now. Paths of pictures in them are relative to `root`.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be fetched or is damaged, or none has a pair with a preference.
    pub fn stream(
        shards: Box<dyn Shards>,
        root: &Path,
        seed: u64,
        names: &ColumnNames,
    ) -> Result<Self, PreferenceError> {
        let order = Order::new(seed).of_files(shards.count());
        let pending = Pending { shards, order, names: names.clone() };
        let set = Self::new(root, seed, Opened::default(), Some(pending));
        match set.reach(1)? {
            0 => Err(set.read().empty(root)),
            _ => Ok(set),
        }
    }

    fn new(root: &Path, seed: u64, opened: Opened, pending: Option<Pending>) -> Self {
        Self {
            folder: Pictures { root: root.to_owned() },
            pending,
            opened: RwLock::new(opened),
            footers: Mutex::default(),
            order: Order::new(seed),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Opened> {
        self.opened.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Opened> {
        self.opened.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens files until `count` pairs are known or all files are open; tells how many pairs are known.
    fn reach(&self, count: u64) -> Result<u64, PreferenceError> {
        let is_enough = |opened: &Opened| match &self.pending {
            None => true,
            Some(Pending { order, .. }) => {
                opened.choices.len() as u64 >= count || opened.sources.len() == order.len()
            }
        };
        let opened = self.read();
        if is_enough(&opened) {
            return Ok(opened.choices.len() as u64);
        }
        drop(opened);
        // Other threads wait: what they read may lie in the file that is fetched.
        let mut opened = self.write();
        while !is_enough(&opened)
            && let Some(Pending { shards, order, names }) = &self.pending
        {
            let shard = order[opened.sources.len()];
            let file = shards.get(shard).map_err(|source| PreferenceError::Shard { source })?;
            opened.add(&file, names)?;
            opened.end_block();
        }
        Ok(opened.choices.len() as u64)
    }

    /// How many pairs there are, where that is known: not while there are files to fetch.
    pub(super) fn known_len(&self) -> Option<u64> {
        let opened = self.read();
        let is_whole = self.pending.as_ref().is_none_or(|p| p.order.len() == opened.sources.len());
        is_whole.then_some(opened.choices.len() as u64)
    }

    /// How many rows with a preference have no caption, or an empty one. They are left out.
    pub fn without_caption(&self) -> usize {
        self.read().without_caption
    }

    /// How many pairs have a preferred picture, in the files that are open. Ties and rows without a label are left out, as
    /// Diffusion-DPO does (arXiv:2311.12908, section 5.1).
    #[expect(clippy::len_without_is_empty, reason = "an empty set is not opened")]
    pub fn len(&self) -> usize {
        self.read().choices.len()
    }

    /// Item `index` of the endless sequence of epochs.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be read or a row is damaged.
    pub fn pair(&self, index: u64) -> Result<Pair, PreferenceError> {
        let choice = self.choice(index)?;
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
        let choice = self.choice(index)?;
        Ok((self.prompt_of(choice)?, self.picture_of(choice, choice.preferred)?))
    }

    /// Prompt and rejected picture of item `index`; the preferred picture is not read.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be read or a row is damaged.
    pub fn rejected(&self, index: u64) -> Result<(String, Vec<u8>), PreferenceError> {
        let choice = self.choice(index)?;
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
        let mut index = 0;
        while prompts.len() < count && index < self.reach(index + 1)? {
            let prompt = self.prompt_of(self.choice(index)?)?;
            if seen.insert(prompt.clone()) {
                prompts.push(prompt);
            }
            index += 1;
        }
        Ok(prompts)
    }

    fn choice(&self, index: u64) -> Result<Choice, PreferenceError> {
        let row = self.row(index)?;
        Ok(self.read().choices[row as usize])
    }

    /// The number of the pair that comes as item `index`, whatever the epoch.
    fn row(&self, index: u64) -> Result<u32, PreferenceError> {
        self.reach(index + 1)?;
        Ok(self.order.pair(index, &self.read().ends))
    }

    fn source(&self, choice: Choice) -> Arc<Source> {
        self.read().sources[choice.source as usize].clone()
    }

    fn prompt_of(&self, choice: Choice) -> Result<String, PreferenceError> {
        match self.source(choice).as_ref() {
            Source::Table(table) => {
                table.prompt(self.footer(choice.source, table)?.as_ref(), choice)
            }
            Source::Listing(listing) => Ok(listing.prompt(choice)),
        }
    }

    fn picture_of(&self, choice: Choice, which: u16) -> Result<Vec<u8>, PreferenceError> {
        match self.source(choice).as_ref() {
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
