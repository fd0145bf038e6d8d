//! Why an adapter cannot be used.

use super::{
    ConfigError,
    file::{FORMAT, METADATA},
};
use crate::{embedded, weights::LoadError};

/// Why an adapter cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// The file itself is not readable.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Nothing is called so.
    #[error(
        "there is no adapter `{given}`: it is none of the program's, and no file{}",
        others(nearest)
    )]
    Unknown {
        /// What was given.
        given: String,
        /// The one of the program's that was most likely meant.
        nearest: Option<String>,
    },
    /// It holds something else.
    #[error(
        "`{file}` is a safetensors file but no HyperAlign adapter: its metadata has no key \
         `{METADATA}`; pass the adapter.safetensors of a finished `hyperalign train` run"
    )]
    NotAnAdapter {
        /// The file.
        file: String,
    },
    /// The metadata is not what this program writes.
    #[error("`{file}` has damaged HyperAlign metadata: {source}")]
    Metadata {
        /// The file.
        file: String,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// Its weights are not those that were written.
    #[error(
        "the weights in `{file}` are not those that were written (another SHA-256); the file was \
         damaged or changed: fetch it again, or finish the run with `hyperalign train --resume`"
    )]
    Damaged {
        /// The file.
        file: String,
    },
    /// A newer or older program wrote it.
    #[error(
        "`{file}` is an adapter of format {given}, and this program reads format {FORMAT}; train it \
         again, or use the program that wrote it"
    )]
    Format {
        /// The file.
        file: String,
        /// What it says.
        given: u32,
    },
    /// The stored configuration cannot be built.
    #[error("the adapter `{file}` has a configuration that is not usable: {source}")]
    Config {
        /// The file.
        file: String,
        /// What is wrong with it.
        source: ConfigError,
    },
    /// It belongs to another base.
    #[error(
        "this adapter was trained on the base `{trained_on}` (weights {expected:.12}), and the \
         base at hand is `{given}` (weights {given_hash:.12}); {}",
        other_base(trained_on, given)
    )]
    OtherBase {
        /// Name of the base of the adapter.
        trained_on: String,
        /// Its fingerprint.
        expected: String,
        /// Name of the base at hand.
        given: String,
        /// Its fingerprint.
        given_hash: String,
    },
}

/// What the program has, and which of it was most likely meant.
fn others(nearest: &Option<String>) -> String {
    let known: Vec<&str> = embedded::adapters().collect();
    match nearest {
        Some(nearest) => format!("; did you mean `{nearest}`?"),
        None if known.is_empty() => "; give the adapter.safetensors of a run".to_owned(),
        None => format!(
            "; the program has {}; or give the adapter.safetensors of a run",
            known.join(", ")
        ),
    }
}

/// What to do with an adapter of another base, which may have the same name.
fn other_base(trained_on: &str, given: &str) -> String {
    if trained_on == given {
        "its weights, or the LoRA files laid over them, are others than they were then: train the \
         adapter again, or use the base as it was"
            .to_owned()
    } else {
        format!("pass `--base {trained_on}`, or an adapter that was trained on `{given}`")
    }
}
