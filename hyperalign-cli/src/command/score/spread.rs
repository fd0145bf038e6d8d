//! A mean, how far it may be off, and what was drawn anew to know that.

use std::collections::HashMap;

use hyperalign_train::eval::{Interval, bootstrap};
use serde::Serialize;

use super::journal::Line;

/// Seed of the resampling. The same scores give the same intervals.
const SEED: u64 = 0;

/// What the bootstrap draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Over {
    /// Prompts, with all their pictures.
    Prompts,
    /// Pictures, where they share one prompt or have none: nothing is said about other prompts.
    Pictures,
}

/// A mean with its interval of 95 %.
#[derive(Debug, Clone, Serialize)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The lower end; none for a single picture, which says nothing about others.
    pub low: Option<f64>,
    /// The upper end.
    pub high: Option<f64>,
}

/// The units that are drawn for some pictures.
pub struct Units {
    /// That of each picture.
    units: Vec<usize>,
    /// What they are; none if there are fewer than two.
    pub over: Option<Over>,
}

impl Units {
    /// Of these pictures.
    pub fn new<'a>(lines: impl Iterator<Item = &'a Line>) -> Self {
        let prompts: Vec<&str> = lines.map(|line| line.prompt.as_str()).collect();
        // An empty prompt is none.
        let is_told = prompts.iter().all(|prompt| !prompt.is_empty());
        let (units, over): (Vec<usize>, _) =
            if is_told && prompts.iter().any(|prompt| *prompt != prompts[0]) {
                let mut index = HashMap::new();
                let units = prompts.iter().enumerate();
                let units = units.map(|(k, prompt)| *index.entry(prompt).or_insert(k));
                (units.collect(), Some(Over::Prompts))
            } else {
                ((0..prompts.len()).collect(), (prompts.len() > 1).then_some(Over::Pictures))
            };
        Self { units, over }
    }

    /// The spread of these values, one for each line.
    ///
    /// # Panics
    ///
    /// Panics if there is none.
    pub fn spread(&self, values: &[f64]) -> Spread {
        let Interval { mean, low, high } = bootstrap(&self.units, values, SEED);
        let known = |end| self.over.map(|_| end);
        Spread { mean, low: known(low), high: known(high) }
    }
}

impl Spread {
    /// The interval, each end as `write` has it.
    pub fn ends(&self, write: impl Fn(f64) -> String) -> String {
        match (self.low, self.high) {
            (Some(low), Some(high)) => format!("{} .. {}", write(low), write(high)),
            _ => "-".to_owned(),
        }
    }
}

/// What the intervals of a table were drawn over.
pub fn legend(each: impl IntoIterator<Item = Option<Over>>) -> &'static str {
    let (mut prompts, mut pictures) = (false, false);
    for over in each {
        match over {
            Some(Over::Prompts) => prompts = true,
            Some(Over::Pictures) => pictures = true,
            None => {}
        }
    }
    match (prompts, pictures) {
        (true, false) => "\n95 %: drawn over prompts\n",
        (false, true) => "\n95 %: drawn over pictures, for they share one prompt or have none\n",
        (true, true) => {
            "\n95 %: drawn over prompts; in groups of one prompt or none, over pictures\n"
        }
        (false, false) => "",
    }
}
