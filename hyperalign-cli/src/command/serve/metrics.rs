//! Numbers about the server, in the text format of Prometheus.

use std::time::Duration;

use axum::http::StatusCode;

use crate::server::{Counter, Refusal, describe};

/// What is counted.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Requests whose pictures were made.
    pub answered: Counter,
    refused: Counter,
    turned_away: Counter,
    failed: Counter,
    /// Requests whose clients went away before the end.
    pub left: Counter,
    /// Batches that were begun.
    pub batches: Counter,
    /// Steps that were taken, each of a whole batch.
    pub steps: Counter,
    pictures: Counter,
    microseconds: Counter,
}

impl Metrics {
    /// Counts a request that is not answered with pictures.
    pub fn refuse(&self, refusal: &Refusal) {
        let counter = match refusal.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => &self.turned_away,
            status if status.is_client_error() => &self.refused,
            _ => &self.failed,
        };
        counter.add(1);
    }

    /// Counts pictures that took `time` together.
    pub fn made(&self, pictures: usize, time: Duration) {
        self.pictures.add(pictures as u64);
        self.microseconds.add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// All numbers, with `held` pictures in the queue.
    pub fn text(&self, held: usize) -> String {
        let results = [
            ("answered", &self.answered),
            ("refused", &self.refused),
            ("turned_away", &self.turned_away),
            ("failed", &self.failed),
            ("left", &self.left),
        ];
        let results =
            results.map(|(name, counter)| (format!("{{result=\"{name}\"}}"), counter.get()));
        let help = "Requests for pictures, by what became of them.";
        let mut text = describe("requests_total", "counter", help, results);
        let seconds = self.microseconds.get() as f64 / 1e6;
        for (name, kind, help, value) in [
            ("pictures_total", "counter", "Pictures made.", self.pictures.get().to_string()),
            ("batches_total", "counter", "Batches begun.", self.batches.get().to_string()),
            ("steps_total", "counter", "Steps of batches.", self.steps.get().to_string()),
            ("making_seconds_total", "counter", "Time spent making them.", seconds.to_string()),
            ("queue_pictures", "gauge", "Pictures not yet sent.", held.to_string()),
        ] {
            text += &describe(name, kind, help, [(String::new(), value)]);
        }
        text
    }
}
