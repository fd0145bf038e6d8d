//! What a picture may cost.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use hyperalign_core::{one_picture::Account, stop::Stop};
use serde::{Deserialize, Serialize};

use super::super::Meter;

/// What each picture may cost. A method that has used it up returns the best that it has: it stops
/// searching in time to take the steps that are left.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Budget {
    /// Wall time, in seconds. The time of the steps that are left is reckoned from those before.
    pub seconds: Option<f64>,
    /// Evaluations of the denoiser.
    pub evaluations: Option<u64>,
}

/// The account of one picture.
pub(super) struct Ledger<'a> {
    budget: Budget,
    meter: &'a Meter<'a>,
    stop: &'a Stop,
    began: Instant,
    before: u64,
    skipped: AtomicU64,
}

impl<'a> Ledger<'a> {
    /// Opens an account from now on.
    pub(super) fn open(budget: Budget, meter: &'a Meter<'a>, stop: &'a Stop) -> Self {
        let before = meter.read().denoiser_evaluations;
        meter.best(None);
        Self { budget, meter, stop, began: Instant::now(), before, skipped: AtomicU64::new(0) }
    }

    /// Scores and gradients that were no numbers.
    pub(super) fn skipped_so_far(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    fn spent(&self) -> u64 {
        self.meter.read().denoiser_evaluations - self.before
    }
}

impl Account for Ledger<'_> {
    fn allows(&self, evaluations: usize) -> bool {
        let (spent, more) = (self.spent(), evaluations as u64);
        let in_number = self.budget.evaluations.is_none_or(|most| spent + more <= most);
        let in_time = self.budget.seconds.is_none_or(|most| {
            let elapsed = self.began.elapsed();
            elapsed + mean(elapsed, spent).mul_f64(evaluations as f64) <= seconds(most)
        });
        in_number && in_time && !self.is_stopped()
    }

    fn is_stopped(&self) -> bool {
        self.stop.is_requested()
    }

    fn gradient_pass(&self, rows: usize) {
        self.meter.gradient_pass(rows);
    }

    fn skipped(&self, count: usize) {
        self.skipped.fetch_add(count as u64, Ordering::Relaxed);
    }

    fn best(&self, score: f64) {
        self.meter.best(Some(score));
    }
}

fn mean(elapsed: Duration, evaluations: u64) -> Duration {
    elapsed.div_f64(evaluations.max(1) as f64)
}

/// More than a duration can hold is as good as no limit.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}
