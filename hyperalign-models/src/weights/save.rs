//! Writing a module in the published layout.

use std::{collections::BTreeMap, path::Path};

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::Tensor,
};
use half::f16;
use hyperalign_core::atomic::{self, WriteError};

use super::layout::Position;

/// The type that floats are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFloat {
    /// Four bytes, exact.
    F32,
    /// Two bytes, rounded to the nearest; values beyond 65504 cannot be written.
    F16,
}

/// Why weights could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SaveError {
    /// The file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A weight is NaN, infinite, or too large for the type of the file.
    #[error("`{key}` holds values that cannot be stored as {float:?}; nothing was written")]
    NotFinite {
        /// The key.
        key: String,
        /// The type of the file.
        float: FileFloat,
    },
}

/// Writes the weights of `module` to `path`, in the layout that [`load`](super::load) reads.
///
/// The same weights and `metadata` give the same bytes. The file appears whole or not at all: it
/// is written beside its place and renamed.
///
/// # Errors
///
/// Fails if the file cannot be written, or if a weight cannot be represented in it.
pub fn save<M: Module>(
    module: &M,
    path: &Path,
    float: FileFloat,
    metadata: &BTreeMap<String, String>,
) -> Result<(), SaveError> {
    let bytes = to_bytes(module, float, metadata)?;
    Ok(atomic::write(path, &bytes)?)
}

/// The bytes that [`save`] writes.
///
/// # Errors
///
/// Fails if a weight cannot be represented.
pub fn to_bytes<M: Module>(
    module: &M,
    float: FileFloat,
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>, SaveError> {
    let mut collector = Collector::new(float);
    module.visit(&mut collector);
    if let Some(key) = collector.not_finite {
        return Err(SaveError::NotFinite { key, float });
    }
    let tensors = collector.tensors.into_iter();
    let dtype = format!("{float:?}");
    let tensors = tensors.map(|(key, (shape, bytes))| (key, (dtype.clone(), shape, bytes)));
    Ok(encode(&tensors.collect(), metadata))
}

/// The bytes of a safetensors file of `tensors`: of each its number format as the header names it,
/// its shape and its values.
pub(crate) fn encode(
    tensors: &BTreeMap<String, (String, Vec<usize>, Vec<u8>)>,
    metadata: &BTreeMap<String, String>,
) -> Vec<u8> {
    // The crate `safetensors` keeps metadata in a hash map and so writes it in another order
    // every time; a resumed run has to end with the same bytes as an uninterrupted one.
    let mut header = serde_json::Map::new();
    if !metadata.is_empty() {
        header.insert("__metadata__".to_owned(), serde_json::json!(metadata));
    }
    let mut data: Vec<u8> = Vec::new();
    for (key, (dtype, shape, bytes)) in tensors {
        let offsets = [data.len(), data.len() + bytes.len()];
        let entry = serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": offsets});
        header.insert(key.clone(), entry);
        data.extend(bytes);
    }
    let mut text = serde_json::Value::Object(header).to_string();
    // The tensors begin at a multiple of eight bytes, as other readers expect.
    text.extend(std::iter::repeat_n(' ', text.len().next_multiple_of(8) - text.len()));
    let mut bytes = Vec::with_capacity(8 + text.len() + data.len());
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.into_bytes());
    bytes.extend(data);
    bytes
}

struct Collector {
    position: Position,
    float: FileFloat,
    tensors: BTreeMap<String, (Vec<usize>, Vec<u8>)>,
    not_finite: Option<String>,
}

impl Collector {
    fn new(float: FileFloat) -> Self {
        Self { position: Position::default(), float, tensors: BTreeMap::new(), not_finite: None }
    }
}

impl ModuleVisitor for Collector {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.position.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.position.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        let shape = tensor.dims();
        let layout = self.position.layout();
        let key = self.position.key();
        let values = layout.to_file(values(tensor), &shape);
        let (finite, bytes): (bool, Vec<u8>) = match self.float {
            FileFloat::F32 => (
                values.iter().all(|value| value.is_finite()),
                values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            ),
            FileFloat::F16 => {
                let halves: Vec<f16> = values.iter().map(|value| f16::from_f32(*value)).collect();
                (
                    halves.iter().all(|value| value.is_finite()),
                    halves.iter().flat_map(|value| value.to_le_bytes()).collect(),
                )
            }
        };
        if !finite {
            self.not_finite.get_or_insert_with(|| key.clone());
        }
        self.tensors.insert(key, (layout.file_shape(&shape), bytes));
    }
}

/// The values of a parameter as `f32`.
pub(super) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.dequantize().into_data().iter::<f32>().collect()
}
