//! The loop over updates, as a training strategy of burn-train's.
//!
//! burn-train gives the `Learner` (module, optimizer, schedule), metrics, renderers and the
//! interrupter. Ours is what its own strategies lack: its checkpoints are made by epoch, hold
//! neither the moving average nor the position in the data and are three files that are written
//! one after the other from other threads, so that a killed run may leave a module of one epoch
//! beside the optimizer of another; gradients of micro-steps are summed; clipping is by tensor.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::train::{
    EventProcessorTraining, Interrupter, Learner, LearnerEvent, SupervisedLearningStrategy,
    SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents, TrainingItem, ValidLoader,
};
use hyperalign_core::memory;

use super::average::Average;
use super::checkpoint::{self, State};
use super::journal::{Journal, Row};
use super::origin::Origin;
use super::run::{End, FitError, Progress, Run};
use super::student::{Passes, Student};
use super::{NonFinite, Objective, Settings, dashboard};

/// What a sitting leaves behind.
pub(crate) type Ended<M> = Result<(End, State<M>), FitError>;

type Events<M> = SupervisedTrainingEventProcessor<Student<M>>;

/// The strategy. It takes its [`Sitting`] out to run it, and leaves the result in its place.
pub(crate) struct ByUpdate<O: Objective> {
    slot: Mutex<Slot<O>>,
}

enum Slot<O: Objective> {
    Ready(Box<Sitting<O>>),
    Running,
    Done(Box<Ended<O::Module>>),
}

impl<O: Objective> ByUpdate<O> {
    pub(crate) fn new(sitting: Sitting<O>) -> Self {
        Self { slot: Mutex::new(Slot::Ready(Box::new(sitting))) }
    }

    fn swap(&self, slot: Slot<O>) -> Slot<O> {
        std::mem::replace(&mut *self.slot.lock().unwrap_or_else(PoisonError::into_inner), slot)
    }

    /// What the run gave.
    ///
    /// # Panics
    ///
    /// Panics before the run.
    pub(crate) fn result(&self) -> Ended<O::Module> {
        match self.swap(Slot::Running) {
            Slot::Done(result) => *result,
            _ => panic!("the training has not been launched"),
        }
    }
}

impl<O: Objective> SupervisedLearningStrategy<Student<O::Module>> for ByUpdate<O> {
    fn fit(
        &self,
        components: TrainingComponents<Student<O::Module>>,
        mut learner: Learner<Student<O::Module>>,
        updates: TrainLoader<Student<O::Module>>,
        _: ValidLoader<Student<O::Module>>,
        _: usize,
    ) -> (Student<O::Module>, Events<O::Module>) {
        let TrainingComponents { mut event_processor, interrupter, .. } = components;
        let Slot::Ready(mut sitting) = self.swap(Slot::Running) else {
            panic!("a strategy runs once");
        };
        let result = sitting.go(&mut learner, &updates, &mut event_processor, &interrupter);
        let model = learner.model();
        let result = result.map(|end| (end, sitting.state(&model)));
        self.swap(Slot::Done(Box::new(result)));
        (model, event_processor)
    }
}

/// One sitting of a run: what the loop needs beside burn's learner.
pub(crate) struct Sitting<O: Objective> {
    pub(crate) objective: std::sync::Arc<O>,
    pub(crate) settings: Settings,
    pub(crate) run: Run,
    pub(crate) origin: Origin,
    pub(crate) journal: Journal,
    pub(crate) journal_path: PathBuf,
    pub(crate) average: Option<Average<O::Module>>,
    /// Updates done.
    pub(crate) update: u64,
    /// Time spent, that of earlier sittings included.
    pub(crate) elapsed: Duration,
    /// The update of the newest checkpoint of this sitting.
    pub(crate) saved: Option<u64>,
    /// When the update at hand began, where that was before the loop came to it.
    pub(crate) begun: Option<Instant>,
}

impl<O: Objective> Sitting<O> {
    fn go(
        &mut self,
        learner: &mut Learner<Student<O::Module>>,
        updates: &TrainLoader<Student<O::Module>>,
        events: &mut Events<O::Module>,
        interrupter: &Interrupter,
    ) -> Result<End, FitError> {
        let total_items = updates.num_items();
        let split = LearnerEvent::StartSplit { epoch_number: 1, total_items };
        interrupter.fail_on_error(events.process_train(split));
        let mut end = End::Finished;
        let mut updates = updates.iter();
        loop {
            // An update that has begun is finished, whatever was asked for since.
            if self.begun.is_none()
                && let Some(early) = self.early_end(interrupter)?
            {
                end = early;
                break;
            }
            let Some(update) = updates.next() else { break };
            let update = update.map_err(|error| self.trainer_error(error))?;
            let row = self.update(learner, update)?;
            let lr = Some(learner.lr_current());
            let item = TrainingItem::new(Passes(Ok(row)), updates.progress(), None, lr);
            interrupter.fail_on_error(events.process_train(LearnerEvent::ProcessedItem(item)));
            if self.update.is_multiple_of(self.settings.checkpoint_every) {
                self.save(&learner.model())?;
            }
        }
        interrupter.fail_on_error(events.process_train(LearnerEvent::EndSplit(1)));
        self.save(&learner.model())?;
        Ok(end)
    }

    /// Whether the run ends before its last update.
    pub(crate) fn early_end(&self, interrupter: &Interrupter) -> Result<Option<End>, FitError> {
        if let Some(error) = interrupter.error() {
            return Err(self.trainer_error(error));
        }
        if self.update >= self.settings.updates {
            return Ok(None);
        }
        let time_up = self.settings.time_limit.is_some_and(|limit| self.elapsed >= limit);
        Ok(if self.run.stop.is_requested() || interrupter.should_stop() {
            Some(End::Interrupted)
        } else if time_up {
            Some(End::TimeUp)
        } else {
            None
        })
    }

    fn trainer_error(&self, error: impl std::fmt::Display) -> FitError {
        FitError::Trainer { update: self.update, reason: error.to_string() }
    }

    /// Update `update`, counted from 0.
    fn update(
        &mut self,
        learner: &mut Learner<Student<O::Module>>,
        update: u64,
    ) -> Result<Row, FitError> {
        let begin = self.begun.take().unwrap_or_else(Instant::now);
        if matches!(self.run.progress, Progress::Dashboard(_)) {
            dashboard::keep_interrupt_key();
        }
        learner.lr_step();
        let passes = learner.train_step(update);
        let mut row = match passes.item.0 {
            Ok(row) => row,
            // Nothing has touched the weights yet: they are the last good ones.
            Err(error) => return Err(self.give_up(learner, error)),
        };
        learner.optimizer_step(passes.grads);
        let student = learner.model();
        let weight_norm = student.last_step().weight_norm;
        if !weight_norm.is_finite() {
            return Err(self.give_up(learner, NonFinite::weights(update, weight_norm)));
        }
        if let Some(average) = self.average.take() {
            self.average = Some(average.take(&student.module, update));
        }
        self.update = update + 1;
        row.lr = learner.lr_current().base();
        row.weight_norm = weight_norm;
        row.peak_memory = memory::peak();
        row.seconds = begin.elapsed().as_secs_f64();
        self.journal.write(&row).map_err(write_error(&self.journal_path))?;
        self.after_update(&student.module)?;
        self.elapsed += begin.elapsed();
        Ok(row)
    }

    fn give_up(&mut self, learner: &Learner<Student<O::Module>>, error: NonFinite) -> FitError {
        match self.save(&learner.model()) {
            Ok(()) => error.into(),
            Err(error) => error,
        }
    }

    fn after_update(&self, module: &O::Module) -> Result<(), FitError> {
        let module = match &self.average {
            Some(average) => average.module.clone(),
            None => module.valid(),
        };
        self.objective
            .after_update(&module, self.update, &self.run.dir)
            .map_err(|source| FitError::Objective { update: self.update, source })
    }

    /// Everything that the next update depends on.
    fn state(&self, student: &Student<O::Module>) -> State<O::Module> {
        State {
            module: student.module.clone(),
            optimizer: student.last_step().optimizer,
            average: self.average.clone(),
            update: self.update,
            elapsed: self.elapsed,
        }
    }

    fn save(&mut self, student: &Student<O::Module>) -> Result<(), FitError> {
        if self.saved == Some(self.update) {
            return Ok(());
        }
        self.journal.sync().map_err(write_error(&self.journal_path))?;
        let state = self.state(student);
        checkpoint::save(&self.run.dir, &state, &self.origin, self.settings.keep)
            .map_err(write_error(&self.run.dir.join("checkpoints")))?;
        self.saved = Some(self.update);
        Ok(())
    }
}

/// Turns an error of a file into one of the run.
pub(crate) fn write_error(path: &Path) -> impl FnOnce(std::io::Error) -> FitError {
    let path = path.to_owned();
    move |source| FitError::Io { path, source }
}
