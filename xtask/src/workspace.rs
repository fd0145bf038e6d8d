//! Where the repository is, and which files are part of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Failure, Result};

/// The crates from the foundation to the program: each may use those to its left.
pub const LAYERS: [&str; 5] = [
    "hyperalign-core",
    "hyperalign-models",
    "hyperalign-rewards",
    "hyperalign-train",
    "hyperalign-cli",
];

/// Folders that are made, not written.
const MADE: [&str; 5] = [".git", "target", "runs", "out", "docs/book"];

/// The root of the repository.
pub fn root() -> &'static Path {
    // The folder of xtask's own Cargo.toml always has a parent.
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The files of the repository, relative to its [`root`] and sorted: what git tracks or would
/// track, or every file that is not made where there is no git.
///
/// # Errors
///
/// Fails if a folder cannot be read.
pub fn files() -> Result<Vec<PathBuf>> {
    let listing = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    let mut files = match listing {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout)
            .split('\0')
            .filter(|name| !name.is_empty())
            .map(PathBuf::from)
            .filter(|path| root().join(path).is_file())
            .collect(),
        _ => {
            let mut found = Vec::new();
            walk(Path::new(""), &mut found)?;
            found
        }
    };
    files.sort();
    Ok(files)
}

/// Reads a file of the repository.
///
/// # Errors
///
/// Fails if it cannot be read as text.
pub fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(root().join(path))
        .map_err(|error| Failure::Told(format!("could not read {}: {error}", path.display())))
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let failed =
        |error| Failure::Told(format!("could not list {}: {error}", root().join(folder).display()));
    for entry in std::fs::read_dir(root().join(folder)).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = folder.join(entry.file_name());
        if MADE.iter().any(|made| path == Path::new(made)) {
            continue;
        }
        if entry.file_type().map_err(failed)?.is_dir() {
            walk(&path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}
