//! Gradients by the keys of the file.

use std::collections::BTreeMap;

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Gradients, Tensor},
};

use super::{layout::Position, save::values};

/// The gradient of a parameter, as its file would store it.
#[derive(Debug, Clone, PartialEq)]
pub struct Gradient {
    /// The shape in the file.
    pub shape: Vec<usize>,
    /// The values, in the order of the file.
    pub values: Vec<f32>,
}

/// The gradients of the parameters of `module`, by their keys; those that the loss does not
/// depend on are absent.
pub fn gradients<M: Module>(module: &M, gradients: &Gradients) -> BTreeMap<String, Gradient> {
    let position = Position::default();
    let mut collector = Collector { position, gradients, found: BTreeMap::new() };
    module.visit(&mut collector);
    collector.found
}

struct Collector<'a> {
    position: Position,
    gradients: &'a Gradients,
    found: BTreeMap<String, Gradient>,
}

impl ModuleVisitor for Collector<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.position.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.position.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = param.val().grad(self.gradients) else { return };
        let shape = gradient.dims();
        let layout = self.position.layout();
        let values = layout.to_file(values(gradient), &shape);
        let gradient = Gradient { shape: layout.file_shape(&shape), values };
        self.found.insert(self.position.key(), gradient);
    }
}
