//! `hyperalign completions SHELL`.

use clap_complete::Shell;

use crate::context::Context;
use crate::outcome::Outcome;
use crate::output;

/// Flags of `hyperalign completions`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell to write for.
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the completion script.
///
/// # Errors
///
/// Fails if the output cannot be written.
pub fn run(args: &Args, context: &Context) -> miette::Result<Outcome> {
    // `generate` panics on a closed pipe, so it writes to memory first.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut context.parsing(), "hyperalign", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Done)
}
