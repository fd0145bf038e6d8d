//! Fixed sinusoidal positions (Vaswani et al. 2017, arXiv:1706.03762, section 3.5).

use burn::tensor::{Device, Tensor, TensorData};

/// Positions of a sequence.
///
/// # Shapes
///
/// - output: `[1, length, width]`
pub(super) fn sequence(length: usize, width: usize, device: &Device) -> Tensor<3> {
    let values = (0..length).flat_map(|p| encode(p as f64, width)).collect::<Vec<f32>>();
    Tensor::from_data(TensorData::new(values, [1, length, width]), device)
}

/// Positions of a grid in row-major order: one half of the width for the row, one for the column.
///
/// # Shapes
///
/// - output: `[1, height * columns, width]`
pub(super) fn grid(height: usize, columns: usize, width: usize, device: &Device) -> Tensor<3> {
    let half = width / 2;
    let mut values = Vec::with_capacity(height * columns * width);
    for row in 0..height {
        for column in 0..columns {
            values.extend(encode(row as f64, half));
            values.extend(encode(column as f64, width - half));
        }
    }
    Tensor::from_data(TensorData::new(values, [1, height * columns, width]), device)
}

/// Sines, then cosines, at wavelengths from one step to about sixty.
fn encode(position: f64, width: usize) -> Vec<f32> {
    let half = width / 2;
    let angle = |k: usize| position / 10_f64.powf(k as f64 / half.max(1) as f64);
    let sines = (0..half).map(|k| angle(k).sin() as f32);
    let cosines = (0..width - half).map(|k| angle(k).cos() as f32);
    sines.chain(cosines).collect()
}
