//! Attention checks: items of which the right answer is known.

use serde::Serialize;

use super::{Answer, Answers, Study};

/// The share of their checks that voters have to pass.
pub const PASSED: f64 = 0.75;

/// How a voter did in the attention checks: a picture beside a copy of itself that was spoiled with
/// noise. Who prefers the spoiled one in any question has not looked; nor has who prefers the clean one
/// in none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Checks that were passed.
    pub passed: usize,
    /// Checks that were not.
    pub failed: usize,
}

impl Checked {
    /// The checks that `answers` decide; those that are not answered to their end count only once they
    /// are failed.
    pub fn new(study: &Study, answers: &Answers) -> Self {
        let mut checked = Self::default();
        for (k, item) in study.items.iter().enumerate().filter(|(_, item)| !item.compares()) {
            let given: Vec<Answer> =
                (0..study.questions.len()).filter_map(|q| answers.get(k, q)).collect();
            let chosen: Vec<bool> = given
                .iter()
                .filter_map(|answer| item.shown(*answer).map(|shown| shown.is_degraded))
                .collect();
            if chosen.contains(&true) {
                checked.failed += 1;
            } else if given.len() == study.questions.len() {
                match chosen.is_empty() {
                    true => checked.failed += 1,
                    false => checked.passed += 1,
                }
            }
        }
        checked
    }

    /// Whether at least the share `passed` of them was passed; who has met none is believed.
    pub fn is_enough(&self, passed: f64) -> bool {
        self.passed as f64 >= passed * (self.passed + self.failed) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::{
        Ballots, Voter,
        testing::{toy, vote},
    };

    #[test]
    fn who_does_not_look_fails() {
        use Answer::{Left, Neither, Right};
        let study = toy();
        for (overall, visual, expected) in [
            (Some(Left), Some(Left), (1, 0)),
            (Some(Left), Some(Neither), (1, 0)),
            (Some(Neither), Some(Neither), (0, 1)),
            (Some(Left), Some(Right), (0, 1)),
            (Some(Right), None, (0, 1)),
            (Some(Left), None, (0, 0)),
            (None, None, (0, 0)),
        ] {
            let mut ballots = Ballots::default();
            // What is said of other items is no check.
            ballots.add(&vote(&study, 1, 0, "overall", Right), &study).unwrap();
            for (question, answer) in [("overall", overall), ("visual", visual)] {
                if let Some(answer) = answer {
                    ballots.add(&vote(&study, 1, 3, question, answer), &study).unwrap();
                }
            }
            let checked = Checked::new(&study, ballots.of(Voter(1)).unwrap());
            assert_eq!((checked.passed, checked.failed), expected, "{overall:?}, {visual:?}");
        }
        assert!(Checked { passed: 3, failed: 1 }.is_enough(0.75));
        assert!(!Checked { passed: 2, failed: 1 }.is_enough(0.75));
        assert!(Checked::default().is_enough(1.0));
        assert!(Checked { passed: 0, failed: 3 }.is_enough(0.0));
    }
}
