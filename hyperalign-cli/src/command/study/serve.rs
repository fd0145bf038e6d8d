//! `hyperalign study serve`: the page of a study, and its votes.

use std::{path::PathBuf, sync::Arc};

use hyperalign_core::{input, stop::Stop};
use hyperalign_train::{
    learner::FolderLock,
    study::{Answer, Study},
};
use miette::{Diagnostic, IntoDiagnostic};
use tokio::sync::OnceCell;

use super::{ballot_box::BallotBox, http::App};
use crate::{
    args::at_least_one,
    interrupt,
    outcome::Outcome,
    output,
    server::{self, Access, Bodies},
};

/// Bytes of one vote.
const BODY: usize = 1 << 12;
/// Bytes of votes that are held at once, over all requests.
const BODIES: usize = 1 << 24;

/// Flags of `hyperalign study serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the study, as `hyperalign study new` made it.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,

    /// Address or name to listen at. There is no login: whoever can reach it can vote.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: String,

    /// Port to listen at; 0 takes a free one.
    #[arg(long, value_name = "N", default_value_t = 7862)]
    port: u16,

    /// Name that browsers know the server by, if it listens at this machine's own address and a proxy
    /// stands before it. Give it several times for several.
    #[arg(long, value_name = "NAME")]
    known_as: Vec<String>,

    /// The most voters; more are turned away.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = at_least_one)]
    max_voters: usize,
}

/// A study that cannot be shown.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("the study lacks the picture `{}`: {source}", path.display())]
#[diagnostic(help("copy the whole folder of the study, or make it anew"))]
struct PictureGone {
    path: PathBuf,
    source: std::io::Error,
}

/// Answers until Ctrl-C or SIGTERM, and then those requests that are there already.
///
/// # Errors
///
/// Fails for a folder without a study, votes of another one, another process that serves it, and an
/// address that cannot be listened at.
pub fn run(args: &Args) -> miette::Result<Outcome> {
    let stop = Stop::default();
    interrupt::request_on_ctrl_c(stop.clone())?;
    let addresses = server::resolve(&args.host, args.port)?;
    let study = Study::open(&args.folder).into_diagnostic()?;
    let _lock = FolderLock::take(&args.folder).into_diagnostic()?;
    for item in 0..study.items.len() {
        for side in [Answer::Left, Answer::Right] {
            let path = Study::picture(&args.folder, item, side);
            input::regular(&path).map_err(|source| PictureGone { path, source })?;
        }
    }
    let pictures = study.items.iter().map(|_| [OnceCell::new(), OnceCell::new()]).collect();
    let votes = Arc::new(BallotBox::open(&args.folder, study, args.max_voters)?);
    let (voters, count) = votes.counts();
    if voters > 0 {
        output::note(&format!("{count} answers of {voters} voters are there already"));
    }
    let is_local = addresses.iter().all(|address| address.ip().is_loopback());
    let app = App {
        votes,
        pictures,
        folder: args.folder.clone(),
        access: Access::new(None, is_local).known_as(args.known_as.clone()),
        bodies: Bodies::new(BODY, BODIES, "a vote is short"),
    };
    // A vote waits for the disk, and one at a time is written.
    let runtime = server::runtime(4)?;
    runtime.block_on(server::run(&addresses, app.router(), false, stop))?;
    Ok(Outcome::Done)
}
