//! Whether the emitted updates differ, as training logs it.

use burn::tensor::Tensor;
use hyperalign_models::hypernet::relative_deviation;

use crate::learner::Metric;

/// The names of what [`variation`] measures.
pub(super) const VARIATION: [&str; 2] = ["variation_over_prompts", "variation_over_steps"];

/// How much the emitted factors vary over prompts (at one step) and over steps (of one
/// trajectory). Near 0 the hypernetwork is a static LoRA.
pub(super) fn variation(factors: Tensor<3>, steps: usize, rows: usize) -> Vec<Metric> {
    let [batch, targets, outputs] = factors.dims();
    let values: Vec<f32> = factors.detach().into_data().iter::<f32>().collect();
    let vectors: Vec<Vec<f32>> = values.chunks(targets * outputs).map(<[f32]>::to_vec).collect();
    debug_assert_eq!(batch, steps * rows);
    let mean = |deviations: Vec<f64>| deviations.iter().sum::<f64>() / deviations.len() as f64;
    let mut metrics = Vec::new();
    if rows > 1 {
        let deviations = vectors.chunks(rows).map(relative_deviation).collect();
        metrics.push(Metric::new(VARIATION[0], mean(deviations)));
    }
    if steps > 1 {
        let of_row = |row: usize| -> Vec<Vec<f32>> {
            vectors.iter().skip(row).step_by(rows).cloned().collect()
        };
        let deviations = (0..rows).map(|row| relative_deviation(&of_row(row))).collect();
        metrics.push(Metric::new(VARIATION[1], mean(deviations)));
    }
    metrics
}
