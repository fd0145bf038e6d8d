//! The values of tensors, converted as they are read.

use burn::tensor::{FloatDType, TensorData};
use half::{bf16, f16};
use safetensors::Dtype;

use super::{Entry, Tensors};
use crate::weights::{
    LoadError,
    layout::{Layout, transpose},
};

/// Values in the number format that a device will hold them in.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::weights) enum Values {
    /// Four bytes each.
    F32(Vec<f32>),
    /// Two bytes each, of small range.
    F16(Vec<f16>),
    /// Two bytes each, of small precision.
    Bf16(Vec<bf16>),
}

impl Values {
    /// The values as burn's data of `shape`.
    pub(in crate::weights) fn into_data(self, shape: &[usize]) -> TensorData {
        match self {
            Self::F32(values) => TensorData::new(values, shape.to_vec()),
            Self::F16(values) => TensorData::new(values, shape.to_vec()),
            Self::Bf16(values) => TensorData::new(values, shape.to_vec()),
        }
    }
}

/// A number format of values.
trait Number: Copy + Default {
    const NAME: &'static str;

    fn from_f32(value: f32) -> Self;
    fn is_finite(self) -> bool;
}

impl Number for f32 {
    const NAME: &'static str = "F32";

    fn from_f32(value: f32) -> Self {
        value
    }

    fn is_finite(self) -> bool {
        f32::is_finite(self)
    }
}

impl Number for f16 {
    const NAME: &'static str = "F16";

    fn from_f32(value: f32) -> Self {
        f16::from_f32(value)
    }

    fn is_finite(self) -> bool {
        f16::is_finite(self)
    }
}

impl Number for bf16 {
    const NAME: &'static str = "BF16";

    fn from_f32(value: f32) -> Self {
        bf16::from_f32(value)
    }

    fn is_finite(self) -> bool {
        bf16::is_finite(self)
    }
}

impl Tensors {
    /// The values of the tensor called `key` as `f32`, in the order of the file.
    ///
    /// # Errors
    ///
    /// Fails if there is no such tensor, if it is not of a floating-point type, or if it holds a
    /// value that is not finite.
    pub fn f32(&self, key: &str) -> Result<Vec<f32>, LoadError> {
        self.numbers(key, Layout::Same)
    }

    /// The values of the tensor called `key` in the order of a module that keeps it in `layout`,
    /// in the format nearest to `dtype`. Nothing but the result is held in memory, but for a
    /// matrix that has to be turned.
    ///
    /// # Errors
    ///
    /// Fails where [`f32`](Self::f32) does, also for a value that is too large for the format.
    pub(in crate::weights) fn values(
        &self,
        key: &str,
        layout: Layout,
        dtype: FloatDType,
    ) -> Result<Values, LoadError> {
        Ok(match dtype {
            FloatDType::F16 => Values::F16(self.numbers(key, layout)?),
            FloatDType::BF16 => Values::Bf16(self.numbers(key, layout)?),
            FloatDType::F64 | FloatDType::F32 | FloatDType::Flex32 => {
                Values::F32(self.numbers(key, layout)?)
            }
        })
    }

    fn numbers<T: Number>(&self, key: &str, layout: Layout) -> Result<Vec<T>, LoadError> {
        let entry = self.entry(key)?;
        let bytes = &entry.bytes.as_ref()[entry.range.clone()];
        let values: Vec<T> = match entry.dtype {
            Dtype::F32 => decode(bytes, |b| T::from_f32(f32::from_le_bytes(b))),
            Dtype::F16 => decode(bytes, |b| T::from_f32(f16::from_le_bytes(b).to_f32())),
            Dtype::BF16 => decode(bytes, |b| T::from_f32(bf16::from_le_bytes(b).to_f32())),
            Dtype::F64 => decode(bytes, |b| T::from_f32(f64::from_le_bytes(b) as f32)),
            other => return Err(entry.dtype_error(other)),
        };
        if !values.iter().all(|value| value.is_finite()) {
            return Err(LoadError::NotFinite {
                format: T::NAME,
                file: entry.file.to_string(),
                key: entry.key.to_string(),
            });
        }
        Ok(layout.to_module(entry.in_order(values), &entry.shape))
    }

    /// The values of the integer tensor called `key`.
    ///
    /// # Errors
    ///
    /// Fails if there is no such tensor, or if it is not of type I64 or I32.
    pub fn i64(&self, key: &str) -> Result<Vec<i64>, LoadError> {
        let entry = self.entry(key)?;
        let bytes = &entry.bytes.as_ref()[entry.range.clone()];
        match entry.dtype {
            Dtype::I64 => Ok(decode(bytes, i64::from_le_bytes)),
            Dtype::I32 => Ok(decode(bytes, |b| i64::from(i32::from_le_bytes(b)))),
            other => Err(entry.dtype_error(other)),
        }
    }
}

impl Entry {
    /// The values of the file in the order that the entry's shape promises.
    fn in_order<T: Copy + Default>(&self, mut values: Vec<T>) -> Vec<T> {
        self.order.to_ours(&mut values, &self.shape);
        match (self.transposed, self.shape.as_slice()) {
            (true, [columns, rows]) => transpose(&values, *rows, *columns),
            _ => values,
        }
    }

    fn dtype_error(&self, dtype: Dtype) -> LoadError {
        LoadError::Dtype {
            file: self.file.to_string(),
            key: self.key.to_string(),
            dtype: format!("{dtype:?}"),
        }
    }
}

/// A mapped file guarantees no alignment, so the values are put together from their bytes.
fn decode<const N: usize, T>(bytes: &[u8], value: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (chunks, _) = bytes.as_chunks::<N>();
    chunks.iter().map(|chunk| value(*chunk)).collect()
}
