//! The prompts that a command works on: a file of GenEval's metadata rows, or the embedded
//! world's own.

use std::path::{Path, PathBuf};

use hyperalign_models::embedded;
use hyperalign_rewards::emoji::{self, Split};
use hyperalign_rewards::geneval::{self, Row, RowError};
use miette::Diagnostic;

/// Prompts that cannot be had.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum PromptsError {
    /// The file cannot be read.
    #[error("could not read the prompts `{}`: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line of the file is no row.
    #[error("`{}`: {source}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Which line, and why.
        source: RowError,
    },
    /// The file has no row.
    #[error("`{}` has no prompts", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The base has no prompts of its own.
    #[error("the base `{base}` has no prompts of its own")]
    #[diagnostic(help(
        "pass `--prompts FILE.jsonl`, a JSON object a line as in GenEval's metadata"
    ))]
    NoneOfItsOwn {
        /// The base.
        base: String,
    },
}

/// The rows of `file`, or `count` rows of the embedded world's `split` for an embedded base.
///
/// # Errors
///
/// Fails if the file cannot be read or has a line that is no row, or if there is no file and the
/// base called `base` is not an embedded one.
pub fn rows(
    file: Option<&Path>,
    base: &str,
    split: Split,
    count: usize,
) -> Result<Vec<Row>, PromptsError> {
    let Some(path) = file else {
        return match embedded::folder(base) {
            Some(_) => Ok(emoji::prompts(split, count, 0)),
            None => Err(PromptsError::NoneOfItsOwn { base: base.to_owned() }),
        };
    };
    let path = path.to_owned();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(source) => return Err(PromptsError::Unreadable { path, source }),
    };
    match geneval::read_jsonl(&text) {
        Ok(rows) if rows.is_empty() => Err(PromptsError::Empty { path }),
        Ok(rows) => Ok(rows),
        Err(source) => Err(PromptsError::Row { path, source }),
    }
}
