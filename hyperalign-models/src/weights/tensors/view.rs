//! The same bytes under other names and in other shapes. Nothing is read for it.

use std::collections::BTreeMap;

use super::{Entry, Order, Tensors};

/// Where a tensor of ours lies in a file of another layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The key in the file.
    pub source: String,
    /// The row of the file's tensor that it begins with.
    pub first_row: usize,
    /// In which order the file has its values.
    pub order: Order,
    /// Its shape, of whole rows of the file's tensor.
    pub shape: Vec<usize>,
}

impl Tensors {
    /// The same tensors under other names: `rename` returns the new name of a key, or `None` to
    /// leave the tensor out.
    pub fn rename(self, mut rename: impl FnMut(&str) -> Option<String>) -> Self {
        let entries = self.entries.into_iter();
        let entries = entries.filter_map(|(key, entry)| Some((rename(&key)?, entry))).collect();
        Self { entries, ..self }
    }

    /// The tensors but for those of `keys`, which is how extras that a published file is known to
    /// hold are named and ignored.
    pub fn without(mut self, keys: &[String]) -> Self {
        self.entries.retain(|key, _| !keys.contains(key));
        self
    }

    /// The tensors whose keys begin with `prefix`, without it.
    pub fn below(&self, prefix: &str) -> Self {
        self.clone().rename(|key| key.strip_prefix(prefix).map(str::to_owned))
    }

    /// The same tensors with other strings beside them.
    pub fn with_metadata(self, metadata: BTreeMap<String, String>) -> Self {
        Self { metadata, ..self }
    }

    /// The same tensors, that of `key` seen in another shape of as many elements (a linear layer
    /// that was published as a convolution). Keys that are not there are left alone.
    pub fn reshape(mut self, key: &str, shape: Vec<usize>) -> Self {
        if let Some(entry) = self.entries.get_mut(key)
            && entry.shape.iter().product::<usize>() == shape.iter().product::<usize>()
        {
            entry.shape = shape;
        }
        self
    }

    /// The same tensors, that of `key` cut along its first axis into equal parts called `names`
    /// (queries, keys and values that were published as one matrix). A key that is not there, or
    /// whose rows cannot be dealt out equally, is left alone, for a strict reader to find.
    pub fn split_rows(mut self, key: &str, names: &[String]) -> Self {
        let parts = names.len();
        let fits = |entry: &Entry| {
            !entry.transposed && entry.shape.first().is_some_and(|rows| rows.is_multiple_of(parts))
        };
        if !self.entries.get(key).is_some_and(fits) {
            return self;
        }
        if let Some(whole) = self.entries.remove(key) {
            let size = whole.range.len() / parts;
            for (i, name) in names.iter().enumerate() {
                let start = whole.range.start + i * size;
                let mut part = Entry { range: start..start + size, ..whole.clone() };
                part.shape[0] /= parts;
                self.entries.insert(name.clone(), part);
            }
        }
        self
    }

    /// The same tensors, the matrix of `key` transposed (a linear layer that was published as a
    /// plain matrix). A key that is not there, or is no matrix, is left alone.
    pub fn transpose(mut self, key: &str) -> Self {
        if let Some(entry) = self.entries.get_mut(key)
            && entry.shape.len() == 2
        {
            entry.shape.reverse();
            entry.transposed = !entry.transposed;
        }
        self
    }

    /// Tensors of other names, made of parts of these. A part that is not there, or does not lie
    /// within its source, is left out, for a strict reader to find.
    pub(in crate::weights) fn rearranged(
        &self,
        parts: impl IntoIterator<Item = (String, Part)>,
    ) -> Self {
        let parts = parts.into_iter();
        let entries = parts.filter_map(|(name, part)| Some((name, self.part(part)?))).collect();
        Self { entries, ..self.clone() }
    }

    fn part(&self, part: Part) -> Option<Entry> {
        let whole = self.entries.get(&part.source)?;
        let (Some(rows), [all, ..]) = (part.shape.first(), whole.shape.as_slice()) else {
            return Some(Entry { shape: part.shape, ..whole.clone() });
        };
        if whole.transposed
            || whole.order != Order::Same
            || *all == 0
            || whole.range.len() % all != 0
        {
            return None;
        }
        let row = whole.range.len() / all;
        let start = whole.range.start + part.first_row * row;
        let range = start..start + rows * row;
        (range.end <= whole.range.end).then(|| Entry {
            range,
            shape: part.shape.clone(),
            order: part.order,
            ..whole.clone()
        })
    }
}
