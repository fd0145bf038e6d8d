//! How far voters agree.

use std::collections::BTreeMap;

/// Krippendorff's alpha for names without an order, `1 - observed / expected disagreement`
/// (Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, §C). 1 is agreement, 0 is what chance
/// alone gives.
///
/// `units` are what was judged, each with the values that it was given, whoever gave them; how many
/// there are may differ from unit to unit. Those with fewer than two say nothing and are passed over.
/// `None` where no unit has two values, or all values are the same: there was no choice to agree in.
pub fn alpha<V: Ord>(units: &[Vec<V>]) -> Option<f64> {
    let mut totals: BTreeMap<&V, f64> = BTreeMap::new();
    let (mut all, mut observed) = (0.0, 0.0);
    for unit in units.iter().filter(|unit| unit.len() > 1) {
        let mut counts: BTreeMap<&V, f64> = BTreeMap::new();
        unit.iter().for_each(|value| *counts.entry(value).or_default() += 1.0);
        let size = unit.len() as f64;
        observed += unlike(counts.values().copied(), size) / (size - 1.0);
        all += size;
        for (value, count) in counts {
            *totals.entry(value).or_default() += count;
        }
    }
    let expected = unlike(totals.into_values(), all) / (all - 1.0);
    (expected > 0.0).then(|| 1.0 - observed / expected)
}

/// Ordered pairs of unlike values among `all`, of which there are `counts` of each.
fn unlike(counts: impl Iterator<Item = f64>, all: f64) -> f64 {
    counts.map(|count| count * (all - count)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Krippendorff 2011, §C: four observers, twelve units, some values missing.
    #[test]
    fn the_published_example() {
        let observers = [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
            [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
        ];
        let unit = |k: usize| observers.iter().map(|of| of[k]).filter(|value| *value > 0).collect();
        let units: Vec<Vec<i32>> = (0..12).map(unit).collect();
        let alpha = alpha(&units).unwrap();
        assert!((alpha - 0.743).abs() < 5e-4, "{alpha}");
    }

    #[test]
    fn agreement_chance_and_nothing_to_agree_in() {
        assert_eq!(alpha(&[vec!['a', 'a'], vec!['b', 'b']]), Some(1.0));
        // Always the opposite: worse than chance.
        assert!(alpha(&[vec!['a', 'b'], vec!['b', 'a']]).unwrap() < 0.0);
        assert_eq!(alpha(&[vec!['a', 'a'], vec!['a', 'a']]), None);
        assert_eq!(alpha(&[vec!['a'], vec!['b'], vec![]]), None);
        assert_eq!(alpha::<char>(&[]), None);
    }
}
