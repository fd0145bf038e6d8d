//! What is said about two folders: the pictures of one against those of the other, in pairs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    journal::Line,
    pass::Failed,
    report::{Left, Who, aligned, value, versions},
    spread::{Over, Spread, Units, legend},
};
use crate::rewards::NotOpened;

/// How the pictures of one folder stand against those of another.
#[derive(Debug, Serialize)]
pub struct Comparison<'a> {
    a: String,
    b: String,
    rewards: &'a [Who],
    pairs: usize,
    drawn_over: Option<Over>,
    results: BTreeMap<&'a str, Versus>,
    failed: &'a [Failed],
    not_opened: &'a [NotOpened],
}

/// A against B by one reward.
#[derive(Debug, Serialize)]
struct Versus {
    /// Share of pairs in which A scores higher, equal scores counted half.
    win_rate: Spread,
    /// Mean of A's score less B's.
    difference: Spread,
    wins: usize,
    ties: usize,
    losses: usize,
}

impl<'a> Comparison<'a> {
    /// Of these pairs, A's picture first.
    pub fn new(
        [a, b]: [String; 2],
        rewards: &'a [Who],
        pairs: &[(Line, Line)],
        left: Left<'a>,
    ) -> Self {
        let units = Units::new(pairs.iter().map(|(line, _)| line));
        let versus = |(k, who): (usize, &'a Who)| {
            let scored = || {
                let both = |(a, b): &&(Line, Line)| a.scores[k].is_some() && b.scores[k].is_some();
                pairs.iter().filter(both)
            };
            let differences: Vec<f64> =
                scored().filter_map(|(a, b)| Some(value(a, k)? - value(b, k)?)).collect();
            if differences.is_empty() {
                return None;
            }
            let units = Units::new(scored().map(|(line, _)| line));
            let won = |d: &f64| if *d == 0.0 { 0.5 } else { f64::from(u8::from(*d > 0.0)) };
            let wins: Vec<f64> = differences.iter().map(won).collect();
            let count = |share| wins.iter().filter(|win| **win == share).count();
            let versus = Versus {
                win_rate: units.spread(&wins),
                difference: units.spread(&differences),
                wins: count(1.0),
                ties: count(0.5),
                losses: count(0.0),
            };
            Some((who.name.as_str(), versus))
        };
        let results = rewards.iter().enumerate().filter_map(versus).collect();
        let Left { failed, not_opened } = left;
        let (pairs, drawn_over) = (pairs.len(), units.over);
        Self { a, b, rewards, pairs, drawn_over, results, failed, not_opened }
    }

    /// A row for each reward.
    pub fn table(&self) -> String {
        let mut rows = Vec::new();
        for who in self.rewards {
            let Some(versus) = self.results.get(who.name.as_str()) else { continue };
            let percent = |share: f64| format!("{:.1} %", 100.0 * share);
            let Versus { win_rate, difference, wins, ties, losses } = versus;
            rows.push(vec![
                who.title(),
                percent(win_rate.mean),
                win_rate.ends(percent),
                format!("{wins}/{ties}/{losses}"),
                format!("{:+.4}", difference.mean),
                difference.ends(|end| format!("{end:+.4}")),
            ]);
        }
        let head = format!("A {}\nB {}\n{} pairs\n\n", self.a, self.b, self.pairs);
        let header = ["reward", "A wins", "95 %", "won/tied/lost", "A - B", "95 %"];
        head + &aligned(header, rows) + legend([self.drawn_over]) + &versions(self.rewards)
    }
}

#[cfg(test)]
mod tests {
    use hyperalign_rewards::Role;

    use super::*;

    fn line(image: &str, score: f32) -> Line {
        Line {
            image: image.into(),
            sha256: String::new(),
            prompt: format!("a \"{image}\""),
            group: None,
            rules: None,
            scores: vec![Some(score)],
        }
    }

    #[test]
    fn pairs_are_won_tied_and_lost() {
        let pairs = [(1.0, 0.0), (2.0, 2.0), (0.0, 4.0), (3.0, 1.0)];
        let pairs: Vec<_> = (0..4)
            .zip(pairs)
            .map(|(k, (a, b))| (line(&format!("{k}"), a), line(&format!("{k}"), b)))
            .collect();
        let rewards =
            [Who { name: "r".to_owned(), version: "1".to_owned(), role: Role::TrainedAgainst }];
        let names = || ["one".to_owned(), "two".to_owned()];
        let comparison = Comparison::new(names(), &rewards, &pairs, Left::default());
        let versus = &comparison.results["r"];
        assert_eq!((versus.wins, versus.ties, versus.losses), (2, 1, 1));
        assert_eq!((versus.win_rate.mean, versus.difference.mean), (0.625, -0.25));
        let [low, high] = [versus.win_rate.low, versus.win_rate.high].map(Option::unwrap);
        assert!(low < 0.625 && high > 0.625);
        let table = comparison.table();
        assert!(table.contains("62.5 %") && table.contains("2/1/1"), "{table}");
        assert!(Comparison::new(names(), &rewards, &[], Left::default()).results.is_empty());
    }
}
