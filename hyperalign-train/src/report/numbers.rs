//! Every number of a report, as `report.json` holds them and tables show them.

use std::collections::{BTreeMap, BTreeSet};

use hyperalign_rewards::geneval::Task;
use serde::Serialize;

use crate::{
    compare::{
        BaseResults, ClaimResult, Column, Effect, EntryResults, Paired, Results, TrainingRecord,
        Versions, holm, value_of,
    },
    eval::{Method, Variation},
};

/// All of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Numbers {
    /// By base.
    pub bases: Vec<BaseNumbers>,
    /// The claims, by base.
    pub claims: Vec<ClaimResult>,
    /// What is missing, a line each.
    pub missing: Vec<String>,
}

/// The numbers of one base.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BaseNumbers {
    /// The base.
    pub name: String,
    /// Rows of the list of prompts.
    pub rows: usize,
    /// Prompts that differ.
    pub prompts: usize,
    /// Pictures of each row.
    pub seeds: usize,
    /// The columns that were scored, the deciding one first.
    pub columns: Vec<String>,
    /// The base as it is, and then the entries.
    pub entries: Vec<EntryNumbers>,
}

/// The numbers of an entry.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EntryNumbers {
    /// Its name.
    pub name: String,
    /// What the report calls it.
    pub label: String,
    /// The heading that it stands under.
    pub group: String,
    /// Seeds of its training that were measured.
    pub runs: usize,
    /// Those that are planned.
    pub planned: usize,
    /// Means over prompts and training seeds, by column.
    pub means: BTreeMap<String, f64>,
    /// The share of right pictures by task.
    pub tasks: BTreeMap<Task, f64>,
    /// The difference to the base, by column.
    pub to_base: BTreeMap<String, Effect>,
    /// How often chance alone makes that difference, by column, after as many tests as there are
    /// entries.
    pub corrected: BTreeMap<String, f64>,
    /// The reference minus this entry, in the deciding column.
    pub below_reference: Option<Effect>,
    /// How much the emitted updates vary, the mean over training seeds.
    pub variation: Option<Variation>,
    /// What its training took, the mean over seeds.
    pub training: Option<TrainingRecord>,
    /// The most memory that a process held which measured it, in bytes.
    pub peak_memory: Option<u64>,
    /// What it was made with, by training seed.
    pub versions: Vec<Versions>,
}

/// What one picture costs; beside them stand the scores.
pub const COSTS: [&str; 4] = ["seconds", "evaluations", "gradients", "reward_calls"];

impl Numbers {
    /// The numbers of `results`.
    pub fn new(results: &Results) -> Self {
        let primary = &results.comparison.scores.primary;
        let reference = results.comparison.protocol.reference.as_deref();
        let claims = results.bases.iter().flat_map(|base| {
            results.comparison.claims.iter().filter_map(|claim| claim.decide(base, primary))
        });
        Self {
            claims: claims.collect(),
            bases: results.bases.iter().map(|base| of_base(base, primary, reference)).collect(),
            missing: results.missing.clone(),
        }
    }
}

impl BaseNumbers {
    /// The numbers of the entry called `name`.
    pub fn entry(&self, name: &str) -> Option<&EntryNumbers> {
        self.entries.iter().find(|entry| entry.name == name)
    }
}

fn of_base(results: &BaseResults, primary: &str, reference: Option<&str>) -> BaseNumbers {
    let columns = columns(results, primary);
    let mut entries: Vec<EntryNumbers> =
        results.measured().map(|entry| of_entry(results, entry, &columns)).collect();
    for column in &columns {
        let tested: Vec<(usize, f64)> = entries
            .iter()
            .enumerate()
            .filter_map(|(k, entry)| Some((k, entry.to_base.get(column)?.p?)))
            .collect();
        let p: Vec<f64> = tested.iter().map(|(_, p)| *p).collect();
        for ((k, _), corrected) in tested.iter().zip(holm(&p)) {
            entries[*k].corrected.insert(column.clone(), corrected);
        }
    }
    if let Some(left) = reference.and_then(|name| results.entry(name)) {
        for entry in entries.iter_mut().filter(|entry| entry.name != left.entry.name) {
            let right = results.entry(&entry.name);
            let paired =
                right.and_then(|right| Paired::new(left, right, Column::named(primary), &|_| true));
            entry.below_reference = paired.map(|paired| paired.difference());
        }
    }
    let scores = results.measured().next().map_or(&[][..], |entry| &entry.runs[0].scores);
    let prompts: BTreeSet<&str> = scores.iter().map(|record| record.prompt.as_str()).collect();
    BaseNumbers {
        name: results.name.clone(),
        rows: scores.len(),
        prompts: prompts.len(),
        seeds: scores.first().map_or(0, |record| record.seeds.len()),
        columns,
        entries,
    }
}

/// What was scored: the deciding column, the rewards, diversity, the distance to the base.
fn columns(results: &BaseResults, primary: &str) -> Vec<String> {
    let runs = || results.measured().flat_map(|entry| &entry.runs);
    let has =
        |column: &str| runs().any(|run| value_of(run, Column::named(column), |_| true).is_some());
    let mut columns: Vec<String> = Vec::new();
    let rewards = runs().flat_map(|run| run.scores.iter().take(1)).flat_map(|r| r.scores.keys());
    let rewards: BTreeSet<&String> = rewards.collect();
    // As the table of `hyperalign eval` has them.
    let known = [primary, "gold", "heldout", "proxy"].map(str::to_owned);
    let last = ["diversity".to_owned(), Column::DISTANCE.to_owned()];
    for column in
        known.iter().chain(rewards.into_iter().filter(|name| !last.contains(name))).chain(&last)
    {
        if !columns.contains(column) && has(column) {
            columns.push(column.clone());
        }
    }
    columns
}

fn of_entry(results: &BaseResults, entry: &EntryResults, columns: &[String]) -> EntryNumbers {
    let mean = |values: Vec<f64>| {
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    let over_runs = |column: Column, task: Option<Task>| {
        let of = |run| value_of(run, column, |r| task.is_none() || r.task == task);
        mean(entry.runs.iter().filter_map(of).collect())
    };
    let all = columns.iter().map(String::as_str).chain(COSTS);
    let means =
        all.filter_map(|name| Some((name.to_owned(), over_runs(Column::named(name), None)?)));
    let tasks =
        Task::ALL.into_iter().filter_map(|task| Some((task, over_runs(Column::Gold, Some(task))?)));
    let base = results.entry(Method::BASE).filter(|base| base.entry.name != entry.entry.name);
    let to_base = columns.iter().filter(|column| *column != Column::DISTANCE).filter_map(|name| {
        let paired = Paired::new(entry, base?, Column::named(name), &|_| true)?;
        Some((name.clone(), paired.difference()))
    });
    let variations: Vec<Variation> =
        entry.runs.iter().filter_map(|run| run.record.variation).collect();
    let variation = mean(variations.iter().map(|v| v.over_steps).collect()).map(|over_steps| {
        let over_prompts = mean(variations.iter().filter_map(|v| v.over_prompts).collect());
        Variation { over_prompts, over_steps }
    });
    let trainings: Vec<&TrainingRecord> =
        entry.runs.iter().filter_map(|run| run.record.training.as_ref()).collect();
    let of_trainings = |of: fn(&TrainingRecord) -> Option<f64>| {
        mean(trainings.iter().filter_map(|training| of(training)).collect())
    };
    let training = of_trainings(|training| Some(training.seconds)).map(|seconds| TrainingRecord {
        updates: of_trainings(|t| Some(t.updates as f64)).unwrap_or(0.0).round() as u64,
        states: of_trainings(|training| training.states),
        seconds,
        peak_memory: trainings.iter().filter_map(|training| training.peak_memory).max(),
    });
    EntryNumbers {
        name: entry.entry.name.clone(),
        label: entry.entry.label().to_owned(),
        group: entry.entry.group.clone(),
        runs: entry.runs.len(),
        planned: entry.planned,
        means: means.collect(),
        tasks: tasks.collect(),
        to_base: to_base.collect(),
        corrected: BTreeMap::new(),
        below_reference: None,
        variation,
        training,
        peak_memory: entry.runs.iter().filter_map(|run| run.record.peak_memory).max(),
        versions: entry.runs.iter().map(|run| run.record.versions.clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{Folders, testing::finished};

    #[test]
    fn numbers_of_a_comparison() {
        let folder = tempfile::tempdir().unwrap();
        finished(folder.path());
        let results = Results::read(&Folders::new(folder.path())).unwrap();
        let numbers = Numbers::new(&results);
        let base = &numbers.bases[0];
        assert_eq!((base.rows, base.prompts, base.seeds), (40, 40, 1));
        assert_eq!(base.columns, ["gold", "proxy"]);
        let s = base.entry("s").unwrap();
        assert_eq!((s.runs, s.planned), (2, 2));
        assert!((s.means["gold"] - 0.5125).abs() < 1e-9, "{:?}", s.means);
        assert_eq!(s.tasks[&Task::Colors], 1.0);
        assert!((s.tasks[&Task::Counting] - 0.025).abs() < 1e-9, "{:?}", s.tasks);
        let p = s.to_base["gold"].p.unwrap();
        // Three entries are measured beside the base.
        assert!((s.corrected["gold"] - 3.0 * p).abs() < 1e-12 && p < 0.01);
        assert_eq!(s.training.as_ref().unwrap().states, Some(800.0));
        let lora = base.entry("lora").unwrap();
        assert!((lora.below_reference.as_ref().unwrap().mean - 0.2625).abs() < 1e-9);
        assert_eq!((lora.to_base["gold"].mean, lora.corrected["gold"]), (0.0, 1.0));
        assert!(base.entry("best").is_none());
        assert_eq!(numbers.claims.len(), 1);
        // The same records give the same numbers.
        assert_eq!(Numbers::new(&results), numbers);
    }
}
