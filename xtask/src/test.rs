//! `cargo xtask test`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::process::{self, Failure, Result};
use crate::task::Task;

/// Runs every test of the workspace.
pub const TASK: Task = Task {
    name: "test",
    about: "Run every test of the workspace.",
    help: "\
Usage: cargo xtask test [--device DEVICE] [ARGUMENTS]

  --device DEVICE  Run the same suite on wgpu, vulkan, metal, rocm or cuda (with an index as in
                   cuda:1) instead of cpu. Builds with the feature of that name, which takes
                   minutes the first time.
  ARGUMENTS        Passed to `cargo nextest run` where it is installed, else to `cargo test`:
                   a part of a test's name, `-p CRATE`, ...",
    run,
};

fn run(arguments: &[String]) -> Result<()> {
    let Plan { device, rest } = parse(arguments)?;
    let has_nextest = process::has_cargo_command("nextest");
    // Nextest does not run the examples in doc comments. They come first, so that the suite's own
    // summary is the last thing that is printed; with other arguments they were not asked for.
    if rest.is_empty() {
        let mut doc = process::cargo();
        doc.args(["test", "--workspace", "--doc", "--quiet"]);
        on_device(&mut doc, device.as_deref());
        process::run(&mut doc)?;
    }
    let mut suite = process::cargo();
    if has_nextest {
        suite.args(["nextest", "run", "--no-fail-fast"]);
    } else {
        eprintln!("xtask: cargo-nextest is not installed; `cargo test` does the same, slower");
        suite.args(["test", "--lib", "--bins", "--tests", "--no-fail-fast"]);
    }
    if !names_packages(&rest) {
        suite.arg("--workspace");
    }
    on_device(&mut suite, device.as_deref());
    suite.args(&rest);
    if has_nextest { process::run(&mut suite) } else { run_with_total(&mut suite) }
}

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    device: Option<String>,
    rest: Vec<String>,
}

fn parse(arguments: &[String]) -> Result<Plan> {
    let mut plan = Plan { device: None, rest: Vec::new() };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == "--device" {
            let name = arguments.next().ok_or_else(|| {
                Failure::Usage("`--device` needs a name, as in `--device wgpu`".to_owned())
            })?;
            plan.device = Some(name.clone());
        } else if let Some(name) = argument.strip_prefix("--device=") {
            plan.device = Some(name.to_owned());
        } else {
            plan.rest.push(argument.clone());
            if argument == "--" {
                plan.rest.extend(arguments.by_ref().cloned());
            }
        }
    }
    Ok(plan)
}

/// Whether the arguments choose crates; cargo would take `--workspace` beside them to mean all.
fn names_packages(arguments: &[String]) -> bool {
    arguments.iter().any(|argument| argument.starts_with("-p") || argument.starts_with("--package"))
}

/// Makes `command` build for `device` and tells the tests to use it.
fn on_device(command: &mut Command, device: Option<&str>) {
    let Some(device) = device else { return };
    if let Some(feature) = process::feature_of(device) {
        // Burn's own default device follows its variable, which knows no index.
        command.args(["--features", feature]).env("BURN_DEVICE", feature);
    }
    command.env("HYPERALIGN_TEST_DEVICE", device);
}

/// Runs `cargo test` and ends with one line for all of its test binaries, which print one each.
fn run_with_total(command: &mut Command) -> Result<()> {
    process::announce(command);
    let start = Instant::now();
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| process::not_started(command, &error))?;
    let mut total = Total::default();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines().map_while(std::result::Result::ok) {
            total.add(&line);
            // The reader of our output may have left; the tests go on, for their exit status.
            let _ = writeln!(std::io::stdout(), "{line}");
        }
    }
    let status = child.wait().map_err(|error| process::not_started(command, &error))?;
    println!("all test binaries together:");
    println!("{}", total.line(status.success(), start.elapsed().as_secs_f64()));
    process::status_to_result(status)
}

/// The sum of the `test result:` lines of several test binaries.
#[derive(Debug, Default, PartialEq, Eq)]
struct Total {
    passed: usize,
    failed: usize,
    ignored: usize,
    measured: usize,
    filtered: usize,
}

impl Total {
    fn add(&mut self, line: &str) {
        let Some((_, counts)) =
            line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for count in counts.split(';') {
            match count.trim().split_once(' ') {
                Some((n, "passed")) => self.passed += n.parse().unwrap_or(0),
                Some((n, "failed")) => self.failed += n.parse().unwrap_or(0),
                Some((n, "ignored")) => self.ignored += n.parse().unwrap_or(0),
                Some((n, "measured")) => self.measured += n.parse().unwrap_or(0),
                Some((n, "filtered out")) => self.filtered += n.parse().unwrap_or(0),
                _ => {}
            }
        }
    }

    /// The line in the form of the runner's own.
    fn line(&self, is_success: bool, seconds: f64) -> String {
        let verdict = if is_success { "ok" } else { "FAILED" };
        let Self { passed, failed, ignored, measured, filtered } = self;
        format!(
            "test result: {verdict}. {passed} passed; {failed} failed; {ignored} ignored; \
             {measured} measured; {filtered} filtered out; finished in {seconds:.2}s"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn device_is_taken_out_and_the_rest_passed_on() {
        let device = Some("cuda:1".to_owned());
        let expected = Plan { device, rest: words("-p hyperalign-core noise") };
        assert_eq!(parse(&words("-p hyperalign-core --device cuda:1 noise")), Ok(expected));
        let expected = Plan { device: None, rest: words("-- --device wgpu") };
        assert_eq!(parse(&words("-- --device wgpu")), Ok(expected));
        assert!(matches!(parse(&words("--device")), Err(Failure::Usage(_))));
    }

    #[test]
    fn crates_can_be_chosen() {
        assert!(names_packages(&words("noise -p hyperalign-core")));
        assert!(names_packages(&words("--package=hyperalign-core")));
        assert!(!names_packages(&words("noise --release")));
    }

    #[test]
    fn the_feature_has_no_index() {
        let mut command = Command::new("cargo");
        on_device(&mut command, Some("cuda:1"));
        let arguments: Vec<_> = command.get_args().collect();
        assert_eq!(arguments, ["--features", "cuda"]);
        let mut command = Command::new("cargo");
        on_device(&mut command, Some("cpu"));
        assert_eq!(command.get_args().count(), 0);
    }

    #[test]
    fn results_are_summed() {
        let mut total = Total::default();
        total.add("running 3 tests");
        total.add("test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 6 filtered out");
        total.add("test result: FAILED. 3 passed; 4 failed; 0 ignored; 0 measured; 0 filtered out");
        let expected = Total { passed: 5, failed: 4, ignored: 1, measured: 0, filtered: 6 };
        assert_eq!(total, expected);
        assert_eq!(
            total.line(false, 1.5),
            "test result: FAILED. 5 passed; 4 failed; 1 ignored; 0 measured; 6 filtered out; \
             finished in 1.50s"
        );
    }
}
