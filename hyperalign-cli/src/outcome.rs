//! How a command ended, as the exit status that scripts see.

use std::process::ExitCode;

/// The status of a program that Ctrl-C ended.
pub const INTERRUPTED: u8 = 130;

/// How a command ended. Wrong usage (2) is clap's own and never gets here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It did what was asked: status 0.
    Done,
    /// It was interrupted, and saved what it had: status 130, as a shell gives a program that
    /// Ctrl-C ended.
    Interrupted,
    /// It ran, and its answer is no (a row out of tolerance), or it could not run: status 1.
    Failed,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        ExitCode::from(match outcome {
            Outcome::Done => 0,
            Outcome::Failed => 1,
            Outcome::Interrupted => INTERRUPTED,
        })
    }
}
