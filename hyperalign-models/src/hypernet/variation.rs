//! How much an emitted update really depends on its input.

/// Relative standard deviation of vectors around their mean,
/// `sqrt(mean |v - mean|^2 / mean |v|^2)`: 0 when all are the same, 1 when their mean is zero.
///
/// Over prompts at one step, or over steps of one prompt, it tells whether a hypernetwork has
/// collapsed to a static LoRA.
pub fn relative_deviation(vectors: &[Vec<f32>]) -> f64 {
    let Some(first) = vectors.first() else { return 0.0 };
    let n = vectors.len() as f64;
    let mut mean = vec![0.0; first.len()];
    for vector in vectors {
        for (m, v) in mean.iter_mut().zip(vector) {
            *m += f64::from(*v) / n;
        }
    }
    let squares = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
        vectors
            .iter()
            .flat_map(|vector| vector.iter().zip(&mean).map(|(v, m)| f(f64::from(*v), *m)))
            .sum()
    };
    let total = squares(&|v, _| v * v);
    if total == 0.0 { 0.0 } else { (squares(&|v, m| (v - m) * (v - m)) / total).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deviation_of_known_vectors() {
        assert_eq!(relative_deviation(&[]), 0.0);
        assert_eq!(relative_deviation(&[vec![1.0, 2.0], vec![1.0, 2.0]]), 0.0);
        assert!((relative_deviation(&[vec![1.0], vec![-1.0]]) - 1.0).abs() < 1e-12);
        // Mean 2, deviation 1, root mean square sqrt(5).
        assert!((relative_deviation(&[vec![1.0], vec![3.0]]) - 0.2_f64.sqrt()).abs() < 1e-12);
    }
}
