//! `cargo xtask semver`.

use std::process::Command;

use crate::process::{self, Failure, Result};
use crate::task::Task;
use crate::workspace;

/// Compares what the libraries offer with what they offered.
pub const TASK: Task = Task {
    name: "semver",
    about: "Tell whether what the libraries offer has changed in a way that breaks who uses it.",
    help: "\
Usage: cargo xtask semver [--since REVISION]

Compares the public items of the library crates with those of an earlier commit, and says which changes
break code that uses them and what the next version has to be called. Without --since, of the last
tag. Needs cargo-semver-checks (`cargo install cargo-semver-checks --locked`), which documents both and
takes minutes.",
    run: |arguments| {
        let since = match arguments {
            [] => last_tag()?,
            [flag, revision] if flag == "--since" => revision.clone(),
            [flag] if flag.starts_with("--since=") => flag["--since=".len()..].to_owned(),
            _ => {
                let given = arguments.join(" ");
                return Err(Failure::Usage(format!("`{given}`: expected --since REVISION")));
            }
        };
        if !process::has_cargo_command("semver-checks") {
            let install = "cargo install cargo-semver-checks --locked";
            return Err(Failure::Told(format!("cargo-semver-checks is not installed: {install}")));
        }
        process::run(process::cargo().args(words(&since)))
    },
};

fn words(since: &str) -> Vec<String> {
    let mut words = vec!["semver-checks".to_owned(), "--baseline-rev".to_owned(), since.to_owned()];
    for library in workspace::LAYERS.iter().filter(|name| **name != "hyperalign-cli") {
        words.extend(["--package".to_owned(), (*library).to_owned()]);
    }
    words
}

/// The last tag that leads here.
fn last_tag() -> Result<String> {
    let mut git = Command::new("git");
    git.args(["describe", "--tags", "--abbrev=0"]).current_dir(workspace::root());
    let output = git.output().map_err(|error| process::not_started(&git, &error))?;
    let tag = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() || tag.is_empty() {
        let told = "there is no tag to compare with; name a commit with --since REVISION";
        return Err(Failure::Told(told.to_owned()));
    }
    Ok(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_libraries_are_compared_and_the_program_is_not() {
        let words = words("v0.1.0").join(" ");
        assert!(words.starts_with("semver-checks --baseline-rev v0.1.0 --package hyperalign-core"));
        assert!(words.contains("--package hyperalign-train") && !words.contains("-cli"), "{words}");
    }

    #[test]
    fn what_is_no_revision_is_said() {
        let arguments = ["--sinse".to_owned(), "x".to_owned()];
        let Err(Failure::Usage(message)) = (TASK.run)(&arguments) else { panic!("refused") };
        assert!(message.contains("--sinse x") && message.contains("--since REVISION"), "{message}");
    }
}
