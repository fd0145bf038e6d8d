//! Exact resume, and checkpoints that cannot be resumed from.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use super::*;

/// A run that is interrupted in update `at` and saves.
fn interrupted(settings: &Settings, dir: &Path, at: u64) -> Outcome<Line> {
    let run = Run::new(dir, "base A");
    let stop = run.stop.clone();
    let objective = Regression::hooked(move |update| {
        if update == at {
            stop.request();
        }
        1.0
    });
    fit(objective, Line::new(), settings, &run).unwrap()
}

fn resume(settings: &Settings, dir: &Path) -> Result<Outcome<Line>, FitError> {
    train(settings, &Run { resume: Resume::Continue, ..Run::new(dir, "base A") })
}

fn resume_error(settings: &Settings, run: &Run) -> ResumeError {
    match train(settings, run) {
        Err(FitError::Resume(error)) => error,
        other => panic!("not a resume error: {other:?}"),
    }
}

fn checkpoints(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir.join("checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[track_caller]
fn assert_same_end(left: &Outcome<Line>, right: &Outcome<Line>) {
    assert_eq!((left.end, left.update), (End::Finished, right.update));
    assert_eq!(left.module.values(), right.module.values());
    assert_eq!(left.learned().values(), right.learned().values());
}

#[test]
fn an_interrupted_run_ends_like_an_uninterrupted_one() {
    let whole = train_once(&settings());
    for at in [0, 4, 6] {
        let dir = tempfile::tempdir().unwrap();
        let first = interrupted(&settings(), dir.path(), at);
        assert_eq!((first.end, first.update), (End::Interrupted, at + 1));
        let second = resume(&settings(), dir.path()).unwrap();
        assert_same_end(&second, &whole);
        assert_eq!(updates(dir.path()), (1..=12).collect::<Vec<_>>());
    }
}

/// The files of the last checkpoint are those of an uninterrupted run, byte for byte.
#[test]
fn the_weights_of_the_last_checkpoint_are_the_same_files() {
    let (whole, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    train(&settings(), &Run::new(whole.path(), "base A")).unwrap();
    interrupted(&settings(), cut.path(), 7);
    resume(&settings(), cut.path()).unwrap();
    for name in ["module.bpk", "ema.bpk"] {
        let file = |dir: &Path| fs::read(dir.join("checkpoints/step-000012").join(name)).unwrap();
        assert!(file(whole.path()) == file(cut.path()), "{name} differs");
    }
}

/// A killed process leaves what was written and saves nothing more.
#[test]
fn a_killed_run_ends_like_an_uninterrupted_one() {
    let whole = train_once(&settings());
    let dir = tempfile::tempdir().unwrap();
    let objective = Regression::hooked(|update| if update == 8 { panic!("killed") } else { 1.0 });
    let run = Run::new(dir.path(), "base A");
    let killed = catch_unwind(AssertUnwindSafe(|| fit(objective, Line::new(), &settings(), &run)));
    assert!(killed.is_err());
    assert_eq!(checkpoints(dir.path()), ["step-000005"]);
    // Half a row, and half a checkpoint of a second kill.
    let journal = dir.path().join("metrics.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, text + "{\"update\":9,\"l").unwrap();
    fs::create_dir(dir.path().join("checkpoints/.step-000010.tmp")).unwrap();

    let second = resume(&settings(), dir.path()).unwrap();
    assert_same_end(&second, &whole);
    assert_eq!(updates(dir.path()), (1..=12).collect::<Vec<_>>());
    assert_eq!(checkpoints(dir.path()), ["step-000010", "step-000012"]);
}

#[test]
fn a_finished_run_has_nothing_to_resume() {
    let dir = tempfile::tempdir().unwrap();
    let whole = train(&settings(), &Run::new(dir.path(), "base A")).unwrap();
    let again = resume(&settings(), dir.path()).unwrap();
    assert_same_end(&again, &whole);
    assert_eq!(updates(dir.path()).len(), 12);
}

#[test]
fn a_run_may_become_longer_where_the_schedule_does_not_know_its_length() {
    let schedule = Schedule::Constant { warmup: 3 };
    let long = Settings { schedule: schedule.clone(), ..settings() };
    let short = Settings { schedule, updates: 6, keep: 1, log_every: 1, ..settings() };
    let whole = train_once(&long);
    let dir = tempfile::tempdir().unwrap();
    train(&short, &Run::new(dir.path(), "base A")).unwrap();
    assert_same_end(&resume(&long, dir.path()).unwrap(), &whole);
    let error = resume_error(
        &Settings { updates: 20, ..settings() },
        &Run { resume: Resume::Continue, ..Run::new(dir.path(), "base A") },
    );
    assert!(matches!(error, ResumeError::Foreign { .. }), "{error}");
}

#[test]
fn an_occupied_folder_is_not_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    interrupted(&settings(), dir.path(), 2);
    let before = journal(dir.path());
    let error = resume_error(&settings(), &Run::new(dir.path(), "base A"));
    assert!(matches!(error, ResumeError::Occupied { update: 3, .. }), "{error}");
    assert_eq!(journal(dir.path()), before);
}

#[test]
fn a_foreign_checkpoint_says_what_differs() {
    let dir = tempfile::tempdir().unwrap();
    interrupted(&settings(), dir.path(), 2);
    let run = Run { resume: Resume::Continue, ..Run::new(dir.path(), "base A") };

    let error = resume_error(&settings(), &Run { identity: "base B".to_owned(), ..run.clone() });
    let text = error.to_string();
    assert!(text.contains("identity is base A, but this run has base B"), "{text}");

    let optimizer = AdamW { lr: 0.06, ..settings().optimizer };
    let text = resume_error(&Settings { optimizer, ..settings() }, &run).to_string();
    assert!(text.contains("settings.optimizer.lr is 0.05, but this run has 0.06"), "{text}");

    let text = resume_error(&Settings { ema: None, ..settings() }, &run).to_string();
    assert!(text.contains("settings.ema is 0.9, but this run has null"), "{text}");
}

fn damage(path: PathBuf, how: impl Fn(Vec<u8>) -> Vec<u8>) {
    let bytes = fs::read(&path).unwrap();
    fs::write(path, how(bytes)).unwrap();
}

#[test]
fn a_damaged_checkpoint_is_passed_over_or_named() {
    let whole = train_once(&settings());
    let flip = |mut bytes: Vec<u8>| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes
    };
    let cut = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    for file in ["module.bpk", "optimizer.bpk", "ema.bpk", "state.json"] {
        let dir = tempfile::tempdir().unwrap();
        interrupted(&settings(), dir.path(), 6);
        assert_eq!(checkpoints(dir.path()), ["step-000005", "step-000007"]);
        let path = |step: &str| dir.path().join("checkpoints").join(step).join(file);
        damage(path("step-000007"), cut);

        let lines = Arc::new(std::sync::Mutex::new(Vec::new()));
        let log = lines.clone();
        let write: LineWriter = Arc::new(move |line| log.lock().unwrap().push(line.to_owned()));
        let stop = Stop::default();
        stop.request();
        let run = Run {
            resume: Resume::Continue,
            progress: Progress::Lines(write),
            stop,
            ..Run::new(dir.path(), "base A")
        };
        assert_eq!(train(&settings(), &run).unwrap().update, 5);
        let warning = lines.lock().unwrap()[0].clone();
        assert!(warning.contains("step-000007 is damaged") && warning.contains(file), "{warning}");

        damage(path("step-000005"), if file == "state.json" { cut } else { flip });
        let error = resume_error(&settings(), &run);
        assert!(matches!(error, ResumeError::Corrupted { .. }), "{error}");
        assert!(error.to_string().contains(file), "{error}");

        damage(path("step-000005"), |bytes| if file == "state.json" { bytes } else { flip(bytes) });
        if file != "state.json" {
            assert_same_end(&resume(&settings(), dir.path()).unwrap(), &whole);
        }
    }
}
