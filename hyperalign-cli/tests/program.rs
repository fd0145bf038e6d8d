//! The built program, from the outside: help, exit statuses, completions, a closed pipe.

use std::process::{Command, Output, Stdio};

fn hyperalign(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hyperalign"))
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("output is UTF-8")
}

#[test]
fn help_names_the_device_and_the_exit_statuses() {
    let output = hyperalign(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = text(&output.stdout);
    assert!(help.contains("--device") && help.contains("130 interrupted and saved"), "{help}");
}

#[test]
fn every_command_explains_itself() {
    let help = text(&hyperalign(&["--help"]).stdout);
    let commands = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')));
    let mut seen = 0;
    for line in commands {
        let (name, about) = line.split_once(' ').unwrap();
        assert!(!about.trim().is_empty(), "`{name}` has no help");
        assert_eq!(hyperalign(&["help", name]).status.code(), Some(0), "`help {name}`");
        seen += 1;
    }
    assert!(seen > 1, "no commands found in:\n{help}");
}

/// What a resumed run needs again says so, both where it is named and at `--resume`.
#[test]
fn the_help_of_train_says_what_is_given_again() {
    let help = text(&hyperalign(&["help", "train"]).stdout);
    // A paragraph for each flag, in words.
    let paragraph = |flag: &str| {
        let lines = help.lines().skip_while(|line| !line.trim().starts_with(&format!("{flag} ")));
        let rest = lines.skip(1).take_while(|line| !line.trim().starts_with("--"));
        rest.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
    };
    let resume = help.lines().skip_while(|line| line.trim() != "--resume").skip(1);
    let resume = resume.take_while(|line| !line.trim().starts_with("--"));
    let resume = resume.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ");
    for flag in [
        "--data",
        "--preferences",
        "--columns",
        "--prompts",
        "--reward-weights",
        "--held-out",
        "--reward-codec",
    ] {
        let own = paragraph(flag);
        assert!(
            own.contains("resumed needs it again") || own.contains("resumed needs them again"),
            "{flag}: {own}"
        );
        assert!(resume.contains(&format!("`{flag}`")), "{flag}: {resume}");
    }
}

#[test]
fn every_reward_is_in_the_helps() {
    for command in ["score", "eval", "train"] {
        let help = text(&hyperalign(&["help", command]).stdout);
        for entry in hyperalign_rewards::registry() {
            let named = help.split(|c: char| c.is_whitespace() || "(),".contains(c));
            assert!(named.into_iter().any(|word| word == entry.name), "{command}: {}", entry.name);
        }
    }
}

#[test]
fn wrong_usage_ends_with_2_and_a_hint() {
    let output = hyperalign(&["complete"]);
    assert_eq!(output.status.code(), Some(2));
    let message = text(&output.stderr);
    assert!(message.contains("completions"), "the nearest command is not named: {message}");
    assert_eq!(hyperalign(&[]).status.code(), Some(2));
}

#[test]
fn a_stage_of_another_base_is_refused() {
    let output = hyperalign(&["pretrain", "emoji-flux", "--stage", "proxy"]);
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    assert!(message.contains("no stage of emoji-flux") && message.contains("flow"), "{message}");
}

#[test]
fn completions_know_the_flags() {
    for shell in ["bash", "zsh", "fish"] {
        let output = hyperalign(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{shell}");
        let script = text(&output.stdout);
        assert!(script.contains("hyperalign") && script.contains("device"), "{shell}: {script}");
    }
}

#[test]
fn a_closed_pipe_is_success() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hyperalign"))
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
}

#[test]
fn doctor_tells_what_the_processor_can_do() {
    let output = hyperalign(&["doctor", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["device"], "cpu");
    assert_eq!(answer["dtypes"]["f32"], true);
}

#[test]
fn pretraining_asks_for_its_folders_before_the_hours() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let (file, work) = (file.to_str().unwrap(), folder.path().join("work"));
    let work = work.to_str().unwrap();
    for flags in [["--out", file, "--work", work], ["--work", file, "--out", work]] {
        let output = hyperalign(&[&["pretrain", "emoji-sd"][..], &flags].concat());
        assert_eq!(output.status.code(), Some(1));
        let message = text(&output.stderr);
        assert!(message.contains("cannot write") && !message.contains("update"), "{message}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn an_unknown_device_is_wrong_usage_and_the_known_ones_are_named() {
    let output = hyperalign(&["doctor", "--device", "tpu"]);
    assert_eq!(output.status.code(), Some(2));
    let message = text(&output.stderr);
    assert!(message.contains("`tpu`") && message.contains("vulkan"), "{message}");
    assert!(output.stdout.is_empty());
}

/// Below the range of a number is not another flag.
#[test]
fn negative_numbers_are_told_with_what_can_be_given() {
    let refused = |arguments: &[&str], words: &str| {
        let output = hyperalign(arguments);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(message.contains(words), "{arguments:?}: {message}");
        assert!(!message.contains("unexpected argument"), "{arguments:?}: {message}");
    };
    refused(&["train", "--out", "x", "--steps", "-1"], "at least 1 is needed");
    refused(&["train", "--out", "x", "--seed", "-1"], "at least 0");
    refused(&["eval", "--base", "x", "--steps", "-1"], "at least 1 is needed");
    refused(&["eval", "--base", "x", "--limit", "-1"], "at least 1 is needed");
    refused(&["bench", "--steps", "-1"], "-1 is not in 1..=1000");
    refused(&["key-steps", "--base", "x", "--steps", "-1"], "at least 1 is needed");
    refused(&["key-steps", "--base", "x", "--count", "-1"], "at least 1 is needed");
    refused(&["world", "--seed", "-1"], "-1");
}

/// An error that nobody reads is an error all the same, and no panic.
#[test]
fn a_standard_error_that_nobody_reads_changes_no_status() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_hyperalign"));
    command.args(["sample", "--base", "emojis", "--prompt", "a dog", "--out", "never.png"]);
    let status = command.stdout(Stdio::null()).stderr(writer).status().expect("it starts");
    assert_eq!(status.code(), Some(1));
}
