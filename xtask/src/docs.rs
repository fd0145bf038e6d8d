//! `cargo xtask docs`, and the check that the book holds together.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{self, Failure, Result};
use crate::task::Task;
use crate::workspace;

/// Builds the book.
pub const TASK: Task = Task {
    name: "docs",
    about: "Build the book in docs/book and check its links.",
    help: "\
Usage: cargo xtask docs

Checks that every chapter in docs/src/SUMMARY.md exists, that every chapter that exists is listed
there, and that links between files of the repository lead somewhere. Builds the book where mdbook
is installed (`cargo install mdbook`).",
    run: |_| {
        let problems = problems(&workspace::files()?)?;
        if !problems.is_empty() {
            return Err(Failure::Told(problems.join("\n")));
        }
        if process::has_program("mdbook") {
            process::run(Command::new("mdbook").arg("build").arg(workspace::root().join("docs")))
        } else {
            println!("links are fine; to build the book: cargo install mdbook");
            Ok(())
        }
    },
};

const SUMMARY: &str = "docs/src/SUMMARY.md";

/// What is wrong with the links of the Markdown files among `files`.
///
/// # Errors
///
/// Fails if a file cannot be read.
pub fn problems(files: &[PathBuf]) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let pages = files.iter().filter(|path| path.extension().is_some_and(|e| e == "md"));
    let mut listed = Vec::new();
    for page in pages.clone() {
        let folder = page.parent().unwrap_or(Path::new(""));
        for target in links(&workspace::read(page)?) {
            let target = folder.join(target);
            if !workspace::root().join(&target).exists() {
                problems.push(format!("{}: {} is not there", page.display(), target.display()));
            }
            if page == Path::new(SUMMARY) {
                listed.push(target);
            }
        }
    }
    let chapters = pages.filter(|page| page.starts_with("docs/src") && *page != Path::new(SUMMARY));
    for chapter in chapters.filter(|chapter| !listed.contains(chapter)) {
        problems.push(format!("{SUMMARY}: {} is not listed", chapter.display()));
    }
    Ok(problems)
}

/// The targets of the links `[..](target)` of a Markdown text that are files: no web addresses,
/// no anchors, nothing in code blocks.
fn links(text: &str) -> Vec<&str> {
    let mut is_code = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if is_code {
            continue;
        }
        for part in line.split("](").skip(1) {
            let target = part.split(')').next().unwrap_or_default();
            let file = target.split('#').next().unwrap_or_default();
            if !file.is_empty() && !file.contains("://") && !file.starts_with("mailto:") {
                found.push(file);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_files_only() {
        let text = "See [a](a.md#part), [b](https://b.org), [c](#c) and ![d](img/d.png).\n\
                    ```\n[no](no.md)\n```\n- [e](e/f.md)\n";
        assert_eq!(links(text), ["a.md", "img/d.png", "e/f.md"]);
    }
}
