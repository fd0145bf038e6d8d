//! `hyperalign schema`.

use hyperalign_train::align;

use crate::outcome::Outcome;
use crate::output;

/// Flags of `hyperalign schema`: there are none.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Prints the JSON schema of what `train --config` reads.
///
/// # Errors
///
/// Fails if the output cannot be written.
pub fn run(_: &Args) -> miette::Result<Outcome> {
    output::print_json(&align::schema())?;
    Ok(Outcome::Done)
}
