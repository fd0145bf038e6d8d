//! Advantages: how much better a picture is than the others of its group.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the deviation of a picture's score from the mean of its group is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Spread {
    /// The standard deviation within its group: every group teaches as much.
    #[default]
    Group,
    /// That of all scores of the rollout: a group whose pictures are alike teaches little.
    Rollout,
}

/// The advantages of pictures with these scores, `group` of them to a prompt, at most `clip` in
/// either direction.
pub fn advantages(scores: &[f64], group: usize, spread: Spread, clip: f64) -> Vec<f64> {
    let whole = match spread {
        Spread::Group => None,
        Spread::Rollout => Some(deviation(scores, 0) + 1e-4),
    };
    let of_group = |scores: &[f64]| -> Vec<f64> {
        let mean = mean(scores);
        let deviation = whole.unwrap_or_else(|| deviation(scores, 1) + 1e-8);
        scores.iter().map(|score| ((score - mean) / deviation).clamp(-clip, clip)).collect()
    };
    scores.chunks(group).flat_map(of_group).collect()
}

/// The mean of the standard deviations within groups: at 0 there is nothing to learn.
pub(super) fn spread_within(scores: &[f64], group: usize) -> f64 {
    mean(&scores.chunks(group).map(|scores| deviation(scores, 1)).collect::<Vec<f64>>())
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The standard deviation, with `lost` degrees of freedom.
fn deviation(values: &[f64], lost: usize) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (values.len() - lost) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_of_a_group_and_sum_to_nothing() {
        let scores = [1.0, 2.0, 3.0, 10.0, 10.0, 16.0];
        let found = advantages(&scores, 3, Spread::Group, 5.0);
        for (found, expected) in found.iter().zip([-1.0, 0.0, 1.0]) {
            assert!((found - expected).abs() < 1e-7, "{found}");
        }
        for group in found.chunks(3) {
            assert!(group.iter().sum::<f64>().abs() < 1e-7);
        }
        let whole = advantages(&scores, 3, Spread::Rollout, 5.0);
        // The biased deviation of all six is the root of 176 / 6.
        assert!((whole[2] - 1.0 / ((176.0f64 / 6.0).sqrt() + 1e-4)).abs() < 1e-12, "{whole:?}");
        assert!((whole[5] / whole[2] - 4.0).abs() < 1e-12, "one scale for all groups");
        let clipped = advantages(&scores, 3, Spread::Group, 0.5);
        assert_eq!(clipped[..3], [-0.5, 0.0, 0.5]);
        assert!((spread_within(&scores, 3) - (1.0 + 12.0f64.sqrt()) / 2.0).abs() < 1e-12);
    }

    #[test]
    fn a_group_of_equal_pictures_teaches_nothing() {
        for spread in [Spread::Group, Spread::Rollout] {
            assert_eq!(advantages(&[0.3; 4], 2, spread, 5.0), [0.0; 4]);
        }
    }
}
