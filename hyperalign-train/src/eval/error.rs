//! What can go wrong in an evaluation.

use hyperalign_core::{atomic::WriteError, movement::KeyStepError};
use hyperalign_models::{base::BaseError, generate::GenerateError};
use hyperalign_rewards::ScoreError;

/// Why an evaluation could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// The base refuses a prompt or the number of steps.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// Pictures cannot be made.
    #[error(transparent)]
    Generate(GenerateError),
    /// Results cannot be kept.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Key steps cannot be placed.
    #[error(transparent)]
    KeySteps(#[from] KeyStepError),
    /// A reward cannot score these pictures or prompts.
    #[error("the scores `{column}`: {source}")]
    Score {
        /// The column of the reward.
        column: String,
        /// Why not.
        source: ScoreError,
    },
    /// There is a judge, and a prompt that does not say what is right.
    #[error("the prompt `{prompt}` has no rules to judge its pictures by")]
    NoRules {
        /// The prompt.
        prompt: String,
    },
    /// There is a judge, and rules for something that it cannot see.
    #[error(
        "the rules of the prompt `{prompt}` ask for a `{class}`, which the judge of this base \
         finds in no picture; leave the prompt out, or take another base"
    )]
    UnknownClass {
        /// The prompt.
        prompt: String,
        /// The class.
        class: String,
    },
    /// There is nothing to measure.
    #[error("{what} is 0; an evaluation needs at least 1")]
    Nothing {
        /// What there is none of.
        what: &'static str,
    },
    /// Two methods would write the same row of the table.
    #[error("the method `{name}` comes twice; every method of a table needs a name of its own")]
    SameName {
        /// The name.
        name: String,
    },
    /// A picture or a score is not a number: weights are broken.
    #[error(
        "{what} of `{method}` for the prompt `{prompt}` is not a finite number; its weights are \
         broken (a run that diverged keeps its last good state)"
    )]
    NotFinite {
        /// What is not a number.
        what: String,
        /// The method that made the picture.
        method: String,
        /// The prompt of the picture.
        prompt: String,
    },
}

impl From<GenerateError> for EvalError {
    fn from(error: GenerateError) -> Self {
        match error {
            GenerateError::Base(error) => Self::Base(error),
            GenerateError::NotFinite { way, prompt, .. } => {
                Self::NotFinite { what: "a picture".to_owned(), method: way, prompt }
            }
            other => Self::Generate(other),
        }
    }
}
