//! What was measured of one prompt, and the file that keeps it.
//!
//! Results are kept by method, one JSON object a line, under a name that holds a fingerprint of
//! everything that made them. A run that was interrupted goes on from there; another setting,
//! another adapter or another scorer has another name, and nothing is ever mixed.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use hyperalign_core::{atomic, input};
use hyperalign_models::{generate::Cost, weights::sha256};
use hyperalign_rewards::geneval::Task;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::EvalError;

/// What was measured of the pictures of one prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Index of the prompt.
    pub row: usize,
    /// The task of GenEval that it belongs to, if it has rules.
    pub task: Option<Task>,
    /// The part of its set that it belongs to.
    pub group: Option<String>,
    /// The prompt. A long list may hold it more than once, with other seeds.
    pub prompt: String,
    /// Seeds of the pictures.
    pub seeds: Vec<u64>,
    /// Whether each picture is right, where there is a judge.
    pub gold: Option<Vec<bool>>,
    /// Scores of each picture, by column; without those of rewards that pass this prompt over. Numbers of 32 bits come back from JSON as they were;
    /// the last bit of longer ones does not always.
    pub scores: BTreeMap<String, Vec<f32>>,
    /// Mean distance between the pictures of this prompt, if there are two: of all rows that have
    /// it, kept with the first.
    pub diversity: Option<f32>,
    /// Wall time of making one picture, in seconds.
    pub seconds: f64,
    /// Wall time that this prompt took, scoring included, in seconds.
    pub wall_seconds: f64,
    /// What one picture cost beside time; records of earlier versions do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<PictureCost>,
}

/// What a picture costs in the mean, in the unit of [`Cost`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PictureCost {
    /// Evaluations of the denoiser.
    pub denoiser_evaluations: f64,
    /// Backward passes through the denoiser.
    pub gradient_passes: f64,
    /// Latents that were decoded.
    pub decodes: f64,
    /// Pictures that a reward scored while they were made.
    pub reward_calls: f64,
}

impl PictureCost {
    /// The share of one of `pictures` that cost as much together.
    pub fn of(cost: Cost, pictures: usize) -> Self {
        let each = |count: u64| count as f64 / pictures.max(1) as f64;
        Self {
            denoiser_evaluations: each(cost.denoiser_evaluations),
            gradient_passes: each(cost.gradient_passes),
            decodes: each(cost.decodes),
            reward_calls: each(cost.reward_calls),
        }
    }

    /// The mean over records; `None` unless all of them say it.
    pub(super) fn mean(records: &[Record]) -> Option<Self> {
        let all: Option<Vec<Self>> = records.iter().map(|record| record.cost).collect();
        let all = all.filter(|all| !all.is_empty())?;
        let mean = |of: fn(&Self) -> f64| all.iter().map(of).sum::<f64>() / all.len() as f64;
        Some(Self {
            denoiser_evaluations: mean(|cost| cost.denoiser_evaluations),
            gradient_passes: mean(|cost| cost.gradient_passes),
            decodes: mean(|cost| cost.decodes),
            reward_calls: mean(|cost| cost.reward_calls),
        })
    }
}

/// The records of one method, kept in a file where there is a folder for it.
#[derive(Debug)]
pub(super) struct Store {
    path: Option<PathBuf>,
    made_by: Value,
    /// In the order of the prompts, from the first.
    pub records: Vec<Record>,
}

impl Store {
    /// Opens the store of `method`, with what is kept of an earlier run that was made by the
    /// same. A file that cannot be understood counts as none: it is only a saving of time.
    pub fn open(folder: Option<&Path>, method: &str, made_by: Value) -> Self {
        let key = fingerprint(&made_by);
        let path = folder.map(|folder| folder.join(format!("{}-{key:.12}.jsonl", plain(method))));
        let kept = path.as_deref().and_then(|path| read(path, &made_by));
        Self { path, made_by, records: kept.unwrap_or_default() }
    }

    /// Adds records and brings all of them to the disk, whole or not at all.
    pub fn extend(&mut self, records: impl IntoIterator<Item = Record>) -> Result<(), EvalError> {
        self.records.extend(records);
        let Some(path) = &self.path else { return Ok(()) };
        let mut lines = vec![self.made_by.to_string()];
        let line = |record| serde_json::to_string(record).expect("a record is plain data");
        lines.extend(self.records.iter().map(line));
        Ok(atomic::write(path, (lines.join("\n") + "\n").as_bytes())?)
    }
}

fn read(path: &Path, made_by: &Value) -> Option<Vec<Record>> {
    let text = input::read_text(path).ok()?;
    let mut lines = text.lines();
    let head: Value = serde_json::from_str(lines.next()?).ok()?;
    let records: Vec<Record> = lines.map(serde_json::from_str).collect::<Result<_, _>>().ok()?;
    let in_order = records.iter().enumerate().all(|(row, record)| record.row == row);
    (head == *made_by && in_order).then_some(records)
}

/// SHA-256 of a JSON value as 64 hexadecimal digits.
pub fn fingerprint(value: &Value) -> String {
    sha256(value.to_string())
}

/// A name that every file system takes.
fn plain(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    name.chars().map(|c| if allowed(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(row: usize) -> Record {
        Record {
            row,
            task: Some(Task::Colors),
            group: Some("colors".to_owned()),
            prompt: "a red heart".to_owned(),
            seeds: vec![1, u64::MAX],
            gold: Some(vec![true, false]),
            scores: BTreeMap::from([("proxy".to_owned(), vec![0.1, 1.0 / 3.0])]),
            diversity: None,
            seconds: 0.25,
            wall_seconds: 1.5,
            cost: Some(PictureCost::of(Cost { decodes: 3, ..Cost::default() }, 2)),
        }
    }

    #[test]
    fn what_is_kept_comes_back_exactly() {
        let folder = tempfile::tempdir().unwrap();
        let open = |made_by| Store::open(Some(folder.path()), "s at 10/7", made_by);
        let mut store = open(json!({"steps": 10}));
        assert!(store.records.is_empty());
        store.extend([record(0)]).unwrap();
        store.extend([record(1)]).unwrap();
        assert_eq!(open(json!({"steps": 10})).records, [record(0), record(1)]);
        assert!(open(json!({"steps": 20})).records.is_empty(), "made by something else");
        let files = || std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
        assert_eq!(files().count(), 1);

        // Half a line, as no writer of ours leaves it, is no result.
        let path = files().next().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 10]).unwrap();
        assert!(open(json!({"steps": 10})).records.is_empty());
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let mut store = Store::open(Some(&file), "base", json!(1));
        let error = store.extend([record(0)]).unwrap_err();
        assert!(error.to_string().contains("cannot write"), "{error}");
        assert!(Store::open(None, "base", json!(1)).extend([record(0)]).is_ok());
    }
}
