//! Numbers about the server, in the text format of Prometheus.

use std::time::Duration;

use crate::server::{Counter, describe};

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
        let results = [
            ("answered", &self.answered),
            ("refused", &self.refused),
            ("turned_away", &self.turned_away),
            ("failed", &self.failed),
        ];
        let results =
            results.map(|(name, counter)| (format!("{{result=\"{name}\"}}"), counter.get()));
        let help = "Requests for scores, by what became of them.";
        let mut text = describe("requests_total", "counter", help, results);
        let seconds = self.microseconds.get() as f64 / 1e6;
        for (name, kind, help, value) in [
            ("pictures_total", "counter", "Pictures scored.", self.pictures.get().to_string()),
            ("batches_total", "counter", "Batches scored.", self.batches.get().to_string()),
            ("scoring_seconds_total", "counter", "Time spent scoring.", seconds.to_string()),
            ("queue_pictures", "gauge", "Pictures that wait.", waiting.to_string()),
        ] {
            text += &describe(name, kind, help, [(String::new(), value)]);
        }
        text
    }
}
