//! The data of burn's trainer: the indices of the updates that are to do.

use std::sync::Arc;

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;

/// The updates `next..end`. What an update sees is a function of its index, so there is no other
/// position in the data to save.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Updates {
    pub(crate) next: u64,
    pub(crate) end: u64,
}

impl Iterator for Updates {
    type Item = Result<u64, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let update = self.next;
        (update < self.end).then(|| {
            self.next += 1;
            Ok(update)
        })
    }
}

impl DataLoaderIterator<u64> for Updates {
    fn progress(&self) -> Progress {
        Progress::new(self.next as usize, self.end as usize, Some("updates".to_owned()))
    }
}

impl DataLoader<u64> for Updates {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<u64> + 'a> {
        Box::new(*self)
    }

    fn num_items(&self) -> usize {
        self.end as usize
    }

    fn to_device(&self, _: &Device) -> Arc<dyn DataLoader<u64>> {
        Arc::new(*self)
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<u64>> {
        Arc::new(Self { next: self.next + start as u64, end: self.next + end as u64 })
    }
}

/// No data: nothing is validated while a run goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nothing;

impl Iterator for Nothing {
    type Item = Result<(), DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        None
    }
}

impl DataLoaderIterator<()> for Nothing {
    fn progress(&self) -> Progress {
        Progress::new(0, 0, None)
    }
}

impl DataLoader<()> for Nothing {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<()> + 'a> {
        Box::new(Self)
    }

    fn num_items(&self) -> usize {
        0
    }

    fn to_device(&self, _: &Device) -> Arc<dyn DataLoader<()>> {
        Arc::new(Self)
    }

    fn slice(&self, _: usize, _: usize) -> Arc<dyn DataLoader<()>> {
        Arc::new(Self)
    }
}
