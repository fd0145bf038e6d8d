//! Checkpoints: folders `checkpoints/step-000500` that appear whole or not at all.
//!
//! A folder is written beside its place and renamed into it; its `state.json` holds the SHA-256
//! of the other files, so that a damaged one is noticed, and what the run was made with, so that
//! a foreign one is.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use burn::module::Module;
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::store::ModuleRecord;
use burn::tensor::Bytes;
use hyperalign_core::input;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::average::Average;
use super::origin::Origin;

const STATE: &str = "state.json";
const MODULE: &str = "module.bpk";
const OPTIMIZER: &str = "optimizer.bpk";
const AVERAGE: &str = "ema.bpk";
const MEMORY: &str = "objective.json";
const FORMAT: u32 = 1;

/// Why a run cannot be continued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// A new run was asked for in a folder that holds one.
    #[error(
        "{dir} already holds a run of {update} updates; continue it with `--resume`, or give \
         another folder"
    )]
    Occupied {
        /// The folder of the run.
        dir: PathBuf,
        /// The update of its newest checkpoint.
        update: u64,
    },
    /// The checkpoint belongs to another run.
    #[error(
        "{path} belongs to another run: its {what} is {saved}, but this run has {now}; resume \
         with what the run was started with, or start a new one in another folder"
    )]
    Foreign {
        /// The checkpoint.
        path: PathBuf,
        /// What differs.
        what: String,
        /// Its value in the checkpoint.
        saved: String,
        /// Its value now.
        now: String,
    },
    /// No checkpoint of the folder can be read.
    #[error(
        "{path} is damaged ({reason}), and there is no earlier checkpoint; start a new run in \
         another folder"
    )]
    Corrupted {
        /// The newest checkpoint.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The folder cannot be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Everything that the next update depends on.
#[derive(Clone)]
pub(crate) struct State<M> {
    pub(crate) module: M,
    pub(crate) optimizer: ModuleOptimizer,
    pub(crate) average: Option<Average<M>>,
    /// What the objective remembers.
    pub(crate) memory: Option<Value>,
    /// The running mean of the norms of gradients, after clipping.
    pub(crate) mean_norm: Option<f64>,
    /// Updates done.
    pub(crate) update: u64,
    /// Time spent in all sittings.
    pub(crate) elapsed: Duration,
}

#[derive(Serialize, Deserialize)]
struct Index {
    format: u32,
    update: u64,
    elapsed_seconds: f64,
    /// The bits of [`State::mean_norm`]: a float may come back one bit off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mean_norm_bits: Option<u64>,
    #[serde(flatten)]
    origin: Origin,
    files: Vec<FileHash>,
}

#[derive(Serialize, Deserialize)]
struct FileHash {
    name: String,
    sha256: String,
}

/// Writes `state` as `checkpoints/step-NNNNNN` of `dir`, keeps the latest `keep` and removes the
/// others.
pub(crate) fn save<M: Module>(
    dir: &Path,
    state: &State<M>,
    origin: &Origin,
    keep: usize,
) -> io::Result<PathBuf> {
    let folder = dir.join("checkpoints");
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("step-{:06}", state.update));
    let beside = folder.join(format!(".step-{:06}.tmp", state.update));
    remove(&beside)?;
    let written = write(&beside, state, origin).and_then(|()| {
        remove(&path)?;
        fs::rename(&beside, &path)?;
        // The rename itself must survive a power cut.
        File::open(&folder)?.sync_all()
    });
    if let Err(error) = written {
        // The disk may be full: what is half-written must not stay.
        remove(&beside).ok();
        return Err(error);
    }
    // A later one than this is damaged: the run would have gone on from it.
    let (later, good): (Vec<_>, Vec<_>) =
        list(dir)?.into_iter().partition(|(update, _)| *update > state.update);
    for (_, old) in good.into_iter().rev().skip(keep).chain(later) {
        remove(&old)?;
    }
    Ok(path)
}

fn write<M: Module>(folder: &Path, state: &State<M>, origin: &Origin) -> io::Result<()> {
    fs::create_dir(folder)?;
    let mut files = vec![
        (MODULE, state.module.clone().into_record().into_bytes()),
        (OPTIMIZER, state.optimizer.into_bytes()),
    ];
    if let Some(average) = &state.average {
        files.push((AVERAGE, average.module.clone().into_record().into_bytes()));
    }
    let mut whole = Vec::new();
    for (name, bytes) in files {
        whole.push((name, bytes.map_err(io::Error::other)?.to_vec()));
    }
    if let Some(memory) = &state.memory {
        whole.push((MEMORY, serde_json::to_vec(memory)?));
    }
    let mut hashes = Vec::new();
    for (name, bytes) in whole {
        hashes.push(FileHash { name: name.to_owned(), sha256: sha256(&bytes) });
        write_synced(&folder.join(name), &bytes)?;
    }
    let index = Index {
        format: FORMAT,
        update: state.update,
        elapsed_seconds: state.elapsed.as_secs_f64(),
        mean_norm_bits: state.mean_norm.map(f64::to_bits),
        origin: origin.clone(),
        files: hashes,
    };
    write_synced(&folder.join(STATE), &serde_json::to_vec_pretty(&index)?)?;
    File::open(folder)?.sync_all()
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::write(path, bytes)?;
    File::open(path)?.sync_all()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The checkpoints of a run, oldest first.
pub(crate) fn list(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let entries = match fs::read_dir(dir.join("checkpoints")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(update) = name.strip_prefix("step-").and_then(|digits| digits.parse().ok()) {
            found.push((update, path));
        }
    }
    found.sort();
    Ok(found)
}

/// The update of the oldest checkpoint that a run may go on from, if it has any.
///
/// # Errors
///
/// Fails if the folder cannot be read.
pub(crate) fn oldest(dir: &Path) -> io::Result<Option<u64>> {
    Ok(list(dir)?.first().map(|(update, _)| *update))
}

/// Loads the newest whole checkpoint into `fresh`. The second value names the damaged ones that
/// were passed over. With `new_learning_rate`, that of the checkpoint may be another.
///
/// # Errors
///
/// Fails if the newest whole checkpoint is foreign, or if none is whole.
pub(crate) fn resume<M: Module>(
    dir: &Path,
    fresh: State<M>,
    origin: &Origin,
    new_learning_rate: bool,
) -> Result<(State<M>, Vec<String>), ResumeError> {
    let read_error = |source| ResumeError::Io { path: dir.to_owned(), source };
    let mut damaged = Vec::new();
    let mut first = None;
    for (_, path) in list(dir).map_err(read_error)?.into_iter().rev() {
        match read(&path, &fresh, (origin, new_learning_rate)) {
            Ok(state) => return Ok((state, damaged)),
            Err(Unread::Foreign(error)) => return Err(error),
            Err(Unread::Damaged(reason)) => {
                damaged.push(format!("{} is damaged: {reason}", path.display()));
                first.get_or_insert(ResumeError::Corrupted { path, reason });
            }
        }
    }
    match first {
        Some(error) => Err(error),
        None => Ok((fresh, damaged)),
    }
}

enum Unread {
    Foreign(ResumeError),
    Damaged(String),
}

fn read<M: Module>(
    path: &Path,
    fresh: &State<M>,
    (origin, new_learning_rate): (&Origin, bool),
) -> Result<State<M>, Unread> {
    let damaged = |file: &str| {
        let file = file.to_owned();
        move |error: &dyn std::fmt::Display| Unread::Damaged(format!("{file}: {error}"))
    };
    let text = input::read(&path.join(STATE)).map_err(|e| damaged(STATE)(&e))?;
    let index: Index = serde_json::from_slice(&text).map_err(|e| damaged(STATE)(&e))?;
    if index.format != FORMAT {
        return Err(damaged(STATE)(&format!("format {} is not {FORMAT}", index.format)));
    }
    let mut now = origin.as_read();
    if new_learning_rate {
        let lr = ["optimizer", "lr"];
        now.settings[lr[0]][lr[1]] = index.origin.settings[lr[0]][lr[1]].clone();
    }
    index.origin.check(path, &now).map_err(Unread::Foreign)?;
    let load = |name: &str| {
        let bytes = input::read(&path.join(name)).map_err(|e| damaged(name)(&e))?;
        let known = index.files.iter().find(|file| file.name == name);
        if known.is_none_or(|file| file.sha256 != sha256(&bytes)) {
            return Err(damaged(name)(&"its SHA-256 is not the recorded one"));
        }
        Ok(Bytes::from_bytes_vec(bytes))
    };
    let module = |name: &str, into: &M| {
        let record = ModuleRecord::from_bytes(load(name)?).map_err(|e| damaged(name)(&e))?;
        into.clone().try_load_record(record).map_err(|e| damaged(name)(&e))
    };
    let record =
        OptimizerRecord::from_bytes(load(OPTIMIZER)?).map_err(|e| damaged(OPTIMIZER)(&e))?;
    let average = match &fresh.average {
        Some(average) => {
            Some(Average { module: module(AVERAGE, &average.module)?, ..average.clone() })
        }
        None => None,
    };
    let has_memory = index.files.iter().any(|file| file.name == MEMORY);
    let memory = match has_memory {
        true => serde_json::from_slice(&load(MEMORY)?).map_err(|e| damaged(MEMORY)(&e))?,
        false => None,
    };
    Ok(State {
        memory,
        mean_norm: index.mean_norm_bits.map(f64::from_bits),
        module: module(MODULE, &fresh.module)?,
        optimizer: fresh.optimizer.clone().load_record(record),
        average,
        update: index.update,
        elapsed: Duration::try_from_secs_f64(index.elapsed_seconds)
            .map_err(|e| damaged(STATE)(&e))?,
    })
}
