//! Setting up a run and launching it in burn's trainer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use burn::module::{Module, ParamGroup};
use burn::train::renderer::MetricsRenderer;
use burn::train::renderer::tui::TuiMetricsRendererWrapper;
use burn::train::{Interrupter, Learner, SupervisedTraining, TrainingStrategy};
use hyperalign_core::atomic;
use serde_json::json;

use super::average::Average;
use super::checkpoint::{self, State};
use super::dashboard::Dashboard;
use super::journal::Journal;
use super::loader::{Nothing, Updates};
use super::origin::Origin;
use super::progress::{LineRenderer, NoFiles, Value, shown_names};
use super::run::{End, FitError, Outcome, Progress, Resume, Run};
use super::strategy::{ByUpdate, Ended, Sitting, write_error};
use super::student::{Position, Student};
use super::{Objective, ResumeError, Settings, parameters, update};

/// Trains `module` towards `objective`.
///
/// Files of `run.dir`: `metrics.jsonl` (one row an update, see `Row::to_json`) and
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
    let rates = settings.optimizer.lr_groups(&known)?;
    let origin = Origin {
        identity: run.identity.clone(),
        settings: settings.trajectory(),
        parameters: json!(known),
    };
    let fresh = State {
        optimizer: settings.optimizer.init(&known),
        average: settings.ema.map(|decay| Average::new(&module, decay)),
        module,
        update: 0,
        elapsed: Duration::ZERO,
    };
    let state = begin(fresh, &origin, run)?;
    for (path, bytes) in &run.files {
        atomic::write(path, bytes)
            .map_err(|error| FitError::Io { path: error.path, source: error.source })?;
    }
    let journal_path = run.dir.join("metrics.jsonl");
    let journal = Journal::open(&journal_path, state.update).map_err(write_error(&journal_path))?;
    let sitting = Sitting {
        objective,
        settings: settings.clone(),
        run: run.clone(),
        origin,
        journal,
        journal_path,
        average: state.average.clone(),
        update: state.update,
        elapsed: state.elapsed,
        saved: (state.update > 0).then_some(state.update),
        begun: None,
    };
    let (end, State { module, average, update, elapsed, .. }) = launch(sitting, state, rates)?;
    Ok(Outcome { module, average: average.map(|a| a.module), update, end, elapsed })
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

/// Runs `sitting` from `state` in burn's trainer.
fn launch<O: Objective>(
    mut sitting: Sitting<O>,
    state: State<O::Module>,
    rates: Vec<(ParamGroup, f64)>,
) -> Ended<O::Module> {
    let interrupter = Interrupter::new();
    let over = state.update >= sitting.settings.updates;
    if over || sitting.early_end(&interrupter)?.is_some() {
        // Nothing to do: there is no first update to learn the names of the metrics from.
        let end = sitting.early_end(&interrupter)?.unwrap_or(End::Finished);
        return Ok((end, state));
    }
    let settings = sitting.settings.clone();
    let objective = sitting.objective.clone();
    // The metrics must be registered before the launch, and only the losses know their names: the
    // passes of the first update are made here, and handed over when the trainer comes to it. Not
    // every part has a share in every update, but all have one in the first of a run.
    sitting.begun = Some(Instant::now());
    let first = update::gradient(&*objective, &state.module, state.update, &settings);
    let names = match (sitting.journal.names(), &first) {
        (Some(names), _) => names,
        (None, Ok(first)) => (
            first.parts.iter().map(|part| part.name.clone()).collect(),
            first.metrics.iter().map(|(name, _)| name.clone()).collect(),
        ),
        (None, Err(_)) => Default::default(),
    };
    let first = Mutex::new(Some(first));
    let work = {
        let settings = settings.clone();
        move |module: &O::Module, update: u64| {
            let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
            first.unwrap_or_else(|| update::gradient(&*objective, module, update, &settings))
        }
    };

    let position = Position {
        schedule: settings.schedule.clone(),
        lr: settings.optimizer.lr,
        updates: settings.updates,
        next: state.update,
    };
    let student = Student::new(state.module, state.optimizer.clone(), work);
    let learner = Learner::new(student, state.optimizer, position.of_module(rates));
    let updates = Updates { next: state.update, end: settings.updates };
    let covered = matches!(sitting.run.progress, Progress::Dashboard(_)).then(Dashboard::new);
    let renderer = renderer(&sitting.run.progress, &settings, &interrupter);
    let dir = sitting.run.dir.clone();
    let strategy = Arc::new(ByUpdate::new(sitting));
    let mut training = SupervisedTraining::new(dir, Arc::new(updates), Arc::new(Nothing))
        .with_training_strategy(TrainingStrategy::Custom(strategy.clone()))
        .with_interrupter(interrupter)
        .with_metric_logger(NoFiles)
        // burn's installs a logger and a panic hook that prints, for the whole process.
        .with_application_logger(None)
        .renderer(renderer);
    for name in shown_names(names) {
        training = training.metric_train_numeric(Value::new(&name));
    }
    // Dropping the result closes the dashboard.
    drop(training.launch(learner));
    drop(covered);
    strategy.result()
}

fn renderer(
    progress: &Progress,
    settings: &Settings,
    interrupter: &Interrupter,
) -> Box<dyn MetricsRenderer> {
    let lines = |write| Box::new(LineRenderer::new(write, settings.log_every, settings.updates));
    match progress {
        Progress::Quiet => lines(None),
        Progress::Lines(write) => lines(Some(write.clone())),
        Progress::Dashboard(_) => {
            Box::new(TuiMetricsRendererWrapper::new(interrupter.clone(), None))
        }
    }
}
