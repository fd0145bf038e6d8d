//! Where and how one run is made, and what comes of it.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use burn::module::Module;
use hyperalign_core::stop::Stop;

use super::{NonFinite, ResumeError, SettingsError};

/// Where and how one run is made.
#[derive(Debug, Clone)]
pub struct Run {
    /// The folder of the run: `checkpoints/`, `metrics.jsonl`, and what the objective writes.
    pub dir: PathBuf,
    /// Whether an earlier sitting is continued.
    pub resume: Resume,
    /// What the run is made with beside [`Settings`](super::Settings): the configuration of the
    /// objective, the hash of the base. A checkpoint of another identity is refused.
    pub identity: String,
    /// Whether a checkpoint of another learning rate is continued with the one of the settings. It is
    /// another run from there on than one that was never stopped.
    pub new_learning_rate: bool,
    /// Files of the run that say what it is, written once it is known that it can begin or go on: a
    /// run that is refused leaves its folder as it was.
    pub files: Vec<(PathBuf, Vec<u8>)>,
    /// A handle that ends the run after the update at hand.
    pub stop: Stop,
    /// Where progress goes.
    pub progress: Progress,
}

impl Run {
    /// A new run in `dir`, silent, of `identity`.
    pub fn new(dir: impl Into<PathBuf>, identity: impl Into<String>) -> Self {
        Self {
            dir: dir.into(),
            resume: Resume::Fresh,
            identity: identity.into(),
            new_learning_rate: false,
            files: Vec::new(),
            stop: Stop::default(),
            progress: Progress::Quiet,
        }
    }
}

/// Whether an earlier sitting is continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// A new run; an error in a folder that holds one.
    Fresh,
    /// The newest checkpoint is continued; a new run where there is none.
    Continue,
}

/// A function that takes one line of progress, without its end.
pub type LineWriter = Arc<dyn Fn(&str) + Send + Sync>;

/// Where progress goes. The library itself prints nothing but the dashboard that is asked for.
#[derive(Clone)]
pub enum Progress {
    /// Nowhere; there is still `metrics.jsonl`.
    Quiet,
    /// To a function, line by line: every [`log_every`](super::Settings::log_every) updates the
    /// means since the line before.
    Lines(LineWriter),
    /// To burn's dashboard in the terminal, which standard output must be. Its key `q` ends the
    /// run as [`Stop`] does. The function gets what is to say before the dashboard opens.
    Dashboard(LineWriter),
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Quiet => "Quiet",
            Self::Lines(_) => "Lines",
            Self::Dashboard(_) => "Dashboard",
        })
    }
}

impl Progress {
    /// Says something in the midst of a run, unless a dashboard covers the terminal.
    pub(crate) fn line_while_running(&self, line: &str) {
        if let Self::Lines(write) = self {
            write(line);
        }
    }

    /// Says something while no dashboard is open.
    pub(crate) fn line(&self, line: &str) {
        if let Self::Lines(write) | Self::Dashboard(write) = self {
            write(line);
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All updates are done.
    Finished,
    /// [`Stop`] was requested.
    Interrupted,
    /// [`Settings::time_limit`](super::Settings::time_limit) was reached.
    TimeUp,
    /// The objective wanted it: [`Objective::wants_end`](super::Objective::wants_end).
    ByObjective,
}

/// What a run gives.
#[derive(Debug, Clone)]
pub struct Outcome<M> {
    /// The weights after the last update, on the autodiff device.
    pub module: M,
    /// Their moving average where one was asked for, on the plain device.
    pub average: Option<M>,
    /// Updates done, those of earlier sittings included.
    pub update: u64,
    /// How it ended.
    pub end: End,
    /// Time spent, that of earlier sittings included.
    pub elapsed: Duration,
}

impl<M: Module> Outcome<M> {
    /// The weights to use: the average where there is one, on the plain device.
    pub fn learned(&self) -> M {
        self.average.clone().unwrap_or_else(|| self.module.valid())
    }
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FitError {
    /// A setting is unusable.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The run cannot be started or continued in its folder.
    #[error(transparent)]
    Resume(#[from] ResumeError),
    /// A loss, a gradient or the weights are not finite.
    #[error(transparent)]
    NonFinite(#[from] NonFinite),
    /// The folder of the run cannot be written.
    #[error(
        "cannot write {path}: {source}; checkpoints that exist are whole: mend this and resume"
    )]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// [`Objective::after_update`](super::Objective::after_update) failed.
    #[error("after update {update}: {source}")]
    Objective {
        /// Updates done.
        update: u64,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// burn's trainer ended the run.
    #[error("after update {update}: {reason}; resume from the last checkpoint")]
    Trainer {
        /// Updates done.
        update: u64,
        /// What it said.
        reason: String,
    },
}
