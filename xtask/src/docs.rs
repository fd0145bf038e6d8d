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
there, and that links between files of the repository lead somewhere: to a file that exists, and to a
heading that it has. Builds the book where mdbook
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
        let text = workspace::read(page)?;
        for (file, heading) in links(&text) {
            let target = if file.is_empty() { page.clone() } else { folder.join(file) };
            if !workspace::root().join(&target).exists() {
                problems.push(format!("{}: {} is not there", page.display(), target.display()));
                continue;
            }
            let is_page = target.extension().is_some_and(|e| e == "md");
            if is_page && !heading.is_empty() {
                let headings = headings(&workspace::read(&target)?);
                if !headings.iter().any(|known| known == heading) {
                    let (page, target) = (page.display(), target.display());
                    problems.push(format!("{page}: {target} has no heading #{heading}"));
                }
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

/// The lines of a Markdown text that are not in code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// The targets of the links `[..](file#heading)` of a Markdown text: no web addresses, nothing in
/// code blocks. Either part may be empty.
fn links(text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for line in prose(text) {
        for part in line.split("](").skip(1) {
            let target = part.split(')').next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
                found.push(target.split_once('#').unwrap_or((target, "")));
            }
        }
    }
    found
}

/// What links call the headings of a Markdown text: in small letters, hyphens for spaces, and of
/// other marks only hyphens and underscores.
fn headings(text: &str) -> Vec<String> {
    let name = |heading: &str| {
        let kept = heading.trim().chars().flat_map(char::to_lowercase).filter_map(|c| match c {
            ' ' => Some('-'),
            c => (c.is_alphanumeric() || c == '-' || c == '_').then_some(c),
        });
        kept.collect()
    };
    let heading = |line| str::strip_prefix(line, "#").map(|rest| rest.trim_start_matches('#'));
    prose(text).filter_map(heading).map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_of_the_repository() {
        let text = "See [a](a.md#part), [b](https://b.org), [c](#c) and ![d](img/d.png).\n\
                    ```\n[no](no.md)\n```\n- [e](e/f.md)\n";
        let expected = [("a.md", "part"), ("", "c"), ("img/d.png", ""), ("e/f.md", "")];
        assert_eq!(links(text), expected);
    }

    #[test]
    fn headings_are_called_as_links_call_them() {
        let text = "# Two words\n```sh\n# no heading\n```\n## The `--flag`, of 2 x_y's\ntext #3\n";
        assert_eq!(headings(text), ["two-words", "the---flag-of-2-x_ys"]);
    }
}
