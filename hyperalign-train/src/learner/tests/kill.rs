//! A real SIGKILL: the test program runs itself as the process that is killed.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::*;

/// Names the folder of the run to the process that is killed.
const DIR: &str = "HYPERALIGN_TEST_KILLED_RUN";

fn long() -> Settings {
    Settings { updates: 60, checkpoint_every: 3, ..settings() }
}

/// The process that is killed: a slow run, for as long as it may live. Nothing without [`DIR`].
#[test]
fn killed_process() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let objective = Regression::hooked(|_| {
        std::thread::sleep(Duration::from_millis(4));
        1.0
    });
    let run = Run { resume: Resume::Continue, ..Run::new(dir, "") };
    fit(objective, Line::new(), &long(), &run).unwrap();
}

fn begin(dir: &Path) -> Child {
    let name = format!("{}::killed_process", module_path!().split_once("::").unwrap().1);
    Command::new(std::env::current_exe().unwrap())
        .args([&name, "--exact", "--test-threads=1"])
        .env(DIR, dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn rows(dir: &Path) -> usize {
    fs::read_to_string(dir.join("metrics.jsonl")).map_or(0, |text| text.lines().count())
}

#[test]
fn a_run_that_is_killed_again_and_again_ends_like_an_uninterrupted_one() {
    let dir = tempfile::tempdir().unwrap();
    for (kill, at) in [7, 20, 21, 43].into_iter().enumerate() {
        let mut child = begin(dir.path());
        let patience = Instant::now() + Duration::from_secs(60);
        while rows(dir.path()) < at && Instant::now() < patience {
            std::thread::sleep(Duration::from_micros(300 + 700 * kill as u64));
        }
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success(), "kill {kill} came too late");
    }
    assert!(begin(dir.path()).wait().unwrap().success());

    let whole = tempfile::tempdir().unwrap();
    train(&long(), &Run::new(whole.path(), "")).unwrap();
    assert_eq!(updates(dir.path()), (1..=60).collect::<Vec<_>>());
    for name in ["module.bpk", "ema.bpk"] {
        let file = |dir: &Path| fs::read(dir.join("checkpoints/step-000060").join(name)).unwrap();
        assert!(file(whole.path()) == file(dir.path()), "{name} differs");
    }
}
