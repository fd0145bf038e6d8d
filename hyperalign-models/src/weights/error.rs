//! Why weights or a model's configuration could not be read.

use std::{fmt, path::PathBuf};

use super::names::conversion;

/// Why weights or a model's configuration could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A file could not be read at all.
    #[error("cannot read `{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A model folder has none of the files that weights are kept in.
    #[error(
        "no weights in `{folder}`: expected one of {}{}; give the folder that holds the model's \
         config.json, in the diffusers layout",
        tried.join(", "), instead(others)
    )]
    NoWeights {
        /// The folder that was searched.
        folder: String,
        /// The file names that were tried.
        tried: Vec<String>,
        /// Files in it that may be meant as weights, under names that are not read.
        others: Vec<String>,
    },
    /// A JSON file does not say what it should.
    #[error("`{file}` is not the configuration that was expected: {reason}")]
    Config {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something else under the name of a file of weights.
    #[error("`{file}` holds no weights: it is {what}")]
    NoWeightFile {
        /// The file.
        file: String,
        /// What it is, and what to do.
        what: &'static str,
    },
    /// A safetensors file that is damaged.
    #[error(
        "`{file}` is not a whole safetensors file ({reason}): fetch it again and compare its size"
    )]
    Corrupt {
        /// The file.
        file: String,
        /// What does not add up.
        reason: String,
    },
    /// A file of `torch.save` that is damaged, or is no dictionary of weights.
    #[error("`{file}` is not a file of weights that torch.save wrote whole: {reason}")]
    PyTorch {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that PyTorch pickled.
    #[error(
        "`{file}` is a pickle, which can run any code when it is read and is not read here; get \
         the model as .safetensors, or write it so with PyTorch and the Python package \
         safetensors: {}",
        conversion(file)
    )]
    Pickle {
        /// The file.
        file: String,
    },
    /// The same key in two shards, or a shard without a key that the index promises.
    #[error("the shards of `{file}` contradict its index: {reason}")]
    Shards {
        /// The index file.
        file: String,
        /// Which key, and how.
        reason: String,
    },
    /// A parameter is stored in a type that is not a plain floating-point one.
    #[error(
        "`{key}` of `{file}` is stored as {dtype}; weights are read from F16, BF16, F32 or F64"
    )]
    Dtype {
        /// The file.
        file: String,
        /// The key.
        key: String,
        /// The type that the file declares.
        dtype: String,
    },
    /// A weight is NaN or infinite, or becomes so in the format that was asked for.
    #[error(
        "`{key}` of `{file}` holds values that are not finite in {format}; {}",
        if *format == "F16" { "take f32 or bf16 for this part" } else { "the file is unusable" }
    )]
    NotFinite {
        /// The format of the values in memory.
        format: &'static str,
        /// The file.
        file: String,
        /// The key.
        key: String,
    },
    /// The keys or shapes of the file are not those of the network.
    #[error("`{file}` does not fit the network: {mismatch}")]
    Keys {
        /// The file.
        file: String,
        /// What is missing, left over or of another shape.
        mismatch: KeyMismatch,
    },
}

/// How the keys of a file differ from the parameters of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyMismatch {
    /// Parameters without a tensor, the first of them with the nearest key of the file.
    pub missing: Vec<(String, Option<String>)>,
    /// Tensors without a parameter, the first of them with the nearest parameter.
    pub unused: Vec<(String, Option<String>)>,
    /// Key, shape the network expects, shape in the file.
    pub shapes: Vec<(String, Vec<usize>, Vec<usize>)>,
}

impl KeyMismatch {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unused.is_empty() && self.shapes.is_empty()
    }
}

/// The files that lie where those should that were looked for.
fn instead(others: &[String]) -> String {
    match others {
        [] => String::new(),
        [shown @ .., _] if shown.len() >= SHOWN => {
            format!("; found were {} and {} more", others[..SHOWN].join(", "), others.len() - SHOWN)
        }
        _ => format!("; found was {}", others.join(", ")),
    }
}

/// More lines than this say nothing new: it is then another network altogether.
pub(super) const SHOWN: usize = 5;

impl fmt::Display for KeyMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |(key, near): &(String, Option<String>), what: &str| match near {
            Some(near) => format!("{key} (nearest {what}: {near})"),
            None => key.clone(),
        };
        let missing: Vec<_> =
            self.missing.iter().map(|entry| named(entry, "key of the file")).collect();
        let unused: Vec<_> = self.unused.iter().map(|entry| named(entry, "parameter")).collect();
        let shapes: Vec<_> = self
            .shapes
            .iter()
            .map(|(key, expected, given)| format!("{key} (expected {expected:?}, found {given:?})"))
            .collect();
        let parts = [
            ("missing from the file", missing),
            ("in the file but not in the network", unused),
            ("of another shape", shapes),
        ];
        let mut first = true;
        for (what, entries) in parts.iter().filter(|(_, entries)| !entries.is_empty()) {
            if !std::mem::take(&mut first) {
                f.write_str("; ")?;
            }
            write!(
                f,
                "{} {what}: {}",
                entries.len(),
                entries[..entries.len().min(SHOWN)].join(", ")
            )?;
            if entries.len() > SHOWN {
                write!(f, ", and {} more", entries.len() - SHOWN)?;
            }
        }
        Ok(())
    }
}
