//! Chores that the program does: they build it and become it.

use crate::process::{self, Result};
use crate::task::Task;

/// Pretrains.
pub const PRETRAIN: Task = Task {
    name: "pretrain",
    about: "Make the embedded models from nothing (hours).",
    help: "\
Usage: cargo xtask pretrain MODEL [ARGUMENTS]

Builds `hyperalign` in release mode and runs `hyperalign pretrain MODEL`; MODEL is emoji-sd.
Arguments are passed on: `cargo xtask pretrain -- --help` shows them.",
    run: |arguments| start("pretrain", &without_dashes(arguments)),
};

/// Builds the program and becomes it. The build comes first, on its own, so that what cargo has
/// to say about it does not mix with the program's output.
fn start(command: &str, arguments: &[String]) -> Result<()> {
    let features = device_of(arguments).and_then(process::feature_of);
    let cargo = |verb: &str| {
        let mut cargo = process::cargo();
        cargo.args([verb, "--release", "--package", "hyperalign-cli"]);
        if let Some(feature) = features {
            cargo.args(["--features", feature]);
        }
        cargo
    };
    process::run(&mut cargo("build"))?;
    process::become_program(cargo("run").arg("--quiet").args(["--", command]).args(arguments))
}

/// The arguments without a leading `--`, which only shields them from us.
fn without_dashes(arguments: &[String]) -> Vec<String> {
    let skip = usize::from(arguments.first().is_some_and(|first| first == "--"));
    arguments[skip..].to_vec()
}

fn device_of(arguments: &[String]) -> Option<&str> {
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == "--device" {
            return arguments.next().map(String::as_str);
        }
        if let Some(name) = argument.strip_prefix("--device=") {
            return Some(name);
        }
    }
    None
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
}
