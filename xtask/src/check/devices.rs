//! Tests compute on the device that is asked for, and say so where they are about the CPU.

use std::path::{Path, PathBuf};

use crate::process::Result;
use crate::workspace;

/// How a device is named that no variable can change. Cut in two, so that this file passes.
const NAMED: [&str; 2] = [concat!("Device::", "flex()"), concat!("Device::", "default()")];
/// The device under test.
const ASKED: &str = "testing::device()";
/// The CPU, for what is about it.
const CPU: &str = "testing::cpu()";

/// Where the two are made.
const HOME: [&str; 2] = ["hyperalign-core/src/testing.rs", "hyperalign-core/src/device.rs"];

/// How often tests ask for a device.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// For the one under test.
    pub asked: usize,
    /// For the CPU.
    pub cpu: usize,
}

impl Counts {
    /// For people.
    pub fn line(&self) -> String {
        format!(
            "tests ask for the device under test in {} places, and for the CPU in {}",
            self.asked, self.cpu
        )
    }
}

/// Tests that name a device themselves, and how often the others ask for one.
///
/// # Errors
///
/// Fails if a file cannot be read.
pub fn problems(files: &[PathBuf]) -> Result<(Vec<String>, Counts)> {
    let (mut problems, mut counts) = (Vec::new(), Counts::default());
    let is_ours = |path: &&PathBuf| {
        path.extension().is_some_and(|ending| ending == "rs")
            && !path.starts_with("xtask")
            && !HOME.iter().any(|home| path.as_path() == Path::new(home))
    };
    for path in files.iter().filter(is_ours) {
        problems.extend(problems_of(path, &workspace::read(path)?, &mut counts));
    }
    Ok((problems, counts))
}

fn problems_of(path: &Path, text: &str, counts: &mut Counts) -> Vec<String> {
    let is_whole = path
        .components()
        .any(|part| ["tests", "benches"].map(AsRef::as_ref).contains(&part.as_os_str()))
        || path.file_name().is_some_and(|name| name == "tests.rs");
    let mut is_tests = is_whole;
    let mut problems = Vec::new();
    for (i, line) in text.lines().enumerate() {
        is_tests |= line.trim_start().starts_with("#[cfg(test)]");
        counts.asked += line.matches(ASKED).count();
        counts.cpu += line.matches(CPU).count();
        if let Some(name) = NAMED.iter().find(|name| is_tests && line.contains(*name)) {
            problems.push(format!(
                "{}:{}: `{name}` in a test: take `{ASKED}`, or `{CPU}` where the test is about the CPU",
                path.display(),
                i + 1
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str) -> (Vec<String>, Counts) {
        let mut counts = Counts::default();
        (problems_of(Path::new(path), text, &mut counts), counts)
    }

    #[test]
    fn a_test_that_names_a_device_is_named() {
        for name in NAMED {
            let text = format!("f({name});\n#[cfg(test)]\nmod tests {{ f({name}); }}\n");
            let (problems, _) = check("hyperalign-core/src/noise.rs", &text);
            assert_eq!(problems.len(), 1);
            assert!(problems[0].starts_with("hyperalign-core/src/noise.rs:3: "), "{problems:?}");
            let (problems, _) = check("hyperalign-core/tests/a.rs", &text);
            assert_eq!(problems.len(), 2);
        }
    }

    #[test]
    fn others_are_counted() {
        let text = format!("#[cfg(test)]\nf({ASKED}, {ASKED});\ng({CPU});\n");
        let (problems, counts) = check("hyperalign-core/src/noise.rs", &text);
        assert!(problems.is_empty());
        assert_eq!(counts, Counts { asked: 2, cpu: 1 });
    }
}
