//! `hyperalign train`: what is said before anything is trained.

use std::process::{Command, Output};

fn train(folder: &std::path::Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hyperalign"))
        .current_dir(folder)
        .arg("train")
        .args(arguments)
        .output()
        .expect("the program starts")
}

#[test]
fn a_config_typo_is_shown_in_its_line_with_the_nearest_key() {
    let folder = tempfile::tempdir().unwrap();
    let text = "# a run\n[training.optimizer]\nlr = 1e-3\nwieght_decay = 0.1\n";
    std::fs::write(folder.path().join("run.toml"), text).unwrap();
    let output = train(folder.path(), &["--config", "run.toml", "--out", "x"]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    for words in ["run.toml:4:1", "wieght_decay = 0.1", "did you mean `weight_decay`?"] {
        assert!(message.contains(words), "no `{words}` in\n{message}");
    }
    assert!(!folder.path().join("x").exists(), "nothing is left behind");
}

#[test]
fn unusable_requests_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let fails = |arguments: &[&str], status: i32, words: &str| {
        let output = train(folder.path(), arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{message}");
        assert!(message.contains(words), "no `{words}` in\n{message}");
    };
    fails(&["--out", "x", "--steps", "0"], 2, "at least 1 is needed");
    fails(&[], 2, "--out");
    fails(&["--out", "x", "--resume"], 1, "holds no run to resume");
    fails(&["--out", "x", "--config", "none.toml"], 1, "none.toml");
    fails(&["--out", "file/x"], 1, "file/x");
    fails(&["--out", "x", "--base", "emojis"], 1, "unknown base `emojis`");
    fails(&["--out", "x", "--reward-codec", "."], 1, "leave `--reward-codec`");
    assert!(!folder.path().join("x").exists(), "nothing is left behind");
}

#[test]
fn settings_that_no_run_can_be_made_with_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("dir")).unwrap();
    for (text, words) in [
        ("trajectory.steps = 0", "`trajectory.steps = 0` is no usable"),
        ("method.reward_every = 2", "leave it out"),
        (
            "method.updates_per_rollout = 3\ntraining.updates = 6",
            "`method.updates_per_rollout = 3`",
        ),
        ("training.updates = 6", "a multiple of 4"),
        ("method.min_signal = 2.0", "`method.min_signal = 2`"),
        ("method.trajectories = 3", "`method.trajectories = 3`"),
        ("training.ema = 1.5", "`ema = 1.5`"),
        ("evaluation.seeds = 0", "`evaluation.seeds = 0`"),
        ("network = { kind = \"static-lora\", rank = 0 }", "`rank` is 0"),
        ("[method]\nname = \"dance-grpo\"\ngroup_size = 1", "run.toml:3:14"),
        ("[method]\nname = \"mix-grpo\"\nwindow = 10", "`method.window = 10` is no usable"),
        ("[method]\nname = \"flow-grpo\"", "defined for rectified flows"),
        ("[method]\nname = \"draft\"\nlast_step = 2", "did you mean `last_steps`?"),
        ("[method]\nname = \"raft\"\nlambda = 2", "unknown field `lambda`"),
        ("[method]\nname = \"mix-grpo\"\ntail = 0.0", "run.toml:3:8"),
        ("[method]\nname = \"dance-grpo\"\nratios = \"guarded\"", "defined for rectified flows"),
        ("watch.prompts = 1", "`watch.prompts = 1` is no usable"),
        ("watch = { stop = true, every = 0 }", "nothing ends a run that is not watched"),
        ("[[rewards]]\nname = \"emoji-proxy\"\nstd = 0.0", "`emoji-proxy` in a mix"),
        ("[[rewards]]\nname = \"emoji-proxy\"\nwieght = 2", "did you mean `weight`?"),
        ("[[rewards]]\nname = \"emoji-heldout\"", "kept for measuring"),
        ("[[rewards]]\nname = \"emoji-prxoy\"", "unknown reward `emoji-prxoy`"),
        ("[method]\nname = \"diffusion-dop\"", "did you mean `diffusion-dpo`?"),
    ] {
        std::fs::write(folder.path().join("run.toml"), text).unwrap();
        let output = train(folder.path(), &["--config", "run.toml", "--out", "x"]);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}: {message}");
        assert!(message.contains(words), "{text}: no `{words}` in\n{message}");
        assert!(!folder.path().join("x").exists(), "{text}: something is left behind");
    }
    let output = train(folder.path(), &["--base", "dir", "--out", "x"]);
    let message = String::from_utf8(output.stderr).unwrap();
    // It is wrapped to the width of a terminal.
    let words = message.split_whitespace().filter(|word| *word != "│");
    let message = words.collect::<Vec<_>>().join(" ");
    assert!(message.contains("`dir` has no data and no reward of its own"), "{message}");
    assert!(message.contains("`hyperalign` needs both"), "{message}");
    let text = "[method]\nname = \"fine-tuning\"\n";
    std::fs::write(folder.path().join("run.toml"), text).unwrap();
    let flags = ["--base", "dir", "--config", "run.toml", "--out", "x"];
    let message = String::from_utf8(train(folder.path(), &flags).stderr).unwrap();
    assert!(message.contains("`dir` has no data of its own"), "{message}");
    let flags = ["--config", "run.toml", "--controls", "--out", "x"];
    let message = String::from_utf8(train(folder.path(), &flags).stderr).unwrap();
    assert!(message.contains("`--controls` are those of `hyperalign`"), "{message}");
}

/// The table calls it held-out.
#[test]
fn what_is_kept_for_measuring_is_not_trained_against() {
    let folder = tempfile::tempdir().unwrap();
    for reward in ["emoji-heldout", "mix:1*emoji-proxy(10,4)+0.5*emoji-heldout(10,4)"] {
        let output = train(folder.path(), &["--reward", reward, "--out", "x"]);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{message}");
        // It is wrapped to the width of a terminal.
        let message: Vec<&str> = message.split_whitespace().filter(|word| *word != "│").collect();
        let message = message.join(" ");
        for words in ["is kept for measuring", "`emoji-heldout`", "`emoji-proxy`"] {
            assert!(message.contains(words), "no `{words}` in\n{message}");
        }
        assert!(!folder.path().join("x").exists(), "nothing is left behind");
    }
}

/// The embedded base knows a few dozen words: pictures that people captioned are not for it.
#[test]
fn preferences_in_words_that_the_base_does_not_know_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let tests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../hyperalign-train/tests");
    let preferences = tests.join("preferences/pick-a-pic").display().to_string();
    let output = train(folder.path(), &["--preferences", &preferences, "--out", "x"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("unknown words: picture"), "{message}");
    assert!(!folder.path().join("x").exists(), "nothing is left behind");
}

/// Told once for each prompt, before the first update; here the settings end the run there.
#[test]
fn what_a_training_prompt_loses_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let long = "a red heart to the left of a dog ".repeat(9);
    std::fs::write(folder.path().join("long.txt"), format!("{long}\n{long}\na dog\n")).unwrap();
    std::fs::write(folder.path().join("run.toml"), "evaluation.seeds = 0").unwrap();
    let flags = ["--config", "run.toml", "--prompts", "long.txt", "--out", "x"];
    let output = train(folder.path(), &flags);
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("`evaluation.seeds = 0`"), "{message}");
    assert_eq!(message.matches("longer than what the base reads").count(), 1, "{message}");
    assert!(message.contains("cut off: `"), "{message}");
}
