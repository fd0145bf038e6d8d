//! Intervals and tests of differences between entries, over prompts and over training seeds.

use std::collections::HashMap;

use hyperalign_core::noise::{Purpose, Stream};
use serde::{Deserialize, Serialize};

use super::{Column, EntryResults};
use crate::eval::{RESAMPLES, Record, percentile};

/// How often signs are flipped.
const FLIPS: u32 = 4999;
/// Sign flips have streams of their own.
const FLIP_STEP: u32 = 1 << 30;

/// An effect with its intervals of 95 %.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// The mean over prompts and training seeds.
    pub mean: f64,
    /// From drawing anew the prompts and the training seeds: what another training and other prompts
    /// might give.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// From drawing anew the prompts alone: what these adapters would give on other prompts.
    pub prompts: [f64; 2],
    /// The mean by training seed; one value where nothing was trained.
    pub per_seed: Vec<f64>,
    /// How often chance alone makes so large a difference, two-sided, by flipping signs of
    /// prompts; none for a ratio.
    pub p: Option<f64>,
}

/// Two entries on the same rows: prompts by training seeds.
#[derive(Debug, Clone, PartialEq)]
pub struct Paired {
    /// By seed, then by prompt: sums of left and right, and of how many rows.
    cells: Vec<Vec<[f64; 3]>>,
}

impl Paired {
    /// The values of `left` and `right` in `column`, over the rows of `keep` that both have. `None` if
    /// there is none. Where both are trained with as many seeds, the first goes with the first;
    /// elsewhere each seed of `left` is compared with the mean over the seeds of `right`.
    pub fn new(
        left: &EntryResults,
        right: &EntryResults,
        column: Column,
        keep: &dyn Fn(&Record) -> bool,
    ) -> Option<Self> {
        let same = left.runs.len() == right.runs.len();
        // In the order of first appearance.
        let mut prompts: HashMap<&str, usize> = HashMap::new();
        let rows = &left.runs.first()?.scores;
        for record in rows.iter().filter(|record| keep(record)) {
            let next = prompts.len();
            prompts.entry(&record.prompt).or_insert(next);
        }
        let cells = left.runs.iter().enumerate().map(|(seed, run)| {
            let mut cells = vec![[0.0; 3]; prompts.len()];
            for (row, record) in run.scores.iter().enumerate().filter(|(_, r)| keep(r)) {
                let others: Vec<f64> = match same {
                    true => right.runs[seed..=seed].iter(),
                    false => right.runs.iter(),
                }
                .filter_map(|other| column.of(other.scores.get(row)?))
                .collect();
                let (Some(value), false) = (column.of(record), others.is_empty()) else { continue };
                let Some(cell) = prompts.get(record.prompt.as_str()).map(|&at| &mut cells[at])
                else {
                    continue;
                };
                cell[0] += value;
                cell[1] += others.iter().sum::<f64>() / others.len() as f64;
                cell[2] += 1.0;
            }
            cells
        });
        let mut cells: Vec<Vec<[f64; 3]>> = cells.collect();
        // A prompt that one of the seeds lacks would weigh its seeds unequally.
        let whole: Vec<bool> =
            (0..prompts.len()).map(|at| cells.iter().all(|seed| seed[at][2] > 0.0)).collect();
        for seed in &mut cells {
            let mut at = whole.iter();
            seed.retain(|_| *at.next().unwrap_or(&false));
        }
        (!cells.first()?.is_empty()).then_some(Self { cells })
    }

    /// Prompts that both have.
    pub fn prompts(&self) -> usize {
        self.cells[0].len()
    }

    /// `left - right`.
    pub fn difference(&self) -> Effect {
        let mean = |[left, right, count]: [f64; 3]| (left - right) / count;
        Effect { p: Some(self.sign_flip()), ..self.effect(mean) }
    }

    /// The mean of left over the mean of right.
    pub fn ratio(&self) -> Effect {
        self.effect(|[left, right, _]| left / right)
    }

    /// The bootstrap over two crossed factors (Owen 2007, The pigeonhole bootstrap,
    /// arXiv:0712.1111): prompts and training seeds are each drawn with replacement. With two or
    /// three seeds it is too narrow in their direction, as every method is; the values by seed
    /// stand beside it for that reason.
    fn effect(&self, of: impl Fn([f64; 3]) -> f64) -> Effect {
        let (seeds, prompts) = (self.cells.len(), self.prompts());
        let all = |weights: &[f64], seeds: &[usize]| {
            let mut sums = [0.0; 3];
            for &seed in seeds {
                for (cell, weight) in self.cells[seed].iter().zip(weights) {
                    for (sum, value) in sums.iter_mut().zip(cell) {
                        *sum += weight * value;
                    }
                }
            }
            of(sums)
        };
        let (once, every): (Vec<f64>, Vec<usize>) = (vec![1.0; prompts], (0..seeds).collect());
        let (mut both, mut only_prompts) = (Vec::new(), Vec::new());
        for resample in 0..RESAMPLES {
            let mut stream = Stream::new(0, Purpose::Bootstrap, resample, 1);
            let mut weights = vec![0.0; prompts];
            for _ in 0..prompts {
                weights[stream.below(prompts)] += 1.0;
            }
            let drawn: Vec<usize> = (0..seeds).map(|_| stream.below(seeds)).collect();
            both.push(all(&weights, &drawn));
            only_prompts.push(all(&weights, &every));
        }
        let [low, high] = ends(both);
        Effect {
            mean: all(&once, &every),
            low,
            high,
            prompts: ends(only_prompts),
            per_seed: every.iter().map(|&seed| all(&once, &[seed])).collect(),
            p: None,
        }
    }

    /// The share of random sign flips of the prompts' differences (the mean over seeds) whose mean
    /// is as far from 0 (Fisher's randomisation test, paired; the observed one counts).
    fn sign_flip(&self) -> f64 {
        let differences: Vec<f64> = (0..self.prompts())
            .map(|at| self.cells.iter().map(|seed| seed[at][0] - seed[at][1]).sum())
            .collect();
        let observed = differences.iter().sum::<f64>().abs();
        // Sums of what cancels out are a last bit off.
        let enough = observed - 1e-9 * (1.0 + observed);
        let as_far = (0..FLIPS)
            .filter(|&flip| {
                let mut stream = Stream::new(0, Purpose::Bootstrap, FLIP_STEP + flip, 0);
                let mut bits = 0;
                let flipped = differences.iter().enumerate().map(|(k, difference)| {
                    if k % 32 == 0 {
                        bits = stream.bits();
                    }
                    if bits >> (k % 32) & 1 == 0 { *difference } else { -difference }
                });
                flipped.sum::<f64>().abs() >= enough
            })
            .count();
        (as_far + 1) as f64 / f64::from(FLIPS + 1)
    }
}

/// The 2.5th and the 97.5th percentile.
fn ends(mut values: Vec<f64>) -> [f64; 2] {
    values.sort_by(f64::total_cmp);
    [0.025, 0.975].map(|share| percentile(&values, share))
}

/// What probabilities are after as many tests as there are (Holm 1979): the smallest is multiplied by
/// their number, the next by one less, and none may be below one before it.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let (mut adjusted, mut largest) = (vec![0.0; p.len()], 0.0f64);
    for (rank, &at) in order.iter().enumerate() {
        largest = largest.max(p[at] * (p.len() - rank) as f64).min(1.0);
        adjusted[at] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A difference of `shift` plus noise of each prompt and of each seed.
    fn paired(seed: u32, prompts: usize, seeds: usize, shift: f64, of_seed: f64) -> Paired {
        let mut stream = Stream::new(u64::from(seed), Purpose::Data, 0, 0);
        let noise: Vec<f64> = (0..prompts).map(|_| stream.normal()).collect();
        let cells = (0..seeds).map(|_| {
            let own = shift + of_seed * stream.normal();
            noise.iter().map(|noise| [1.0 + own + noise, 1.0, 1.0]).collect()
        });
        Paired { cells: cells.collect() }
    }

    #[test]
    fn intervals_have_the_width_of_the_closed_form() {
        let one = paired(1, 400, 1, 0.0, 0.0).difference();
        assert_eq!((one.low, one.high), (one.prompts[0], one.prompts[1]), "one seed is no spread");
        let half = (one.high - one.low) / 2.0;
        assert!((half / (1.96 / 20.0) - 1.0).abs() < 0.12, "{half}");
        // Seeds that differ much make the interval over both wide, and that over prompts not.
        let many = paired(1, 400, 3, 0.0, 1.0).difference();
        assert!(many.high - many.low > 3.0 * (many.prompts[1] - many.prompts[0]), "{many:?}");
        assert_eq!(many.per_seed.len(), 3);
        let mean = many.per_seed.iter().sum::<f64>() / 3.0;
        assert!((mean - many.mean).abs() < 1e-9);
    }

    #[test]
    fn the_test_finds_what_is_there_and_keeps_its_level() {
        assert!(paired(3, 100, 2, 0.8, 0.0).difference().p.unwrap() < 0.01);
        let found = (0..100)
            .filter(|&seed| paired(100 + seed, 30, 1, 0.0, 0.0).difference().p.unwrap() <= 0.05)
            .count();
        assert!((1..=11).contains(&found), "{found} of 100 at the level of .05");
        // No difference at all is as far from 0 as every flip of it.
        let none = Paired { cells: vec![vec![[1.0, 1.0, 1.0]; 9]] };
        assert_eq!(none.difference().p, Some(1.0));
        let ratio = Paired { cells: vec![vec![[1.0, 2.0, 1.0]; 9]] }.ratio();
        assert_eq!((ratio.mean, ratio.low, ratio.high, ratio.p), (0.5, 0.5, 0.5, None));
    }

    #[test]
    fn many_tests_are_paid_for() {
        assert_eq!(holm(&[0.01, 0.04, 0.03]), [0.03, 0.06, 0.06]);
        assert_eq!(holm(&[0.5, 0.6]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }
}
