//! Updates laid into the weights of a network.

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::Tensor,
};
use hyperalign_core::{lora::LoraSet, precision::like};

/// `network` with `update` added to the weights of its layers.
///
/// # Panics
///
/// Panics for an update of several rows, because a weight is the same for every sample, and for one of
/// a layer that the network has not.
pub fn merged<M: Module>(network: M, update: &LoraSet) -> M {
    let mut merger = Merger { update, path: Vec::new(), layers: 0 };
    let network = network.map(&mut merger);
    assert_eq!(merger.layers, update.len(), "every update is for a weight");
    network
}

struct Merger<'a> {
    update: &'a LoraSet,
    /// Empty where a module is a variant of another, which keys of files do not name.
    path: Vec<String>,
    /// Layers that had an update.
    layers: usize,
}

impl ModuleMapper for Merger<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        let is_variant = container.starts_with("Enum:");
        self.path.push(if is_variant { String::new() } else { name.to_owned() });
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path: Vec<&str> =
            self.path.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
        let path = path.join(".");
        let deltas = path.strip_suffix(".weight").map_or(&[][..], |path| self.update.at(path));
        self.layers += usize::from(!deltas.is_empty());
        deltas.iter().fold(param, |param, delta| {
            let change = delta.change();
            assert_eq!(change.dims()[0], 1, "an update of one row at {path}");
            // `[d_input, d_output]` as in a linear layer; a kernel is the other way round.
            let change = if D == 4 { change.swap_dims(1, 2) } else { change };
            param.map(|weight| {
                let dims = weight.dims();
                weight.clone() + like(change.reshape(dims), &weight)
            })
        })
    }
}
