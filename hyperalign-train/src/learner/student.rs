//! The module as burn-train's `Learner` sees it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler};
use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use burn::module::{Module, ModuleDisplay, ParamGroup};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::ExecutionError;
use burn::train::metric::ItemLazy;
use burn::train::{InferenceStep, TrainOutput, TrainStep};

use super::Schedule;
use super::journal::Row;
use super::reduce::Sum;

/// A module together with what the optimizer left behind.
#[derive(Module, Debug)]
pub(crate) struct Student<M: Module + ModuleDisplay> {
    /// What is trained.
    pub(crate) module: M,
    #[module(skip)]
    step: LastStep,
}

/// The optimizer after its last step: burn's `Learner` does not give its optimizer away, but a
/// checkpoint needs it.
#[derive(Clone)]
struct LastStep(Arc<Mutex<OptimizerStep>>);

/// The optimizer after a step.
#[derive(Clone)]
pub(crate) struct OptimizerStep {
    pub(crate) optimizer: ModuleOptimizer,
    /// The norm of the weights that the step led to. Where it is not finite, neither optimizer nor
    /// weights have been changed.
    pub(crate) weight_norm: f64,
}

impl fmt::Debug for LastStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LastStep")
    }
}

impl<M: Module + ModuleDisplay> Student<M> {
    pub(crate) fn new(module: M, optimizer: ModuleOptimizer) -> Self {
        let step = OptimizerStep { optimizer, weight_norm: 0.0 };
        Self { module, step: LastStep(Arc::new(Mutex::new(step))) }
    }

    /// The optimizer after its last step.
    pub(crate) fn last_step(&self) -> OptimizerStep {
        self.step.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ItemLazy for Row {
    fn sync(self) -> Result<Self, ExecutionError> {
        Ok(self)
    }
}

impl<M: Module + ModuleDisplay> TrainStep for Student<M> {
    /// An update after its forward and backward passes, which the loop has made: they take shards,
    /// threads and a prepared batch.
    type Input = (Row, GradientsParams);
    type Output = Row;

    fn step(&self, (item, grads): Self::Input) -> TrainOutput<Row> {
        TrainOutput { grads, item }
    }

    fn optimize(
        self,
        optimizer: &mut ModuleOptimizer,
        lr: ModuleLearningRate,
        gradients: GradientsParams,
    ) -> Self {
        // Clones share their tensors: this keeps the last good state until the next is known to be.
        let before = optimizer.clone();
        let module = optimizer.step(lr, self.clone(), gradients).module;
        let weight_norm = Sum::of_parameters(&module).value().sqrt();
        if !weight_norm.is_finite() {
            *optimizer = before;
        }
        let step = OptimizerStep { optimizer: optimizer.clone(), weight_norm };
        *self.step.0.lock().unwrap_or_else(PoisonError::into_inner) = step;
        if weight_norm.is_finite() { Self { module, ..self } } else { self }
    }
}

/// Nothing is validated while a run goes on: evaluation is a program of its own.
impl<M: Module + ModuleDisplay> InferenceStep for Student<M> {
    type Input = ();
    type Output = ();

    fn step(&self, (): ()) {}
}

/// Our [`Schedule`] as burn's `Learner` steps it. There is nothing to record: the position is the
/// number of updates done.
#[derive(Debug, Clone)]
pub(crate) struct Position {
    pub(crate) schedule: Schedule,
    pub(crate) lr: f64,
    pub(crate) updates: u64,
    /// The next update.
    pub(crate) next: u64,
}

impl Position {
    /// As a scheduler of the whole module, in which each of `groups` has its factor.
    pub(crate) fn of_module(self, groups: Vec<(ParamGroup, f64)>) -> ModuleLrScheduler {
        let base = ModuleLrScheduler::new(self.clone());
        groups.into_iter().fold(base, |scheduler, (group, factor)| {
            scheduler.with_group(group, Self { lr: self.lr * factor, ..self.clone() })
        })
    }
}

impl LrScheduler for Position {
    fn step(&mut self) -> f64 {
        let factor = self.schedule.factor(self.next, self.updates);
        self.next += 1;
        self.lr * factor
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new()
    }

    fn load_record(&mut self, _: LrSchedulerRecord) {}
}
