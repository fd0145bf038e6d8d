//! Writing answers to standard output: the only place that does. Warnings go beside it.

use std::io::{self, ErrorKind, Write};
use std::path::Path;

use hyperalign_core::atomic::WriteError;
use serde::Serialize;

/// Standard output could not be written.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("could not write to standard output: {0}")]
pub struct OutputError(io::Error);

impl OutputError {
    /// Whether the reader merely went away, as `head` does when it has seen enough.
    pub fn is_broken_pipe(&self) -> bool {
        self.0.kind() == ErrorKind::BrokenPipe
    }
}

/// Prints `text` as it stands.
///
/// # Errors
///
/// Fails if it cannot be written. `println!` would panic there instead, on a closed pipe too.
pub fn print(text: &str) -> Result<(), OutputError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(OutputError)
}

/// Prints `value` as indented JSON and a line end.
///
/// # Errors
///
/// Fails if it cannot be written.
pub fn print_json(value: &impl Serialize) -> Result<(), OutputError> {
    let text = serde_json::to_string_pretty(value).map_err(|e| OutputError(e.into()))?;
    print(&format!("{text}\n"))
}

/// Tells the user, on standard error, what is not as they may expect.
pub fn warn(text: &str) {
    let _ = writeln!(io::stderr(), "warning: {text}");
}

/// Tells the user, on standard error, what they may want to know and need not change. Where nobody
/// reads it any more, the work goes on; `eprintln!` would panic there.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Checks that the file `path` could be written, its missing folders made, and makes nothing. Work
/// of minutes should not end with a folder that was never writable.
///
/// # Errors
///
/// Fails if it could not.
pub fn check_writable(path: &Path) -> Result<(), WriteError> {
    let failed = |source| WriteError { path: path.to_owned(), source };
    if path.is_dir() {
        return Err(failed(ErrorKind::AlreadyExists.into()));
    }
    let is_there = |folder: &&Path| folder.as_os_str().is_empty() || folder.exists();
    let folder = match path.ancestors().skip(1).find(is_there) {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return Err(failed(ErrorKind::NotADirectory.into()));
    }
    tempfile::tempfile_in(folder).map_err(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_cannot_be_written_are_found_before_the_work() {
        let folder = tempfile::tempdir().unwrap();
        check_writable(&folder.path().join("new/er/picture.png")).unwrap();
        check_writable(Path::new("picture.png")).unwrap();
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
        std::fs::write(folder.path().join("file"), "").unwrap();
        let error = check_writable(&folder.path().join("file/picture.png")).unwrap_err();
        assert!(error.to_string().contains("file/picture.png"), "{error}");
        assert!(check_writable(folder.path()).is_err());
    }

    #[test]
    fn a_closed_pipe_is_told_from_a_full_disk() {
        let of = |kind: ErrorKind| miette::Report::from(OutputError(kind.into()));
        let is_closed = |report: miette::Report| {
            report.downcast_ref::<OutputError>().is_some_and(OutputError::is_broken_pipe)
        };
        assert!(is_closed(of(ErrorKind::BrokenPipe)));
        assert!(!is_closed(of(ErrorKind::StorageFull)));
    }
}
