//! Intervals of paired differences by the bootstrap.

use std::collections::HashMap;
use std::hash::Hash;

use hyperalign_core::noise::{Purpose, Stream};
use serde::{Deserialize, Serialize};

/// How often the prompts are drawn anew.
pub const RESAMPLES: u32 = 2000;

/// A mean and the interval that holds its true value in 95 of 100 such measurements.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// What was measured.
    pub mean: f64,
    /// The 2.5th percentile of the resampled means.
    pub low: f64,
    /// The 97.5th percentile.
    pub high: f64,
}

impl Interval {
    /// What the interval allows to say of a difference.
    pub fn verdict(&self) -> Verdict {
        match () {
            // Resampled sums of what cancels out may be a last bit off.
            () if self.mean == 0.0 => Verdict::NoDifferenceShown,
            () if self.low > 0.0 => Verdict::Higher,
            () if self.high < 0.0 => Verdict::Lower,
            () => Verdict::NoDifferenceShown,
        }
    }
}

/// What an interval of a difference shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It lies above 0.
    Higher,
    /// It lies below 0.
    Lower,
    /// It holds 0. That is not a proof of equality.
    NoDifferenceShown,
}

impl Verdict {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Higher => "higher",
            Self::Lower => "lower",
            Self::NoDifferenceShown => "no difference shown",
        }
    }
}

/// The mean of `differences` and its percentile interval (Efron & Tibshirani 1993, An
/// Introduction to the Bootstrap, chapter 13).
///
/// What is drawn anew, with replacement, are the `clusters`: pictures of one prompt stand or
/// fall together, and counting them as independent would make the interval too narrow. The
/// statistic is the mean over all drawn pictures. The same arguments give the same interval.
///
/// # Panics
///
/// Panics if there is not one cluster for each difference, or none at all.
pub fn bootstrap<K: Hash + Eq>(clusters: &[K], differences: &[f64], seed: u64) -> Interval {
    assert_eq!(clusters.len(), differences.len(), "one cluster for each difference");
    assert!(!differences.is_empty(), "there is no mean of nothing");
    // Of a cluster only its sum and its size matter. In the order of first appearance: that of
    // a hash map is another one in each process.
    let mut index = HashMap::new();
    let mut sums: Vec<(f64, usize)> = Vec::new();
    for (cluster, difference) in clusters.iter().zip(differences) {
        let k = *index.entry(cluster).or_insert_with(|| {
            sums.push((0.0, 0));
            sums.len() - 1
        });
        sums[k].0 += difference;
        sums[k].1 += 1;
    }
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|resample| {
            let mut stream = Stream::new(seed, Purpose::Bootstrap, resample, 0);
            let (mut sum, mut count) = (0.0, 0);
            for _ in 0..sums.len() {
                let (s, n) = *stream.pick(&sums);
                sum += s;
                count += n;
            }
            sum / count as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    Interval {
        mean: differences.iter().sum::<f64>() / differences.len() as f64,
        low: percentile(&means, 0.025),
        high: percentile(&means, 0.975),
    }
}

/// Between the two nearest of the sorted values, linearly.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (below, rest) = (at.floor() as usize, at.fract());
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + rest * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normals(n: usize, seed: u64) -> Vec<f64> {
        let mut stream = Stream::new(seed, Purpose::Data, 0, 0);
        (0..n).map(|_| stream.normal()).collect()
    }

    /// The resampled mean of n values has the standard deviation `sd / sqrt(n)`, exactly, and is
    /// nearly normal.
    #[test]
    fn width_is_that_of_the_closed_form() {
        let values = normals(400, 1);
        let mean = values.iter().sum::<f64>() / 400.0;
        let sd = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 400.0).sqrt();
        let clusters: Vec<usize> = (0..400).collect();
        let interval = bootstrap(&clusters, &values, 7);
        assert!((interval.mean - mean).abs() < 1e-12);
        let expected = 1.96 * sd / 20.0;
        for half in [interval.mean - interval.low, interval.high - interval.mean] {
            assert!((half / expected - 1.0).abs() < 0.08, "{half} for {expected}");
        }
    }

    #[test]
    fn pictures_of_one_prompt_are_one_observation() {
        let values = normals(50, 2);
        let clusters: Vec<usize> = (0..50).collect();
        let once = bootstrap(&clusters, &values, 3);
        // The same picture four times is no news.
        let times = |n: usize| -> (Vec<usize>, Vec<f64>) {
            (0..50 * n).map(|k| (k / n, values[k / n])).unzip()
        };
        let (clusters, repeated) = times(4);
        let again = bootstrap(&clusters, &repeated, 3);
        assert!((again.low - once.low).abs() < 1e-12 && (again.high - once.high).abs() < 1e-12);
        // Taken as independent it would look twice as certain.
        let independent: Vec<usize> = (0..200).collect();
        let wrong = bootstrap(&independent, &repeated, 3);
        let ratio = (once.high - once.low) / (wrong.high - wrong.low);
        assert!((ratio - 2.0).abs() < 0.2, "{ratio}");
    }

    /// Of 200 experiments whose true mean is 0, about 190 have it in their interval.
    #[test]
    fn coverage_is_as_promised() {
        let clusters: Vec<usize> = (0..60).collect();
        let covered = (0..200)
            .filter(|&seed| {
                let interval = bootstrap(&clusters, &normals(60, 100 + seed), seed);
                interval.low <= 0.0 && interval.high >= 0.0
            })
            .count();
        assert!((180..=198).contains(&covered), "{covered}");
    }

    #[test]
    fn a_constant_has_no_width_and_order_does_not_matter() {
        let interval = bootstrap(&["a", "b", "b"], &[0.25; 3], 1);
        assert_eq!(interval, Interval { mean: 0.25, low: 0.25, high: 0.25 });
        // One cluster of pictures apart from each other in the list is still one.
        let (a, b) = (
            bootstrap(&["a", "b", "a"], &[1.0, -1.0, 0.5], 1),
            bootstrap(&["a", "a", "b"], &[1.0, 0.5, -1.0], 1),
        );
        assert_eq!((a.low, a.high), (b.low, b.high));
        assert_eq!((a.low, a.high), (-1.0, 0.75));
    }

    #[test]
    fn verdicts() {
        let verdict = |low, high| Interval { mean: (low + high) / 2.0, low, high }.verdict();
        assert_eq!(verdict(0.01, 0.1), Verdict::Higher);
        assert_eq!(verdict(-0.2, -0.1), Verdict::Lower);
        assert_eq!(verdict(-0.1, 0.1), Verdict::NoDifferenceShown);
        assert_eq!(verdict(0.0, 0.0), Verdict::NoDifferenceShown);
        let zero = Interval { mean: 0.0, low: 1e-17, high: 1e-17 };
        assert_eq!(zero.verdict(), Verdict::NoDifferenceShown);
    }
}
