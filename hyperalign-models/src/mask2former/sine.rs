//! Positions of the pixels of a map as sines.

use burn::tensor::{Device, Tensor, TensorData};

/// The longest wave, in units of the angle.
const TEMPERATURE: f64 = 10_000.0;
/// Added to the extent that positions are divided by, as in the published code.
const EPSILON: f64 = 1e-6;

/// Sines and cosines of the row of each pixel, then of its column, as a part of the whole circle
/// (Carion et al. 2020, arXiv:2005.12872, section A.4).
///
/// # Shapes
///
/// - output: `[1, height * width, dim]`
///
/// # Panics
///
/// Panics if `dim` is odd.
pub(super) fn sine_positions(
    [height, width]: [usize; 2],
    dim: usize,
    device: &Device,
) -> Tensor<3> {
    assert!(dim.is_multiple_of(2), "{dim} features for two axes");
    let half = dim / 2;
    // In f32, as the reference computes them.
    let frequencies: Vec<f32> =
        (0..half).map(|k| TEMPERATURE.powf((2 * (k / 2)) as f64 / half as f64) as f32).collect();
    let features = |at: usize, extent: usize| -> Vec<f32> {
        let angle = (at + 1) as f32 / (extent as f32 + EPSILON as f32) * std::f32::consts::TAU;
        let feature = |(k, frequency): (usize, &f32)| match k % 2 {
            0 => (angle / frequency).sin(),
            _ => (angle / frequency).cos(),
        };
        frequencies.iter().enumerate().map(feature).collect()
    };
    let rows: Vec<Vec<f32>> = (0..height).map(|row| features(row, height)).collect();
    let columns: Vec<Vec<f32>> = (0..width).map(|column| features(column, width)).collect();
    let mut values: Vec<f32> = Vec::with_capacity(height * width * dim);
    for row in &rows {
        for column in &columns {
            values.extend(row.iter().chain(column));
        }
    }
    Tensor::from_data(TensorData::new(values, [1, height * width, dim]), device)
}
