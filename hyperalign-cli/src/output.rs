//! Writing answers to standard output: the only place that does.

use std::io::{ErrorKind, Write};

use serde::Serialize;

/// Standard output could not be written.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("could not write to standard output: {0}")]
pub struct OutputError(std::io::Error);

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
    let mut out = std::io::stdout().lock();
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

#[cfg(test)]
mod tests {
    use super::*;

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
