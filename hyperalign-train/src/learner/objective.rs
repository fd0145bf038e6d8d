//! What is learned: the contract between the engine and its users.

use std::error::Error;
use std::path::Path;

use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;
use serde_json::Value;

/// What is learned: the losses of an update.
///
/// Everything random must come from counter-based streams of (seed, update, index of the sample),
/// so that the losses are a pure function of module, update and shard: exact resume rests on it.
/// Beware of sums over a whole tensor of more than four million elements: the CPU backend adds
/// their parts up in the order in which threads finish. Sum such a tensor axis by axis where the
/// gradient depends on the value.
pub trait Objective: Send + Sync + 'static {
    /// What is trained. Its parameters lie on an autodiff device.
    type Module: Module + ModuleDisplay + 'static;

    /// What [`prepare`](Self::prepare) makes; `()` for a method without anything to share.
    type Batch: Send + Sync + 'static;

    /// The names of everything that [`losses`](Self::losses) may emit, in the order in which they
    /// are shown.
    fn names(&self) -> Names;

    /// Updates that share one batch. A run is saved and ends at multiples of it only, so that a
    /// resumed run prepares the same batches. The exception is a run that ends because its numbers
    /// are no numbers any more: it saves what it has, and who resumes it gets another batch for the
    /// rest of that span.
    fn span(&self) -> u64 {
        1
    }

    /// What the shards of the next [`span`](Self::span) updates share, of which `update`, counted
    /// from 0, is the first: trajectories, advantages within a group, old log-probabilities.
    ///
    /// Runs once, before the shards. `module` lies on the plain device: nothing is recorded.
    fn prepare(&self, module: &Self::Module, update: u64) -> Self::Batch;

    /// Emits the losses of one shard of update `update`, counted from 0.
    ///
    /// Runs on the shard's own thread with its own fork of the module. Each loss must be a mean
    /// over the samples of the shard, and all shards must have the same number of samples: the
    /// engine averages over shards. The backward pass of a part runs while it is emitted, so that
    /// only the graph of one part is alive at a time: parts must not share intermediate results
    /// that depend on the module. A part may come in pieces of one name and weight, which add up:
    /// a loss over many steps then holds the graph of one step. All shards of an update must emit the same parts with the same
    /// weights in the same order; an update may leave a part out.
    fn losses(
        &self,
        module: &Self::Module,
        batch: &Self::Batch,
        update: u64,
        shard: Shard,
        emit: &mut dyn Emit,
    );

    /// Called once in every update, after the backward passes of all shards and before the parts are
    /// added up: the place to choose weights of parts by their gradients, and to remember what
    /// later updates depend on.
    fn weigh(&self, _update: u64, _parts: &mut [WeighedPart]) {}

    /// What later updates depend on beside the weights, such as a running median: it goes into
    /// every checkpoint. Floats must be written as their bits, or a resumed run is not exact.
    fn memory(&self) -> Option<Value> {
        None
    }

    /// Begins a run without any memory, or goes on with that of a checkpoint.
    ///
    /// # Errors
    ///
    /// Fails for a memory that this objective has not written.
    fn recall(&self, _memory: Option<Value>) -> Result<(), serde_json::Error> {
        Ok(())
    }

    /// Whether the run is to end, which it does at the end of the [`span`](Self::span). What the answer
    /// depends on belongs into the [`memory`](Self::memory): a run that has ended goes on only where
    /// the answer is another.
    fn wants_end(&self) -> bool {
        false
    }

    /// Called after every update, `done` of which are done, for example to write sample pictures.
    ///
    /// `module` lies on the plain device and is the moving average where one is kept. A run that
    /// was killed may call this a second time for the same update: write files that may be
    /// written again.
    ///
    /// # Errors
    ///
    /// Whatever is returned ends the run.
    fn after_update(
        &self,
        _module: &Self::Module,
        _done: u64,
        _dir: &Path,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }
}

/// What an objective may emit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// The terms of the loss.
    pub parts: Vec<&'static str>,
    /// The values that are only logged.
    pub metrics: Vec<&'static str>,
}

/// Takes in what a shard computes.
pub trait Emit {
    /// One term of the loss. Its backward pass is done when this returns.
    fn part(&mut self, part: Part);

    /// A value to log.
    fn metric(&mut self, metric: Metric);
}

/// Everything that a shard emits, with the graphs of all parts: for whoever looks at the losses
/// themselves.
#[derive(Debug, Default)]
pub struct Emitted {
    /// The terms, in their order.
    pub parts: Vec<Part>,
    /// The values to log.
    pub metrics: Vec<Metric>,
}

impl Emit for Emitted {
    fn part(&mut self, part: Part) {
        self.parts.push(part);
    }

    fn metric(&mut self, metric: Metric) {
        self.metrics.push(metric);
    }
}

/// One of `count` equal parts of the batch of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Which part this is, from 0.
    pub index: usize,
    /// How many parts there are: threads times micro-steps.
    pub count: usize,
}

impl Shard {
    /// The indices of this shard's samples in a batch of `batch`.
    ///
    /// # Panics
    ///
    /// Panics if `batch` is not a multiple of the number of shards: shards of different sizes
    /// would weigh their samples differently.
    pub fn samples(&self, batch: usize) -> std::ops::Range<usize> {
        assert!(
            batch.is_multiple_of(self.count),
            "a batch of {batch} cannot be cut into {} equal shards",
            self.count
        );
        let size = batch / self.count;
        self.index * size..(self.index + 1) * size
    }
}

/// One term of the loss.
#[derive(Debug)]
pub struct Part {
    /// Its name in the logs, such as `reward`; one of [`Names::parts`].
    pub name: &'static str,
    /// Its factor in the total loss.
    pub weight: f64,
    /// The mean over the samples of the shard, without the weight. Shape `[1]`.
    pub loss: Tensor<1>,
    /// What the log shows, where `loss` has the gradient of the part but not its value.
    pub value: Option<Tensor<1>>,
}

impl Part {
    /// A term of the loss.
    pub fn new(name: &'static str, weight: f64, loss: Tensor<1>) -> Self {
        Self { name, weight, loss, value: None }
    }

    /// The same, shown as `value`: for a loss that stands in for one whose graph is gone.
    #[must_use]
    pub fn shown_as(self, value: Tensor<1>) -> Self {
        Self { value: Some(value), ..self }
    }
}

/// A part after the backward passes of an update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WeighedPart {
    /// Its name.
    pub name: &'static str,
    /// The norm of its gradient, without the weight.
    pub gradient_norm: f64,
    /// Its factor in the total loss, which may be changed.
    pub weight: f64,
}

/// A value to log: the mean over the samples of all shards that have it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// Its name; one of [`Names::metrics`].
    pub name: &'static str,
    /// The sum over samples.
    pub sum: f64,
    /// The number of samples.
    pub count: usize,
}

impl Metric {
    /// A value that a shard has as a whole.
    pub fn new(name: &'static str, value: f64) -> Self {
        Self { name, sum: value, count: 1 }
    }

    /// A mean over `count` samples.
    pub fn mean(name: &'static str, mean: f64, count: usize) -> Self {
        Self { name, sum: mean * count as f64, count }
    }
}
