//! Rules about the text of files: printing, length, words, ends of lines, weight of the assets.

use std::path::{Path, PathBuf};

use crate::process::Result;
use crate::workspace;

/// A file of code that is longer holds more than one idea.
const MOST_LINES: usize = 400;

/// Files that may be longer, each with its reason.
const LONG: [(&str, &str); 0] = [];

/// A clone must stay small, whatever checkpoints are shipped, in bytes.
const MOST_ASSETS: u64 = 32 << 20;

/// Words that belong to one machine or to unfinished work. Cut in two, so that this file passes.
const FORBIDDEN: [(&str, &str); 7] = [
    (concat!("/ho", "me/"), "a path of somebody's machine"),
    (concat!("/Use", "rs/"), "a path of somebody's machine"),
    (concat!("/ro", "ot/"), "a path of somebody's machine"),
    (concat!("TO", "DO"), "unfinished work belongs in an issue"),
    (concat!("FIX", "ME"), "unfinished work belongs in an issue"),
    (concat!("#[ign", "ore"), "a test that nobody runs rots"),
    (concat!("#[should_", "panic"), "it passes for any panic; match the message instead"),
];

/// How a file is opened without a look at what it is.
const UNSEEN: [&str; 3] =
    [concat!("fs::re", "ad("), concat!("fs::re", "ad_to_string("), concat!("File::op", "en(")];

/// Where files are opened so nevertheless, each with its reason.
const OPENERS: [(&str, &str); 3] = [
    ("hyperalign-core/src/input.rs", "the one reader, behind its look"),
    ("hyperalign-train/src/learner/lock.rs", "a folder is what is locked"),
    ("hyperalign-cli/src/command/bench/machine.rs", "what the system says of the processor"),
];

/// What is wrong with the texts of `files`.
///
/// # Errors
///
/// Fails if a file cannot be read.
pub fn problems(files: &[PathBuf]) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for path in files.iter().filter(|path| is_text(path)) {
        let text = workspace::read(path)?;
        problems.extend(problems_of(path, &text));
    }
    // Models in a folder that begins with a dot will take the place of others, and count then.
    let waits = |path: &Path| path.iter().any(|part| part.to_string_lossy().starts_with('.'));
    let assets = files.iter().filter(|path| path.starts_with("assets") && !waits(path));
    let weight: u64 = assets
        .filter_map(|path| workspace::root().join(path).metadata().ok())
        .map(|m| m.len())
        .sum();
    if weight > MOST_ASSETS {
        problems.push(format!("assets/: {weight} bytes, at most {MOST_ASSETS} are allowed"));
    }
    Ok(problems)
}

/// What is wrong with the `text` of the file at `path`.
fn problems_of(path: &Path, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let mut report = |line: usize, what: String| {
        problems.push(format!("{}:{}: {what}", path.display(), line + 1));
    };
    let is_code = has_extension(path, "rs");
    let must_not_print = is_library(path);
    let opens = is_ours(path) && !OPENERS.iter().any(|(opener, _)| path == Path::new(opener));
    let mut is_tests = is_code && is_test_file(path);
    for (i, line) in text.lines().enumerate() {
        for (word, why) in FORBIDDEN {
            if line.contains(word) {
                report(i, format!("`{word}`: {why}"));
            }
        }
        if line.ends_with([' ', '\t']) {
            report(i, "space at the end of the line".to_owned());
        }
        is_tests |= line.trim_start().starts_with("#[cfg(test)]");
        let unseen = UNSEEN.iter().find(|call| opens && !is_tests && calls(line, call));
        // A folder is opened only so that its entries reach the disk.
        if let Some(call) = unseen.filter(|_| !line.contains("sync_all")) {
            report(
                i,
                format!(
                    "`{call}`: a pipe would be waited for; take it from `hyperalign_core::input`"
                ),
            );
        }
        if must_not_print && !is_tests && prints(line) {
            report(i, "a library does not print: return it, or tell an observer".to_owned());
        }
        let code = line.split("//").next().unwrap_or_default();
        if path.starts_with("hyperalign-cli/src") && !is_tests && code.contains("eprintln!") {
            report(
                i,
                "it panics where nobody reads standard error: take `output::note`".to_owned(),
            );
        }
    }
    let lines = text.lines().count();
    let may_be_long = LONG.iter().any(|(long, _)| path == Path::new(long));
    if is_code && lines > MOST_LINES && !may_be_long {
        report(lines - 1, format!("{lines} lines, at most {MOST_LINES}: split it by ideas"));
    }
    if !text.is_empty() && !text.ends_with('\n') {
        report(lines.saturating_sub(1), "no line end at the end of the file".to_owned());
    }
    problems
}

/// Whether `call` is in the line, and not the end of a longer name.
fn calls(line: &str, call: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(call).any(|(at, _)| !line[..at].ends_with(is_name))
}

fn prints(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    ["println!", "print!", "dbg!"].iter().any(|name| code.contains(name))
}

/// Sources of the libraries; their tests and benches, and the programs, may print.
fn is_library(path: &Path) -> bool {
    is_ours(path) && !path.starts_with("hyperalign-cli")
}

/// Sources of the libraries and of the program.
fn is_ours(path: &Path) -> bool {
    has_extension(path, "rs")
        && workspace::LAYERS.iter().any(|layer| path.starts_with(Path::new(layer).join("src")))
}

/// Files of tests among the sources.
fn is_test_file(path: &Path) -> bool {
    let is_tests = |name: &std::ffi::OsStr| {
        name.to_str().is_some_and(|name| {
            matches!(name, "tests" | "testing" | "tests.rs") || name.ends_with("_tests.rs")
        })
    };
    path.iter().any(is_tests)
}

/// Files that people write. Cargo.lock, weights and pictures are machines' work.
fn is_text(path: &Path) -> bool {
    ["rs", "toml", "md", "py", "sh", "yml"].iter().any(|extension| has_extension(path, extension))
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIBRARY: &str = "hyperalign-core/src/noise.rs";

    fn only_problem(path: &str, text: &str) -> String {
        let problems = problems_of(Path::new(path), text);
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems[0].clone()
    }

    #[test]
    fn libraries_do_not_print_but_programs_and_tests_do() {
        let of_cli = problems_of(Path::new("hyperalign-cli/src/a.rs"), "fn f() { eprintln!() }\n");
        assert!(of_cli[0].contains("output::note"), "{of_cli:?}");
        let text = "fn f() {\n    println!();\n}\n";
        assert!(only_problem(LIBRARY, text).starts_with("hyperalign-core/src/noise.rs:2: "));
        for path in
            ["hyperalign-cli/src/main.rs", "xtask/src/main.rs", "hyperalign-core/tests/a.rs"]
        {
            assert_eq!(problems_of(Path::new(path), text), [""; 0], "{path}");
        }
        let test = "// println!\n#[cfg(test)]\nmod tests {\n    fn f() { println!() }\n}\n";
        assert_eq!(problems_of(Path::new(LIBRARY), test), [""; 0]);
    }

    #[test]
    fn files_are_opened_where_they_are_looked_at() {
        for call in UNSEEN {
            let text = format!("fn f() {{\n    {call}path)?;\n}}\n");
            for path in [LIBRARY, "hyperalign-cli/src/prompts.rs"] {
                assert!(only_problem(path, &text).contains("hyperalign_core::input"));
            }
            for path in ["hyperalign-core/src/input.rs", "hyperalign-core/src/schedule/tests.rs"] {
                assert_eq!(problems_of(Path::new(path), &text), [""; 0], "{path}");
            }
        }
        for fine in [
            concat!("File::op", "en(folder)?.sync_all()?;\n"),
            concat!("AdapterFile::op", "en(path)?;\n"),
        ] {
            assert_eq!(problems_of(Path::new(LIBRARY), fine), [""; 0], "{fine}");
        }
    }

    #[test]
    fn long_files_are_named_with_their_length() {
        let text = "\n".repeat(MOST_LINES + 1);
        assert!(only_problem(LIBRARY, &text).contains("401 lines"));
        assert_eq!(problems_of(Path::new("README.md"), &text), [""; 0]);
    }

    #[test]
    fn forbidden_words_and_ragged_ends() {
        for (word, _) in FORBIDDEN {
            assert!(only_problem("docs/src/cli.md", &format!("{word}\n")).contains(word));
        }
        assert!(only_problem("README.md", "a \n").contains("space"));
        assert!(only_problem("README.md", "a").contains("no line end"));
    }
}
