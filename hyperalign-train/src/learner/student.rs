//! The module as burn-train's `Learner` sees it.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler};
use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use burn::module::{Module, ModuleDisplay, ParamGroup};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::ExecutionError;
use burn::train::metric::ItemLazy;
use burn::train::{InferenceStep, TrainOutput, TrainStep};

use super::journal::Row;
use super::update::Gradient;
use super::{NonFinite, Schedule, parameters};

/// A module together with what is to be done with it.
#[derive(Module, Debug)]
pub(crate) struct Student<M: Module + ModuleDisplay> {
    /// What is trained.
    pub(crate) module: M,
    #[module(skip)]
    teacher: Teacher,
}

/// The gradient of an update, given module and update.
type Work<M> = Box<dyn Fn(&M, u64) -> Result<Gradient, NonFinite> + Send + Sync>;

/// What a student is trained with. Not part of the module: no parameter, not recorded.
#[derive(Clone)]
struct Teacher {
    /// A [`Work`] of the student's module; derived modules have no generic fields but modules.
    work: Arc<dyn Any + Send + Sync>,
    /// What the last step of the optimizer left behind.
    step: Arc<Mutex<OptimizerStep>>,
}

/// The optimizer after its last step.
///
/// burn's `Learner` does not give its optimizer away, but a checkpoint needs it.
#[derive(Clone)]
pub(crate) struct OptimizerStep {
    pub(crate) optimizer: ModuleOptimizer,
    /// The norm of the weights that the step led to. Where it is not finite, neither optimizer nor
    /// weights have been changed.
    pub(crate) weight_norm: f64,
}

impl fmt::Debug for Teacher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Teacher")
    }
}

impl<M: Module + ModuleDisplay + 'static> Student<M> {
    pub(crate) fn new(
        module: M,
        optimizer: ModuleOptimizer,
        work: impl Fn(&M, u64) -> Result<Gradient, NonFinite> + Send + Sync + 'static,
    ) -> Self {
        let work: Work<M> = Box::new(work);
        let step = OptimizerStep { optimizer, weight_norm: 0.0 };
        Self { module, teacher: Teacher { work: Arc::new(work), step: Arc::new(Mutex::new(step)) } }
    }
}

impl<M: Module + ModuleDisplay> Student<M> {
    /// The optimizer after its last step.
    pub(crate) fn last_step(&self) -> OptimizerStep {
        self.teacher.step.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What forward and backward passes of an update gave, without the gradients.
pub(crate) struct Passes(pub(crate) Result<Row, NonFinite>);

impl ItemLazy for Passes {
    fn sync(self) -> Result<Self, ExecutionError> {
        Ok(self)
    }
}

impl<M: Module + ModuleDisplay + 'static> TrainStep for Student<M> {
    /// The index of an update: the data are a function of it.
    type Input = u64;
    type Output = Passes;

    fn step(&self, update: u64) -> TrainOutput<Passes> {
        let work = self.teacher.work.downcast_ref::<Work<M>>();
        match work.expect("a student is made with work for its own module")(&self.module, update) {
            Err(error) => TrainOutput { grads: GradientsParams::new(), item: Passes(Err(error)) },
            Ok(Gradient { parts, norm, gradients, metrics }) => {
                let row = Row {
                    update: update + 1,
                    parts,
                    gradient_norm: norm,
                    metrics,
                    ..Row::default()
                };
                TrainOutput { grads: gradients, item: Passes(Ok(row)) }
            }
        }
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
        let weight_norm = parameters::norm(&module);
        if !weight_norm.is_finite() {
            *optimizer = before;
        }
        let step = OptimizerStep { optimizer: optimizer.clone(), weight_norm };
        *self.teacher.step.lock().unwrap_or_else(PoisonError::into_inner) = step;
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
