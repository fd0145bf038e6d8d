//! What is learned: the contract between the engine and its users.

use std::error::Error;
use std::path::Path;

use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;

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

    /// The losses of one shard of update `update`, counted from 0.
    ///
    /// Runs on the shard's own thread with its own fork of the module. Each loss must be a mean
    /// over the samples of the shard, and all shards must have the same number of samples: the
    /// engine averages over shards. All shards of an update must return the same parts in the same
    /// order. The first update must have all parts; later ones may leave some out.
    fn losses(&self, module: &Self::Module, update: u64, shard: Shard) -> Losses;

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

/// What an objective returns for one shard.
#[derive(Debug)]
pub struct Losses {
    /// The terms of the loss. Each has its own graph and gets its own backward pass: parts must
    /// not share intermediate results that depend on the module.
    pub parts: Vec<Part>,
    /// Values to log; averaged over shards.
    pub metrics: Vec<(String, f64)>,
}

/// One term of the loss.
#[derive(Debug)]
pub struct Part {
    /// Its name in the logs, such as `reward`.
    pub name: &'static str,
    /// Its factor in the total loss.
    pub weight: f64,
    /// The mean over the samples of the shard, without the weight. Shape `[1]`.
    pub loss: Tensor<1>,
    /// Longest gradient of one shard, without the weight; a longer one is shortened to it.
    pub clip: Option<f64>,
}

impl Part {
    /// A term whose gradient is taken as it is.
    pub fn new(name: &'static str, weight: f64, loss: Tensor<1>) -> Self {
        Self { name, weight, loss, clip: None }
    }

    /// The same, with gradients of at most `limit` in each shard, if there is one: for losses
    /// where a few samples have gradients far longer than all others. Clipping the sum would come
    /// too late, for by then they have outvoted the rest.
    #[must_use]
    pub fn clipped(self, limit: Option<f64>) -> Self {
        Self { clip: limit, ..self }
    }
}
