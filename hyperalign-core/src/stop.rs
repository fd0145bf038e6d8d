//! Ending long work early.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Asks for the end of the work at hand, which then leaves off where it can: a run of training
/// after an update, sampling after a step. Clones are one handle.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    requested: Arc<AtomicBool>,
}

impl Stop {
    /// Asks for the end.
    pub fn request(&self) {
        self.requested.store(true, Ordering::Relaxed);
    }

    /// Whether the end was asked for.
    pub fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }
}
