//! Strict loading of a module.

use std::collections::BTreeSet;

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{DType, FloatDType, Tensor, TensorCreationOptions},
};

use super::{Key, KeyMismatch, LoadError, Tensors, keys, layout::Position};

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
    load_in(module, tensors, None)
}

/// [`load`] with `dtype` as the number format of the parameters. Values of a file go straight
/// from its format to this one, a tensor at a time.
///
/// # Errors
///
/// Fails where [`load`] does, also for a value that is too large for `dtype`.
pub fn load_in<M: Module>(
    module: M,
    tensors: &Tensors,
    dtype: Option<FloatDType>,
) -> Result<M, LoadError> {
    check(&keys(&module), tensors)?;
    let mut loader = Loader { tensors, dtype, position: Position::default(), error: None };
    let module = module.map(&mut loader);
    match loader.error {
        Some(error) => Err(error),
        None => Ok(module),
    }
}

/// Fails unless `tensors` are exactly the `expected`.
pub(super) fn check(expected: &[Key], tensors: &Tensors) -> Result<(), LoadError> {
    let mismatch = compare(expected, tensors);
    if mismatch.is_empty() {
        return Ok(());
    }
    Err(LoadError::Keys { file: tensors.name().to_owned(), mismatch })
}

/// How the keys of `tensors` differ from the `expected`.
pub fn compare(expected: &[Key], tensors: &Tensors) -> KeyMismatch {
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
    /// Nothing means the format of each parameter's device.
    dtype: Option<FloatDType>,
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
        let device = param.lazy_device();
        let dtype = self.dtype.unwrap_or_else(|| device.settings().float_dtype);
        match self.tensors.values(&self.position.key(), self.position.layout(), dtype) {
            Ok(values) => {
                let options = TensorCreationOptions::new(device).with_dtype(DType::from(dtype));
                let tensor = Tensor::from_data(values.into_data(&shape), options);
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
