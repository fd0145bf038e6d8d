//! Work that is shared by threads, each with a pool of its own.

use std::sync::{Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

/// The results of all `works`, each done on a thread of its own.
///
/// # Panics
///
/// Panics if one of them does.
pub fn all<T: Send>(works: Vec<impl FnOnce() -> T + Send>) -> Vec<T> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = works.into_iter().map(|work| scope.spawn(work)).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, T>| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        threads.into_iter().map(join).collect()
    })
}

/// `work` in a pool of its own for one of `count` threads: its share of the processors. In the
/// pool that the whole process shares, every small matrix product would wait for threads that are
/// busy with other work; half of the time of an update goes there.
pub fn pooled<T: Send>(count: usize, work: impl FnOnce() -> T + Send) -> impl FnOnce() -> T + Send {
    move || {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (processors / count).max(1);
        // Where the system gives no threads, the shared pool does.
        let Some(pool) = take(threads) else { return work() };
        let result = pool.install(work);
        IDLE.lock().unwrap_or_else(PoisonError::into_inner).push(pool);
        result
    }
}

/// Pools between two works. The threads of a new one would ask the system for every page of their
/// memory anew, which costs as much as a small update, and more the more threads ask.
static IDLE: Mutex<Vec<ThreadPool>> = Mutex::new(Vec::new());

/// An idle pool of so many threads, or a new one.
fn take(threads: usize) -> Option<ThreadPool> {
    let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
    match idle.iter().position(|pool| pool.current_num_threads() == threads) {
        Some(k) => Some(idle.swap_remove(k)),
        None => ThreadPoolBuilder::new().num_threads(threads).build().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn works_at_the_same_time_have_pools_of_their_own_which_are_used_again() {
        let threads_of = |_| {
            let barrier = std::sync::Barrier::new(2);
            let of = || {
                barrier.wait();
                std::thread::current().id()
            };
            // One thread for each of more works than there are processors.
            all(vec![pooled(1000, of), pooled(1000, of)])
        };
        let rounds: Vec<_> = (0..3).map(threads_of).collect();
        for round in &rounds {
            assert_ne!(round[0], round[1]);
        }
        let seen: std::collections::HashSet<_> = rounds.iter().flatten().collect();
        assert!(seen.len() < 6, "every work had new threads");
    }
}
