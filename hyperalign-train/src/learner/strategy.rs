//! The loop over updates, as a training strategy of burn-train's.
//!
//! burn-train gives the `Learner` (module, optimizer, schedule), metrics, renderers and the
//! interrupter. Ours is what its own strategies lack: its checkpoints are made by epoch, hold
//! neither the moving average nor the position in the data and are three files that are written
//! one after the other from other threads, so that a killed run may leave a module of one epoch
//! beside the optimizer of another; gradients of micro-steps are summed; clipping is by tensor.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use burn::data::dataloader::Progress as Count;
use burn::module::Module;
use burn::train::{
    EventProcessorTraining, Interrupter, Learner, LearnerEvent, SupervisedLearningStrategy,
    SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents, TrainingItem, ValidLoader,
};
use hyperalign_core::memory;

use super::checkpoint::{self, State};
use super::journal::{Journal, Row};
use super::origin::Origin;
use super::run::{End, FitError, Progress, Run};
use super::student::Student;
use super::update::Gradient;
use super::{NonFinite, Objective, Settings, dashboard, update};

type Events<M> = SupervisedTrainingEventProcessor<Student<M>>;

/// The share of the newest update in the running mean of norms; more at the beginning of a run.
const MEAN_RATE: f64 = 0.05;

/// The strategy: burn's trainer lends it out by reference only.
pub(crate) struct ByUpdate<O: Objective>(Mutex<Sitting<O>>);

impl<O: Objective> ByUpdate<O> {
    pub(crate) fn new(sitting: Sitting<O>) -> Self {
        Self(Mutex::new(sitting))
    }

    /// The sitting, after the run or before.
    pub(crate) fn into_sitting(self) -> Sitting<O> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<O: Objective> SupervisedLearningStrategy<Student<O::Module>> for ByUpdate<O> {
    fn fit(
        &self,
        components: TrainingComponents<Student<O::Module>>,
        mut learner: Learner<Student<O::Module>>,
        _: TrainLoader<Student<O::Module>>,
        _: ValidLoader<Student<O::Module>>,
        _: usize,
    ) -> (Student<O::Module>, Events<O::Module>) {
        let TrainingComponents { mut event_processor, interrupter, .. } = components;
        let mut sitting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = sitting.go(&mut learner, &mut event_processor, &interrupter);
        sitting.ended = Some(ended);
        (learner.model(), event_processor)
    }
}

/// One sitting of a run.
pub(crate) struct Sitting<O: Objective> {
    pub(crate) objective: Arc<O>,
    pub(crate) settings: Settings,
    pub(crate) run: Run,
    pub(crate) origin: Origin,
    pub(crate) journal: Journal,
    pub(crate) journal_path: PathBuf,
    /// Where the run stands after the last update.
    pub(crate) state: State<O::Module>,
    /// What the updates of the span at hand share.
    pub(crate) batch: Option<O::Batch>,
    /// The update of the newest checkpoint of this sitting.
    pub(crate) saved: Option<u64>,
    /// How it ended.
    pub(crate) ended: Option<Result<End, FitError>>,
}

impl<O: Objective> Sitting<O> {
    fn go(
        &mut self,
        learner: &mut Learner<Student<O::Module>>,
        events: &mut Events<O::Module>,
        interrupter: &Interrupter,
    ) -> Result<End, FitError> {
        let total_items = self.settings.updates as usize;
        let split = LearnerEvent::StartSplit { epoch_number: 1, total_items };
        interrupter.fail_on_error(events.process_train(split));
        let end = loop {
            if let Some(end) = self.end(interrupter)? {
                break end;
            }
            let row = self.update(learner)?;
            let done = Count::new(row.update as usize, total_items, Some("updates".to_owned()));
            let item = TrainingItem::new(row, done, None, Some(learner.lr_current()));
            interrupter.fail_on_error(events.process_train(LearnerEvent::ProcessedItem(item)));
            if self.is_time_to_save() {
                self.save()?;
            }
        };
        interrupter.fail_on_error(events.process_train(LearnerEvent::EndSplit(1)));
        self.save()?;
        Ok(end)
    }

    /// Whether the run ends here: after its last update, or earlier at the end of a span.
    pub(crate) fn end(&self, interrupter: &Interrupter) -> Result<Option<End>, FitError> {
        if let Some(error) = interrupter.error() {
            let reason = error.to_string();
            return Err(FitError::Trainer { update: self.state.update, reason });
        }
        if self.state.update >= self.settings.updates {
            return Ok(Some(End::Finished));
        }
        if !self.is_between_spans() {
            return Ok(None);
        }
        let time_up = self.settings.time_limit.is_some_and(|limit| self.state.elapsed >= limit);
        Ok(if self.run.stop.is_requested() || interrupter.should_stop() {
            Some(End::Interrupted)
        } else if self.objective.wants_end() {
            Some(End::ByObjective)
        } else if time_up {
            Some(End::TimeUp)
        } else {
            None
        })
    }

    fn is_between_spans(&self) -> bool {
        self.batch.is_none() || self.state.update.is_multiple_of(self.objective.span())
    }

    /// Whether a checkpoint is due, which is made at the end of a span.
    fn is_time_to_save(&self) -> bool {
        let (done, every) = (self.state.update, self.settings.checkpoint_every);
        let before = done.saturating_sub(self.objective.span());
        self.is_between_spans() && done / every > before / every
    }

    /// The next update.
    fn update(&mut self, learner: &mut Learner<Student<O::Module>>) -> Result<Row, FitError> {
        let begin = Instant::now();
        if matches!(self.run.progress, Progress::Dashboard(_)) {
            dashboard::keep_interrupt_key();
        }
        let update = self.state.update;
        let module = &self.state.module;
        if self.is_between_spans() {
            self.batch = None;
        }
        let batch =
            self.batch.get_or_insert_with(|| self.objective.prepare(&module.valid(), update));
        learner.lr_step();
        let passes = update::gradient(
            &*self.objective,
            module,
            batch,
            update,
            &self.settings,
            self.state.mean_norm,
        );
        let Gradient { parts, norm, clipped, gradients, metrics } = match passes {
            Ok(gradient) => gradient,
            // Nothing has touched the weights yet: they are the last good ones.
            Err(error) => return Err(self.give_up(error)),
        };
        let row = Row { update: update + 1, parts, gradient_norm: norm, metrics, ..Row::default() };
        let passes = learner.train_step((row, gradients));
        learner.optimizer_step(passes.grads);
        let student = learner.model();
        let step = student.last_step();
        if !step.weight_norm.is_finite() {
            return Err(self.give_up(NonFinite::weights(update, step.weight_norm)));
        }
        let state = &mut self.state;
        state.average = state.average.take().map(|average| average.take(&student.module, update));
        (state.module, state.optimizer) = (student.module, step.optimizer);
        state.update = update + 1;
        if self.settings.clip_to_mean.is_some() {
            let mean = state.mean_norm.unwrap_or(clipped);
            let rate = (1.0 / (update + 1) as f64).max(MEAN_RATE);
            state.mean_norm = Some(mean + rate * (clipped - mean));
        }
        let row = Row {
            lr: learner.lr_current().base(),
            weight_norm: step.weight_norm,
            peak_memory: memory::peak(),
            seconds: begin.elapsed().as_secs_f64(),
            ..passes.item
        };
        self.journal.write(&row).map_err(write_error(&self.journal_path))?;
        self.after_update()?;
        // What is remembered of an update includes what was seen after it.
        self.state.memory = self.objective.memory();
        self.state.elapsed += begin.elapsed();
        Ok(row)
    }

    /// Saves the last good weights and hands `error` back, or what kept it from saving.
    ///
    /// It saves wherever the run stands, also within a [span](Objective::span): losing the updates
    /// since the last checkpoint would be worse than what a run that goes on from there does, which
    /// is to prepare a new batch for the rest of the span.
    fn give_up(&mut self, error: NonFinite) -> FitError {
        match self.save() {
            Ok(()) => error.into(),
            Err(error) => error,
        }
    }

    fn after_update(&self) -> Result<(), FitError> {
        let State { module, average, update, .. } = &self.state;
        let module = match average {
            Some(average) => average.module.clone(),
            None => module.valid(),
        };
        self.objective
            .after_update(&module, *update, &self.run.dir)
            .map_err(|source| FitError::Objective { update: *update, source })
    }

    fn save(&mut self) -> Result<(), FitError> {
        let update = self.state.update;
        if self.saved == Some(update) {
            return Ok(());
        }
        self.journal.sync().map_err(write_error(&self.journal_path))?;
        checkpoint::save(&self.run.dir, &self.state, &self.origin, self.settings.keep)
            .map_err(write_error(&self.run.dir.join("checkpoints")))?;
        self.saved = Some(update);
        Ok(())
    }
}

/// Turns an error of a file into one of the run.
pub(crate) fn write_error(path: &Path) -> impl FnOnce(std::io::Error) -> FitError {
    let path = path.to_owned();
    move |source| FitError::Io { path, source }
}
