//! Work that is shared by threads, each with a pool of its own.

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
        match rayon::ThreadPoolBuilder::new().num_threads(threads).build() {
            Ok(pool) => pool.install(work),
            Err(_) => work(),
        }
    }
}
