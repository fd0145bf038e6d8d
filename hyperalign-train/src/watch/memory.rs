//! What a watch remembers from one evaluation to the next: part of every checkpoint.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rule::Look;

/// The evaluations of a run so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Memory {
    /// The lines of `watch.jsonl`: that of the base first, then one for each evaluation. They are kept
    /// as they are written, because a float that is read may be one bit off.
    pub(super) rows: Vec<String>,
    /// The evaluation with the best held-out score; none where that is the base's.
    pub(super) best: Option<Look>,
    /// The update of the first alarm.
    pub(super) alarm: Option<u64>,
}

/// The same with every float as its bits.
#[derive(Serialize, Deserialize)]
struct Written {
    rows: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    best: Option<WrittenLook>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alarm: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct WrittenLook {
    update: u64,
    trained: Option<Vec<u64>>,
    held_out: Vec<u64>,
}

impl Memory {
    /// Evaluations of the run, without that of the base.
    pub(super) fn evaluations(&self) -> u64 {
        (self.rows.len() as u64).saturating_sub(1)
    }

    /// As a checkpoint keeps it; none before the first evaluation.
    pub(super) fn to_json(&self) -> Option<Value> {
        if self.rows.is_empty() {
            return None;
        }
        let bits = |values: &Vec<f64>| values.iter().map(|value| value.to_bits()).collect();
        let best = self.best.as_ref().map(|best| WrittenLook {
            update: best.update,
            trained: best.trained.as_ref().map(bits),
            held_out: bits(&best.held_out),
        });
        let written = Written { rows: self.rows.clone(), best, alarm: self.alarm };
        Some(serde_json::to_value(written).expect("plain data"))
    }

    /// Of what [`to_json`](Self::to_json) gave.
    ///
    /// # Errors
    ///
    /// Fails for anything else.
    pub(super) fn from_json(value: Value) -> Result<Self, serde_json::Error> {
        let Written { rows, best, alarm } = serde_json::from_value(value)?;
        let floats = |bits: Vec<u64>| bits.into_iter().map(f64::from_bits).collect();
        let best = best.map(|best| Look {
            update: best.update,
            trained: best.trained.map(floats),
            held_out: floats(best.held_out),
        });
        Ok(Self { rows, best, alarm })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_in_a_checkpoint() {
        assert_eq!(Memory::default().to_json(), None);
        let third = 1.0 / 3.0;
        let best = Look { update: 20, trained: Some(vec![third]), held_out: vec![-third] };
        let memory = Memory {
            rows: vec!["{\"update\":0}".to_owned(), "{\"update\":10}".to_owned()],
            best: Some(best),
            alarm: Some(30),
        };
        let text = memory.to_json().unwrap().to_string();
        let read = Memory::from_json(serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!(read, memory);
        assert_eq!(read.evaluations(), 1);
        assert!(Memory::from_json(serde_json::json!({"rows": 3})).is_err());
    }
}
