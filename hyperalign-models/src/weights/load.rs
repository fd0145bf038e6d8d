//! Strict loading of a module.

use std::collections::BTreeSet;

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{Tensor, TensorData},
};

use super::{KeyMismatch, LoadError, Tensors, keys, layout::Position};

/// Fills every parameter of `module` from `tensors`.
///
/// Values are converted to the float type of the module's device. Parameters that were never
/// looked at are not initialised first.
///
/// # Errors
///
/// Fails, before anything is read, if a parameter has no tensor, a tensor no parameter, or a
/// shape differs; then if a tensor is not of a floating-point type or not finite.
pub fn load<M: Module>(module: M, tensors: &Tensors) -> Result<M, LoadError> {
    let mismatch = compare(&module, tensors);
    if !mismatch.is_empty() {
        return Err(LoadError::Keys { file: tensors.name().to_owned(), mismatch });
    }
    let mut loader = Loader { tensors, position: Position::default(), error: None };
    let module = module.map(&mut loader);
    match loader.error {
        Some(error) => Err(error),
        None => Ok(module),
    }
}

fn compare<M: Module>(module: &M, tensors: &Tensors) -> KeyMismatch {
    let expected = keys(module);
    let names: BTreeSet<&String> = expected.iter().map(|key| &key.name).collect();
    let missing: BTreeSet<&String> =
        names.iter().copied().filter(|name| !tensors.contains(name)).collect();
    let unused: BTreeSet<String> =
        tensors.iter().map(|(key, _)| key.to_owned()).filter(|key| !names.contains(key)).collect();
    let shapes = expected.iter().filter_map(|key| {
        let given = tensors.shape(&key.name)?;
        (!same_shape(given, &key.shape))
            .then(|| (key.name.clone(), key.shape.clone(), given.to_vec()))
    });
    let suggest = |key: &String, others: &BTreeSet<String>| nearest(key, others.iter());
    let wanted: BTreeSet<String> = missing.iter().map(|key| (*key).clone()).collect();
    KeyMismatch {
        missing: wanted.iter().map(|key| (key.clone(), suggest(key, &unused))).collect(),
        unused: unused.iter().map(|key| (key.clone(), suggest(key, &wanted))).collect(),
        shapes: shapes.collect(),
    }
}

/// Whether two shapes are equal; a scalar and a list of one number are.
fn same_shape(a: &[usize], b: &[usize]) -> bool {
    let single = |shape: &[usize]| matches!(shape, [] | [1]);
    a == b || (single(a) && single(b))
}

/// The one of `others` that `key` was most likely meant to be.
///
/// With hundreds of keys on both sides it is another network, and a suggestion would cost more
/// than it tells.
pub(super) fn nearest<'a>(
    key: &str,
    others: impl ExactSizeIterator<Item = &'a String>,
) -> Option<String> {
    if others.len() > 500 {
        return None;
    }
    others
        .map(|other| (strsim::normalized_levenshtein(key, other), other))
        .filter(|(similarity, _)| *similarity > 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, other)| other.clone())
}

struct Loader<'a> {
    tensors: &'a Tensors,
    position: Position,
    error: Option<LoadError>,
}

impl ModuleMapper for Loader<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.position.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.position.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.error.is_some() {
            return param;
        }
        let shape: [usize; D] = param.lazy_shape().dims();
        let layout = self.position.layout();
        match self.tensors.f32(&self.position.key()) {
            Ok(values) => {
                let values = layout.to_module(values, &layout.file_shape(&shape));
                let data = TensorData::new(values, shape);
                let tensor = Tensor::from_data(data, &param.lazy_device());
                let id = param.id;
                param.transform_for_load(tensor, id)
            }
            Err(error) => {
                self.error = Some(error);
                param
            }
        }
    }
}
