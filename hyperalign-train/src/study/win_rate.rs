//! How often one method is preferred to another, and how sure that is.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::eval::{Interval, Verdict, bootstrap};

/// Prompts or voters below which nothing is shown, even if all are of one mind: that happens by chance
/// in one of `2^(n - 1)` studies (a two-sided sign test), which from six on is less than 5 %.
const FEWEST: usize = 6;

/// What was drawn anew for an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    /// The prompts: what these voters would say of other pictures.
    Prompts,
    /// The voters: what others would say of these pictures.
    Voters,
}

/// A share of comparisons with its interval of 95 %.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// The share, no preference counted half.
    #[serde(flatten)]
    pub interval: Interval,
    /// What was drawn anew for it.
    pub over: Over,
    /// How many of these there are.
    pub of: usize,
}

impl Rate {
    /// Whether it is shown to be above or below a half.
    pub fn verdict(&self) -> Verdict {
        let Interval { mean, low, high } = self.interval;
        match self.of < FEWEST {
            true => Verdict::NoDifferenceShown,
            false => Interval { mean: mean - 0.5, low: low - 0.5, high: high - 0.5 }.verdict(),
        }
    }
}

/// The mean of `points` (1 where it was preferred, 1/2 where neither was, 0 elsewhere) with the wider
/// of two intervals: over the `prompts` and over the `voters` that they belong to. Both stand for
/// others that might have been asked, and the wider one claims less. One voter, or one prompt, has no
/// spread and gives none. `None` where there are no points.
///
/// # Panics
///
/// Panics if there is not one prompt and one voter for each point.
pub fn win_rate(prompts: &[usize], voters: &[usize], points: &[f64]) -> Option<Rate> {
    if points.is_empty() {
        return None;
    }
    let rate = |over, clusters: &[usize]| {
        let of = clusters.iter().collect::<HashSet<_>>().len();
        Rate { interval: bootstrap(clusters, points, 0), over, of }
    };
    let (prompts, voters) = (rate(Over::Prompts, prompts), rate(Over::Voters, voters));
    let width = |rate: &Rate| rate.interval.high - rate.interval.low;
    Some(if width(&voters) > width(&prompts) { voters } else { prompts })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wider_interval_is_taken() {
        // Two voters who never agree, on many prompts: of others nothing is known.
        let (mut prompts, mut voters, mut points) = (Vec::new(), Vec::new(), Vec::new());
        for prompt in 0..50 {
            for voter in 0..2 {
                prompts.push(prompt);
                voters.push(voter);
                points.push(voter as f64);
            }
        }
        let rate = win_rate(&prompts, &voters, &points).unwrap();
        assert_eq!((rate.over, rate.interval.mean), (Over::Voters, 0.5));
        assert_eq!((rate.interval.low, rate.interval.high, rate.of), (0.0, 1.0, 2));
        // Many voters who agree that it depends on the prompt.
        let rate = win_rate(&voters, &prompts, &points).unwrap();
        assert_eq!(rate.over, Over::Prompts);
        assert!(win_rate(&[], &[], &[]).is_none());
    }

    #[test]
    fn few_of_one_mind_show_nothing() {
        let verdict = |count: usize, points: f64| {
            let prompts: Vec<usize> = (0..count).collect();
            win_rate(&prompts, &vec![0; count], &vec![points; count]).unwrap().verdict()
        };
        assert_eq!(verdict(5, 1.0), Verdict::NoDifferenceShown);
        assert_eq!(verdict(6, 1.0), Verdict::Higher);
        assert_eq!(verdict(6, 0.0), Verdict::Lower);
        assert_eq!(verdict(60, 0.5), Verdict::NoDifferenceShown);
    }

    #[test]
    fn one_voter_is_no_spread() {
        let points: Vec<f64> = (0..40).map(|k| f64::from(k % 2)).collect();
        let prompts: Vec<usize> = (0..40).collect();
        let rate = win_rate(&prompts, &[0; 40], &points).unwrap();
        assert_eq!(rate.over, Over::Prompts);
        // Of 40 independent halves: 1.96 * 0.5 / sqrt(40).
        let half = (rate.interval.high - rate.interval.low) / 2.0;
        assert!((half / 0.155 - 1.0).abs() < 0.1, "{half}");
    }
}
