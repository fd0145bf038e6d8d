//! The data that burn's trainer asks for: none.

use std::sync::Arc;

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;

/// No data. What an update learns from is a function of its index, which the loop counts, and
/// nothing is validated while a run goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nothing;

/// The end of no data.
struct Empty<T>(std::iter::Empty<Result<T, DatasetError>>);

impl<T> Iterator for Empty<T> {
    type Item = Result<T, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl<T> DataLoaderIterator<T> for Empty<T> {
    fn progress(&self) -> Progress {
        Progress::new(0, 0, None)
    }
}

impl<T: 'static> DataLoader<T> for Nothing {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<T> + 'a> {
        Box::new(Empty(std::iter::empty()))
    }

    fn num_items(&self) -> usize {
        0
    }

    fn to_device(&self, _: &Device) -> Arc<dyn DataLoader<T>> {
        Arc::new(Self)
    }

    fn slice(&self, _: usize, _: usize) -> Arc<dyn DataLoader<T>> {
        Arc::new(Self)
    }
}
