//! Looking at the parameters of a module: stable identities and names.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId, ParameterValue};
use burn::tensor::{Bool, Int, Tensor};
use serde::Serialize;

/// One parameter as a checkpoint knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Parameter {
    pub(crate) path: String,
    #[serde(skip)]
    pub(crate) id: ParamId,
    pub(crate) shape: Vec<usize>,
    pub(crate) trained: bool,
}

/// The float parameters of `module` in its own order.
pub(crate) fn list<M: Module>(module: &M) -> Vec<Parameter> {
    let mut lister = Lister { path: Vec::new(), found: Vec::new() };
    module.visit(&mut lister);
    lister.found
}

struct Lister {
    path: Vec<String>,
    found: Vec<Parameter>,
}

impl ModuleVisitor for Lister {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found.push(Parameter {
            path: self.path.join("."),
            id: param.id,
            shape: param.val().dims().to_vec(),
            trained: param.val().is_require_grad(),
        });
    }
}

/// Gives the parameters the identities 1, 2, 3, ... in the module's own order.
///
/// burn draws identities at random for every process, and writes them into its records: two runs
/// would differ in their files, and the state of the optimizer would not find its parameters.
pub(crate) fn number<M: Module>(module: M) -> M {
    module.map(&mut Numberer { known: HashMap::new() })
}

struct Numberer {
    /// A tensor that occurs twice in a module stays one parameter.
    known: HashMap<ParamId, ParamId>,
}

impl Numberer {
    fn next(&mut self, id: ParamId) -> ParamId {
        let next = ParamId::from(self.known.len() as u64 + 1);
        *self.known.entry(id).or_insert(next)
    }

    fn number<T: ParameterValue>(&mut self, param: Param<T>) -> Param<T> {
        let (id, value, mapper) = param.consume();
        Param::from_mapped_value(self.next(id), value, mapper)
    }
}

impl ModuleMapper for Numberer {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.number(param)
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        self.number(param)
    }

    fn map_bool<const D: usize>(
        &mut self,
        param: Param<Tensor<D, Bool>>,
    ) -> Param<Tensor<D, Bool>> {
        self.number(param)
    }
}
