//! How a trajectory moves: where along it new weights are worth computing.
//!
//! The measure is the relative distance between one-step estimates of the original at
//! neighbouring steps, averaged over prompts with the base model; HyperAlign-P (arXiv:2601.15968,
//! figure 4) places its key steps by it. Functions here are on the host and know no network.

use burn::tensor::Tensor;

use crate::sampler::StepState;

/// An observer that records how far the one-step estimate moves in each step.
///
/// One recorder may watch any number of runs over the same plan, one after another; each starts
/// at step 0.
#[derive(Debug, Clone, Default)]
pub struct MovementRecorder {
    previous: Option<Tensor<4>>,
    /// Distances of all samples, by step.
    distances: Vec<Vec<f64>>,
}

impl MovementRecorder {
    /// Records one step; call it from the observer of [`Sampler::run`](crate::sampler::Sampler::run).
    pub fn observe(&mut self, state: &StepState) {
        if state.i == 0 {
            self.previous = None;
        }
        let current = state.pred_original.clone();
        let distances = match self.previous.take() {
            Some(previous) => relative_distance(previous, current.clone()),
            None => vec![0.0; current.dims()[0]],
        };
        self.previous = Some(current);
        if self.distances.len() <= state.i {
            self.distances.resize(state.i + 1, Vec::new());
        }
        self.distances[state.i].extend(distances);
    }

    /// The recorded distances, `[step][sample]`; those of the first step are 0.
    pub fn distances(&self) -> &[Vec<f64>] {
        &self.distances
    }

    /// The mean over all samples, by step: the movement that the functions below take.
    pub fn movement(&self) -> Vec<f64> {
        let mean = |row: &Vec<f64>| row.iter().sum::<f64>() / row.len().max(1) as f64;
        self.distances.iter().map(mean).collect()
    }
}

/// `|current - previous|_1 / |previous|_1` of each sample of a batch.
pub fn relative_distance(previous: Tensor<4>, current: Tensor<4>) -> Vec<f64> {
    let sums = |tensor: Tensor<4>| -> Vec<f32> {
        let batch = tensor.dims()[0] as i64;
        let rows: Tensor<2> = tensor.abs().reshape([batch, -1]);
        let sums = rows.sum_dim(1).into_data_as::<f32>();
        sums.iter::<f32>().collect()
    };
    let (moved, size) = (sums(current - previous.clone()), sums(previous));
    // An estimate of exactly 0 has no scale to be relative to.
    let tiny = f64::from(f32::MIN_POSITIVE);
    moved.iter().zip(size).map(|(m, s)| f64::from(*m) / f64::from(s).max(tiny)).collect()
}

/// Curvature of the movement `d` over steps,
/// `|d[i+1] - 2 d[i] + d[i-1]| / (1 + ((d[i+1] - d[i-1]) / 2)^2)^(3/2)`; 0 at both ends and at
/// step 1: the first distance is that of step 1, and the 0 before it would make a bend that is
/// none.
pub fn curvature(movement: &[f64]) -> Vec<f64> {
    let mut curvature = vec![0.0; movement.len()];
    for (i, three) in movement.windows(3).enumerate().skip(1) {
        let bend = (three[2] - 2.0 * three[1] + three[0]).abs();
        let slope = (three[2] - three[0]) / 2.0;
        curvature[i + 1] = bend / (1.0 + slope * slope).powf(1.5);
    }
    curvature
}

/// Key steps that cannot be placed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyStepError {
    /// There must be at least one key step, and no more than steps.
    #[error("{count} key steps were asked for over {steps} sampling steps; take 1 to {steps}")]
    Count {
        /// What was asked for.
        count: usize,
        /// Steps of the plan.
        steps: usize,
    },
    /// The movement was not measured, or its measurement went wrong.
    #[error("the movement at step {i} is {value}; every step needs a finite number from 0 up")]
    Movement {
        /// The step.
        i: usize,
        /// What was recorded there.
        value: f64,
    },
}

/// `count` key steps at equal distances over `steps` sampling steps, the first one among them.
///
/// # Errors
///
/// Fails for no key step, and for more than there are steps.
pub fn key_steps_spread(steps: usize, count: usize) -> Result<Vec<usize>, KeyStepError> {
    if count == 0 || count > steps {
        return Err(KeyStepError::Count { count, steps });
    }
    Ok((0..count).map(|k| k * steps / count).collect())
}

/// Step 0 and `count - 1` further steps that cut the cumulative movement into equal shares:
/// key step `j` is the first at which `j / count` of the whole movement is reached.
///
/// # Errors
///
/// Fails if there are not `count` steps, and for movement that is not a number.
pub fn key_steps_by_share(movement: &[f64], count: usize) -> Result<Vec<usize>, KeyStepError> {
    check(movement, count)?;
    let total: f64 = movement.iter().sum();
    let (mut keys, mut sum) = (vec![0], movement[0]);
    for i in 1..movement.len() {
        sum += movement[i];
        let (placed, left) = (keys.len(), movement.len() - i);
        // One large movement may cross two shares: the second gets the next step. The last
        // steps are taken in any case when only as many are left as are wanted.
        let reached = sum >= total * placed as f64 / count as f64;
        if placed < count && (reached || left == count - placed) {
            keys.push(i);
        }
    }
    Ok(keys)
}

/// Step 0 and the `count - 1` sharpest bends of the movement: local maxima of its curvature
/// first, then the steps of largest curvature that are left.
///
/// # Errors
///
/// Fails if there are not `count` steps, and for movement that is not a number.
pub fn key_steps_by_curvature(movement: &[f64], count: usize) -> Result<Vec<usize>, KeyStepError> {
    check(movement, count)?;
    let curvature = curvature(movement);
    let at = |i: usize| curvature.get(i).copied().unwrap_or(0.0);
    let is_maximum = |i: usize| at(i) > 0.0 && at(i) >= at(i - 1) && at(i) > at(i + 1);
    let mut candidates: Vec<usize> = (1..movement.len()).collect();
    candidates.sort_by(|a, b| {
        is_maximum(*b).cmp(&is_maximum(*a)).then(at(*b).total_cmp(&at(*a))).then(a.cmp(b))
    });
    let mut keys: Vec<usize> = std::iter::once(0).chain(candidates).take(count).collect();
    keys.sort_unstable();
    Ok(keys)
}

fn check(movement: &[f64], count: usize) -> Result<(), KeyStepError> {
    if count == 0 || count > movement.len() {
        return Err(KeyStepError::Count { count, steps: movement.len() });
    }
    match movement.iter().position(|value| !value.is_finite() || *value < 0.0) {
        Some(i) => Err(KeyStepError::Movement { i, value: movement[i] }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    fn tensor(values: [f32; 4]) -> Tensor<4> {
        Tensor::from_data(TensorData::new(values.to_vec(), [2, 2, 1, 1]), &Device::default())
    }

    #[test]
    fn spread_steps_are_at_equal_distances() {
        assert_eq!(key_steps_spread(10, 3).unwrap(), [0, 3, 6]);
        assert_eq!(key_steps_spread(3, 3).unwrap(), [0, 1, 2]);
        assert_eq!(key_steps_spread(50, 1).unwrap(), [0]);
        for count in [0, 4] {
            assert!(matches!(key_steps_spread(3, count), Err(KeyStepError::Count { .. })));
        }
    }

    #[test]
    fn distance_is_relative_and_by_sample() {
        let distances =
            relative_distance(tensor([1.0, -1.0, 4.0, 0.0]), tensor([1.5, -1.0, 4.0, -2.0]));
        assert_eq!(distances, [0.25, 0.5]);
        // Scale does not matter; a still sample does not move.
        let distances =
            relative_distance(tensor([10.0, -10.0, 0.0, 0.0]), tensor([15.0, -10.0, 0.0, 0.0]));
        assert_eq!(distances, [0.25, 0.0]);
    }

    #[test]
    fn recorder_averages_over_samples_and_runs() {
        let mut recorder = MovementRecorder::default();
        let still = tensor([1.0, 1.0, 1.0, 1.0]);
        for moved in [[3.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]] {
            for (i, pred_original) in [still.clone(), tensor(moved)].iter().enumerate() {
                recorder.observe(&StepState {
                    i,
                    timestep: 0.0,
                    sample: &still,
                    model_output: &still,
                    pred_original,
                    prev_sample: &still,
                    lora: None,
                });
            }
        }
        assert_eq!(recorder.distances()[1], [1.0, 0.0, 0.0, 0.0]);
        assert_eq!(recorder.movement(), [0.0, 0.25]);
    }

    /// Of a parabola `d = c i^2` the curvature is `2 c / (1 + (2 c i)^2)^(3/2)`.
    #[test]
    fn curvature_of_a_parabola() {
        let c = 0.3;
        let movement: Vec<f64> = (0..6).map(|i| c * f64::from(i * i)).collect();
        let found = curvature(&movement);
        for (i, found) in found.iter().enumerate().take(5).skip(2) {
            let expected = 2.0 * c / (1.0 + (2.0 * c * i as f64).powi(2)).powf(1.5);
            assert!((found - expected).abs() < 1e-12, "{i}");
        }
        assert_eq!((found[0], found[1], found[5]), (0.0, 0.0, 0.0));
        assert_eq!(curvature(&[1.0]), [0.0]);
    }

    #[test]
    fn equal_shares() {
        // 60 % of the movement in the first three of ten steps.
        let movement = [0.0, 3.0, 3.0, 0.6, 0.6, 0.6, 0.6, 0.6, 0.5, 0.5];
        assert_eq!(key_steps_by_share(&movement, 1).unwrap(), [0]);
        assert_eq!(key_steps_by_share(&movement, 2).unwrap(), [0, 2]);
        assert_eq!(key_steps_by_share(&movement, 3).unwrap(), [0, 2, 4]);
        assert_eq!(key_steps_by_share(&movement, 10).unwrap(), Vec::from_iter(0..10));
    }

    #[test]
    fn there_are_always_as_many_key_steps_as_asked_for() {
        let cases: [&[f64]; 4] = [
            &[0.0; 6],
            &[0.0, 9.0, 0.1, 0.1, 0.1, 0.1],
            &[0.0, 0.0, 0.0, 0.0, 0.0, 5.0],
            &[0.0, 1.0, 3.0, 0.2, 2.0, 0.1],
        ];
        for movement in cases {
            for count in 1..=6 {
                for keys in [
                    key_steps_by_share(movement, count).unwrap(),
                    key_steps_by_curvature(movement, count).unwrap(),
                ] {
                    assert_eq!(keys.len(), count, "{movement:?}");
                    assert!(keys[0] == 0 && keys.windows(2).all(|pair| pair[0] < pair[1]));
                }
            }
        }
    }

    #[test]
    fn bends_are_found() {
        // Flat, a kink at 3, a steady fall, a kink at 7, flat.
        let movement = [1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0, 0.0];
        assert_eq!(key_steps_by_curvature(&movement, 3).unwrap(), [0, 3, 7]);
        // A fall that slows down has its first bend at step 2, however large step 1 is.
        let movement = [0.0, 1.2, 0.5, 0.3, 0.25, 0.24];
        assert_eq!(key_steps_by_curvature(&movement, 2).unwrap(), [0, 2]);
    }

    #[test]
    fn bad_input() {
        assert_eq!(
            key_steps_by_share(&[0.0, 1.0], 3),
            Err(KeyStepError::Count { count: 3, steps: 2 })
        );
        assert_eq!(
            key_steps_by_curvature(&[0.0], 0),
            Err(KeyStepError::Count { count: 0, steps: 1 })
        );
        let error = key_steps_by_share(&[0.0, f64::NAN, 1.0], 2).unwrap_err();
        assert!(matches!(error, KeyStepError::Movement { i: 1, .. }));
    }
}
