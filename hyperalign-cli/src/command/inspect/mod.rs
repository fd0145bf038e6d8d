//! `hyperalign inspect`: what is in a file, or what ought to be.

mod adapter;
mod checkpoint;
mod estimate;
mod keys;
mod likely;
mod memory;
mod model;
mod parts;
mod pictures;

use std::path::Path;

use crate::outcome::Outcome;

/// Flags of `hyperalign inspect`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Print the keys and shapes that we expect of a published weight file, as lines of JSON.
    Keys(keys::Args),
    /// Print what a checkpoint of a run, a model folder or a weight file is: its layout, number
    /// formats and size, what is missing or too much, and the memory that it needs. Every value is
    /// read: what cannot be loaded is told, with exit status 1.
    Checkpoint(checkpoint::Args),
    /// Print what a published model takes of memory in each number format, part by part.
    Memory(estimate::Args),
    /// Print how far two pictures are apart: peak signal-to-noise ratio, mean and largest difference.
    Pictures(pictures::Args),
    /// Print what an adapter file says about itself, after checking its weights.
    Adapter(adapter::Args),
}

/// Inspects what was named.
///
/// # Errors
///
/// Fails if it cannot be read or is damaged, or if the output cannot be written.
pub fn run(args: &Args) -> miette::Result<Outcome> {
    match &args.what {
        What::Keys(args) => keys::run(args),
        What::Checkpoint(args) => checkpoint::run(args),
        What::Pictures(args) => pictures::run(args),
        What::Memory(args) => estimate::run(args),
        What::Adapter(args) => adapter::run(args),
    }
}

/// The memory that the model in `path` is estimated to take, where it is one whose sizes are known.
pub fn estimate(path: &Path) -> Option<serde_json::Value> {
    let answer = match path.is_file() {
        true => model::file(path).ok(),
        false => model::folder(path).ok().flatten(),
    };
    answer.and_then(|mut answer| Some(answer.json.get_mut("memory")?.take()))
}
