//! The repository's chores: `cargo xtask help` lists them.
//!
//! Uses the standard library only and none of the other crates, so that it compiles in a second
//! on a fresh clone; what needs the program starts cargo.

// A program for the terminal: it may print.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod check;
mod docs;
mod fuzz;
mod golden;
mod process;
mod program;
mod semver;
mod task;
mod test;
mod workspace;

use std::process::ExitCode;

use crate::process::Failure;
use crate::task::Task;

/// Every chore, in the order in which `cargo xtask help` lists them.
const TASKS: &[Task] = &[
    program::TRAIN,
    test::TASK,
    check::TASK,
    fuzz::TASK,
    golden::TASK,
    program::PRETRAIN,
    program::BENCH,
    program::EVIDENCE,
    docs::TASK,
    semver::TASK,
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match task::run(TASKS, &arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => {
            eprintln!("xtask: {message}");
            ExitCode::from(2)
        }
        Err(Failure::Told(message)) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
        // The command has said why; its status is the answer (130 means interrupted and saved).
        Err(Failure::Status(status)) => ExitCode::from(status),
    }
}
