//! The numbers of an evaluation, as `summary.json` holds them.

use std::collections::{BTreeMap, HashMap};

use hyperalign_rewards::geneval::Task;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};

use super::{
    Evaluation, Interval, Measured, Method, PictureCost, Record, Role, Sampling, Scorer, Variation,
    bootstrap,
};
use crate::moments::mean;

/// Seed of the resampling: a table made twice shows the same intervals.
const BOOTSTRAP_SEED: u64 = 0;

/// All methods of an evaluation, and their differences to the base.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Methods by name, in the order of the table.
    #[serde(serialize_with = "to_map", deserialize_with = "from_map")]
    pub methods: Vec<(String, MethodSummary)>,
    /// Differences to the base by method, then by column (`gold`, `proxy`, `heldout`, ...):
    /// paired, with bootstrap intervals of 95 %.
    #[serde(serialize_with = "to_map", deserialize_with = "from_map")]
    pub differences: Vec<(String, BTreeMap<String, Interval>)>,
    /// The first method after the base against each later one; none where there are no two.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub comparisons: Option<Comparisons>,
    /// Who scored, a column each.
    pub rewards: Vec<RewardSummary>,
    /// Name of the base.
    pub base: String,
    /// How pictures were sampled.
    pub sampling: Sampling,
    /// Length of the list of prompts.
    pub rows: usize,
    /// Prompts that differ: the units that are drawn anew for the intervals.
    pub prompts: usize,
    /// Those of each task, where prompts have one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub prompts_per_task: BTreeMap<Task, usize>,
    /// By column, how many of the list a reward passed over: those without rules, where it judges by
    /// rules.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub skipped: BTreeMap<String, usize>,
    /// Pictures of each of the list.
    pub seeds: usize,
    /// Where diversity was measured.
    pub diversity_space: String,
    /// Wall time of all methods together, scoring included, in seconds.
    pub wall_seconds: f64,
}

/// Who made the numbers of a column. Scores of different versions do not compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RewardSummary {
    /// The column: `gold`, `proxy`, `heldout`, or the name.
    pub column: String,
    /// Name of the reward.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it has had to do with the methods.
    pub role: Role,
}

/// One method against others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparisons {
    /// The method that is compared.
    pub method: String,
    /// Its value minus the other's, by the other's name and then by column; paired, as
    /// [`Summary::differences`] are.
    #[serde(serialize_with = "to_map", deserialize_with = "from_map")]
    pub against: Vec<(String, BTreeMap<String, Interval>)>,
}

/// The numbers of one method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MethodSummary {
    /// Shares of right pictures, where there is a judge.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub gold: Option<GoldSummary>,
    /// The mean of each reward by column: `proxy`, `heldout` and others by name.
    #[serde(flatten)]
    pub scores: BTreeMap<String, f64>,
    /// The means of the prompts' groups by group, then by column, where prompts have groups: the
    /// categories of PartiPrompts, the styles of HPSv2's benchmark, GenEval's tasks.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub groups: BTreeMap<String, BTreeMap<String, f64>>,
    /// Mean distance between pictures of one prompt, over the prompts that have two; none if there
    /// is no such prompt.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub diversity: Option<f64>,
    /// Wall time of a picture in seconds: encoding of the prompt, sampling and decoding, the
    /// median over batches.
    pub seconds_per_image: f64,
    /// What a picture cost beside time, in the mean.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cost: Option<PictureCost>,
    /// How much the emitted updates vary; none for the base.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub variation: Option<Variation>,
    /// Number of pictures.
    pub pictures: usize,
    /// Wall time of the method, scoring included, in seconds.
    pub wall_seconds: f64,
}

/// Shares of pictures that are right.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GoldSummary {
    /// Of all pictures.
    pub mean: f64,
    /// Of the pictures of each task.
    pub per_task: BTreeMap<Task, f64>,
}

impl Summary {
    /// Summarises what `evaluation` has measured.
    ///
    /// # Panics
    ///
    /// Panics if a method has no record.
    pub fn new(evaluation: &Evaluation, measured: &[Measured]) -> Self {
        let methods: Vec<(String, MethodSummary)> =
            measured.iter().map(|m| (m.name.clone(), summarise(m))).collect();
        let base = measured.iter().find(|m| m.name == Method::BASE);
        let others = || measured.iter().filter(|m| m.name != Method::BASE);
        let to_base = others().filter_map(|m| Some((m.name.clone(), differences(m, base?))));
        let comparisons = others().next().map(|first| Comparisons {
            method: first.name.clone(),
            against: others()
                .skip(1)
                .map(|other| (other.name.clone(), differences(first, other)))
                .collect(),
        });
        let mut prompts = HashMap::new();
        for prompt in evaluation.prompts {
            prompts.entry(prompt.text.as_str()).or_insert(prompt.task());
        }
        let mut prompts_per_task = BTreeMap::new();
        for task in prompts.values().flatten() {
            *prompts_per_task.entry(*task).or_insert(0) += 1;
        }
        Self {
            differences: to_base.collect(),
            comparisons: comparisons.filter(|comparisons| !comparisons.against.is_empty()),
            rewards: rewards(evaluation),
            base: evaluation.base.name().to_owned(),
            sampling: evaluation.sampling.clone(),
            rows: evaluation.prompts.len(),
            prompts: prompts.len(),
            prompts_per_task,
            skipped: skipped(evaluation),
            seeds: evaluation.seeds,
            diversity_space: evaluation.measures.space.name().to_owned(),
            wall_seconds: methods.iter().map(|(_, method)| method.wall_seconds).sum(),
            methods,
        }
    }

    /// The numbers of the method `name`.
    pub fn method(&self, name: &str) -> Option<&MethodSummary> {
        self.methods.iter().find(|(other, _)| other == name).map(|(_, method)| method)
    }

    /// The differences of the method `name` to the base.
    pub fn difference(&self, name: &str) -> Option<&BTreeMap<String, Interval>> {
        self.differences.iter().find(|(other, _)| other == name).map(|(_, columns)| columns)
    }
}

fn skipped(evaluation: &Evaluation) -> BTreeMap<String, usize> {
    let scorers = evaluation.measures.scorers.iter();
    let count =
        |scorer: &Scorer| evaluation.prompts.iter().filter(|p| !scorer.reward.scores(p)).count();
    let counts = scorers.map(|scorer| (scorer.column.clone(), count(scorer)));
    counts.filter(|(_, count)| *count > 0).collect()
}

fn rewards(evaluation: &Evaluation) -> Vec<RewardSummary> {
    let gold = evaluation.measures.gold.map(|judge| RewardSummary {
        column: "gold".to_owned(),
        name: "gold".to_owned(),
        version: judge.version(),
        role: Role::Other,
    });
    let scorers = evaluation.measures.scorers.iter().map(|scorer| RewardSummary {
        column: scorer.column.clone(),
        name: scorer.reward.name().to_owned(),
        version: scorer.reward.version(),
        role: scorer.role,
    });
    gold.into_iter().chain(scorers).collect()
}

fn summarise(measured: &Measured) -> MethodSummary {
    let records = &measured.records;
    let columns = column_values(records);
    let (gold, scores): (BTreeMap<_, _>, BTreeMap<_, _>) =
        columns.into_iter().partition(|(column, _)| column == "gold");
    let mut seconds: Vec<f64> = records.iter().map(|record| record.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    let diversity: Vec<f64> =
        records.iter().filter_map(|record| record.diversity.map(f64::from)).collect();
    MethodSummary {
        gold: gold.get("gold").map(|values| GoldSummary {
            mean: mean(values),
            per_task: Task::ALL
                .into_iter()
                .filter_map(|task| {
                    let of_task: Vec<Record> = records
                        .iter()
                        .filter(|record| record.task == Some(task))
                        .cloned()
                        .collect();
                    column_values(&of_task).get("gold").map(|values| (task, mean(values)))
                })
                .collect(),
        }),
        scores: means(&scores),
        groups: groups(records),
        diversity: (!diversity.is_empty()).then(|| mean(&diversity)),
        // The first batch warms caches up, and others may share the machine for a while.
        seconds_per_image: seconds[seconds.len() / 2],
        cost: PictureCost::mean(records),
        variation: measured.variation,
        pictures: records.iter().map(|record| record.seeds.len()).sum(),
        wall_seconds: records.iter().map(|record| record.wall_seconds).sum(),
    }
}

fn groups(records: &[Record]) -> BTreeMap<String, BTreeMap<String, f64>> {
    let mut groups: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    for record in records {
        if let Some(group) = &record.group {
            groups.entry(group.clone()).or_default().push(record.clone());
        }
    }
    groups.into_iter().map(|(group, own)| (group, means(&column_values(&own)))).collect()
}

fn means(columns: &BTreeMap<String, Vec<f64>>) -> BTreeMap<String, f64> {
    columns.iter().map(|(column, values)| (column.clone(), mean(values))).collect()
}

/// The differences of every column that both have, picture by picture.
fn differences(measured: &Measured, other: &Measured) -> BTreeMap<String, Interval> {
    // Of each picture that the column has a value of.
    let prompts = |column: &str| -> Vec<&str> {
        let has_it = |record: &&Record| column == "gold" || record.scores.contains_key(column);
        let records = measured.records.iter().filter(has_it);
        records
            .flat_map(|record| std::iter::repeat_n(record.prompt.as_str(), record.seeds.len()))
            .collect()
    };
    let other = column_values(&other.records);
    let columns = column_values(&measured.records).into_iter().filter_map(|(column, values)| {
        let other = other.get(&column)?;
        let differences: Vec<f64> = values.iter().zip(other).map(|(a, b)| a - b).collect();
        let interval = bootstrap(&prompts(&column), &differences, BOOTSTRAP_SEED);
        Some((column, interval))
    });
    columns.collect()
}

/// The values of all pictures by column, `gold` as 0 and 1.
fn column_values(records: &[Record]) -> BTreeMap<String, Vec<f64>> {
    let mut columns: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for record in records {
        if let Some(gold) = &record.gold {
            let values = gold.iter().map(|&right| f64::from(u8::from(right)));
            columns.entry("gold".to_owned()).or_default().extend(values);
        }
        for (column, values) in &record.scores {
            let values = values.iter().copied().map(f64::from);
            columns.entry(column.clone()).or_default().extend(values);
        }
    }
    columns
}

/// Pairs as a JSON object, in their order.
fn to_map<T: Serialize, S: Serializer>(
    pairs: &[(String, T)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(name, value)| (name, value)))
}

fn from_map<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(String, T)>, D::Error> {
    let map = serde_json::Map::deserialize(deserializer)?;
    let pair = |(name, value)| Ok((name, serde_json::from_value(value)?));
    map.into_iter()
        .map(pair)
        .collect::<Result<_, serde_json::Error>>()
        .map_err(serde::de::Error::custom)
}
