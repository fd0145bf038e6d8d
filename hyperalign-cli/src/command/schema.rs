//! `hyperalign schema`.

use hyperalign_train::align;

use crate::config;
use crate::context::Context;
use crate::outcome::Outcome;
use crate::output;

/// Flags of `hyperalign schema`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The command whose `--config` reads the file.
    #[arg(value_enum, default_value = "train")]
    command: Configured,
}

/// The commands that read a file of settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Configured {
    /// The settings of a run.
    Train,
    /// The options of the command, under their long names.
    Sample,
}

/// Prints the JSON schema of what `--config` reads.
///
/// # Errors
///
/// Fails if the output cannot be written.
pub fn run(args: &Args, context: &Context) -> miette::Result<Outcome> {
    output::print_json(&match args.command {
        Configured::Train => align::schema(),
        Configured::Sample => config::schema(&context.parsing(), "sample"),
    })?;
    Ok(Outcome::Done)
}
