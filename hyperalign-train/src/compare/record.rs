//! What a comparison leaves on the disk.
//!
//! ```text
//! OUT/comparison.json               the file and the plan
//! OUT/trained/ID/                   a run of `hyperalign train`, with adapters along the way
//! OUT/measured/ID/record.json       what was measured: it is there once all of it is
//! OUT/measured/ID/scores.jsonl      the scores of every picture
//! OUT/measured/ID/failed.json       why there is no record
//! OUT/measured/ID/pictures/         the first rows' pictures, ROW-K.png
//! OUT/measured/ID/journal/          what an interrupted measurement goes on with
//! OUT/report/                       made of all that
//! ```

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use hyperalign_core::{atomic, input};
use hyperalign_models::weights::sha256;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{CompareError, Comparison, Plan};
use crate::eval::{Record, RewardSummary, Variation};

/// Where the parts of a comparison lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    root: PathBuf,
}

/// The file of a comparison and its runs, as they are kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    comparison: Comparison,
    plan: Plan,
}

impl Folders {
    /// The file that makes a folder a comparison.
    pub const COMPARISON: &'static str = "comparison.json";

    /// The parts of the comparison in the folder `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The whole.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of the training `id`.
    pub fn trained(&self, id: &str) -> PathBuf {
        self.root.join("trained").join(id)
    }

    /// The folder of the measurement `id`.
    pub fn measured(&self, id: &str) -> PathBuf {
        self.root.join("measured").join(id)
    }

    /// The folder of the report.
    pub fn report(&self) -> PathBuf {
        self.root.join("report")
    }

    /// Keeps what is compared.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be written.
    pub fn write_plan(&self, comparison: &Comparison, plan: &Plan) -> Result<(), CompareError> {
        let kept = Kept { comparison: comparison.clone(), plan: plan.clone() };
        write(&self.root.join(Self::COMPARISON), &kept)
    }

    /// What is compared in this folder.
    ///
    /// # Errors
    ///
    /// Fails if it holds no comparison, or one that cannot be read.
    pub fn read_plan(&self) -> Result<(Comparison, Plan), CompareError> {
        let path = self.root.join(Self::COMPARISON);
        if !path.is_file() {
            return Err(CompareError::NoComparison { folder: self.root.clone() });
        }
        let value: Value = read(&path)?;
        let format = &value["comparison"]["format"];
        if *format != super::FORMAT {
            let given = format.as_u64().and_then(|given| u32::try_from(given).ok()).unwrap_or(0);
            return Err(CompareError::Format { given });
        }
        let damaged = |error: serde_json::Error| damaged(&path, error);
        let kept: Kept = serde_json::from_value(value).map_err(damaged)?;
        Ok((kept.comparison, kept.plan))
    }
}

/// What a measurement was made with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Versions {
    /// The version of this program.
    pub program: String,
    /// The hash of the base.
    pub base: String,
    /// The hash of the adapter.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub adapter: Option<String>,
    /// A fingerprint of the prompts and their rules.
    pub prompts: String,
    /// The device.
    pub device: String,
    /// Where pictures are compared with each other.
    pub space: String,
}

/// How an adapter was trained.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainingRecord {
    /// Updates.
    pub updates: u64,
    /// Samples of the model that it learned from, where the comparison says how many an update has.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub states: Option<f64>,
    /// Wall time in seconds, all sittings together.
    pub seconds: f64,
    /// The most memory that the process held, in bytes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub peak_memory: Option<u64>,
}

/// A measurement along training.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Updates so far; 0 is the base.
    pub updates: u64,
    /// Samples of the model so far.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub states: Option<f64>,
    /// Means by column.
    pub values: BTreeMap<String, f64>,
}

/// What is known of how a base moves and how the weights of an adapter change along the steps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Probes {
    /// The relative movement of the base's one-step estimates, by step.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub movement: Vec<f64>,
    /// Its curvature, by step.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub curvature: Vec<f64>,
    /// Key steps: by the movement for a base, those of its file for an adapter.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub key_steps: Vec<usize>,
    /// How the emitted weights change.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub weights: Option<WeightPath>,
}

/// How the weights that a hypernetwork emits change along the steps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WeightPath {
    /// The cosine to the weights of the first step, by step, the mean over prompts.
    pub cosine: Vec<f64>,
    /// The relative change since the step before, by step.
    pub change: Vec<f64>,
    /// Where the weights of each prompt and step lie in the plane of their first two principal
    /// components, by prompt and then by step.
    pub plane: Vec<Vec<[f64; 2]>>,
    /// The shares of the variance that the two components have.
    pub explained: [f64; 2],
}

/// One finished measurement.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The measurement.
    pub id: String,
    /// The base, as the comparison calls it.
    pub base: String,
    /// The entry.
    pub entry: String,
    /// The seed of its training.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seed: Option<u64>,
    /// What it was made with.
    pub versions: Versions,
    /// Who scored, a column each.
    pub rewards: Vec<RewardSummary>,
    /// Steps, guidance and solver.
    pub sampling: Value,
    /// How it was trained.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub training: Option<TrainingRecord>,
    /// The most memory that the measuring process held, in bytes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub peak_memory: Option<u64>,
    /// How much the emitted updates vary.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub variation: Option<Variation>,
    /// Measurements along training.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub curve: Vec<CurvePoint>,
    /// What is known of movement and weights.
    pub probes: Probes,
    /// SHA-256 of the file of scores.
    pub scores: String,
}

impl RunRecord {
    const FILE: &'static str = "record.json";
    const SCORES: &'static str = "scores.jsonl";

    /// Writes the record and `scores` into `folder`; what had failed before is forgotten.
    ///
    /// # Errors
    ///
    /// Fails if they cannot be written.
    pub fn write(mut self, folder: &Path, scores: &[Record]) -> Result<(), CompareError> {
        let line = |record| serde_json::to_string(record).expect("a record is plain data") + "\n";
        let text: String = scores.iter().map(line).collect();
        self.scores = sha256(&text);
        atomic::write(&folder.join(Self::SCORES), text.as_bytes())?;
        // Last: where it is, the scores are.
        write(&folder.join(Self::FILE), &self)?;
        Failure::forget(folder);
        Ok(())
    }

    /// Whether `folder` has a record.
    pub fn is_in(folder: &Path) -> bool {
        folder.join(Self::FILE).is_file()
    }

    /// The record in `folder` and the scores; `None` if there is none.
    ///
    /// # Errors
    ///
    /// Fails if one of both is damaged, or they do not belong together.
    pub fn read(folder: &Path) -> Result<Option<(Self, Vec<Record>)>, CompareError> {
        let path = folder.join(Self::FILE);
        if !path.is_file() {
            return Ok(None);
        }
        let record: Self = read(&path)?;
        let path = folder.join(Self::SCORES);
        let text = input::read_text(&path).map_err(|error| damaged(&path, error))?;
        if sha256(&text) != record.scores {
            return Err(damaged(&path, "it is not what its record says"));
        }
        let lines: Result<Vec<Record>, _> = text.lines().map(serde_json::from_str).collect();
        Ok(Some((record, lines.map_err(|error| damaged(&path, error))?)))
    }
}

/// Why there is no record.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// What was being done: `train` or `measure`.
    pub stage: String,
    /// What was said.
    pub what: String,
}

impl Failure {
    const FILE: &'static str = "failed.json";

    /// Keeps it in `folder`.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), CompareError> {
        write(&folder.join(Self::FILE), self)
    }

    /// What failed in `folder`, if that is known.
    pub fn read(folder: &Path) -> Option<Self> {
        read(&folder.join(Self::FILE)).ok()
    }

    /// Removes it from `folder`.
    pub fn forget(folder: &Path) {
        // It need not be there.
        let _ = std::fs::remove_file(folder.join(Self::FILE));
    }
}

fn write(path: &Path, value: &impl Serialize) -> Result<(), CompareError> {
    let text = serde_json::to_string_pretty(value).expect("a record is plain data") + "\n";
    Ok(atomic::write(path, text.as_bytes())?)
}

pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<T, CompareError> {
    let text = input::read_text(path).map_err(|error| damaged(path, error))?;
    serde_json::from_str(&text).map_err(|error| damaged(path, error))
}

fn damaged(path: &Path, what: impl ToString) -> CompareError {
    CompareError::Damaged { path: path.to_owned(), what: what.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::testing::{comparison, finished};

    #[test]
    fn a_comparison_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let (plan, folders) = (finished(folder.path()), Folders::new(folder.path()));
        assert_eq!(folders.read_plan().unwrap(), (comparison(), plan.clone()));
        let s = folders.measured(&plan.measurements[1].id);
        let (record, scores) = RunRecord::read(&s).unwrap().unwrap();
        assert_eq!((record.entry.as_str(), scores.len()), ("s", 40));
        let best = folders.measured(&plan.measurements[7].id);
        assert!(RunRecord::read(&best).unwrap().is_none() && !RunRecord::is_in(&best));
        assert_eq!(Failure::read(&best).unwrap().what, "out of memory");
    }

    #[test]
    fn what_is_damaged_names_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let (plan, folders) = (finished(folder.path()), Folders::new(folder.path()));
        let s = folders.measured(&plan.measurements[1].id);
        let scores = s.join("scores.jsonl");
        let text = std::fs::read_to_string(&scores).unwrap();
        std::fs::write(&scores, &text[..text.len() / 2]).unwrap();
        let error = RunRecord::read(&s).unwrap_err().to_string();
        assert!(error.contains("scores.jsonl") && error.contains("remove it"), "{error}");

        let kept = folder.path().join(Folders::COMPARISON);
        let text = std::fs::read_to_string(&kept).unwrap();
        std::fs::write(&kept, text.replacen("\"format\": 1", "\"format\": 0", 1)).unwrap();
        assert!(folders.read_plan().unwrap_err().to_string().contains("format 0"));
        std::fs::remove_file(&kept).unwrap();
        assert!(folders.read_plan().unwrap_err().to_string().contains("holds no comparison"));
    }
}
