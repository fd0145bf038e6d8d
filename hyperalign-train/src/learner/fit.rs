//! The loop over updates.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use burn::module::Module;
use serde_json::json;

use super::average::Average;
use super::checkpoint::{self, Origin, State};
use super::journal::Journal;
use super::{
    NonFinite, Objective, ResumeError, Row, Settings, SettingsError, memory, parameters, update,
};

/// Where and how one run is made.
#[derive(Debug, Clone)]
pub struct Run {
    /// The folder of the run: `checkpoints/`, `metrics.jsonl`, and what the objective writes.
    pub dir: PathBuf,
    /// Whether an earlier sitting is continued.
    pub resume: Resume,
    /// What the run is made with beside [`Settings`]: the configuration of the objective, the hash
    /// of the base. A checkpoint of another identity is refused.
    pub identity: String,
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

/// Asks a run to finish the update at hand, save and return. Clones are one handle.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    requested: Arc<AtomicBool>,
}

impl Stop {
    /// Asks for the end.
    pub fn request(&self) {
        self.requested.store(true, Ordering::Relaxed);
    }

    /// Whether the end was asked for.
    pub fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }
}

/// Where progress goes. The library itself never prints.
#[derive(Clone)]
pub enum Progress {
    /// Nowhere; there is still `metrics.jsonl`.
    Quiet,
    /// To a function, line by line.
    Lines(Arc<dyn Fn(&str) + Send + Sync>),
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Quiet => "Quiet",
            Self::Lines(_) => "Lines",
        })
    }
}

impl Progress {
    fn line(&self, line: &str) {
        if let Self::Lines(write) = self {
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
    /// [`Settings::time_limit`] was reached.
    TimeUp,
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
        "cannot write {path}: {source}; the last checkpoint is whole, resume once this is mended"
    )]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// [`Objective::after_update`] failed.
    #[error("after update {update}: {source}")]
    Objective {
        /// Updates done.
        update: u64,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// Trains `module` towards `objective`.
///
/// Files of `run.dir`: `metrics.jsonl` (one row an update, see [`Row::to_json`]) and
/// `checkpoints/step-NNNNNN`, of which the last is always of the update that was returned.
///
/// # Errors
///
/// Fails for unusable settings, a folder that holds another run or cannot be written, values that
/// are not finite (the weights before them are saved), and errors of the objective.
pub fn fit<O: Objective>(
    objective: Arc<O>,
    module: O::Module,
    settings: &Settings,
    run: &Run,
) -> Result<Outcome<O::Module>, FitError> {
    settings.validate()?;
    let module = parameters::number(module);
    let known = parameters::list(&module);
    let origin = Origin {
        identity: run.identity.clone(),
        settings: settings.trajectory(),
        parameters: json!(known),
    };
    let state = State {
        optimizer: settings.optimizer.init(known.iter().map(|known| known.path.as_str())),
        average: settings.ema.map(|decay| Average::new(&module, decay)),
        module,
        update: 0,
        elapsed: Duration::ZERO,
    };
    let state = begin(state, &origin, run)?;
    let journal_path = run.dir.join("metrics.jsonl");
    let journal = Journal::open(&journal_path, state.update).map_err(write_error(&journal_path))?;
    Fitting { objective, settings, run, origin, saved: None, journal, journal_path, state }.go()
}

/// Looks for an earlier sitting.
fn begin<M: Module>(fresh: State<M>, origin: &Origin, run: &Run) -> Result<State<M>, FitError> {
    std::fs::create_dir_all(&run.dir).map_err(write_error(&run.dir))?;
    let dir = run.dir.clone();
    match run.resume {
        Resume::Fresh => {
            let found = checkpoint::list(&dir)
                .map_err(|source| ResumeError::Io { path: dir.clone(), source })?;
            match found.last() {
                Some(&(update, _)) => Err(ResumeError::Occupied { dir, update }.into()),
                None => Ok(fresh),
            }
        }
        Resume::Continue => {
            let (state, damaged) = checkpoint::resume(&dir, fresh, origin)?;
            for line in damaged {
                run.progress.line(&format!("warning: {line}; going back to the one before"));
            }
            if state.update > 0 {
                run.progress.line(&format!("resuming after update {}", state.update));
            }
            Ok(state)
        }
    }
}

fn write_error(path: &Path) -> impl FnOnce(io::Error) -> FitError {
    let path = path.to_owned();
    move |source| FitError::Io { path, source }
}

/// A run under way.
struct Fitting<'a, O: Objective> {
    objective: Arc<O>,
    settings: &'a Settings,
    run: &'a Run,
    origin: Origin,
    /// The update of the newest checkpoint of this sitting.
    saved: Option<u64>,
    journal: Journal,
    journal_path: PathBuf,
    state: State<O::Module>,
}

impl<O: Objective> Fitting<'_, O> {
    fn go(mut self) -> Result<Outcome<O::Module>, FitError> {
        let end = loop {
            if self.state.update >= self.settings.updates {
                break End::Finished;
            }
            if self.run.stop.is_requested() {
                break End::Interrupted;
            }
            if self.settings.time_limit.is_some_and(|limit| self.state.elapsed >= limit) {
                break End::TimeUp;
            }
            let begin = Instant::now();
            self.update()?;
            self.state.elapsed += begin.elapsed();
            if self.state.update.is_multiple_of(self.settings.checkpoint_every) {
                self.save()?;
            }
        };
        self.save()?;
        let State { module, average, update, elapsed, .. } = self.state;
        Ok(Outcome { module, average: average.map(|a| a.module), update, end, elapsed })
    }

    fn update(&mut self) -> Result<(), FitError> {
        let begin = Instant::now();
        let (settings, index) = (self.settings, self.state.update);
        let gradient = match update::gradient(&*self.objective, &self.state.module, index, settings)
        {
            Ok(gradient) => gradient,
            Err(error) => {
                // Nothing has touched the weights yet: they are the last good ones.
                self.save()?;
                return Err(error.into());
            }
        };
        let lr = settings.optimizer.lr * settings.schedule.factor(index, settings.updates);
        // Clones share their tensors: this keeps the last good state until the next is known to be.
        let (before, mut optimizer) = (&self.state.module, self.state.optimizer.clone());
        let module = optimizer.step(lr, before.clone(), gradient.gradients);
        let weight_norm = parameters::norm(&module);
        if !weight_norm.is_finite() {
            self.save()?;
            return Err(NonFinite {
                update: index + 1,
                part: "weights".to_owned(),
                quantity: "norm",
                value: weight_norm,
            }
            .into());
        }
        (self.state.module, self.state.optimizer) = (module, optimizer);
        if let Some(average) = self.state.average.take() {
            self.state.average = Some(average.take(&self.state.module, index));
        }
        self.state.update += 1;
        self.log(Row {
            update: self.state.update,
            lr,
            parts: gradient.parts,
            gradient_norm: gradient.norm,
            weight_norm,
            seconds: begin.elapsed().as_secs_f64(),
            peak_memory: memory::peak(),
            metrics: gradient.metrics,
        })?;
        self.after_update()
    }

    fn log(&mut self, row: Row) -> Result<(), FitError> {
        self.journal.write(&row).map_err(write_error(&self.journal_path))?;
        if row.update == 1 || row.update.is_multiple_of(self.settings.log_every) {
            self.run.progress.line(&row.to_line(self.settings.updates));
        }
        Ok(())
    }

    fn after_update(&self) -> Result<(), FitError> {
        let done = self.state.update;
        let module = match &self.state.average {
            Some(average) => average.module.clone(),
            None => self.state.module.valid(),
        };
        self.objective
            .after_update(&module, done, &self.run.dir)
            .map_err(|source| FitError::Objective { update: done, source })
    }

    fn save(&mut self) -> Result<(), FitError> {
        if self.saved == Some(self.state.update) {
            return Ok(());
        }
        self.journal.sync().map_err(write_error(&self.journal_path))?;
        checkpoint::save(&self.run.dir, &self.state, &self.origin, self.settings.keep)
            .map_err(write_error(&self.run.dir.join("checkpoints")))?;
        self.saved = Some(self.state.update);
        Ok(())
    }
}
