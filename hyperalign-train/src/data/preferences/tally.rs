//! How many pictures cannot be read, and whether that is too many.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
    thread::ThreadId,
};

use super::PreferenceError;

/// Items that are read before a run begins, and the fewest that a share is taken of while it goes
/// on.
pub(super) const CHECKED: u64 = 256;

/// What was drawn, and what of it could not be read.
#[derive(Debug)]
pub(super) struct Tally {
    /// The share of damaged pictures that may be passed over.
    most: f64,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    drawn: u64,
    /// Pairs whose picture is damaged. A small set comes by again and again, and one damaged
    /// picture in it stays one.
    damaged: HashSet<u32>,
    /// How many were passed over and how many drawn since each thread last asked.
    here: HashMap<ThreadId, (u64, u64)>,
    first: Option<String>,
    fault: Option<PreferenceError>,
}

impl Tally {
    pub(super) fn new(most: f64) -> Self {
        Self { most, counts: Mutex::default() }
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an item that was drawn.
    pub(super) fn drawn(&self) {
        self.counts().drawn += 1;
    }

    /// Counts that a picture of the pair `row` of `pairs` could not be read. How many pairs there are
    /// may not be known.
    ///
    /// # Errors
    ///
    /// Fails if these are more than may be passed over.
    pub(super) fn damaged(
        &self,
        row: u32,
        pairs: Option<u64>,
        error: &PreferenceError,
    ) -> Result<(), PreferenceError> {
        let mut counts = self.counts();
        counts.damaged.insert(row);
        counts.first.get_or_insert_with(|| error.to_string());
        let pairs = pairs.unwrap_or(u64::MAX);
        let drawn = counts.drawn.max(CHECKED).min(pairs);
        self.check(counts.damaged.len() as u64, [drawn, pairs], counts.first.as_deref())
    }

    /// Fails if `damaged` of `drawn` pictures are too many: more than the share, rounded up, or
    /// all of the `pairs` of the set.
    pub(super) fn check(
        &self,
        damaged: u64,
        [drawn, pairs]: [u64; 2],
        first: Option<&str>,
    ) -> Result<(), PreferenceError> {
        let most = (self.most * drawn as f64).ceil() as u64;
        if damaged <= most && damaged < pairs.max(1) {
            return Ok(());
        }
        let first = first.unwrap_or_default().to_owned();
        Err(PreferenceError::Damaged { damaged, drawn, most: self.most, first })
    }

    /// Counts for this thread that `passed_over` pictures were passed over while it drew `drawn`.
    pub(super) fn count_here(&self, passed_over: u64, drawn: u64) {
        let mut counts = self.counts();
        let here = counts.here.entry(std::thread::current().id()).or_default();
        *here = (here.0 + passed_over, here.1 + drawn);
    }

    /// What was counted for this thread since it last asked: passed over, and drawn.
    pub(super) fn take_here(&self) -> (u64, u64) {
        self.counts().here.remove(&std::thread::current().id()).unwrap_or_default()
    }

    /// Keeps the first error that a run cannot go on with.
    pub(super) fn give_up(&self, error: PreferenceError) {
        self.counts().fault.get_or_insert(error);
    }

    /// The error that a run cannot go on with, once.
    pub(super) fn fault(&self) -> Option<PreferenceError> {
        self.counts().fault.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(most: f64, pairs: u64, damaged: u32) -> Result<(), PreferenceError> {
        let tally = Tally::new(most);
        let error = PreferenceError::Empty { path: "set".into(), without_caption: 0 };
        (0..damaged).try_for_each(|row| tally.damaged(row, Some(pairs), &error))
    }

    #[test]
    fn a_share_may_be_damaged() {
        assert!(outcome(0.1, 6, 1).is_ok(), "one in six, once rounded");
        assert!(outcome(0.1, 6, 2).is_err());
        assert!(outcome(0.1, 40, 4).is_ok() && outcome(0.1, 40, 5).is_err());
        assert!(outcome(0.1, 1_000_000, 26).is_ok() && outcome(0.1, 1_000_000, 27).is_err());
        assert!(outcome(0.0, 6, 1).is_err());
        assert!(outcome(1.0, 6, 5).is_ok() && outcome(1.0, 6, 6).is_err(), "nothing is left");
        let message = outcome(0.1, 40, 5).unwrap_err().to_string();
        assert!(message.contains("5 of 40") && message.contains("10 %"), "{message}");
    }

    #[test]
    fn a_damaged_picture_that_comes_by_again_is_one() {
        let tally = Tally::new(0.1);
        let error = PreferenceError::Empty { path: "set".into(), without_caption: 0 };
        for _ in 0..50 {
            tally.drawn();
            tally.damaged(3, Some(6), &error).unwrap();
            tally.count_here(1, 2);
        }
        assert_eq!(tally.take_here(), (50, 100));
        assert_eq!(tally.take_here(), (0, 0), "told once");
    }
}
