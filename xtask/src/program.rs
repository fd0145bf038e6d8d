//! Chores that the program does: they build it and become it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{self, Result};
use crate::task::Task;
use crate::workspace;

/// Trains.
pub const TRAIN: Task = Task {
    name: "train",
    about: "Build the program and align the embedded base model.",
    help: "\
Usage: cargo xtask train [--device DEVICE] [ARGUMENTS]

Builds `hyperalign` in release mode and runs `hyperalign train`. Without `--out` the run goes to
the first free one of runs/BASE, runs/BASE-2, ... (emoji-sd); with `--resume` and without `--out` the
last of them goes on. Ctrl-C finishes the step, saves and ends with status 130.

  --device DEVICE  Train on wgpu, vulkan, metal, rocm or cuda (with an index as in cuda:1); builds
                   with the feature of that name.
  ARGUMENTS        Passed on: `cargo xtask train --help` ends here, `cargo xtask train -- --help`
                   shows the program's own.",
    run: |arguments| {
        let mut arguments = without_dashes(arguments);
        let own = ["--out", "--help", "-h"];
        if !arguments.iter().any(|a| own.contains(&a.as_str()) || a.starts_with("--out=")) {
            let is_resumed = arguments.iter().any(|argument| argument == "--resume");
            let base = Path::new(value_of(&arguments, "--base").unwrap_or("emoji-sd"));
            // A base may be a folder; its runs have its name.
            let name = base.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let out = run_folder(&workspace::root().join("runs"), &name, is_resumed);
            arguments.extend(["--out".to_owned(), out.display().to_string()]);
        }
        start("train", &arguments)
    },
};

/// Pretrains.
pub const PRETRAIN: Task = Task {
    name: "pretrain",
    about: "Make the embedded models from nothing (hours).",
    help: "\
Usage: cargo xtask pretrain MODEL [ARGUMENTS]

Builds `hyperalign` in release mode and runs `hyperalign pretrain MODEL`; MODEL is emoji-sd or
emoji-flux, which takes the autoencoder of emoji-sd.
Arguments are passed on: `cargo xtask pretrain -- --help` shows them.",
    run: |arguments| start("pretrain", &without_dashes(arguments)),
};

/// Times.
pub const BENCH: Task = Task {
    name: "bench",
    about: "Time sampling, single calls, training steps and rewards.",
    help: "\
Usage: cargo xtask bench [ARGUMENTS]

Builds `hyperalign` in release mode (with the feature of `--device`) and runs `hyperalign bench`:
S, P and I over the base, the hypernetwork over the U-Net, a training step with its memory.
`--size sd15` takes random weights of Stable Diffusion 1.5's size; on a CPU add
`--repeat 1 --warmup 0`. `cargo xtask bench rewards` times the published rewards. Arguments are
passed on: `cargo xtask bench -- --help` shows them.",
    run: |arguments| start("bench", &without_dashes(arguments)),
};

/// Compares.
pub const EVIDENCE: Task = Task {
    name: "evidence",
    about: "Train the method and what it is compared with, measure all of it, make the report (hours).",
    help: "\
Usage: cargo xtask evidence [ARGUMENTS]

Builds `hyperalign` in release mode and runs `hyperalign compare --config configs/emoji-paper.toml
--out runs/evidence`. Ctrl-C finishes the step, saves and ends with status 130; called again, it goes
on where it was. `--list` tells what there is, `--only NAME` takes single entries; arguments are
passed on: `cargo xtask evidence -- --help` shows them. The report is runs/evidence/report.",
    run: |arguments| {
        let mut arguments = without_dashes(arguments);
        let root = workspace::root();
        let own = [("--config", "configs/emoji-paper.toml"), ("--out", "runs/evidence")];
        for (flag, path) in own {
            if value_of(&arguments, flag).is_none() {
                arguments.extend([flag.to_owned(), root.join(path).display().to_string()]);
            }
        }
        start("compare", &arguments)
    },
};

/// How long the program's allocator waits before it gives memory back to the system; -1 is for ever.
const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";

/// Builds the program and becomes it. The build comes first, on its own, so that what cargo has
/// to say about it does not mix with the program's output.
fn start(command: &str, arguments: &[String]) -> Result<()> {
    let features = device_of(arguments).and_then(process::feature_of);
    process::run(&mut cargo("build", features))?;
    process::become_program(started(features).arg(command).args(arguments))
}

/// `cargo VERB` of the program in release mode.
pub fn cargo(verb: &str, features: Option<&str>) -> Command {
    let mut cargo = process::cargo();
    cargo.args([verb, "--release", "--package", "hyperalign-cli"]);
    if let Some(feature) = features {
        cargo.args(["--features", feature]);
    }
    cargo
}

/// The program that was built, to be given its arguments.
pub fn started(features: Option<&str>) -> Command {
    let mut program = cargo("run", features);
    // The system clears every page that comes back from it: a fifth of the time of a training step.
    if std::env::var_os(PURGE_DELAY).is_none() {
        program.env(PURGE_DELAY, "-1");
    }
    program.args(["--quiet", "--"]);
    program
}

/// The arguments without a leading `--`, which only shields them from us.
fn without_dashes(arguments: &[String]) -> Vec<String> {
    let skip = usize::from(arguments.first().is_some_and(|first| first == "--"));
    arguments[skip..].to_vec()
}

fn device_of(arguments: &[String]) -> Option<&str> {
    value_of(arguments, "--device")
}

/// The value of `flag`, written as one word or as two.
fn value_of<'a>(arguments: &'a [String], flag: &str) -> Option<&'a str> {
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == flag {
            return arguments.next().map(String::as_str);
        }
        let rest = argument.strip_prefix(flag);
        if let Some(value) = rest.and_then(|rest| rest.strip_prefix('=')) {
            return Some(value);
        }
    }
    None
}

/// The first run folder below `runs` that is not there, or the last that is when a run goes on.
fn run_folder(runs: &Path, base: &str, is_resumed: bool) -> PathBuf {
    let mut last = runs.join(base);
    let mut next = last.clone();
    let mut i = 1;
    while next.exists() {
        i += 1;
        last = std::mem::replace(&mut next, runs.join(format!("{base}-{i}")));
    }
    if is_resumed { last } else { next }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_device_is_found_in_both_spellings() {
        assert_eq!(device_of(&words("--steps 3 --device cuda:1")), Some("cuda:1"));
        assert_eq!(device_of(&words("--device=wgpu")), Some("wgpu"));
        assert_eq!(device_of(&words("--steps 3")), None);
    }

    #[test]
    fn only_the_first_dashes_are_ours() {
        assert_eq!(without_dashes(&words("-- --help")), words("--help"));
        assert_eq!(without_dashes(&words("a -- b")), words("a -- b"));
    }

    #[test]
    fn run_folders_are_not_overwritten() {
        let runs = std::env::temp_dir().join(format!("xtask-runs-{}", std::process::id()));
        assert_eq!(run_folder(&runs, "emoji-sd", false), runs.join("emoji-sd"));
        assert_eq!(run_folder(&runs, "emoji-sd", true), runs.join("emoji-sd"));
        std::fs::create_dir_all(runs.join("emoji-sd")).unwrap();
        std::fs::create_dir_all(runs.join("emoji-sd-2")).unwrap();
        assert_eq!(run_folder(&runs, "emoji-sd", false), runs.join("emoji-sd-3"));
        assert_eq!(run_folder(&runs, "emoji-sd", true), runs.join("emoji-sd-2"));
        std::fs::remove_dir_all(&runs).unwrap();
    }
}
