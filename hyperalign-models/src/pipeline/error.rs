//! What can be wrong with a model folder or a request to it.

use hyperalign_core::{atomic::WriteError, schedule::SchedulerConfigError};

use crate::{
    tokenizer::TokenizerError,
    weights::{LoadError, SaveError},
};

/// Why a pipeline could not be read, written or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// A part of it cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The tokenizer cannot be read.
    #[error("`{folder}`: {source}")]
    TokenizerFiles {
        /// The folder.
        folder: String,
        /// What is wrong in it.
        source: TokenizerError,
    },
    /// The tokenizer does not know a word of a prompt.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The noise schedule cannot be used, or not with so many steps.
    #[error(transparent)]
    Scheduler(#[from] SchedulerConfigError),
    /// The folder holds another kind of pipeline.
    #[error(
        "`{file}` describes a {class}; a {expected} was expected, which is what can be sampled \
         from and aligned so far"
    )]
    Class {
        /// The file that says so.
        file: String,
        /// The class that it names.
        class: String,
        /// The classes that can be.
        expected: &'static str,
    },
    /// Two parts do not fit each other.
    #[error("the parts of `{folder}` do not fit each other: {reason}")]
    Parts {
        /// The folder.
        folder: String,
        /// Which parts, with their numbers.
        reason: String,
    },
    /// A part cannot be written.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}
