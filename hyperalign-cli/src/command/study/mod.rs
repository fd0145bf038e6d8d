//! `hyperalign study`: which of two pictures people prefer, asked blindly in a browser.
//!
//! ```text
//! new:    runs ─ pictures by prompt and noise ─ draw ─ FOLDER/study.json, FOLDER/pictures/K-left.png
//! serve:  page ─ vote ─ BallotBox ─ FOLDER/votes.jsonl, a line a vote
//! report: study.json, votes.jsonl ─ Summary ─ Markdown, JSON
//! ```

mod ballot_box;
#[cfg(test)]
mod fuzz;
mod http;
mod new;
mod page;
mod pictures;
mod question;
mod report;
mod runs;
mod serve;

use crate::outcome::Outcome;

/// Flags of `hyperalign study`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make a study of pictures that are there: pairs of them, on sides and in an order drawn by a seed.
    New(new::Args),
    /// Answer browsers with the page of a study, and keep the votes.
    Serve(serve::Args),
    /// Count the votes: shares, win rates with intervals, strengths, and how far voters agree.
    Report(report::Args),
}

/// Does what was asked for.
///
/// # Errors
///
/// Fails for pictures, studies and votes that cannot be used, files that cannot be written, and an
/// address that cannot be listened at.
pub fn run(args: &Args) -> miette::Result<Outcome> {
    match &args.what {
        What::New(args) => new::run(args),
        What::Serve(args) => serve::run(args),
        What::Report(args) => report::run(args),
    }
}
