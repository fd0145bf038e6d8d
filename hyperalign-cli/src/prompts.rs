//! The prompts that a command works on: a file of any format, or the embedded world's own.

use std::path::{Path, PathBuf};

use hyperalign_models::embedded;
use hyperalign_rewards::emoji::{self, Split};
use hyperalign_rewards::prompts::{self, Prompt, PromptFileError};
use miette::Diagnostic;

/// Flags that name prompts.
#[derive(Debug, clap::Args)]
pub struct PromptArgs {
    /// Prompts: PartiPrompts' .tsv, GenEval's .jsonl, HPSv2's or HPDv2's .json or a folder of them,
    /// a .csv table, or .txt with a prompt a line. Default: tuning prompts of an embedded base.
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
}

/// Prompts that cannot be had.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum PromptsError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] PromptFileError),
    /// The base has no prompts of its own.
    #[error("the base `{base}` has no prompts of its own")]
    #[diagnostic(help(
        "pass `--prompts FILE`: PartiPrompts' .tsv, GenEval's .jsonl, HPDv2's .json, or .txt with \
         a prompt a line"
    ))]
    NoneOfItsOwn {
        /// The base.
        base: String,
    },
}

impl PromptArgs {
    /// The prompts of the file, at most `limit` of them; without a file `limit` or `default`
    /// tuning prompts of the embedded world, for an embedded base.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read or has an entry that is no prompt, or if there is no file
    /// and the base called `base` is not an embedded one.
    pub fn read(
        &self,
        base: &str,
        limit: Option<usize>,
        default: usize,
    ) -> Result<Vec<Prompt>, PromptsError> {
        let Some(path) = &self.prompts else {
            return match embedded::folder(base) {
                Some(_) => Ok(of_the_world(Split::Tuning, limit.unwrap_or(default), 0)),
                None => Err(PromptsError::NoneOfItsOwn { base: base.to_owned() }),
            };
        };
        of_file(path, limit)
    }
}

/// The prompts of a file, at most `limit` of them.
///
/// # Errors
///
/// Fails if the file cannot be read or has an entry that is no prompt.
pub fn of_file(path: &Path, limit: Option<usize>) -> Result<Vec<Prompt>, PromptsError> {
    let mut prompts = prompts::read(path)?;
    prompts.truncate(limit.unwrap_or(prompts.len()));
    Ok(prompts)
}

/// `count` prompts of the embedded world, with their rules.
pub fn of_the_world(split: Split, count: usize, seed: u64) -> Vec<Prompt> {
    emoji::prompts(split, count, seed).into_iter().map(Prompt::from).collect()
}
