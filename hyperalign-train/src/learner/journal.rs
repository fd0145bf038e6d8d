//! `metrics.jsonl`: one row for each update, each update once.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hyperalign_core::input;
use serde_json::{Map, Value, json};

/// The file, in the folder of a run.
const NAME: &str = "metrics.jsonl";

/// Where the rows of the run in `dir` are.
pub fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

/// The rows of the run in `dir`, which may still go on: a line of which only a part has been written is
/// passed over.
///
/// # Errors
///
/// Fails if the file cannot be read.
pub fn rows(dir: &Path) -> io::Result<Vec<Value>> {
    whole_lines(&path(dir))
}

/// The lines of JSON of a file that may still be written: a line of which only a part is there is
/// passed over.
pub(crate) fn whole_lines(path: &Path) -> io::Result<Vec<Value>> {
    let text = input::read_text(path)?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// What is known about one update.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    /// Updates done, this one included.
    pub update: u64,
    /// The learning rate of this update.
    pub lr: f64,
    /// The terms of the loss.
    pub parts: Vec<PartRow>,
    /// The norm of the whole gradient, before clipping.
    pub gradient_norm: f64,
    /// The norm of the trained weights after the update.
    pub weight_norm: f64,
    /// Seconds that the update took.
    pub seconds: f64,
    /// The largest amount of memory held so far, in bytes, where the system tells.
    pub peak_memory: Option<u64>,
    /// The objective's own values.
    pub metrics: Vec<(String, f64)>,
}

/// What is known about one term of the loss in one update.
#[derive(Debug, Clone, PartialEq)]
pub struct PartRow {
    /// Its name.
    pub name: String,
    /// Its value, without the weight.
    pub loss: f64,
    /// Its weight.
    pub weight: f64,
    /// The norm of its gradient, times the weight: what it brings into the sum, before clipping.
    pub gradient_norm: f64,
}

impl Row {
    /// The row as one JSON object: `update`, `lr`, `loss` and `gradient_norm` by part and `total`,
    /// `weight` by part, `weight_norm`, `seconds`, `peak_memory_bytes`, `metrics` by name.
    pub fn to_json(&self) -> Value {
        let mut loss: Map<String, Value> =
            self.parts.iter().map(|part| (part.name.clone(), part.loss.into())).collect();
        let mut norms: Map<String, Value> =
            self.parts.iter().map(|part| (part.name.clone(), part.gradient_norm.into())).collect();
        let weights: Map<String, Value> =
            self.parts.iter().map(|part| (part.name.clone(), part.weight.into())).collect();
        loss.insert("total".to_owned(), self.loss().into());
        norms.insert("total".to_owned(), self.gradient_norm.into());
        json!({
            "update": self.update,
            "lr": self.lr,
            "loss": loss,
            "gradient_norm": norms,
            "weight": weights,
            "weight_norm": self.weight_norm,
            "seconds": self.seconds,
            "peak_memory_bytes": self.peak_memory,
            "metrics": self.metrics.iter()
                .map(|(name, value)| (name.clone(), (*value).into())).collect::<Map<String, Value>>(),
        })
    }

    /// The whole loss: the weighted sum of its parts.
    pub fn loss(&self) -> f64 {
        self.parts.iter().map(|part| part.weight * part.loss).sum()
    }
}

/// The open file.
pub(crate) struct Journal {
    file: File,
}

impl Journal {
    /// Opens `path` and cuts off everything after the row of update `done`: rows that a killed run
    /// wrote after its last checkpoint will be written again.
    pub(crate) fn open(path: &Path, done: u64) -> io::Result<Self> {
        let text = match input::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut kept = 0;
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            // A killed run may leave half a line.
            let row: Option<Value> = serde_json::from_slice(line).ok();
            let update = row.as_ref().and_then(|row| row.get("update")).and_then(Value::as_u64);
            if !line.ends_with(b"\n") || update.is_none_or(|update| update > done) {
                break;
            }
            kept += line.len();
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        file.set_len(kept as u64)?;
        Ok(Self { file })
    }

    /// Appends one row, in one write.
    pub(crate) fn write(&mut self, row: &Row) -> io::Result<()> {
        self.file.write_all(format!("{}\n", row.to_json()).as_bytes())
    }

    /// Makes sure that the rows are on the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}
