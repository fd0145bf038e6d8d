//! What is prepared once for the shards of several updates.

use std::sync::Mutex;

use super::*;

/// Pulls the bias towards what was prepared, a function of the module and of the update.
struct Prepared {
    calls: Mutex<Vec<u64>>,
    stop: (u64, Stop),
}

impl Prepared {
    /// Asks `stop` for the end in update `at`.
    fn new(at: u64, stop: Stop) -> Arc<Self> {
        Arc::new(Self { calls: Mutex::default(), stop: (at, stop) })
    }
}

impl Objective for Prepared {
    type Module = Line;
    type Batch = f64;

    fn names(&self) -> Names {
        Names { parts: vec!["pull"], metrics: vec!["target", "of odd shards"] }
    }

    fn span(&self) -> u64 {
        3
    }

    fn prepare(&self, module: &Line, update: u64) -> f64 {
        assert!(!module.bias.val().is_autodiff());
        self.calls.lock().unwrap().push(update);
        f64::from(module.values()[WIDTH]) + (update as f64).sin()
    }

    fn losses(&self, module: &Line, target: &f64, update: u64, shard: Shard, emit: &mut dyn Emit) {
        if update == self.stop.0 {
            self.stop.1.request();
        }
        emit.metric(Metric::mean("target", *target, 2));
        if shard.index % 2 == 1 {
            emit.metric(Metric::mean("of odd shards", shard.index as f64, 5));
        }
        let off = module.bias.val() - *target as f32;
        emit.part(Part::new("pull", 1.0, off.square()));
    }
}

fn settings() -> Settings {
    Settings { shards: 2, checkpoint_every: 4, ..super::settings() }
}

#[test]
fn a_batch_is_prepared_once_for_a_span_and_all_shards() {
    let dir = tempfile::tempdir().unwrap();
    let objective = Prepared::new(u64::MAX, Stop::default());
    fit(objective.clone(), Line::new(), &settings(), &Run::new(dir.path(), "")).unwrap();
    assert_eq!(*objective.calls.lock().unwrap(), [0, 3, 6, 9]);
    for rows in journal(dir.path()).chunks(3) {
        for row in rows {
            assert_eq!(row["metrics"]["target"], rows[0]["metrics"]["target"]);
            // The mean over the samples that have it, not over shards.
            assert_eq!(row["metrics"]["of odd shards"], 1.0);
        }
    }
}

#[test]
fn a_run_is_saved_and_ends_between_spans_and_resumes_exactly() {
    let whole = tempfile::tempdir().unwrap();
    let never = || Prepared::new(u64::MAX, Stop::default());
    let end = fit(never(), Line::new(), &settings(), &Run::new(whole.path(), "")).unwrap();
    for at in [0, 4, 5] {
        let dir = tempfile::tempdir().unwrap();
        let run = Run::new(dir.path(), "");
        let objective = Prepared::new(at, run.stop.clone());
        let cut = fit(objective, Line::new(), &settings(), &run).unwrap();
        assert_eq!((cut.end, cut.update), (End::Interrupted, (at / 3 + 1) * 3));
        let run = Run { resume: Resume::Continue, ..Run::new(dir.path(), "") };
        let again = fit(never(), Line::new(), &settings(), &run).unwrap();
        assert_eq!(again.module.values(), end.module.values());
        // Every fourth update is due, and the end of a span is what there is.
        let steps = ["step-000009", "step-000012"];
        assert!(steps.iter().all(|step| dir.path().join("checkpoints").join(step).is_dir()));
    }
}

#[test]
fn a_run_that_would_end_within_a_span_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { updates: 10, ..settings() };
    let objective = Prepared::new(u64::MAX, Stop::default());
    let error = fit(objective, Line::new(), &settings, &Run::new(dir.path(), "")).unwrap_err();
    assert!(error.to_string().contains("`updates = 10`"), "{error}");
    assert!(error.to_string().contains("a multiple of 3"), "{error}");
}

/// Emits what it has not declared.
struct Undeclared;

impl Objective for Undeclared {
    type Module = Line;
    type Batch = ();

    fn names(&self) -> Names {
        Names::default()
    }

    fn prepare(&self, _: &Line, _: u64) {}

    fn losses(&self, module: &Line, (): &(), _: u64, _: Shard, emit: &mut dyn Emit) {
        emit.part(Part::new("surprise", 1.0, module.bias.val().square()));
    }
}

#[test]
fn what_is_not_declared_is_not_taken() {
    let taken = std::panic::catch_unwind(|| {
        crate::learner::update::gradient(&Undeclared, &Line::new(), &(), 0, &settings(), None)
    });
    let panic = taken.map(|_| ()).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("`surprise` is no declared part"), "{message}");
}
