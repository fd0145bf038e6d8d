//! Rows of a batch.

use burn::tensor::{Int, Tensor, TensorData};

/// The given rows of `tensor`, in this order; a row may come more than once.
///
/// # Panics
///
/// Panics for a row that is not there.
pub fn select_rows<const D: usize>(tensor: Tensor<D>, rows: &[usize]) -> Tensor<D> {
    let batch = tensor.dims()[0];
    assert!(rows.iter().all(|&row| row < batch), "rows {rows:?} of a batch of {batch}");
    let indices: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
    let indices = TensorData::new(indices, [rows.len()]);
    let indices = Tensor::<1, Int>::from_data(indices, &tensor.device());
    tensor.select(0, indices)
}

/// The mean of each row, `[batch]`.
pub(crate) fn mean(tensor: Tensor<4>) -> Tensor<1> {
    let [batch, channels, height, width] = tensor.dims();
    let flat = tensor.reshape([batch, channels * height * width]);
    flat.mean_dim(1).squeeze_dim(1)
}
