//! Which particles live on.

use serde::{Deserialize, Serialize};

use crate::noise::Stream;

/// How the offspring of weighted particles is drawn. Both leave each particle its weight in the
/// mean, with as many children as that is, rounded up or down (systematic resampling: or so).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resampling {
    /// Srinivasan sampling (Gerber, Chopin & Whiteley 2019, arXiv:1708.01477): fractions of a child
    /// are moved between pairs of particles until there are none.
    #[default]
    Ssp,
    /// Evenly spaced points on the line of cumulated weights, from one random start.
    Systematic,
}

impl Resampling {
    /// The parent of each of as many children as there are `weights`, which add up to 1; in
    /// ascending order.
    pub fn parents(self, weights: &[f64], stream: &mut Stream) -> Vec<usize> {
        let children = match self {
            Self::Ssp => ssp(weights, stream),
            Self::Systematic => systematic(weights, stream),
        };
        let each = children.iter().enumerate();
        each.flat_map(|(parent, &count)| std::iter::repeat_n(parent, count)).collect()
    }
}

/// Numbers of children.
fn ssp(weights: &[f64], stream: &mut Stream) -> Vec<usize> {
    let n = weights.len();
    let expected = weights.iter().map(|weight| weight * n as f64);
    let (mut children, mut rest): (Vec<usize>, Vec<f64>) =
        expected.map(|expected| (expected.floor() as usize, expected.fract())).unzip();
    // Two particles at a time: one gains what the other loses, until one has no fraction left.
    let (mut gains, mut loses) = (0, 1);
    for next in 2..=n {
        let up = rest[loses].min(1.0 - rest[gains]);
        let down = rest[gains].min(1.0 - rest[loses]);
        let swap = if up + down > 0.0 { up / (up + down) } else { 0.0 };
        if stream.uniform() < swap {
            std::mem::swap(&mut gains, &mut loses);
        }
        if rest[loses] < 1.0 - rest[gains] {
            rest[gains] += rest[loses];
            loses = next;
        } else {
            rest[loses] -= 1.0 - rest[gains];
            children[gains] += 1;
            gains = next;
        }
    }
    // The fractions add up to a whole number, and the last one lacks it by rounding alone.
    let last = gains.min(loses).min(n.saturating_sub(1));
    let missing = n.saturating_sub(children.iter().sum());
    children[last] += missing;
    children
}

fn systematic(weights: &[f64], stream: &mut Stream) -> Vec<usize> {
    let n = weights.len();
    let start = stream.uniform();
    let mut children = vec![0; n];
    let (mut parent, mut below) = (0, weights[0]);
    for k in 0..n {
        let point = (k as f64 + start) / n as f64;
        while point >= below && parent + 1 < n {
            parent += 1;
            below += weights[parent];
        }
        children[parent] += 1;
    }
    children
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Purpose;

    const WEIGHTS: [&[f64]; 5] = [
        &[1.0],
        &[0.5, 0.5],
        &[0.1, 0.2, 0.3, 0.4],
        &[0.0, 0.97, 0.0, 0.03],
        &[0.31, 0.07, 0.22, 0.01, 0.19, 0.2],
    ];

    /// As many as there were, each by its weight rounded up or down, and by its weight in the mean.
    #[test]
    fn children_follow_the_weights() {
        for resampling in [Resampling::Ssp, Resampling::Systematic] {
            for weights in WEIGHTS {
                let (n, draws) = (weights.len(), 4000);
                let mut sums = vec![0.0; n];
                for draw in 0..draws {
                    let mut stream = Stream::new(draw, Purpose::Search, 0, 0);
                    let parents = resampling.parents(weights, &mut stream);
                    assert_eq!(parents.len(), n);
                    assert!(parents.is_sorted());
                    for (parent, weight) in weights.iter().enumerate() {
                        let children = parents.iter().filter(|&&p| p == parent).count() as f64;
                        let expected = weight * n as f64;
                        assert!(
                            (children - expected).abs() < 1.0 + 1e-9,
                            "{weights:?} {parents:?}"
                        );
                        sums[parent] += children;
                    }
                }
                for (sum, weight) in sums.iter().zip(weights) {
                    let mean = sum / draws as f64;
                    // Four standard errors of a fraction of a child.
                    let tolerance = 4.0 * 0.5 / (draws as f64).sqrt();
                    assert!((mean - weight * n as f64).abs() < tolerance, "{weights:?}: {sums:?}");
                }
            }
        }
    }
}
