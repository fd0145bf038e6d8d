//! What a comparison asks for, run by run.

use std::collections::BTreeMap;

use hyperalign_models::weights::sha256;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{BaseEntry, CompareError, Comparison, Entry, Shard, Train};
use crate::eval::Method;

/// A fingerprint is part of a folder's name with so many digits.
const DIGITS: usize = 10;

/// One adapter to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// The name of its folder, with the fingerprint of what it depends on.
    pub id: String,
    /// The base.
    pub base: BaseEntry,
    /// The entry that it is trained for.
    pub entry: String,
    /// How.
    pub train: Train,
    /// All settings, as `hyperalign train` reads them.
    pub settings: Value,
    /// The seed.
    #[serde(with = "crate::learner::seed")]
    pub seed: u64,
    /// The training for whose wall time this one is trained, by its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_of: Option<String>,
}

/// One way of making pictures, measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The name of its folder, with the fingerprint of what it depends on.
    pub id: String,
    /// The base.
    pub base: BaseEntry,
    /// The entry; that of the base itself is called `base` and says nothing else.
    pub entry: Entry,
    /// The seed of its training, where it is trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Its training, by its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training: Option<String>,
    /// What it is in one part with, for shards: a part shares a training or a wall time.
    pub part: String,
}

impl Measurement {
    /// Whether it is of the base as it is.
    pub fn is_base(&self) -> bool {
        self.entry.name == Method::BASE
    }
}

/// What the files and models that a comparison names are, so that a change of theirs is seen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Identities {
    /// Hashes of the bases, by their names.
    pub bases: BTreeMap<String, String>,
    /// Whole settings of what is trained, by entry.
    pub settings: BTreeMap<String, Value>,
    /// Hashes of adapters from files, by entry.
    pub adapters: BTreeMap<String, String>,
}

/// All runs of a comparison, in the order in which they are made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Adapters to train.
    pub trainings: Vec<Training>,
    /// What is measured; the bases first.
    pub measurements: Vec<Measurement>,
}

impl Plan {
    /// The runs of `comparison`.
    ///
    /// # Errors
    ///
    /// Fails where [`Comparison::check`] does.
    pub fn new(comparison: &Comparison, identities: &Identities) -> Result<Self, CompareError> {
        comparison.check()?;
        let mut plan = Self::default();
        for base in &comparison.bases {
            let own = Entry { name: Method::BASE.to_owned(), ..Entry::default() };
            plan.measure(comparison, identities, base, &own, None);
        }
        for base in &comparison.bases {
            let entries = || comparison.entries.iter().filter(|entry| entry.is_for(&base.name));
            // Those whose wall time another takes come first.
            for takes_time in [false, true] {
                for entry in entries() {
                    let Some(train) = &entry.train else { continue };
                    if train.time_of.is_some() == takes_time {
                        for seed in seeds_of(comparison, train) {
                            plan.train(identities, base, entry, train, seed);
                        }
                    }
                }
            }
            for entry in entries() {
                let trained = match &entry.of {
                    Some(other) => comparison.entry(other),
                    None => Some(entry),
                };
                match trained.and_then(|trained| trained.train.as_ref()) {
                    Some(train) => {
                        for seed in seeds_of(comparison, train) {
                            plan.measure(comparison, identities, base, entry, Some(seed));
                        }
                    }
                    None => plan.measure(comparison, identities, base, entry, None),
                }
            }
        }
        Ok(plan)
    }

    fn train(
        &mut self,
        identities: &Identities,
        base: &BaseEntry,
        entry: &Entry,
        train: &Train,
        seed: u64,
    ) {
        let time_of = train.time_of.as_ref().and_then(|other| {
            let of_other = || self.trainings.iter().filter(|t| is_of(t, &base.name, other));
            of_other().find(|t| t.seed == seed).or_else(|| of_other().next())
        });
        let time_of = time_of.map(|training| training.id.clone());
        let settings = identities.settings.get(&entry.name).cloned().unwrap_or_default();
        let depends_on = json!({
            "base": identities.bases.get(&base.name),
            "settings": settings,
            "data": train.data,
            "preferences": train.preferences,
            "prompts": train.prompts,
            "reward": train.reward,
            "seed": seed,
            "time_of": time_of,
        });
        self.trainings.push(Training {
            id: id([&base.name, &entry.name], Some(seed), &depends_on),
            base: base.clone(),
            entry: entry.name.clone(),
            train: train.clone(),
            settings,
            seed,
            time_of,
        });
    }

    fn measure(
        &mut self,
        comparison: &Comparison,
        identities: &Identities,
        base: &BaseEntry,
        entry: &Entry,
        seed: Option<u64>,
    ) {
        let trained = entry.of.as_ref().unwrap_or(&entry.name);
        let training = self
            .trainings
            .iter()
            .find(|t| is_of(t, &base.name, trained) && Some(t.seed) == seed)
            .map(|training| training.id.clone());
        let protocol = &comparison.protocol;
        // Curves begin with the base.
        let curve = match entry.name == Method::BASE {
            true => comparison.entries.iter().any(|entry| entry.curve),
            false => entry.curve && training.is_some(),
        };
        let scores = &comparison.scores;
        let depends_on = json!({
            "base": identities.bases.get(&base.name),
            "sampling": [json!(base.steps), json!(base.guidance_scale)],
            "training": training,
            "adapter": identities.adapters.get(trained),
            "variant": entry.variant,
            "adapter_scale": entry.adapter_scale,
            "adapter_until": entry.adapter_until,
            "method": [json!(entry.method), json!(entry.options), json!(entry.budget_seconds)],
            "prompts": [json!(protocol.prompts), json!(protocol.split), json!(protocol.rows)],
            "seeds": [protocol.seeds as u64, protocol.first_seed],
            "kept": [protocol.kept_rows, protocol.probe_prompts],
            "scores": [json!(scores.proxy), json!(scores.heldout), json!(scores.rewards)],
            "curve": curve.then_some(&comparison.curves),
        });
        self.measurements.push(Measurement {
            id: id([&base.name, &entry.name], seed, &depends_on),
            base: base.clone(),
            entry: entry.clone(),
            seed,
            training,
            part: part_of(comparison, base, entry),
        });
    }

    /// The training called `id`.
    pub fn training(&self, id: &str) -> Option<&Training> {
        self.trainings.iter().find(|training| training.id == id)
    }

    /// The measurement called `id`.
    pub fn measurement(&self, id: &str) -> Option<&Measurement> {
        self.measurements.iter().find(|measurement| measurement.id == id)
    }

    /// The measurements of a shard, and of it only those of the entries `only`, where some are
    /// named. The bases are part of every shard: distances are to their pictures, and they cost
    /// little.
    pub fn measurements_of(&self, shard: Shard, only: &[String]) -> Vec<&Measurement> {
        let mut parts: Vec<&String> = Vec::new();
        for measurement in self.measurements.iter().filter(|m| !m.is_base()) {
            if !parts.contains(&&measurement.part) {
                parts.push(&measurement.part);
            }
        }
        let is_in = |measurement: &&Measurement| {
            let at = parts.iter().position(|part| **part == measurement.part).unwrap_or(0);
            let is_wanted = only.is_empty() || only.contains(&measurement.entry.name);
            measurement.is_base() || (is_wanted && at % shard.of == shard.index)
        };
        self.measurements.iter().filter(is_in).collect()
    }
}

fn is_of(training: &Training, base: &str, entry: &str) -> bool {
    training.base.name == base && training.entry == entry
}

fn seeds_of(comparison: &Comparison, train: &Train) -> Vec<u64> {
    train.seeds.clone().unwrap_or_else(|| comparison.protocol.training_seeds.clone())
}

/// The entry that stands for all those which share a training or a wall time with `entry`.
fn part_of(comparison: &Comparison, base: &BaseEntry, entry: &Entry) -> String {
    let trained = entry.of.as_ref().and_then(|of| comparison.entry(of)).unwrap_or(entry);
    let timed = trained.train.as_ref().and_then(|train| train.time_of.as_ref());
    format!("{}/{}", base.name, timed.unwrap_or(&trained.name))
}

fn id(names: [&str; 2], seed: Option<u64>, depends_on: &Value) -> String {
    let key = sha256(depends_on.to_string());
    let seed = seed.map(|seed| format!(".{seed}")).unwrap_or_default();
    format!("{}.{}{seed}-{}", names[0], names[1], &key[..DIGITS])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::testing::{comparison, identities};

    fn ids(plan: &Plan) -> Vec<&str> {
        plan.measurements.iter().map(|m| m.id.rsplit_once('-').unwrap().0).collect()
    }

    #[test]
    fn entries_become_runs() {
        let plan = Plan::new(&comparison(), &identities()).unwrap();
        let trained: Vec<_> = plan.trainings.iter().map(|t| (t.entry.as_str(), t.seed)).collect();
        assert_eq!(trained, [("s", 0), ("s", 1), ("lora", 0), ("lora", 1)]);
        // That which takes the wall time of another comes after it, and names it.
        assert_eq!(plan.trainings[2].time_of.as_ref(), Some(&plan.trainings[0].id));
        assert_eq!(plan.trainings[3].time_of.as_ref(), Some(&plan.trainings[1].id));
        let expected = [
            "b.base",
            "b.s.0",
            "b.s.1",
            "b.s-as-i.0",
            "b.s-as-i.1",
            "b.lora.0",
            "b.lora.1",
            "b.best",
        ];
        assert_eq!(ids(&plan), expected);
        assert_eq!(plan.measurements[3].training, plan.measurements[1].training);
    }

    #[test]
    fn a_change_is_seen_where_it_matters_and_nowhere_else() {
        let before = Plan::new(&comparison(), &identities()).unwrap();
        let mut file = comparison();
        file.protocol.rows = 5;
        let rows = Plan::new(&file, &identities()).unwrap();
        assert_eq!(rows.trainings, before.trainings);
        assert!(rows.measurements.iter().zip(&before.measurements).all(|(a, b)| a.id != b.id));

        let mut known = identities();
        known.settings.insert("s".to_owned(), json!({"lr": 2}));
        let settings = Plan::new(&comparison(), &known).unwrap();
        let same: Vec<bool> = settings
            .measurements
            .iter()
            .zip(&before.measurements)
            .map(|(a, b)| a.id == b.id)
            .collect();
        // `lora` takes the wall time of `s`.
        assert_eq!(same, [true, false, false, false, false, false, false, true]);

        let mut known = identities();
        known.bases.insert("b".to_owned(), "other".to_owned());
        let base = Plan::new(&comparison(), &known).unwrap();
        assert!(base.measurements.iter().zip(&before.measurements).all(|(a, b)| a.id != b.id));
    }

    #[test]
    fn shards_cover_everything_once_and_keep_together_what_belongs_together() {
        let plan = Plan::new(&comparison(), &identities()).unwrap();
        let shards: Vec<Vec<&Measurement>> =
            (0..3).map(|index| plan.measurements_of(Shard { index, of: 3 }, &[])).collect();
        for measurement in &plan.measurements {
            let times = shards.iter().filter(|shard| shard.contains(&measurement)).count();
            assert_eq!(times, if measurement.is_base() { 3 } else { 1 }, "{}", measurement.id);
        }
        for shard in &shards {
            let names: Vec<&str> = shard.iter().map(|m| m.entry.name.as_str()).collect();
            assert_eq!(names.contains(&"s"), names.contains(&"lora"), "{names:?}");
            assert_eq!(names.contains(&"s"), names.contains(&"s-as-i"), "{names:?}");
        }
        let only = plan.measurements_of(Shard::WHOLE, &["best".to_owned()]);
        assert_eq!(only.len(), 2);
    }
}
