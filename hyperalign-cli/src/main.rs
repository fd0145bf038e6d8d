//! The program `hyperalign`: samples, trains, evaluates and inspects aligned diffusion models.
//!
//! This crate turns arguments and files into calls of the libraries, and their answers into
//! text, JSON, pictures and an exit status. It knows no mathematics: what can be computed can be
//! computed without it.

// The one crate that may talk to the terminal; the libraries report through return values.
#![allow(clippy::print_stderr)]

mod args;
mod base;
mod cli;
mod codec;
mod command;
mod config;
mod context;
mod disk;
mod hub;
mod interrupt;
mod kernels;
mod outcome;
mod output;
mod prompts;
mod provenance;
mod report;
mod rewards;
#[cfg(feature = "serve")]
mod server;
mod shipped;
mod test_time;

use std::process::ExitCode;

use clap::CommandFactory;

use crate::cli::Cli;
use crate::context::Context;
use crate::outcome::Outcome;
use crate::output::OutputError;

/// Tensors of a megabyte come and go by the thousand. The system's allocator gives each of them
/// back to the kernel and pays for every page anew: attention took twice the time.
#[cfg(not(test))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Tests ask what readers take.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: hyperalign_core::fuzz::Counting = hyperalign_core::fuzz::Counting;

fn main() -> ExitCode {
    report::install();
    // Clap answers `--help` and `--version` itself, and ends with status 2 on wrong usage.
    let done = Cli::of_the_process().and_then(|cli| {
        interrupt::survive_file_size_limit();
        let context = Context::new(cli.device, !cli.no_kernel_cache, Cli::command);
        command::run(cli.command, &context)
    });
    match done {
        Ok(outcome) => outcome.into(),
        // `hyperalign ... | head` closes our output early: that is the reader's right.
        Err(report)
            if report.downcast_ref::<OutputError>().is_some_and(OutputError::is_broken_pipe) =>
        {
            Outcome::Done.into()
        }
        Err(report) => {
            output::note(&format!("{report:?}"));
            Outcome::Failed.into()
        }
    }
}
