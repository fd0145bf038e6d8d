//! Numbers about a server, in the text format of Prometheus.

use std::{
    fmt::Display,
    sync::atomic::{AtomicU64, Ordering},
};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// What was added so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The lines of `hyperalign_NAME`, a `counter` or `gauge`, with its values by their labels, such as
/// `{result="answered"}`.
pub fn describe<T: Display>(
    name: &str,
    kind: &str,
    help: &str,
    values: impl IntoIterator<Item = (String, T)>,
) -> String {
    let mut text = format!("# HELP hyperalign_{name} {help}\n# TYPE hyperalign_{name} {kind}\n");
    for (labels, value) in values {
        text += &format!("hyperalign_{name}{labels} {value}\n");
    }
    text
}
