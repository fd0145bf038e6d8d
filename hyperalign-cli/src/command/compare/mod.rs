//! `hyperalign compare`: a whole comparison from one file, and the report of it.
//!
//! What is trained and what is measured runs in processes of its own, one after the other: one that
//! fails, or that the system kills for its memory, ends nothing but itself, and each tells its own
//! peak of memory.

mod along;
mod child;
mod distance;
mod file;
pub(super) mod kept;
mod measured;
mod training;

use std::path::{Path, PathBuf};

use hyperalign_core::stop::Stop;
use hyperalign_train::{
    compare::{Comparison, Failure, Folders, Measurement, Plan, Results, RunRecord, Shard},
    learner::{FolderLock, LockError},
    report::Report,
};
use miette::{Diagnostic, IntoDiagnostic};

use self::child::{Child, Ended};
use crate::{context::Context, interrupt, outcome::Outcome, output};

/// Flags of `hyperalign compare`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What is compared. Files of prompts, preferences, settings and adapters in it are relative to its
    /// folder.
    #[arg(long, value_name = "FILE.toml")]
    config: PathBuf,

    /// Folder of the runs and of the report. Called again with the same one, it goes on where it was.
    /// Default: the name of the file, in `runs`.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Only these entries, and the bases. Give it several times, or with commas, for several.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,

    /// A share of the runs, for arrays of jobs: 2/8 is the second of eight. Each may have a folder of
    /// its own, and `hyperalign merge` puts them together.
    #[arg(long, value_name = "I/N", default_value_t = Shard::WHOLE)]
    shard: Shard,

    /// Tell which runs there are and which of them are done, and make none.
    #[arg(long)]
    list: bool,

    /// One run, in this process: what the command starts itself with.
    #[arg(long, value_name = "ID", hide = true)]
    run: Option<String>,
}

/// A comparison that cannot be made.
#[derive(Debug, thiserror::Error, Diagnostic)]
enum CompareArgsError {
    #[error("`--only {given}` is no entry of `{}`", config.display())]
    #[diagnostic(help("its entries are {known}"))]
    Only { given: String, config: PathBuf, known: String },
    #[error("the plan in `{}` has no run `{id}`", out.display())]
    NoRun { id: String, out: PathBuf },
}

/// Makes the runs that are missing, and then the report.
///
/// # Errors
///
/// Fails for a file that does not go together and for bases that cannot be read. A run that fails
/// is told at the end, and the others go on.
pub fn run(args: &Args, context: &Context) -> miette::Result<Outcome> {
    let folders = Folders::new(out(args));
    if let Some(id) = &args.run {
        return measured::run(id, &files(&args.config), &folders, context);
    }
    let comparison = file::read(&args.config)?;
    let named = |name: &&String| comparison.entry(name).is_none();
    if let Some(given) = args.only.iter().find(named) {
        let known: Vec<&str> = comparison.entries.iter().map(|e| e.name.as_str()).collect();
        let (given, config) = (given.clone(), args.config.clone());
        return Err(CompareArgsError::Only { given, config, known: known.join(", ") }.into());
    }
    let identities = file::identities(&comparison, &files(&args.config), context)?;
    let plan = Plan::new(&comparison, &identities).into_diagnostic()?;
    if args.list {
        return list(&plan, args, &folders);
    }
    let _lock = (args.shard == Shard::WHOLE && args.only.is_empty())
        .then(|| FolderLock::take(folders.root()))
        .transpose()
        .into_diagnostic()?;
    folders.write_plan(&comparison, &plan).into_diagnostic()?;
    let stop = Stop::default();
    interrupt::request_on_ctrl_c(stop.clone())?;
    let comparing = Comparing {
        comparison: &comparison,
        plan: &plan,
        folders: &folders,
        config: &args.config,
        stop: &stop,
        device: context.device_name(),
    };
    let wanted = plan.measurements_of(args.shard, &args.only);
    let mut failed = Vec::new();
    for (k, measurement) in wanted.iter().enumerate() {
        output::note(&format!("[{}/{}] {}", k + 1, wanted.len(), measurement.id));
        match comparing.make(measurement)? {
            Made::Done => {}
            Made::Failed => failed.push(measurement.id.as_str()),
            Made::Interrupted => {
                output::note("interrupted and saved; the same command goes on");
                return Ok(Outcome::Interrupted);
            }
        }
    }
    write_report(&folders)?;
    if failed.is_empty() {
        return Ok(Outcome::Done);
    }
    output::warn(&format!(
        "{} of {} runs failed ({}); the report says why, and the same command tries them again",
        failed.len(),
        wanted.len(),
        failed.join(", ")
    ));
    Ok(Outcome::Failed)
}

/// Makes the report of what lies in `folders` and says where it is.
///
/// # Errors
///
/// Fails if there is no comparison, and if the report cannot be written.
pub fn write_report(folders: &Folders) -> miette::Result<()> {
    let results = Results::read(folders).into_diagnostic()?;
    let report = Report::new(&results);
    report.write(&folders.report()).into_diagnostic()?;
    for line in &results.missing {
        output::note(&format!("missing: {line}"));
    }
    output::print(&format!("{}\n", folders.report().join("index.html").display()))?;
    Ok(())
}

fn out(args: &Args) -> PathBuf {
    let stem = args.config.file_stem().unwrap_or(args.config.as_os_str());
    args.out.clone().unwrap_or_else(|| Path::new("runs").join(stem))
}

/// The folder that paths in the file are relative to.
fn files(config: &Path) -> PathBuf {
    config.parent().map(Path::to_owned).unwrap_or_default()
}

fn list(plan: &Plan, args: &Args, folders: &Folders) -> miette::Result<Outcome> {
    let mut text = String::new();
    for measurement in plan.measurements_of(args.shard, &args.only) {
        let folder = folders.measured(&measurement.id);
        let state = match (RunRecord::is_in(&folder), Failure::read(&folder)) {
            (true, _) => "done".to_owned(),
            (false, Some(failure)) => format!("failed in {}", failure.stage),
            (false, None) => "to do".to_owned(),
        };
        text += &format!("{state:16} {}\n", measurement.id);
    }
    output::print(&text)?;
    Ok(Outcome::Done)
}

/// What came of a run.
enum Made {
    Done,
    Failed,
    Interrupted,
}

/// What all runs of a comparison share.
struct Comparing<'a> {
    comparison: &'a Comparison,
    plan: &'a Plan,
    folders: &'a Folders,
    config: &'a Path,
    stop: &'a Stop,
    device: &'a str,
}

impl Comparing<'_> {
    /// Makes what `measurement` needs and then itself, unless it is there.
    fn make(&self, measurement: &Measurement) -> miette::Result<Made> {
        let folder = self.folders.measured(&measurement.id);
        if RunRecord::is_in(&folder) {
            return Ok(Made::Done);
        }
        let _lock = match FolderLock::take(&folder) {
            Ok(lock) => lock,
            Err(LockError::Held { .. }) => {
                output::note("another process is at it; passed over");
                return Ok(Made::Done);
            }
            Err(error) => return Err(error).into_diagnostic(),
        };
        let training = measurement.training.as_ref().and_then(|id| self.plan.training(id));
        let ended = match training.map(|training| self.train(training)).transpose()? {
            None | Some(Ended::Well) => ("measure", self.measure(measurement)?),
            Some(ended) => ("train", ended),
        };
        match ended {
            (_, Ended::Well) if RunRecord::is_in(&folder) => Ok(Made::Done),
            (_, Ended::Interrupted) => Ok(Made::Interrupted),
            (stage, ended) => {
                let what = match ended {
                    Ended::Badly(what) => what,
                    _ => "it ended without a record".to_owned(),
                };
                let failure = Failure { stage: stage.to_owned(), what };
                failure.write(&folder).into_diagnostic()?;
                Ok(Made::Failed)
            }
        }
    }

    fn measure(&self, measurement: &Measurement) -> miette::Result<Ended> {
        let mut child = Child::new(self.device);
        child.args(["compare", "--run", &measurement.id]);
        child.path("--config", self.config).path("--out", self.folders.root());
        child.run(self.stop)
    }
}
