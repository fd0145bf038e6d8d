//! Strict loading of a module.

use std::collections::BTreeSet;

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{DType, Tensor, TensorCreationOptions, TensorData},
};
use hyperalign_core::nearest;

use super::{Format, Key, KeyMismatch, LoadError, Tensors, error::SHOWN, keys, layout::Position};

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

/// [`load`] with `format` as the number format of the parameters. Values of a file go straight
/// from its format to this one, a tensor at a time.
///
/// # Errors
///
/// Fails where [`load`] does, also for a value that is too large for `format`.
pub(crate) fn load_in<M: Module>(
    module: M,
    tensors: &Tensors,
    format: Option<Format>,
) -> Result<M, LoadError> {
    check(&keys(&module), tensors)?;
    let mut loader = Loader { tensors, format, position: Position::default(), error: None };
    let module = module.map(&mut loader);
    match loader.error {
        Some(error) => Err(error),
        None => Ok(module),
    }
}

/// Fails unless `tensors` are exactly the `expected`.
pub(crate) fn check(expected: &[Key], tensors: &Tensors) -> Result<(), LoadError> {
    let mismatch = compare(expected, tensors);
    if mismatch.is_empty() {
        return Ok(());
    }
    Err(LoadError::Keys { file: tensors.name().to_owned(), mismatch })
}

/// How the keys of `tensors` differ from the `expected`.
pub fn compare(expected: &[Key], tensors: &Tensors) -> KeyMismatch {
    let names: BTreeSet<&str> = expected.iter().map(|key| key.name.as_str()).collect();
    let given: BTreeSet<&str> = tensors.iter().map(|(key, _)| key).collect();
    let missing: Vec<&str> = names.difference(&given).copied().collect();
    let unused: Vec<&str> = given.difference(&names).copied().collect();
    let shapes = expected.iter().filter_map(|key| {
        let given = tensors.shape(&key.name)?;
        (!same_shape(given, &key.shape))
            .then(|| (key.name.clone(), key.shape.clone(), given.to_vec()))
    });
    KeyMismatch {
        missing: with_nearest(&missing, &unused, &given),
        unused: with_nearest(&unused, &missing, &names),
        shapes: shapes.collect(),
    }
}

/// Each of `keys` with the one of `others` that it was most likely meant to be or, if none is
/// near, with the nearest of `all`.
///
/// With hundreds of keys it is another network, and a suggestion would cost more than it tells;
/// what is not shown needs none.
fn with_nearest(
    keys: &[&str],
    others: &[&str],
    all: &BTreeSet<&str>,
) -> Vec<(String, Option<String>)> {
    let near = |key: &str| {
        let others = nearest(key, others.iter().copied());
        others.or_else(|| nearest(key, all.iter().copied())).map(str::to_owned)
    };
    let tell = |i| i < SHOWN && keys.len() <= 500;
    let keys = keys.iter().enumerate();
    keys.map(|(i, key)| ((*key).to_owned(), if tell(i) { near(key) } else { None })).collect()
}

/// Whether two shapes are equal; a scalar and a list of one number are.
fn same_shape(a: &[usize], b: &[usize]) -> bool {
    let single = |shape: &[usize]| matches!(shape, [] | [1]);
    a == b || (single(a) && single(b))
}

struct Loader<'a> {
    tensors: &'a Tensors,
    /// Nothing means the format of each parameter's device.
    format: Option<Format>,
    position: Position,
    error: Option<LoadError>,
}

impl Loader<'_> {
    /// The values of the present parameter, which has this shape, in `format`.
    fn data(&self, shape: &[usize], format: Format) -> Result<TensorData, LoadError> {
        let (key, layout) = (self.position.key(), self.position.layout());
        if format.block(&self.position, shape).is_some() {
            let values = layout.to_module(self.tensors.f32(&key)?, &layout.file_shape(shape));
            let eight_bit = format.rounded(&self.position, &values, shape);
            return Ok(eight_bit.expect("outputs in whole blocks"));
        }
        Ok(self.tensors.values(&key, layout, format.float())?.into_data(shape))
    }
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
        let format = self.format.unwrap_or_else(|| device.settings().float_dtype.into());
        match self.data(&shape, format) {
            Ok(data) => {
                let dtype = DType::from(format.float());
                let options = TensorCreationOptions::new(device).with_dtype(dtype);
                let tensor = Tensor::from_data(data, options);
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
