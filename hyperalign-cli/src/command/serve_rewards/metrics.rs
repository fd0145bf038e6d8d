//! Numbers about the server, in the text format of Prometheus.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is counted.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Requests that were scored.
    pub answered: Counter,
    /// Requests that were refused for what they are.
    pub refused: Counter,
    /// Requests that were sent away because the queue was full.
    pub turned_away: Counter,
    /// Requests that failed here.
    pub failed: Counter,
    /// Batches that went through the rewards.
    pub batches: Counter,
    pictures: Counter,
    microseconds: Counter,
}

impl Metrics {
    /// Counts pictures that took `time` together.
    pub fn scored(&self, pictures: usize, time: Duration) {
        self.pictures.add(pictures as u64);
        self.microseconds.add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// All numbers, with `waiting` pictures in the queue.
    pub fn text(&self, waiting: usize) -> String {
        let mut text = String::from(
            "# HELP hyperalign_requests_total Requests for scores, by what became of them.\n\
             # TYPE hyperalign_requests_total counter\n",
        );
        for (name, counter) in [
            ("answered", &self.answered),
            ("refused", &self.refused),
            ("turned_away", &self.turned_away),
            ("failed", &self.failed),
        ] {
            text += &format!("hyperalign_requests_total{{result=\"{name}\"}} {}\n", counter.get());
        }
        let seconds = self.microseconds.get() as f64 / 1e6;
        for (name, kind, help, value) in [
            ("pictures_total", "counter", "Pictures scored.", self.pictures.get().to_string()),
            ("batches_total", "counter", "Batches scored.", self.batches.get().to_string()),
            ("scoring_seconds_total", "counter", "Time spent scoring.", seconds.to_string()),
            ("queue_pictures", "gauge", "Pictures that wait.", waiting.to_string()),
        ] {
            text += &format!(
                "# HELP hyperalign_{name} {help}\n# TYPE hyperalign_{name} {kind}\n\
                 hyperalign_{name} {value}\n"
            );
        }
        text
    }
}
