//! Matrices in 8 bits, turned back into numbers on the CPU backend.
//!
//! Burn's own way computes for each number anew in which block it lies, with six divisions, on one
//! thread.

use burn::tensor::{DType, Tensor, TensorData, bf16};
use rayon::prelude::*;

use crate::precision::to;

/// Blocks of one piece of work for a thread.
const PIECE: usize = 1 << 9;

/// The matrix `weight`, which is in 8 bits, in the format `dtype`.
///
/// # Panics
///
/// Panics for a matrix that is not in blocks of its last axis.
pub fn dequantized(weight: &Tensor<2>, dtype: DType) -> Tensor<2> {
    let shape = weight.dims();
    let DType::QFloat(scheme) = weight.dtype() else { return to(weight.clone(), dtype) };
    let block = scheme.block_size().expect("a scale for each block").to_dim_vec(2);
    assert_eq!(block[0], 1, "blocks of the last axis");
    let block = usize::from(block[1]);
    let count = shape[0] * shape[1];
    // The numbers, a byte each, and after them the scales.
    let data = weight.to_data();
    let (numbers, scales) = data.as_bytes().split_at(count);
    let (scales, _) = scales.as_chunks::<4>();
    assert_eq!(scales.len(), count / block, "a scale for each block");
    let options = (&weight.device(), dtype);
    if dtype == DType::BF16 {
        let values = filled(numbers, scales, block, bf16::from_f32);
        return Tensor::from_data(TensorData::new(values, shape), options);
    }
    let options = (options.0, DType::F32);
    let values = filled(numbers, scales, block, |value| value);
    to(Tensor::from_data(TensorData::new(values, shape), options), dtype)
}

fn filled<T: Copy + Default + Send>(
    numbers: &[u8],
    scales: &[[u8; 4]],
    block: usize,
    round: impl Fn(f32) -> T + Sync,
) -> Vec<T> {
    let mut values = vec![T::default(); numbers.len()];
    let pieces = values.par_chunks_mut(PIECE * block).zip(numbers.par_chunks(PIECE * block));
    pieces.zip(scales.par_chunks(PIECE)).for_each(|((values, numbers), scales)| {
        let blocks = values.chunks_exact_mut(block).zip(numbers.chunks_exact(block));
        for ((values, numbers), scale) in blocks.zip(scales) {
            let scale = f32::from_ne_bytes(*scale);
            for (value, number) in values.iter_mut().zip(numbers) {
                *value = round(scale * f32::from(number.cast_signed()));
            }
        }
    });
    values
}
