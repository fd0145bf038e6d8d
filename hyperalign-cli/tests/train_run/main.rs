//! `hyperalign train` with the embedded base, as its user runs, stops and kills it.

mod shown;

use hyperalign_core::testing;
use hyperalign_models::hypernet::Adapter;
use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A run of seconds: few trajectories, few steps, a checkpoint after every update.
const SETTINGS: &str = "
[trajectory]
steps = 3

[method]
trajectories = 2
supervised_steps = 1
updates_per_rollout = 1
preferred_batch = 2

[network]
kind = \"hypernet\"
rank = 2
a = 4
b = 4
width = 32
layers = 1
heads = 4
head_gain = 1.0
position_scale = 0.1

[training]
updates = 6
checkpoint_every = 1

[samples]
every = 3
prompts = 2

[watch]
every = 3
prompts = 2

[evaluation]
prompts = 6
seeds = 2
";

fn train(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hyperalign"));
    command.args(["train", "--plain", "--out"]).arg(dir).args(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn fresh(root: &Path, name: &str) -> (std::path::PathBuf, String) {
    let config = root.join("settings.toml");
    fs::write(&config, SETTINGS).expect("a writable folder");
    (root.join(name), config.display().to_string())
}

fn finished(command: &mut Command) {
    let output = command.output().expect("the program starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
}

/// Waits until the run has saved a checkpoint.
fn until_saved(dir: &Path, child: &mut Child) {
    let begin = Instant::now();
    let saved =
        || fs::read_dir(dir.join("checkpoints")).is_ok_and(|mut dirs| dirs.next().is_some());
    while !saved() {
        assert!(
            child.try_wait().expect("our own child").is_none(),
            "the run ended before it saved"
        );
        assert!(begin.elapsed() < Duration::from_secs(300), "nothing was saved in five minutes");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_killed_run_ends_with_the_bytes_of_an_uninterrupted_one() {
    let root = tempfile::tempdir().unwrap();
    let (whole, config) = fresh(root.path(), "whole");
    finished(&mut train(&whole, &["--config", &config, "--no-eval"]));

    let (killed, config) = fresh(root.path(), "killed");
    let mut child = train(&killed, &["--config", &config, "--no-eval"]).spawn().unwrap();
    until_saved(&killed, &mut child);
    // SIGKILL on Unix: nothing of the program runs after it.
    child.kill().unwrap();
    child.wait().unwrap();
    finished(&mut train(&killed, &["--resume", "--no-eval"]));

    let bytes = |dir: &Path, name: &str| fs::read(dir.join(name)).unwrap();
    for name in ["adapter.safetensors", "samples/step-000006.png"] {
        assert!(bytes(&whole, name) == bytes(&killed, name), "{name} differs");
    }
    let rows = String::from_utf8(bytes(&killed, "metrics.jsonl")).unwrap();
    assert_eq!(rows.lines().count(), 6, "one row an update:\n{rows}");
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_says_so_and_goes_on() {
    let root = tempfile::tempdir().unwrap();
    for signal in ["-INT", "-TERM"] {
        let (dir, config) = fresh(root.path(), signal);
        let endless = ["--config", &config, "--no-eval", "--steps", "100000"];
        let mut child = train(&dir, &endless).spawn().unwrap();
        until_saved(&dir, &mut child);
        Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{signal}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("--resume"), "{stderr}");
        assert!(!dir.join("adapter.safetensors").exists(), "a half-trained adapter was written");

        finished(&mut train(&dir, &["--resume", "--no-eval", "--steps", "3"]));
        assert!(dir.join("adapter.safetensors").exists());
    }
}

/// `nohup` makes a program ignore the end of its terminal, and ours goes on ignoring it.
#[cfg(unix)]
#[test]
fn a_hangup_that_is_ignored_stays_so() {
    let root = tempfile::tempdir().unwrap();
    let (dir, config) = fresh(root.path(), "run");
    let command = "trap '' HUP; exec \"$0\" train --plain --no-eval --steps 4 \"$@\"";
    let mut child = Command::new("sh")
        .args(["-c", command, env!("CARGO_BIN_EXE_hyperalign"), "--config", &config, "--out"])
        .arg(&dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until_saved(&dir, &mut child);
    Command::new("kill").args(["-HUP", &child.id().to_string()]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(dir.join("adapter.safetensors").exists());
}

/// A limit on the size of files stands for a disk that becomes full: the settings still fit, a
/// checkpoint does not.
#[cfg(unix)]
#[test]
fn a_run_on_a_full_disk_leaves_nothing_half_written() {
    let root = tempfile::tempdir().unwrap();
    let (whole, config) = fresh(root.path(), "whole");
    finished(&mut train(&whole, &["--config", &config, "--no-eval", "--steps", "2"]));
    let (dir, _) = fresh(root.path(), "run");
    let text = SETTINGS.replace("\nevery = 3", "\nevery = 0");
    fs::write(&config, text).unwrap();
    let limit = "ulimit -f 16; exec \"$0\" train --plain --no-eval --steps 2 \"$@\"";
    let output = Command::new("sh")
        .args(["-c", limit, env!("CARGO_BIN_EXE_hyperalign"), "--config", &config, "--out"])
        .arg(&dir)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("checkpoints that exist are whole"), "{stderr}");
    assert_eq!(fs::read_dir(dir.join("checkpoints")).map_or(0, Iterator::count), 0);
    finished(&mut train(&dir, &["--resume", "--no-eval"]));
    let bytes = |dir: &Path| fs::read(dir.join("adapter.safetensors")).unwrap();
    assert!(bytes(&whole) == bytes(&dir), "the run ended otherwise");
}

#[test]
fn damaged_checkpoints_are_passed_over_and_named() {
    let root = tempfile::tempdir().unwrap();
    let (dir, config) = fresh(root.path(), "run");
    fs::write(&config, SETTINGS.replace("\nevery = 3", "\nevery = 0")).unwrap();
    finished(&mut train(&dir, &["--config", &config, "--no-eval", "--steps", "3"]));
    let adapter = || fs::read(dir.join("adapter.safetensors")).unwrap();
    let whole = adapter();
    let checkpoint = |update: u64| dir.join(format!("checkpoints/step-{update:06}"));
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2);
    let flip = |bytes: &mut Vec<u8>| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    };
    let damage = |update: u64, name: &str, how: &dyn Fn(&mut Vec<u8>)| {
        let path = checkpoint(update).join(name);
        let mut bytes = fs::read(&path).unwrap();
        how(&mut bytes);
        fs::write(&path, bytes).unwrap();
    };
    let names: Vec<String> = fs::read_dir(checkpoint(3))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.len() >= 3, "{names:?}");
    for name in &names {
        // A letter of state.json that is another one may make it the state of another run.
        damage(3, name, if name == "state.json" { &cut } else { &flip });
        fs::remove_file(dir.join("adapter.safetensors")).unwrap();
        let output = train(&dir, &["--resume", "--no-eval"]).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{stderr}");
        assert!(stderr.contains("step-000003 is damaged") && stderr.contains(name), "{stderr}");
        assert!(adapter() == whole, "the run ended otherwise without {name}");
    }
    for update in [2, 3] {
        damage(update, "module.bpk", &flip);
    }
    let output = train(&dir, &["--resume", "--no-eval"]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("module.bpk") && stderr.contains("start a new run"), "{stderr}");
}

/// A base that is rounded otherwise is another base for a run that goes on.
#[test]
fn a_run_on_a_base_in_half_precision_needs_it_again() {
    let root = tempfile::tempdir().unwrap();
    let (dir, config) = fresh(root.path(), "run");
    let start = ["--config", &config, "--no-eval", "--steps", "1", "--dtype", "unet=bf16"];
    finished(&mut train(&dir, &start));
    assert!(dir.join("adapter.safetensors").is_file());
    let output = train(&dir, &["--resume", "--no-eval"]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("dtype") && stderr.contains("unet=bf16"), "{stderr}");
    assert!(!stderr.contains("trajectories"), "what does not differ is not told: {stderr}");
    // What no run can go on with is not written to its settings.
    let output = train(&dir, &["--resume", "--no-eval", "--seed", "7"]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("has the seed 0") && stderr.contains("--seed 7"), "{stderr}");
    finished(&mut train(&dir, &["--resume", "--no-eval", "--dtype", "unet=bf16"]));
}

/// On a terminal, which `script` of util-linux makes, there is a dashboard. An update takes
/// seconds here: two interrupts do not wait for it.
#[cfg(target_os = "linux")]
#[test]
fn a_second_interrupt_leaves_at_once_and_gives_the_terminal_back() {
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("left out: there is no `script` to make a terminal with");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let (dir, config) = fresh(root.path(), "run");
    let mut slow = SETTINGS.to_owned();
    for (of_seconds, long) in [
        ("steps = 3", "steps = 10"),
        ("trajectories = 2", "trajectories = 32"),
        ("checkpoint_every = 1", "checkpoint_every = 100"),
        ("\nevery = 3", "\nevery = 0"),
    ] {
        assert!(slow.contains(of_seconds));
        slow = slow.replace(of_seconds, long);
    }
    fs::write(&config, slow).unwrap();
    let program = env!("CARGO_BIN_EXE_hyperalign");
    let command = format!(
        "echo $$ > {root}/pid; exec {program} train --no-eval --config {config} --out {}",
        dir.display(),
        root = root.path().display(),
    );
    let shown = root.path().join("shown");
    let mut terminal = Command::new("script")
        .args(["--quiet", "--return", "--flush", "--command", &command])
        .arg(&shown)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    let screen = || fs::read(&shown).map_or(String::new(), |b| String::from_utf8_lossy(&b).into());
    while !screen().contains("\x1b[?1049h") {
        assert!(terminal.try_wait().unwrap().is_none(), "it ended: {}", screen());
        assert!(begin.elapsed() < Duration::from_secs(300), "no dashboard: {}", screen());
        std::thread::sleep(Duration::from_millis(20));
    }
    let pid = fs::read_to_string(root.path().join("pid")).unwrap();
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(300));
        Command::new("kill").args(["-INT", pid.trim()]).status().unwrap();
    }
    let status = terminal.wait().unwrap();
    let screen = screen();
    assert_eq!(status.code(), Some(130), "{screen}");
    assert!(!dir.join("checkpoints").exists(), "it finished the update first");
    let end = screen.rfind("\x1b[?1049l").expect("the screen of before is back");
    assert!(!screen[end..].contains("\x1b[?25l"), "the cursor is hidden");
}

#[test]
fn a_finished_run_holds_what_the_book_says() {
    let root = tempfile::tempdir().unwrap();
    let (dir, config) = fresh(root.path(), "run");
    finished(&mut train(&dir, &["--config", &config]));
    for name in ["config.toml", "side-by-side.png", "table.md", "samples/step-000000.png"] {
        assert!(dir.join(name).is_file(), "{name} is missing");
    }
    let summary = fs::read_to_string(dir.join("summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    for method in ["base", "hyperalign-s", "hyperalign-p", "hyperalign-i"] {
        let method = &summary["methods"][method];
        assert!(method["gold"]["mean"].is_f64(), "{summary:#}");
        assert!(method["heldout"].is_f64() && method["proxy"].is_f64(), "{summary:#}");
    }
    let columns = summary["rewards"].as_array().unwrap();
    let of = |column: &str| columns.iter().find(|reward| reward["column"] == column).unwrap();
    assert_eq!(
        (&of("proxy")["name"], &of("proxy")["role"]),
        (&"emoji-proxy".into(), &"trained-against".into())
    );
    assert_eq!(
        (&of("heldout")["name"], &of("heldout")["role"]),
        (&"emoji-heldout".into(), &"held-out".into())
    );
    let interval = &summary["differences"]["hyperalign-s"]["gold"];
    assert!(interval["low"].as_f64() <= interval["high"].as_f64(), "{summary:#}");

    let adapter = dir.join("adapter.safetensors");
    let (_, meta) = Adapter::load(&adapter, &testing::device()).unwrap();
    let trained = meta.reward.expect("it says what it was trained against");
    assert_eq!(trained.name, "emoji-proxy");
    assert_eq!(of("proxy")["version"], trained.version.as_str());
    let picture = dir.join("heart.png");
    let output = Command::new(env!("CARGO_BIN_EXE_hyperalign"))
        .args(["sample", "--base", "emoji-sd", "--variant", "s", "--seed", "7", "--steps", "3"])
        .args(["--prompt", "a red heart to the left of a dog", "--adapter"])
        .arg(&adapter)
        .arg("--out")
        .arg(&picture)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(picture.is_file());
}

#[test]
fn a_dry_run_tells_what_a_run_takes_and_keeps_nothing() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let (dir, config) = fresh(root.path(), "run");
    let flags = ["--config", &config, "--dry-run"];
    let output = train(&dir, &flags).output().expect("the program runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for words in ["hyperalign on emoji-sd with", "6 updates of", "disk: ", "nothing was kept"] {
        assert!(text.contains(words), "no `{words}` in {text}");
    }
    assert!(!dir.exists(), "the folder of the run was made");
    let output = train(&dir, &[&flags[..], &["--json"]].concat()).output().expect("it runs");
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(found["updates"], 6);
    assert!(found["seconds_an_update"].as_f64().is_some_and(|seconds| seconds > 0.0), "{found}");
    // The adapter, and three checkpoints with two moments of every weight.
    assert!(found["disk_bytes"].as_u64().is_some_and(|bytes| bytes > 100_000), "{found}");
}
