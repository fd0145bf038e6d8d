//! `cargo xtask fuzz`.

use crate::process::{self, Failure, Result};
use crate::task::Task;

/// Gives mutated inputs to every reader.
pub const TASK: Task = Task {
    name: "fuzz",
    about: "Give mutated inputs to every reader of files and requests.",
    help: "\
Usage: cargo xtask fuzz [--inputs N] [READER]

  --inputs N  Inputs for each reader; a million if nothing is said. The tests give ten thousand.
  READER      Only readers whose test has this in its name: png, jpeg, safetensors, pickles, configs,
              tables, json, parquet, toml, requests, ...

Inputs follow from a fixed seed: what fails once fails again, with its number and its bytes. A reader
fails if it panics, takes longer than a second, or takes more than ten times the input's length of
memory and a constant. Prints for each reader what it refused, the longest time and the most memory.",
    run,
};

/// The variable that the tests ask for the number of inputs.
const VARIABLE: &str = "HYPERALIGN_FUZZ_INPUTS";
const MILLION: u64 = 1_000_000;

fn run(arguments: &[String]) -> Result<()> {
    let (inputs, reader) = parse(arguments)?;
    let inputs = inputs.to_string();
    let start = |target: &[&str], module: &str| {
        let mut command = process::cargo();
        command.env(VARIABLE, &inputs).arg("test").args(target).arg("--");
        // One at a time, so that none waits for a processor while its time is taken.
        command.args(["--test-threads", "1", "--nocapture"]).arg(format!("{module}{reader}"));
        process::run(&mut command)
    };
    start(&["--workspace", "--exclude", "xtask", "--test", "fuzz"], "")?;
    // The readers of the program have no library that a test could stand beside.
    start(&["-p", "hyperalign-cli", "--bin", "hyperalign"], "fuzz::")
}

/// The number of inputs, and the part of a reader's name.
fn parse(arguments: &[String]) -> Result<(u64, String)> {
    let usage = || Failure::Usage(format!("unknown arguments\n\n{}", TASK.help));
    match arguments {
        [flag, number, rest @ ..] if flag == "--inputs" && rest.len() < 2 => {
            let inputs = number.parse().map_err(|_| usage())?;
            Ok((inputs, rest.concat()))
        }
        [] => Ok((MILLION, String::new())),
        [reader] if !reader.starts_with('-') => Ok((MILLION, reader.clone())),
        _ => Err(usage()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        let parse = |arguments: &[&str]| {
            parse(&arguments.iter().map(|&a| a.to_owned()).collect::<Vec<_>>()).ok()
        };
        assert_eq!(parse(&[]), Some((MILLION, String::new())));
        assert_eq!(parse(&["png"]), Some((MILLION, "png".to_owned())));
        assert_eq!(parse(&["--inputs", "7", "png"]), Some((7, "png".to_owned())));
        for bad in [&["--inputs"][..], &["--inputs", "many"], &["-x"], &["a", "b"]] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
