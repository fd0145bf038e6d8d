//! The files of a set, which may have to be fetched, and the order that pairs come in.

use std::{
    error::Error,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use hyperalign_core::noise::{Purpose, Stream};

/// The files of a set that come one at a time.
pub trait Shards: Send + Sync {
    /// How many there are.
    fn count(&self) -> usize;

    /// File `index`, once it lies on disk.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be had.
    fn get(&self, index: usize) -> Result<PathBuf, ShardError>;
}

/// Why a file could not be had.
pub type ShardError = Box<dyn Error + Send + Sync>;

/// What of a stream each number is drawn for: blocks of pairs count from the end, the order of
/// blocks is below all of them.
const OF_BLOCKS: u32 = 0;

/// The order of pairs: every epoch has its own permutation of the blocks, and of the pairs in each.
/// The first epoch takes the blocks as they come, since the next is not there yet. A set that is
/// known whole is one block.
#[derive(Default)]
pub(super) struct Order {
    seed: u64,
    held: Mutex<Option<Permutation>>,
}

/// A permutation of the pairs of one block in one epoch.
type Permutation = ((u64, usize), Arc<Vec<u32>>);

impl Order {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, held: Mutex::default() }
    }

    /// The order that files are fetched in.
    pub(super) fn of_files(&self, count: usize) -> Vec<usize> {
        self.blocks(0, count)
    }

    fn blocks(&self, epoch: u64, count: usize) -> Vec<usize> {
        let mut blocks: Vec<usize> = (0..count).collect();
        Stream::new(self.seed, Purpose::Data, epoch as u32, OF_BLOCKS).shuffle(&mut blocks);
        blocks
    }

    /// The number of the pair that comes as item `index`, where block k holds the pairs
    /// `ends[k - 1]..ends[k]`. With blocks still to come, `index` is one of the pairs that are known.
    pub(super) fn pair(&self, index: u64, ends: &[u32]) -> u32 {
        let total = u64::from(ends.last().copied().unwrap_or(0));
        let (epoch, mut position) = (index / total, (index % total) as u32);
        let start = |block: usize| if block == 0 { 0 } else { ends[block - 1] };
        let blocks = match epoch {
            0 => (0..ends.len()).collect(),
            _ => self.blocks(epoch, ends.len()),
        };
        for block in blocks {
            let length = ends[block] - start(block);
            if position < length {
                return start(block) + self.within(epoch, block, length)[position as usize];
            }
            position -= length;
        }
        unreachable!("a position below the sum of all lengths lies in one of them")
    }

    fn within(&self, epoch: u64, block: usize, length: u32) -> Arc<Vec<u32>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match &*held {
            Some((of, order)) if *of == (epoch, block) => order.clone(),
            _ => {
                let mut order: Vec<u32> = (0..length).collect();
                let of_block = u32::MAX - block as u32;
                Stream::new(self.seed, Purpose::Data, epoch as u32, of_block).shuffle(&mut order);
                held.insert(((epoch, block), Arc::new(order))).1.clone()
            }
        }
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Order").field("seed", &self.seed).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(order: &Order, epoch: u64, ends: &[u32]) -> Vec<u32> {
        let total = u64::from(*ends.last().unwrap());
        (epoch * total..(epoch + 1) * total).map(|index| order.pair(index, ends)).collect()
    }

    #[test]
    fn every_epoch_has_every_pair_in_an_order_of_its_own() {
        let (order, ends) = (Order::new(7), [5, 5, 12, 20]);
        let first = epoch(&order, 0, &ends);
        for (start, end) in [(0, 5), (5, 12), (12, 20)] {
            let mut block = first[start..end].to_vec();
            block.sort_unstable();
            assert_eq!(block, (start as u32..end as u32).collect::<Vec<_>>());
        }
        for k in 1..6 {
            let mut later = epoch(&order, k, &ends);
            assert_ne!(later, first);
            later.sort_unstable();
            assert_eq!(later, (0..20).collect::<Vec<_>>());
        }
        let starts = |k| epoch(&order, k, &ends)[0];
        assert!((1..12).any(|k| starts(k) >= 5), "the first block is not always first");
        assert_ne!(first, epoch(&Order::new(8), 0, &ends));
    }

    #[test]
    fn blocks_that_are_still_to_come_change_nothing() {
        let (order, ends) = (Order::new(7), [5, 12, 20]);
        let all = epoch(&order, 0, &ends);
        for known in 1..=3 {
            let ends = &ends[..known];
            assert_eq!(epoch(&order, 0, ends), all[..*ends.last().unwrap() as usize]);
        }
    }

    #[test]
    fn files_come_in_an_order_of_the_seed() {
        let order = Order::new(3).of_files(50);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        assert_ne!(order, sorted);
        assert_ne!(order, Order::new(4).of_files(50));
    }
}
