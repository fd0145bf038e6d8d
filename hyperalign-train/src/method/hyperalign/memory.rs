//! What one update tells later ones: how long the gradients of trajectories are, and how much the
//! reward weighs.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::{HyperAlignSettings, REGULARISER, REWARD};
use crate::learner::WeighedPart;

/// Trajectories that the running median is over.
const REMEMBERED: usize = 512;

/// Part of every checkpoint, except what is pending.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Memory {
    /// Norms of gradients of single states, the newest last.
    norms: VecDeque<f64>,
    /// Those of the update at hand, by shard.
    pending: Vec<(usize, Vec<f64>)>,
    /// Sums of the norms of the two parts over the updates that the weight is found in.
    sums: [f64; 2],
    /// Updates in these sums.
    found_in: u64,
}

impl Memory {
    /// The longest gradient that a state of the update at hand may have: `multiple` times the median
    /// of those before, or of its own shard's in the first update, whose norms are `own`.
    ///
    /// A single state is its own median: with one state a shard nothing is limited in the first
    /// update.
    pub(super) fn limit(&self, own: &[f64], multiple: f64) -> f64 {
        let mut norms: Vec<f64> = match self.norms.is_empty() {
            true => own.to_vec(),
            false => self.norms.iter().copied().collect(),
        };
        norms.sort_by(f64::total_cmp);
        // Of an even number the mean of the two in the middle.
        let (low, high) = ((norms.len() - 1) / 2, norms.len() / 2);
        multiple * (norms[low] + norms[high]) / 2.0
    }

    /// Takes in the norms of a shard. They count from the next update on.
    pub(super) fn take(&mut self, shard: usize, norms: Vec<f64>) {
        self.pending.push((shard, norms));
    }

    /// Ends the update at hand, and gives the reward the weight that it has in it.
    pub(super) fn weigh(&mut self, settings: &HyperAlignSettings, parts: &mut [WeighedPart]) {
        // In the order of shards, whichever thread was first.
        self.pending.sort_by_key(|(shard, _)| *shard);
        self.norms.extend(self.pending.drain(..).flat_map(|(_, norms)| norms));
        let old = self.norms.len().saturating_sub(REMEMBERED);
        self.norms.drain(..old);

        let norm = |name: &str| parts.iter().find(|part| part.name == name);
        let (Some(reward), Some(regulariser)) = (norm(REWARD), norm(REGULARISER)) else { return };
        if settings.lambda.is_none() && self.found_in < settings.ratio_updates {
            self.sums[0] += reward.gradient_norm;
            self.sums[1] += regulariser.gradient_norm;
            self.found_in += 1;
        }
        let weight = self.weight(settings);
        for part in parts.iter_mut().filter(|part| part.name == REWARD) {
            part.weight = weight;
        }
    }

    /// The weight of the reward where the regulariser's is 1.
    pub(super) fn weight(&self, settings: &HyperAlignSettings) -> f64 {
        match settings.lambda {
            Some(0.0) => 1.0,
            Some(lambda) => 1.0 / lambda,
            None if self.sums[0] > 0.0 => settings.reward_ratio * self.sums[1] / self.sums[0],
            None => 1.0,
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let bits = |values: &mut dyn Iterator<Item = f64>| -> Vec<u64> {
            values.map(f64::to_bits).collect()
        };
        json!({
            "norms": bits(&mut self.norms.iter().copied()),
            "sums": bits(&mut self.sums.into_iter()),
            "found_in": self.found_in,
        })
    }

    pub(super) fn from_json(value: Value) -> Result<Self, serde_json::Error> {
        #[derive(serde::Deserialize)]
        struct Bits {
            norms: Vec<u64>,
            sums: [u64; 2],
            found_in: u64,
        }
        let Bits { norms, sums, found_in } = serde_json::from_value(value)?;
        let norms = norms.into_iter().map(f64::from_bits).collect();
        Ok(Self { norms, pending: Vec::new(), sums: sums.map(f64::from_bits), found_in })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(reward: f64, regulariser: f64) -> [WeighedPart; 2] {
        [(REWARD, reward), (REGULARISER, regulariser)].map(|(name, gradient_norm)| WeighedPart {
            name,
            gradient_norm,
            weight: 1.0,
        })
    }

    fn found() -> HyperAlignSettings {
        let settings = HyperAlignSettings::default();
        HyperAlignSettings { lambda: None, reward_ratio: 3.0, ratio_updates: 2, ..settings }
    }

    #[test]
    fn the_limit_is_the_median_of_what_was_before() {
        let mut memory = Memory::default();
        assert_eq!(memory.limit(&[5.0, 1.0, 2.0], 1.0), 2.0, "the first update has its own");
        assert_eq!(memory.limit(&[7.0], 1.0), 7.0, "which limits nothing for a single state");
        // Threads may come in any order.
        memory.take(1, vec![4.0, 100.0]);
        memory.take(0, vec![1.0, 3.0]);
        assert_eq!(memory.limit(&[9.0], 1.0), 9.0, "its own norms come after the update");
        memory.weigh(&found(), &mut parts(1.0, 1.0));
        assert_eq!(memory.norms, [1.0, 3.0, 4.0, 100.0]);
        assert_eq!(memory.limit(&[9.0], 2.0), 7.0);
        memory.take(0, vec![1.0; REMEMBERED - 1]);
        memory.weigh(&found(), &mut parts(1.0, 1.0));
        assert_eq!(memory.norms.len(), REMEMBERED);
        assert_eq!(memory.norms[0], 100.0, "the oldest are forgotten");
    }

    #[test]
    fn the_weight_is_found_in_the_first_updates_and_stays() {
        let (mut memory, settings) = (Memory::default(), found());
        let mut weight = |reward, regulariser| {
            let mut parts = parts(reward, regulariser);
            memory.weigh(&settings, &mut parts);
            assert_eq!(parts[1].weight, 1.0);
            parts[0].weight
        };
        // The reward's gradient is three times as long as the regulariser's.
        assert_eq!(weight(2.0, 1.0), 1.5);
        assert_eq!(weight(4.0, 1.0), 1.0);
        assert_eq!(weight(100.0, 1.0), 1.0);
        let given = HyperAlignSettings { lambda: Some(4.0), ..found() };
        let mut parts = parts(2.0, 1.0);
        Memory::default().weigh(&given, &mut parts);
        assert_eq!(parts[0].weight, 0.25);
    }

    #[test]
    fn it_is_written_and_read_to_the_last_bit() {
        let mut memory = Memory::default();
        memory.take(0, vec![0.1, 1.0 / 3.0, f64::MIN_POSITIVE]);
        memory.weigh(&found(), &mut parts(0.1, 0.7));
        let text = memory.to_json().to_string();
        let again = Memory::from_json(serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!(again, memory);
        assert!(Memory::from_json(json!({ "norms": [] })).is_err());
    }
}
