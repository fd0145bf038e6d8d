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

/// The number of values of all parameters of `module`. Nothing is initialised.
pub fn parameters<M: Module>(module: &M) -> usize {
    keys(module).iter().map(|key| key.shape.iter().product::<usize>()).sum()
}

#[derive(Default)]
struct Collector {
    position: Position,
    keys: Vec<Key>,
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
        self.keys.push(Key {
            name: self.position.key(),
            shape: self.position.layout().file_shape(&shape),
        });
    }
}
