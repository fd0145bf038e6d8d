//! `hyperalign inspect checkpoint PATH`.

use std::path::{Path, PathBuf};

use hyperalign_core::input;
use hyperalign_models::weights::sha256;
use miette::{IntoDiagnostic, WrapErr, bail};
use serde::{Deserialize, Serialize};

use super::model::{self, Answer};
use crate::outcome::Outcome;
use crate::output;

/// The file of a training checkpoint that describes the others.
const STATE: &str = "state.json";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A checkpoint of a run, the folder of a run (its newest checkpoint is taken), a model folder
    /// in the diffusers layout, or a safetensors file. The exit status is 1 if it cannot be loaded;
    /// what is known of it is printed all the same, with `problems`.
    #[arg(value_name = "PATH")]
    path: PathBuf,
}

/// What is known of a training checkpoint.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    update: u64,
    elapsed_seconds: f64,
    identity: String,
    settings: serde_json::Value,
    files: Vec<StateFile>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StateFile {
    name: String,
    sha256: String,
}

/// Prints a description as JSON.
pub(super) fn run(args: &Args) -> miette::Result<Outcome> {
    let path = &args.path;
    if !path.exists() {
        bail!("there is neither a file nor a folder `{}`", path.display());
    }
    if path.is_file() {
        return tell(path, model::file(path)?);
    } else if let Some(checkpoint) = newest(path)? {
        output::print_json(&state(&checkpoint)?)?;
    } else if let Some(model) = model::folder(path)? {
        return tell(path, model);
    } else {
        bail!(
            "`{}` is neither a checkpoint ({STATE}), nor a run (checkpoints/step-*), nor a model \
             folder (model_index.json or config.json), nor a weight file",
            path.display()
        );
    }
    Ok(Outcome::Done)
}

/// Prints all that is known, and then fails if that cannot be loaded.
fn tell(path: &Path, answer: Answer) -> miette::Result<Outcome> {
    output::print_json(&answer.json)?;
    let more = answer.problems.len().saturating_sub(1);
    match answer.problems.into_iter().next() {
        None => Ok(Outcome::Done),
        Some(problem) if more == 0 => bail!("`{}` cannot be loaded: {problem}", path.display()),
        Some(problem) => {
            bail!("`{}` cannot be loaded: {problem}; `problems` has {more} more", path.display())
        }
    }
}

/// The checkpoint that `path` is, or the newest one of the run in the folder `path`.
fn newest(path: &Path) -> miette::Result<Option<PathBuf>> {
    if path.join(STATE).is_file() {
        return Ok(Some(path.to_owned()));
    }
    let folder = path.join("checkpoints");
    if !folder.is_dir() {
        return Ok(None);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder).into_diagnostic()? {
        let path = entry.into_diagnostic()?.path();
        if path.join(STATE).is_file() {
            found.push(path);
        }
    }
    // Their names hold the update, padded with zeros.
    Ok(found.into_iter().max())
}

/// Reads the description of a training checkpoint and checks its files against it.
fn state(folder: &Path) -> miette::Result<State> {
    let read = |name: &str| {
        let path = folder.join(name);
        input::read(&path).into_diagnostic().wrap_err_with(|| {
            format!("the checkpoint is damaged: cannot read `{}`", path.display())
        })
    };
    let state: State =
        serde_json::from_slice(&read(STATE)?).into_diagnostic().wrap_err_with(|| {
            format!("`{}` is not the state of a run", folder.join(STATE).display())
        })?;
    for file in &state.files {
        if sha256(read(&file.name)?) != file.sha256 {
            bail!(
                "the checkpoint is damaged: the SHA-256 of `{}` is not the recorded one; resume \
                 from an earlier checkpoint",
                folder.join(&file.name).display()
            );
        }
    }
    Ok(state)
}
