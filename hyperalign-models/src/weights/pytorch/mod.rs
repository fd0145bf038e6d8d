//! Files of `torch.save`, read without running anything that is in them.
//!
//! Such a file is an uncompressed zip archive of one pickle and a file for each storage, or, from
//! before PyTorch 1.6 and from programs that still ask for it, pickles and storages one behind the
//! other. The pickle is read as data ([`crate::pickle`]), of which only tensors are looked at, so a
//! file from a stranger is as safe as a safetensors file.

mod archive;
mod legacy;
mod state;

use std::{collections::HashMap, ops::Range};

use safetensors::Dtype;

use self::{
    archive::Archive,
    state::{State, Tensor},
};

/// A tensor of the file.
#[derive(Debug, PartialEq)]
pub(super) struct Stored {
    pub key: String,
    /// Where its bytes are in the file.
    pub range: Range<usize>,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// Whether the bytes hold the transpose of a matrix of this shape.
    pub transposed: bool,
}

/// Whether the bytes are those of such a file.
pub(super) fn is_pytorch(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || legacy::is_legacy(bytes)
}

/// The tensors of a file: those of the dictionary `state_dict`, or else of the outermost one.
///
/// # Errors
///
/// Fails with the reason if the file is damaged, is a TorchScript program, or holds a tensor that
/// does not lie in one piece.
pub(super) fn tensors(bytes: &[u8]) -> Result<Vec<Stored>, String> {
    if legacy::is_legacy(bytes) {
        let (state, storages) = legacy::read(bytes)?;
        return collect(&state, &storages);
    }
    let archive = Archive::open(bytes)?;
    if archive.ends_with("/constants.pkl").is_some() {
        return Err("it is a TorchScript program and not a dictionary of weights; \
                    take the model's safetensors files"
            .to_owned());
    }
    if archive.ends_with("/byteorder").is_some_and(|range| &bytes[range] == b"big") {
        return Err(BIG_ENDIAN.to_owned());
    }
    let (program, folder) = archive.pickle()?;
    let (state, _) = State::read(&bytes[program]).map_err(|error| error.to_string())?;
    collect(&state, &archive.within(&format!("{folder}data/")))
}

const BIG_ENDIAN: &str = "its numbers are stored in big-endian order";

/// The tensors of the dictionary, given where each storage lies in the file.
fn collect(
    state: &State<'_>,
    storages: &HashMap<&str, Range<usize>>,
) -> Result<Vec<Stored>, String> {
    let entries = state.entries().ok_or("its outermost value is no dictionary")?;
    let mut tensors = Vec::new();
    for (key, value) in entries {
        if let Some(tensor) = state.tensor(value) {
            let storage = storages.get(tensor.storage).cloned();
            let storage = storage.ok_or_else(|| format!("`{key}` has no values"))?;
            tensors.push(tensor.stored(key, storage)?);
        }
    }
    Ok(tensors)
}

/// Bytes of a number.
fn size_of(dtype: Dtype) -> usize {
    match dtype {
        Dtype::F64 | Dtype::I64 => 8,
        Dtype::F32 | Dtype::I32 => 4,
        Dtype::F16 | Dtype::BF16 | Dtype::I16 => 2,
        _ => 1,
    }
}

impl Tensor<'_> {
    /// The tensor called `key`, given where its storage lies.
    fn stored(self, key: &str, storage: Range<usize>) -> Result<Stored, String> {
        let size = size_of(self.dtype);
        let outside = || format!("`{key}` reaches beyond its storage");
        let count = self.shape.iter().try_fold(1_usize, |count, n| count.checked_mul(*n));
        let bytes = count.and_then(|count| count.checked_mul(size)).ok_or_else(outside)?;
        let start = self.offset.checked_mul(size).and_then(|at| at.checked_add(storage.start));
        let start = start.ok_or_else(outside)?;
        let end = start.checked_add(bytes).ok_or_else(outside)?;
        if end > storage.end {
            return Err(outside());
        }
        let transposed = match (&self.shape[..], &self.strides[..]) {
            (shape, strides) if is_contiguous(shape, strides) => false,
            ([rows, columns], [down, across])
                if is_contiguous(&[*columns, *rows], &[*across, *down]) =>
            {
                true
            }
            _ => return Err(format!("the values of `{key}` do not lie in one piece")),
        };
        let key = key.to_owned();
        Ok(Stored { key, range: start..end, dtype: self.dtype, shape: self.shape, transposed })
    }
}

/// Whether a tensor's values follow one another row by row. The stride of an axis of one element
/// means nothing.
fn is_contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut step = 1_usize;
    shape.len() == strides.len()
        && shape.iter().zip(strides).rev().all(|(extent, stride)| {
            let fits = *extent <= 1 || *stride == step;
            step = step.saturating_mul(*extent);
            fits
        })
}

#[cfg(test)]
mod tests;
