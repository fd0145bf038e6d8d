//! Advantages: how much better a picture is than the others of its group.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::moments::{deviation, mean};

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

/// What is added up where several rewards are trained against at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Summed {
    /// Their standardised and weighted scores: whichever differs most within a group decides.
    #[default]
    Scores,
    /// The advantages by each, weighted: within every group each reward has its say, however little
    /// its scores differ there (MixGRPO).
    Advantages,
}

/// The weighted sum of the advantages by each of several rewards, at most `clip` in either direction.
/// `terms` has the weight of each and its scores.
pub fn advantages_of_each(
    terms: &[(f64, Vec<f64>)],
    group: usize,
    spread: Spread,
    clip: f64,
) -> Vec<f64> {
    let mut sums: Vec<f64> = vec![0.0; terms.first().map_or(0, |(_, scores)| scores.len())];
    for (weight, scores) in terms {
        let own = advantages(scores, group, spread, f64::INFINITY);
        for (sum, advantage) in sums.iter_mut().zip(own) {
            *sum += weight * advantage;
        }
    }
    sums.into_iter().map(|sum| sum.clamp(-clip, clip)).collect()
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

    /// A reward of a large unit does not drown one of a small unit, and a weight of 0 takes one out.
    #[test]
    fn each_reward_has_its_say() {
        let (large, small) = (vec![100.0, 200.0, 300.0], vec![0.03, 0.02, 0.01]);
        let of = |weights: [f64; 2]| {
            let terms = [(weights[0], large.clone()), (weights[1], small.clone())];
            advantages_of_each(&terms, 3, Spread::Group, 5.0)
        };
        let near = |found: Vec<f64>, expected: [f64; 3]| {
            found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-5)
        };
        assert!(near(of([1.0, 1.0]), [0.0; 3]));
        assert!(near(of([1.0, 0.0]), [-1.0, 0.0, 1.0]));
        assert!(near(of([2.0, 4.0]), [2.0, 0.0, -2.0]));
        assert!(near(of([0.0, 40.0]), [5.0, 0.0, -5.0]), "the sum is clipped");
    }

    #[test]
    fn a_group_of_equal_pictures_teaches_nothing() {
        for spread in [Spread::Group, Spread::Rollout] {
            assert_eq!(advantages(&[0.3; 4], 2, spread, 5.0), [0.0; 4]);
        }
    }
}
