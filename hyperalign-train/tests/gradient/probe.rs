//! Single weights of a module.

use std::collections::BTreeMap;

use burn::{
    module::{ModuleMapper, ModuleVisitor, Param},
    tensor::{DType, Gradients, Tensor, TensorData},
};

/// Looks at the gradients of a module, or changes one weight.
#[derive(Default)]
pub struct Probe<'a> {
    path: Vec<String>,
    gradients: Option<&'a Gradients>,
    /// Index and value of the largest gradient of each parameter, by path.
    pub found: BTreeMap<String, (usize, f64)>,
    /// Path, index, change.
    nudge: (String, usize, f64),
}

impl<'a> Probe<'a> {
    /// Looks for the largest gradients.
    pub fn of(gradients: &'a Gradients) -> Self {
        Self { gradients: Some(gradients), ..Self::default() }
    }

    /// Adds `change` to element `index` of the parameter at `path`.
    pub fn nudge(path: &str, index: usize, change: f64) -> Self {
        Self { nudge: (path.to_owned(), index, change), ..Self::default() }
    }
}

impl ModuleVisitor for Probe<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.gradients.and_then(|all| param.val().grad(all)) else { return };
        assert_eq!(gradient.dtype(), DType::F64);
        let values: Vec<f64> = gradient.into_data().iter::<f64>().collect();
        let largest = values.into_iter().enumerate().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()));
        self.found.insert(self.path.join("."), largest.unwrap());
    }
}

impl ModuleMapper for Probe<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (path, index, change) = &self.nudge;
        if self.path.join(".") != *path {
            return param;
        }
        param.map(|old| {
            let mut values: Vec<f64> = old.to_data().iter::<f64>().collect();
            values[*index] += change;
            let data = TensorData::new(values, old.dims());
            Tensor::from_data(data, &old.device()).require_grad()
        })
    }
}
