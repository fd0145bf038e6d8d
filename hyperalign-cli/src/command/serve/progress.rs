//! How far a request is.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long whoever asks what is being made is taken to look on.
const LOOKING: Duration = Duration::from_secs(10);

/// How far a request is. A client that reads slowly sees the latest, and not all on the way.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Its place in line, from 1 on; 0 once it is being made.
    pub place: usize,
    /// Pictures of it that are done.
    pub done: usize,
    /// Steps that were taken of the batch at hand.
    pub step: usize,
    /// Steps of it.
    pub steps: usize,
    /// The latest previews.
    pub preview: Option<Arc<Preview>>,
}

/// What half-made pictures will look like: their one-step estimates, decoded small.
#[derive(Debug)]
pub struct Preview {
    /// Which of the previews of these pictures, from 0 on.
    pub number: usize,
    /// PNG files of pictures of the request, by their indices.
    pub pictures: Vec<(usize, Vec<u8>)>,
}

/// Which preview is due after `step` of `steps`, where `previews` are wanted: they are spread evenly,
/// and none is of the finished picture.
pub fn due(previews: usize, step: usize, steps: usize) -> Option<usize> {
    let at = |k: usize| (k + 1) * steps / (previews + 1);
    (0..previews).rev().find(|k| at(*k) == step && (1..steps).contains(&step))
}

/// What is being made, for who asks without having ordered it.
#[derive(Debug, Default)]
pub struct Now {
    work: Mutex<Work>,
    /// When somebody last wanted to see it.
    asked: Mutex<Option<Instant>>,
}

/// The batch at hand.
#[derive(Debug, Clone, Default)]
pub struct Work {
    /// Pictures of it; 0 where there is nothing to do.
    pub pictures: usize,
    /// Steps that were taken.
    pub step: usize,
    /// Steps of it.
    pub steps: usize,
    /// Seconds since it was begun.
    pub seconds: f64,
    /// The latest preview of one of its pictures.
    pub preview: Option<Vec<u8>>,
}

impl Now {
    /// What is being made.
    pub fn read(&self) -> Work {
        lock(&self.work).clone()
    }

    /// Changes what is being made.
    pub fn change(&self, change: impl FnOnce(&mut Work)) {
        change(&mut lock(&self.work));
    }

    /// Asks for previews, for a while.
    pub fn look_on(&self) {
        *lock(&self.asked) = Some(Instant::now());
    }

    /// Whether somebody wants previews.
    pub fn is_looked_at(&self) -> bool {
        lock(&self.asked).is_some_and(|asked| asked.elapsed() < LOOKING)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn previews_are_spread_over_the_steps() {
        let all = |previews, steps| -> Vec<(usize, usize)> {
            (1..=steps).filter_map(|i| Some((i, due(previews, i, steps)?))).collect()
        };
        assert_eq!(all(3, 8), [(2, 0), (4, 1), (6, 2)]);
        assert_eq!(all(0, 8), []);
        assert_eq!(all(1, 1), []);
        // More than there are steps: each step once.
        assert_eq!(all(9, 3).iter().map(|(i, _)| *i).collect::<Vec<_>>(), [1, 2]);
    }
}
