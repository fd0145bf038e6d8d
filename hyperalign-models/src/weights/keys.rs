//! The keys that a module expects in its file.

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::Tensor,
};

use super::layout::Position;

/// Name and shape of a parameter in the published file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Key {
    /// The key, such as `mid_block.attentions.0.proj_in.weight`.
    pub name: String,
    /// The shape in the file, which for a linear layer is `[d_output, d_input]`.
    pub shape: Vec<usize>,
}

/// The keys of every parameter of `module`, in its own order. Nothing is initialised.
pub fn keys<M: Module>(module: &M) -> Vec<Key> {
    let mut collector = Collector::default();
    module.visit(&mut collector);
    collector.keys
}

/// The linear layers and convolutions of `module`, in its own order: each one's path, and the shape
/// of its weight in the published file. Nothing is initialised.
pub fn layers<M: Module>(module: &M) -> Vec<Key> {
    let mut collector = Collector { layers_only: true, ..Collector::default() };
    module.visit(&mut collector);
    collector.keys
}

/// What modules with a weight are called that is a matrix or a kernel.
const LAYERS: [&str; 3] = ["Linear", "Conv2d", "PointwiseConv"];

/// The number of values of all parameters of `module`. Nothing is initialised.
pub fn parameters<M: Module>(module: &M) -> usize {
    keys(module).iter().map(|key| key.shape.iter().product::<usize>()).sum()
}

#[derive(Default)]
struct Collector {
    position: Position,
    keys: Vec<Key>,
    layers_only: bool,
}

impl ModuleVisitor for Collector {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.position.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.position.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let shape: [usize; D] = param.lazy_shape().dims();
        let shape = self.position.layout().file_shape(&shape);
        let name = self.position.key();
        if !self.layers_only {
            self.keys.push(Key { name, shape });
        } else if LAYERS.contains(&self.position.module())
            && let Some(path) = name.strip_suffix(".weight")
        {
            self.keys.push(Key { name: path.to_owned(), shape });
        }
    }
}
