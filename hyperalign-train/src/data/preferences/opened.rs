//! What is known of a set: its files that are open, and where their pairs lie.

use std::{path::Path, sync::Arc};

use super::{
    Choice, ColumnNames, Found, PreferenceError, files::has_ending, listing::Listing, table::Table,
};

/// A file of pairs.
#[derive(Debug)]
pub(super) enum Source {
    Table(Table),
    Listing(Listing),
}

/// What is known of a set.
#[derive(Debug, Default)]
pub(super) struct Opened {
    pub(super) sources: Vec<Arc<Source>>,
    pub(super) choices: Vec<Choice>,
    /// Where each block of pairs ends that is permuted for itself.
    pub(super) ends: Vec<u32>,
    pub(super) without_caption: usize,
}

impl Opened {
    /// Adds the pairs of a file.
    pub(super) fn add(&mut self, file: &Path, names: &ColumnNames) -> Result<(), PreferenceError> {
        let source = self.sources.len() as u32;
        let (mut choices, mut without_caption) = (Vec::new(), 0);
        let mut found = |found| match found {
            Found::Pair(choice) => choices.push(Choice { source, ..choice }),
            Found::WithoutCaption => without_caption += 1,
        };
        let opened = match has_ending(file, "parquet") {
            true => Source::Table(Table::open(file, names, &mut found)?),
            false => Source::Listing(Listing::open(file, &mut found)?),
        };
        self.sources.push(Arc::new(opened));
        self.choices.append(&mut choices);
        self.without_caption += without_caption;
        Ok(())
    }

    /// Ends a block of pairs.
    pub(super) fn end_block(&mut self) {
        self.ends.push(self.choices.len() as u32);
    }

    pub(super) fn empty(&self, path: &Path) -> PreferenceError {
        let (path, without_caption) = (path.to_owned(), self.without_caption);
        PreferenceError::Empty { path, without_caption }
    }
}
