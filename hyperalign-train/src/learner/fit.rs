//! Setting up a run and launching it in burn's trainer.

use std::sync::Arc;
use std::time::Duration;

use burn::module::{Module, ParamGroup};
use burn::train::renderer::MetricsRenderer;
use burn::train::renderer::tui::TuiMetricsRendererWrapper;
use burn::train::{Interrupter, Learner, SupervisedTraining, TrainingStrategy};
use hyperalign_core::atomic;
use serde_json::json;

use super::average::Average;
use super::checkpoint::{self, State};
use super::dashboard::Dashboard;
use super::journal::{self, Journal};
use super::loader::Nothing;
use super::origin::Origin;
use super::progress::{LineRenderer, NoFiles, Value, shown_names};
use super::run::{End, FitError, Outcome, Progress, Resume, Run};
use super::strategy::{ByUpdate, Sitting, write_error};
use super::student::{Position, Student};
use super::{Objective, ResumeError, Settings, parameters};

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
    settings.check_span(objective.span())?;
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
        memory: None,
        mean_norm: None,
        update: 0,
        elapsed: Duration::ZERO,
    };
    let state = begin(fresh, &origin, run)?;
    objective.recall(state.memory.clone()).map_err(|error| ResumeError::Corrupted {
        path: run.dir.join("checkpoints"),
        reason: format!("what the method remembers: {error}"),
    })?;
    for (path, bytes) in &run.files {
        atomic::write(path, bytes)
            .map_err(|error| FitError::Io { path: error.path, source: error.source })?;
    }
    let journal_path = journal::path(&run.dir);
    let journal = Journal::open(&journal_path, state.update).map_err(write_error(&journal_path))?;
    let sitting = Sitting {
        objective,
        settings: settings.clone(),
        run: run.clone(),
        origin,
        journal,
        journal_path,
        saved: (state.update > 0).then_some(state.update),
        state,
        batch: None,
        ended: None,
    };
    let (end, state) = launch(sitting, rates)?;
    let State { module, average, update, elapsed, .. } = state;
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
            let (state, damaged) = checkpoint::resume(&dir, fresh, origin, run.new_learning_rate)?;
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

/// Runs `sitting` in burn's trainer.
fn launch<O: Objective>(
    sitting: Sitting<O>,
    rates: Vec<(ParamGroup, f64)>,
) -> Result<(End, State<O::Module>), FitError> {
    let interrupter = Interrupter::new();
    if let Some(end) = sitting.end(&interrupter)? {
        return Ok((end, sitting.state));
    }
    let Sitting { settings, run, state, .. } = &sitting;
    let position = Position {
        schedule: settings.schedule.clone(),
        lr: settings.optimizer.lr,
        updates: settings.updates,
        next: state.update,
    };
    let student = Student::new(state.module.clone(), state.optimizer.clone());
    let learner = Learner::new(student, state.optimizer.clone(), position.of_module(rates));
    let covered = matches!(run.progress, Progress::Dashboard(_)).then(Dashboard::new);
    let renderer = renderer(&run.progress, settings, &interrupter);
    let dir = run.dir.clone();
    let names = shown_names(&sitting.objective.names(), settings.agreement_every.is_some());
    let strategy = Arc::new(ByUpdate::new(sitting));
    let mut training = SupervisedTraining::new(dir, Arc::new(Nothing), Arc::new(Nothing))
        .with_training_strategy(TrainingStrategy::Custom(strategy.clone()))
        .with_interrupter(interrupter)
        .with_metric_logger(NoFiles)
        // burn's installs a logger and a panic hook that prints, for the whole process.
        .with_application_logger(None)
        .renderer(renderer);
    for name in names {
        training = training.metric_train_numeric(Value::new(&name));
    }
    // Dropping the result closes the dashboard.
    drop(training.launch(learner));
    drop(covered);
    let strategy = Arc::into_inner(strategy).expect("burn's trainer has returned");
    let Sitting { ended, state, .. } = strategy.into_sitting();
    Ok((ended.expect("burn's trainer runs its strategy")?, state))
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
