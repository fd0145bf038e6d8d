//! Files in the layouts of others, for tests of what reads them.

use std::{collections::BTreeMap, path::Path};

use burn::module::Module;
use safetensors::{Dtype, tensor::TensorView};

use crate::weights::{
    FileFloat, Key, Tensors, keys,
    published::{Source, parts, published_keys},
    to_bytes,
};

/// Tensors of a file: shape and values.
pub type File = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The weights of `module` in the layout of `rule`, below `prefix`, put together by name and row.
///
/// # Panics
///
/// Panics if the rule does not say where every weight of the module lies.
pub fn published_file<M: Module>(module: &M, rule: impl Fn(&Key) -> Source, prefix: &str) -> File {
    let ours = keys(module);
    let bytes = to_bytes(module, FileFloat::F32, &BTreeMap::new()).expect("finite weights");
    let bytes: &'static [u8] = bytes.leak();
    let tensors = Tensors::embedded("ours", bytes).expect("a file of our own");
    let mut file = File::new();
    for Key { name, shape } in published_keys(&ours, &rule) {
        let size = shape.iter().product();
        file.insert(format!("{prefix}{name}"), (shape, vec![f32::NAN; size]));
    }
    for (name, part) in parts(&ours, &rule) {
        let mut values = tensors.f32(&name).expect("a weight of the module");
        part.order.to_theirs(&mut values, &part.shape);
        let row = values.len() / part.shape.first().copied().unwrap_or(1);
        let (_, whole) = file.get_mut(&format!("{prefix}{}", part.source)).expect("a source");
        whole[part.first_row * row..][..values.len()].copy_from_slice(&values);
    }
    file
}

/// Writes `file` as safetensors to `path`.
///
/// # Panics
///
/// Panics if it cannot be written.
pub fn write_file(path: &Path, file: &File) {
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let data: Vec<(&String, &Vec<usize>, Vec<u8>)> =
        file.iter().map(|(name, (shape, values))| (name, shape, bytes(values))).collect();
    let views = data.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, (*shape).clone(), bytes.as_slice());
        (name.as_str(), view.expect("as many values as the shape says"))
    });
    safetensors::serialize_to_file(views, None, path).expect("the file is written");
}
