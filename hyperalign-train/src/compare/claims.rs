//! Claims, what was predicted of them, and the rule that decides.

use serde::{Deserialize, Serialize};

use super::{BaseResults, Column, Effect, Paired};

/// How a claim's measurement has to lie.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    /// Above the bound.
    #[default]
    Above,
    /// Below the bound.
    Below,
    /// Not farther from 0 than the bound.
    Within,
}

/// What is measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compared {
    /// Left minus right.
    #[default]
    Difference,
    /// Left over right.
    Ratio,
    /// How much the weights differ between prompts, a number of each run of left.
    OverPrompts,
    /// How much the weights differ between the steps of a picture, likewise.
    OverSteps,
}

/// What was expected before anyone had seen the result.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Prediction {
    /// What was predicted.
    pub text: String,
    /// Where it was written down, and when.
    pub source: String,
}

/// A claim that the comparison decides, if it can.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Claim {
    /// Its name.
    pub id: String,
    /// What is claimed, in a sentence.
    pub text: String,
    /// Who claims it, and where.
    pub source: String,
    /// The column; that which decides if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// The entry that it is about.
    pub left: String,
    /// The entries that it is compared with. It has to hold against every one.
    pub right: Vec<String>,
    /// What is measured.
    pub compared: Compared,
    /// How it has to lie.
    pub relation: Relation,
    /// The bound.
    pub bound: f64,
    /// The bases that it is about; all if none is named.
    pub bases: Vec<String>,
    /// What was predicted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prediction: Option<Prediction>,
}

/// What the measurements say of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimVerdict {
    /// The whole interval lies where the claim says.
    Holds,
    /// No part of it does.
    DoesNotHold,
    /// A part of it does.
    Undecided,
    /// There is no measurement.
    NotMeasured,
}

impl ClaimVerdict {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::DoesNotHold => "does not hold",
            Self::Undecided => "undecided",
            Self::NotMeasured => "not measured",
        }
    }
}

/// A claim on one base.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClaimResult {
    /// The claim's name.
    pub id: String,
    /// The base.
    pub base: String,
    /// What decides, by what it is compared with.
    pub against: Vec<(String, Effect)>,
    /// The verdict.
    pub verdict: ClaimVerdict,
    /// What is missing, if something is.
    pub missing: Vec<String>,
}

impl Claim {
    /// What an interval from `low` to `high` says. An interval that ends at the bound itself does not
    /// lie above or below it.
    pub fn verdict_of(&self, low: f64, high: f64) -> ClaimVerdict {
        let bound = self.bound;
        let (whole, part) = match self.relation {
            Relation::Above => (low > bound, high > bound),
            Relation::Below => (high < bound, low < bound),
            Relation::Within => (low >= -bound && high <= bound, high >= -bound && low <= bound),
        };
        match (whole, part) {
            // A value that is no number is on no side.
            _ if low.is_nan() || high.is_nan() => ClaimVerdict::NotMeasured,
            (true, _) => ClaimVerdict::Holds,
            (false, true) => ClaimVerdict::Undecided,
            (false, false) => ClaimVerdict::DoesNotHold,
        }
    }

    /// The claim on the base of `results`; `None` if it is about others. Against several it holds
    /// where it holds against each, and does not where it does not against one.
    pub fn decide(&self, results: &BaseResults, primary: &str) -> Option<ClaimResult> {
        if !self.bases.is_empty() && !self.bases.contains(&results.name) {
            return None;
        }
        let column = Column::named(self.column.as_deref().unwrap_or(primary));
        let (mut against, mut missing) = (Vec::new(), Vec::new());
        match (self.compared, results.entry(&self.left)) {
            (_, None) => missing.push(self.left.clone()),
            (Compared::OverPrompts | Compared::OverSteps, Some(left)) => {
                let variations = left.runs.iter().filter_map(|run| run.record.variation);
                let values: Option<Vec<f64>> = variations
                    .map(|variation| match self.compared {
                        Compared::OverPrompts => variation.over_prompts,
                        _ => Some(variation.over_steps),
                    })
                    .collect();
                match values.filter(|values| !values.is_empty()) {
                    Some(values) => against.push((String::new(), range(values))),
                    None => missing.push(format!("the variation of {}", self.left)),
                }
            }
            (_, Some(left)) => {
                for name in &self.right {
                    let paired = results
                        .entry(name)
                        .and_then(|right| Paired::new(left, right, column, &|_| true));
                    match paired {
                        Some(paired) if self.compared == Compared::Ratio => {
                            against.push((name.clone(), paired.ratio()));
                        }
                        Some(paired) => against.push((name.clone(), paired.difference())),
                        None => missing.push(name.clone()),
                    }
                }
            }
        }
        let verdicts: Vec<ClaimVerdict> =
            against.iter().map(|(_, effect)| self.verdict_of(effect.low, effect.high)).collect();
        let has = |verdict| verdicts.contains(&verdict);
        let verdict = match () {
            () if has(ClaimVerdict::DoesNotHold) => ClaimVerdict::DoesNotHold,
            () if verdicts.is_empty() || has(ClaimVerdict::NotMeasured) => {
                ClaimVerdict::NotMeasured
            }
            () if has(ClaimVerdict::Undecided) || !missing.is_empty() => ClaimVerdict::Undecided,
            () => ClaimVerdict::Holds,
        };
        let (id, base) = (self.id.clone(), results.name.clone());
        Some(ClaimResult { id, base, against, verdict, missing })
    }
}

/// Numbers of which each run has one: their range stands for the interval.
fn range(values: Vec<f64>) -> Effect {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    Effect { mean, low, high, prompts: [low, high], per_seed: values, p: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{Folders, Results, testing::finished};

    #[test]
    fn the_rule() {
        let verdict = |relation, bound, low, high| {
            Claim { relation, bound, ..Claim::default() }.verdict_of(low, high).words()
        };
        assert_eq!(verdict(Relation::Above, 0.0, 0.01, 0.2), "holds");
        assert_eq!(verdict(Relation::Above, 0.0, -0.01, 0.2), "undecided");
        assert_eq!(verdict(Relation::Above, 0.0, -0.2, -0.1), "does not hold");
        assert_eq!(verdict(Relation::Above, 0.0, 0.0, 0.0), "does not hold");
        assert_eq!(verdict(Relation::Above, 0.7, 0.6, 0.8), "undecided");
        assert_eq!(verdict(Relation::Below, 0.0, -0.2, -0.1), "holds");
        assert_eq!(verdict(Relation::Below, 0.0, 0.1, 0.2), "does not hold");
        assert_eq!(verdict(Relation::Within, 0.02, -0.01, 0.02), "holds");
        assert_eq!(verdict(Relation::Within, 0.02, -0.03, 0.02), "undecided");
        assert_eq!(verdict(Relation::Within, 0.02, 0.03, 0.05), "does not hold");
        assert_eq!(verdict(Relation::Above, 0.0, f64::NAN, f64::NAN), "not measured");
    }

    #[test]
    fn claims_are_decided_by_what_was_measured() {
        let folder = tempfile::tempdir().unwrap();
        finished(folder.path());
        let results = Results::read(&Folders::new(folder.path())).unwrap();
        let decide = |right: &[&str], left: &str, relation| {
            let right = right.iter().map(|name| (*name).to_owned()).collect();
            let claim = Claim { left: left.to_owned(), right, relation, ..Claim::default() };
            claim.decide(&results.bases[0], "gold").unwrap()
        };
        let gain = decide(&["base"], "s", Relation::Above);
        assert_eq!(gain.verdict, ClaimVerdict::Holds);
        let effect = &gain.against[0].1;
        assert!((effect.mean - 0.2625).abs() < 1e-9, "{effect:?}");
        assert_eq!(effect.per_seed, [0.25, 0.275]);
        assert_eq!(decide(&["base"], "s", Relation::Below).verdict, ClaimVerdict::DoesNotHold);
        // The same pictures are no better.
        assert_eq!(decide(&["base"], "lora", Relation::Above).verdict, ClaimVerdict::DoesNotHold);
        // What failed leaves it open; one that does not hold is enough.
        let open = decide(&["base", "best"], "s", Relation::Above);
        assert_eq!(
            (open.verdict, open.missing),
            (ClaimVerdict::Undecided, vec!["best".to_owned()])
        );
        assert_eq!(decide(&["s"], "best", Relation::Above).verdict, ClaimVerdict::NotMeasured);
        let elsewhere = Claim { bases: vec!["c".to_owned()], ..Claim::default() };
        assert_eq!(elsewhere.decide(&results.bases[0], "gold"), None);
    }
}
