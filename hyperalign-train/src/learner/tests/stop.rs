//! Ends before the last update, and what is shown on the way.

use std::sync::Mutex;
use std::time::Duration;

use super::*;

#[test]
fn a_loss_that_is_no_number_ends_the_run_and_keeps_the_last_good_state() {
    let good = train_once(&Settings {
        schedule: Schedule::Constant { warmup: 0 },
        updates: 7,
        ..settings()
    });
    for breaks in [f64::NAN, f64::INFINITY] {
        let dir = tempfile::tempdir().unwrap();
        let run = Run::new(dir.path(), "");
        let settings = Settings { schedule: Schedule::Constant { warmup: 0 }, ..settings() };
        let objective = Regression::hooked(move |update| if update == 7 { breaks } else { 1.0 });
        let error = fit(objective, Line::new(), &settings, &run).unwrap_err();
        let FitError::NonFinite(error) = error else { panic!("{error}") };
        assert_eq!((error.update, error.part.as_str()), (8, "fit"));
        assert_eq!(error.quantity, "loss");
        assert_eq!(updates(dir.path()), (1..=7).collect::<Vec<_>>());

        let run = Run { resume: Resume::Continue, ..run };
        run.stop.request();
        let kept = train(&settings, &run).unwrap();
        assert_eq!(kept.update, 7);
        assert_eq!(kept.module.values(), good.module.values());
    }
}

/// A loss that is finite where its gradient is not: the root of |bias| times 0, at 0 from the
/// second update on.
struct Kink;

impl Objective for Kink {
    type Module = Line;
    type Batch = ();

    fn names(&self) -> Names {
        Names { parts: vec!["smooth", "kink"], metrics: Vec::new() }
    }

    fn prepare(&self, _: &Line, _: u64) {}

    fn losses(&self, module: &Line, (): &(), update: u64, _: Shard, emit: &mut dyn Emit) {
        let smooth = module.weight.val().powi_scalar(2).mean();
        let zero = module.bias.val() * if update == 0 { 1.0 } else { 0.0 };
        emit.part(Part::new("smooth", 1.0, smooth));
        emit.part(Part::new("kink", 1.0, zero.abs().sqrt()));
    }
}

#[test]
fn a_gradient_that_is_not_finite_names_its_part() {
    let dir = tempfile::tempdir().unwrap();
    let run = Run::new(dir.path(), "");
    let error = fit(Arc::new(Kink), Line::new(), &settings(), &run).unwrap_err();
    let FitError::NonFinite(error) = error else { panic!("{error}") };
    assert_eq!((error.update, error.part.as_str()), (2, "kink"));
    assert_eq!(error.quantity, "gradient norm");
    assert_eq!(updates(dir.path()), [1]);
}

#[test]
fn weights_that_are_not_finite_are_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let optimizer = AdamW { lr: 3e38, weight_decay: 10.0, ..AdamW::default() };
    let settings = Settings { optimizer, ema: None, ..settings() };
    let run = Run::new(dir.path(), "");
    let error = train(&settings, &run).unwrap_err();
    let FitError::NonFinite(error) = error else { panic!("{error}") };
    assert_eq!(error.part, "weights");
    let run = Run { resume: Resume::Continue, ..run };
    run.stop.request();
    let kept = train(&settings, &run).unwrap();
    assert_eq!(kept.update + 1, error.update);
    assert!(kept.module.values().iter().all(|value| value.is_finite()));
}

#[test]
fn a_run_ends_when_its_time_is_up_over_all_sittings() {
    let dir = tempfile::tempdir().unwrap();
    let slow = || {
        Regression::hooked(|_| {
            std::thread::sleep(Duration::from_millis(20));
            1.0
        })
    };
    let settings = Settings { time_limit: Some(Duration::from_millis(50)), ..settings() };
    let run = Run::new(dir.path(), "");
    let first = fit(slow(), Line::new(), &settings, &run).unwrap();
    assert_eq!(first.end, End::TimeUp);
    assert!((1..=3).contains(&first.update), "{}", first.update);
    let run = Run { resume: Resume::Continue, ..run };
    let second = fit(slow(), Line::new(), &settings, &run).unwrap();
    assert_eq!((second.end, second.update), (End::TimeUp, first.update));
    assert!(second.elapsed >= Duration::from_millis(50));
}

#[test]
fn progress_is_lines_of_means() {
    let dir = tempfile::tempdir().unwrap();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let log = lines.clone();
    let write: LineWriter = Arc::new(move |line| log.lock().unwrap().push(line.to_owned()));
    let run = Run { progress: Progress::Lines(write), ..Run::new(dir.path(), "") };
    train(&Settings { updates: 10, ..settings() }, &run).unwrap();
    let lines = lines.lock().unwrap();
    let begins: Vec<&str> = lines.iter().map(|line| line.split("  ").next().unwrap()).collect();
    assert_eq!(begins, ["update 1/10", "update 4/10", "update 8/10", "update 10/10"]);
    let rows = journal(dir.path());
    let mean = |rows: &[serde_json::Value]| {
        rows.iter().map(|row| row["loss"]["fit"].as_f64().unwrap()).sum::<f64>() / rows.len() as f64
    };
    for (line, rows) in lines.iter().zip([&rows[..1], &rows[1..4], &rows[4..8], &rows[8..]]) {
        let part = format!("  fit loss {:.4}  fit gradient ", mean(rows));
        assert!(line.contains(&part), "{line} has no {part}");
    }
}

/// The regression, with its second part and its metric in every third update only.
struct Now(Arc<Regression>);

/// Passes the first part on, and everything where it is asked for.
struct First<'a> {
    emit: &'a mut dyn Emit,
    whole: bool,
    parts: usize,
}

impl Emit for First<'_> {
    fn part(&mut self, part: Part) {
        self.parts += 1;
        if self.whole || self.parts == 1 {
            self.emit.part(part);
        }
    }

    fn metric(&mut self, metric: Metric) {
        if self.whole {
            self.emit.metric(metric);
        }
    }
}

impl Objective for Now {
    type Module = Line;
    type Batch = ();

    fn names(&self) -> Names {
        self.0.names()
    }

    fn prepare(&self, _: &Line, _: u64) {}

    fn losses(&self, module: &Line, (): &(), update: u64, shard: Shard, emit: &mut dyn Emit) {
        let mut first = First { emit, whole: update.is_multiple_of(3), parts: 0 };
        self.0.losses(module, &(), update, shard, &mut first);
    }
}

#[test]
fn a_part_of_some_updates_is_shown_where_it_was_computed() {
    let dir = tempfile::tempdir().unwrap();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let log = lines.clone();
    let write: LineWriter = Arc::new(move |line| log.lock().unwrap().push(line.to_owned()));
    let mut run = Run { progress: Progress::Lines(write), ..Run::new(dir.path(), "") };
    let settings = Settings { log_every: 2, ..settings() };
    // The second sitting begins with update 1 of 0 to 11, which has one part.
    for updates in [1, 12] {
        let settings =
            Settings { updates, schedule: Schedule::Constant { warmup: 0 }, ..settings.clone() };
        fit(Arc::new(Now(Regression::plain())), Line::new(), &settings, &run).unwrap();
        run.resume = Resume::Continue;
    }
    let rows = journal(dir.path());
    let with = |row: &serde_json::Value| row["loss"].get("shrink").is_some();
    let updates: Vec<u64> =
        rows.iter().filter(|row| with(row)).map(|row| row["update"].as_u64().unwrap()).collect();
    assert_eq!(updates, [1, 4, 7, 10]);
    let lines = lines.lock().unwrap();
    let line = |update: u64| {
        let begin = format!("update {update}/12  ");
        lines.iter().find(|line| line.starts_with(&begin)).unwrap()
    };
    // Each line is of two updates; what none of them had is not in it.
    for (update, shown) in [(4, Some(4)), (6, None), (8, Some(7)), (10, Some(10)), (12, None)] {
        let value = shown.map(|update: usize| rows[update - 1]["loss"]["shrink"].as_f64().unwrap());
        match value {
            Some(value) => {
                let part = format!("  shrink loss {value:.4}  ");
                assert!(line(update).contains(&part), "{} has no {part}", line(update));
            }
            None => assert!(!line(update).contains("shrink"), "{}", line(update)),
        }
        assert!(line(update).contains("  fit loss "), "{}", line(update));
    }
}

/// Records the calls after updates.
struct Watched(Mutex<Vec<(u64, Vec<f32>)>>);

impl Objective for Watched {
    type Module = Line;
    type Batch = ();

    fn names(&self) -> Names {
        Regression::plain().names()
    }

    fn prepare(&self, _: &Line, _: u64) {}

    fn losses(&self, module: &Line, (): &(), update: u64, shard: Shard, emit: &mut dyn Emit) {
        Regression::plain().losses(module, &(), update, shard, emit);
    }

    fn after_update(
        &self,
        module: &Line,
        done: u64,
        _: &Path,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        assert!(!module.weight.val().is_autodiff());
        self.0.lock().unwrap().push((done, module.values()));
        if done == 4 { Err("the disk is full".into()) } else { Ok(()) }
    }
}

#[test]
fn the_objective_sees_the_average_after_every_update() {
    let dir = tempfile::tempdir().unwrap();
    let objective = Arc::new(Watched(Mutex::new(Vec::new())));
    let run = Run::new(dir.path(), "");
    let error = fit(objective.clone(), Line::new(), &settings(), &run).unwrap_err();
    assert_eq!(error.to_string(), "after update 4: the disk is full");
    let seen = objective.0.lock().unwrap();
    assert_eq!(seen.iter().map(|(done, _)| *done).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let stop = Settings { schedule: Schedule::Cosine { warmup: 3, floor: 0.1 }, ..settings() };
    let dir = tempfile::tempdir().unwrap();
    let run = Run::new(dir.path(), "");
    let handle = run.stop.clone();
    let objective = Regression::hooked(move |update| {
        if update == 1 {
            handle.request();
        }
        1.0
    });
    let two = fit(objective, Line::new(), &stop, &run).unwrap();
    assert_eq!(seen[1].1, two.learned().values());
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = train(&settings(), &Run::new(file.join("run"), "")).unwrap_err();
    assert!(matches!(error, FitError::Io { .. }), "{error}");
    assert!(error.to_string().contains("file/run"), "{error}");
}
