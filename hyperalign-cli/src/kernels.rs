//! Kernels of a GPU: where they are kept, and what is said while they are compiled.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

use hyperalign_core::{cache, kernels};
use log::{LevelFilter, Log, Metadata, Record};

use crate::output;

/// Time between two lines while kernels are compiled.
const BETWEEN: Duration = Duration::from_secs(10);

/// The folder of kernels in the user's cache, if it has one. It need not exist.
pub fn folder() -> Option<PathBuf> {
    Some(cache::folder().ok()?.join("kernels"))
}

/// Keeps compiled kernels in `dir`, or nowhere, and tells the user while they are compiled. To be
/// called before a GPU is opened; calls after the first do nothing.
pub fn prepare(dir: Option<&Path>) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Some(dir) = dir {
            kernels::keep_in(dir);
        }
        let teller = Teller { is_kept: dir.is_some(), state: Mutex::default() };
        // Another logger is a choice of whoever runs this as part of their own program.
        if log::set_boxed_logger(Box::new(teller)).is_ok() {
            log::set_max_level(LevelFilter::Info);
        }
    });
}

/// Says how many kernels have been compiled: minutes of silence look like a program that hangs.
struct Teller {
    is_kept: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    compiled: usize,
    told: Option<Instant>,
}

impl State {
    /// Counts a kernel that was compiled `now`: how many there were, if it is time to say so.
    fn count(&mut self, now: Instant) -> Option<usize> {
        self.compiled += 1;
        let is_time = self.told.is_none_or(|told| now.duration_since(told) >= BETWEEN);
        is_time.then(|| {
            self.told = Some(now);
            self.compiled
        })
    }
}

impl Log for Teller {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.target().starts_with(kernels::LOG_TARGET)
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let Ok(mut state) = self.state.lock() else { return };
        match state.count(Instant::now()) {
            Some(1) if self.is_kept => {
                output::note("compiling kernels for this device; they are kept for later runs");
            }
            Some(1) => output::note("compiling kernels for this device"),
            Some(compiled) => output::note(&format!("{compiled} kernels compiled")),
            None => {}
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_at_the_first_kernel_and_then_every_ten_seconds() {
        let start = Instant::now();
        let mut state = State::default();
        let told: Vec<Option<usize>> =
            [0, 1, 9, 10, 11, 25].map(|s| state.count(start + Duration::from_secs(s))).into();
        assert_eq!(told, [Some(1), None, None, Some(4), None, Some(6)]);
    }
}
