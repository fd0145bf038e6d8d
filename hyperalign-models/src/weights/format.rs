//! The number formats that the weights of a network are held in.

use std::{fmt, str::FromStr};

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{FloatDType, Tensor, TensorData},
};
use hyperalign_core::quantized;

use super::layout::Position;

/// In which number format a network holds its weights, and computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// All weights are floats of one kind, and so is what is computed.
    Float(FloatDType),
    /// The matrices of linear layers in blocks of a transformer are in [8 bits](quantized); norms,
    /// biases, embeddings, convolutions and matrices without whole blocks of outputs are floats of
    /// this kind, in which it also computes.
    EightBit(FloatDType),
}

/// What the weights of a network take in a format.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Bytes of all weights.
    pub bytes: usize,
    /// Numbers in the largest matrix that is in 8 bits: where it is used, they are there as floats
    /// for a moment.
    pub largest_matrix: usize,
}

/// A name that is none of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no number format; formats are f32, f16, bf16, q8, q8-f16 and q8-f32")]
pub struct UnknownFormat;

impl Format {
    /// All formats by their names. `q8` computes in bf16, as it is meant for a GPU that has little
    /// memory.
    pub const NAMES: [(&str, Self); 6] = [
        ("f32", Self::Float(FloatDType::F32)),
        ("f16", Self::Float(FloatDType::F16)),
        ("bf16", Self::Float(FloatDType::BF16)),
        ("q8", Self::EightBit(FloatDType::BF16)),
        ("q8-f16", Self::EightBit(FloatDType::F16)),
        ("q8-f32", Self::EightBit(FloatDType::F32)),
    ];

    /// The format that is computed in, and that all weights have which are not in 8 bits.
    pub fn float(self) -> FloatDType {
        match self {
            Self::Float(float) | Self::EightBit(float) => float,
        }
    }

    /// What the weights of `module` take in this format. Nothing is initialised.
    pub fn held<M: Module>(self, module: &M) -> Held {
        let (position, held) = (Position::default(), Held::default());
        let mut counter = Counter { format: self, position, held };
        module.visit(&mut counter);
        counter.held
    }

    /// Outputs that share a scale in the parameter of `shape` at `position`, if it is in 8 bits.
    pub(super) fn block(self, position: &Position, shape: &[usize]) -> Option<usize> {
        match (self, shape) {
            (Self::EightBit(_), [_, d_output]) if position.is_matrix_of_block() => {
                quantized::block(*d_output)
            }
            _ => None,
        }
    }

    /// The `values` of the parameter of `shape` at `position` in 8 bits, if that is how it is held.
    pub(super) fn rounded(
        self,
        position: &Position,
        values: &[f32],
        shape: &[usize],
    ) -> Option<TensorData> {
        let (Some(_), [d_input, d_output]) = (self.block(position, shape), shape) else {
            return None;
        };
        quantized::quantize(values, [*d_input, *d_output])
    }

    /// Bytes of one number that is not in 8 bits.
    pub fn float_bytes(self) -> usize {
        match self.float() {
            FloatDType::F64 => 8,
            FloatDType::F32 | FloatDType::Flex32 => 4,
            FloatDType::F16 | FloatDType::BF16 => 2,
        }
    }
}

impl From<FloatDType> for Format {
    fn from(float: FloatDType) -> Self {
        Self::Float(float)
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        let known = Self::NAMES.into_iter().find(|(name, _)| *name == text);
        known.map(|(_, format)| format).ok_or(UnknownFormat)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = Self::NAMES.into_iter().find(|(_, format)| format == self);
        f.write_str(known.map_or("another format", |(name, _)| name))
    }
}

/// Whether some weights of `module` are in 8 bits.
pub(crate) fn is_eight_bit<M: Module>(module: &M) -> bool {
    struct Seen(bool);
    impl ModuleVisitor for Seen {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 |= quantized::is_quantized(&param.val());
        }
    }
    let mut seen = Seen(false);
    module.visit(&mut seen);
    seen.0
}

struct Counter {
    format: Format,
    position: Position,
    held: Held,
}

impl ModuleVisitor for Counter {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.position.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.position.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let shape: [usize; D] = param.lazy_shape().dims();
        let count = shape.iter().product::<usize>();
        let Held { bytes, largest_matrix } = &mut self.held;
        match self.format.block(&self.position, &shape) {
            Some(block) => {
                *bytes += count + count / block * size_of::<f32>();
                *largest_matrix = (*largest_matrix).max(count);
            }
            None => *bytes += count * self.format.float_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use hyperalign_core::testing;

    use super::*;
    use crate::{t5::T5Config, weights::parameters};

    #[test]
    fn every_format_is_read_by_its_name() {
        for (name, format) in Format::NAMES {
            assert_eq!(name.parse(), Ok(format));
            assert_eq!(format.to_string(), name);
        }
        for other in ["", "q4", "int8", "Q8", "q8-bf16"] {
            assert_eq!(other.parse::<Format>(), Err(UnknownFormat), "{other}");
        }
    }

    /// T5 v1.1 XXL: nearly all of it is matrices, whose outputs come in blocks of 32.
    #[test]
    fn a_large_encoder_takes_nine_bits_a_weight() {
        let t5 = T5Config::xxl().init(&testing::device());
        let count = parameters(&t5) as f64;
        let held = |name: &str| name.parse::<Format>().unwrap().held(&t5);
        let of = |name: &str| held(name).bytes as f64 / count;
        assert_eq!((of("f32"), of("bf16")), (4.0, 2.0));
        let eight = of("q8");
        assert!((1.125..1.16).contains(&eight), "{eight} bytes a weight");
        assert!(of("q8-f32") > eight);
        // Into the feed-forward network.
        assert_eq!((held("q8").largest_matrix, held("f32").largest_matrix), (4096 * 10240, 0));
    }
}
