//! Means and deviations of scores.

/// The mean; no number where there are no values.
pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The standard deviation, with `lost` degrees of freedom.
pub(crate) fn deviation(values: &[f64], lost: usize) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (values.len() - lost) as f64).sqrt()
}
