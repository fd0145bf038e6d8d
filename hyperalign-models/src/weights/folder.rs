//! A model folder in the diffusers layout, on disk or inside the program.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use hyperalign_core::input;
use serde::de::DeserializeOwned;

use super::{
    LoadError, Tensors, lenient,
    names::{self, Weights},
};

/// A model folder in the diffusers layout, on disk or inside the program.
///
/// A path within the folder is written with `/`; the empty path is the folder itself.
#[derive(Debug, Clone)]
pub enum Folder {
    /// A folder on disk.
    Disk(PathBuf),
    /// Files that are part of the program, by their path within the folder.
    Embedded {
        /// What to call the folder in messages.
        name: &'static str,
        /// Path and content of every file.
        files: &'static [(&'static str, &'static [u8])],
    },
}

#[derive(serde::Deserialize)]
struct ShardIndex {
    weight_map: HashMap<String, String>,
}

impl Folder {
    /// The folder at `path`.
    pub fn disk(path: impl Into<PathBuf>) -> Self {
        Self::Disk(path.into())
    }

    /// What to call the file at `path` in messages.
    pub fn display(&self, path: &str) -> String {
        match self {
            Self::Disk(root) => root.join(path).display().to_string(),
            Self::Embedded { name, .. } if path.is_empty() => (*name).to_owned(),
            Self::Embedded { name, .. } => format!("{name}/{path}"),
        }
    }

    /// Whether there is a file at `path`, or a link that should lead to one.
    pub fn contains(&self, path: &str) -> bool {
        match self {
            Self::Disk(root) => input::is_there(&root.join(path)),
            Self::Embedded { .. } => self.embedded(path).is_some(),
        }
    }

    /// The bytes of the file at `path`.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read.
    pub fn read(&self, path: &str) -> Result<Cow<'static, [u8]>, LoadError> {
        match self {
            Self::Disk(root) => {
                let path = root.join(path);
                match input::read(&path) {
                    Ok(bytes) => Ok(Cow::Owned(bytes)),
                    Err(source) => Err(LoadError::Io { path, source }),
                }
            }
            Self::Embedded { .. } => match self.embedded(path) {
                Some(bytes) => Ok(Cow::Borrowed(bytes)),
                None => Err(LoadError::Io {
                    path: self.display(path).into(),
                    source: std::io::ErrorKind::NotFound.into(),
                }),
            },
        }
    }

    /// Reads the JSON file at `path`, such as `unet/config.json`.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, or does not describe a `T`.
    pub fn read_config<T: DeserializeOwned>(&self, path: &str) -> Result<T, LoadError> {
        parse_config(&self.display(path), &self.read(path)?)
    }

    /// The weights of the component in `sub` (`unet`, or empty for the folder itself): a single
    /// file, or the shards that an index names; those in half precision (`model.fp16.safetensors`)
    /// where there are no others.
    ///
    /// # Errors
    ///
    /// Fails if there are no weights, or if a file of them is damaged.
    pub fn tensors(&self, sub: &str) -> Result<Tensors, LoadError> {
        let at =
            |file: &str| if sub.is_empty() { file.to_owned() } else { format!("{sub}/{file}") };
        let exists = |file: &str| self.contains(&at(file));
        match Weights::find(exists) {
            Some(Weights::Single(file)) => self.weights(&at(&file)),
            Some(Weights::Shards { index, .. }) => self.shards(&at(&index), at),
            None => Err(match names::find_pickle(exists) {
                Some(file) => LoadError::Pickle { file: self.display(&at(file)) },
                None => LoadError::NoWeights {
                    folder: self.display(sub),
                    tried: names::expected(),
                    others: self.like_weights(sub),
                },
            }),
        }
    }

    /// The files in the folder `sub` that may be meant as weights.
    fn like_weights(&self, sub: &str) -> Vec<String> {
        let mut names: Vec<String> = match self {
            Self::Disk(root) => std::fs::read_dir(root.join(sub))
                .into_iter()
                .flatten()
                .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
                .collect(),
            Self::Embedded { files, .. } => files
                .iter()
                .filter_map(|(path, _)| path.strip_prefix(sub))
                .map(|name| name.trim_start_matches('/').to_owned())
                .filter(|name| !name.contains('/'))
                .collect(),
        };
        names.retain(|name| names::is_like_weights(name));
        names.sort();
        names
    }

    fn shards(&self, index: &str, at: impl Fn(&str) -> String) -> Result<Tensors, LoadError> {
        let weight_map = self.read_config::<ShardIndex>(index)?.weight_map;
        let files: BTreeSet<&String> = weight_map.values().collect();
        let mut shards = Vec::new();
        for file in files {
            // An index has no business outside of its folder.
            if Path::new(file).components().count() != 1 || file.starts_with('.') {
                return Err(LoadError::Shards {
                    file: self.display(index),
                    reason: format!("`{file}` is not the name of a file beside it"),
                });
            }
            shards.push((file.clone(), self.weights(&at(file))?));
        }
        Tensors::join(&self.display(index), shards, &weight_map)
    }

    /// The weights in the file at `path`.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read or is damaged.
    pub fn weights(&self, path: &str) -> Result<Tensors, LoadError> {
        match self {
            Self::Disk(root) => Tensors::open(&root.join(path)),
            Self::Embedded { .. } => {
                Tensors::embedded(&self.display(path), self.embedded(path).unwrap_or_default())
            }
        }
    }

    fn embedded(&self, path: &str) -> Option<&'static [u8]> {
        match self {
            Self::Disk(_) => None,
            Self::Embedded { files, .. } => {
                files.iter().find(|(name, _)| *name == path).map(|(_, bytes)| *bytes)
            }
        }
    }
}

/// Reads the JSON text in `bytes`, as [`Folder::read_config`] does; `name` stands for it in errors.
///
/// # Errors
///
/// Fails if the text does not describe a `T`.
pub fn parse_config<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, LoadError> {
    let wrong = |reason: String| LoadError::Config { file: name.to_owned(), reason };
    if let Some(what) = input::not_the_file(bytes) {
        return Err(wrong(format!("it is {what}")));
    }
    let text = input::decode_text(bytes).map_err(|error| wrong(error.to_string()))?;
    // Python writes a setting without a bound as a number that JSON does not have, as in the
    // `lambda_min_clipped` of DPM-Solver's schedules; it is as good as not set.
    let text = text.replace(": -Infinity", ": null");
    let value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    lenient::read(value).map_err(wrong)
}
