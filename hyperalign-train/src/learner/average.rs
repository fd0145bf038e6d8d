//! The exponential moving average of weights.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use burn::tensor::container::TensorContainer;

/// The average of the weights over updates, on the plain device.
///
/// `average += (1 - d) (weights - average)` with `d = min(decay, (1 + n) / (10 + n))` after `n`
/// updates: the warm-up (that of TensorFlow and diffusers) keeps the random weights of the
/// beginning out of the average of a short run.
#[derive(Debug, Clone)]
pub(crate) struct Average<M> {
    pub(crate) module: M,
    pub(crate) decay: f64,
}

impl<M: Module> Average<M> {
    /// Begins at the weights of `module`.
    pub(crate) fn new(module: &M, decay: f64) -> Self {
        Self { module: module.valid(), decay }
    }

    /// Takes in the weights after update `update`, counted from 0.
    pub(crate) fn take(self, module: &M, update: u64) -> Self {
        let done = (update + 1) as f64;
        let decay = self.decay.min((1.0 + done) / (10.0 + done));
        let mut weights = Weights { values: TensorContainer::new() };
        module.visit(&mut weights);
        let mut mover = Mover { weights, rate: 1.0 - decay };
        Self { module: self.module.map(&mut mover), decay: self.decay }
    }
}

struct Weights {
    values: TensorContainer<ParamId>,
}

impl ModuleVisitor for Weights {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.values.register(param.id, param.val().inner());
    }
}

struct Mover {
    weights: Weights,
    rate: f64,
}

impl ModuleMapper for Mover {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let weights = self.weights.values.get::<Tensor<D>>(&param.id);
        let rate = self.rate;
        let weights = weights.expect("the average has the parameters of the module");
        param.map(|average| average.clone() + (weights - average) * rate)
    }
}
