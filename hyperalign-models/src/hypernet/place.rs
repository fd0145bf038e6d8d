//! Where an adapter is: in the program, or in a file.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use hyperalign_core::input;

use super::AdapterError;
use crate::{
    embedded,
    weights::{self, LoadError, Tensors},
};

/// Where an adapter is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdapterPlace {
    /// It is part of the program.
    Embedded {
        /// What it is called there.
        name: &'static str,
        /// Its file.
        bytes: &'static [u8],
    },
    /// In a file.
    File(PathBuf),
}

impl AdapterPlace {
    /// What `given` names: an embedded adapter, or else a file. A file that is called like an embedded
    /// one is named by `./`.
    ///
    /// # Errors
    ///
    /// Fails for a name that is neither. A path to nothing is found out when it is read.
    pub fn find(given: &Path) -> Result<Self, AdapterError> {
        let name = given.to_str().unwrap_or_default();
        if let Some((name, bytes)) = embedded::adapter(name) {
            return Ok(Self::Embedded { name, bytes });
        }
        let is_path = given.extension().is_some() || given.components().count() > 1;
        if is_path || name.is_empty() || given.is_dir() || input::is_there(given) {
            return Ok(Self::File(given.to_owned()));
        }
        Err(AdapterError::Unknown {
            given: name.to_owned(),
            nearest: hyperalign_core::nearest(name, embedded::adapters()).map(str::to_owned),
        })
    }

    /// The embedded adapter for the base called `base`, where there is one.
    pub fn shipped_for(base: &str) -> Option<Self> {
        let belongs = |name: &&str| name.rsplit_once('-').is_some_and(|(of, _)| of == base);
        let (name, bytes) = embedded::adapters().find(belongs).and_then(embedded::adapter)?;
        Some(Self::Embedded { name, bytes })
    }

    /// SHA-256 of the file as 64 hexadecimal digits.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be read.
    pub fn sha256(&self) -> io::Result<String> {
        match self {
            Self::Embedded { bytes, .. } => Ok(weights::sha256(bytes)),
            Self::File(path) => weights::sha256_of_file(path),
        }
    }

    /// The tensors in it.
    ///
    /// # Errors
    ///
    /// Fails if they cannot be read.
    pub fn tensors(&self) -> Result<Tensors, LoadError> {
        match self {
            Self::Embedded { name, bytes } => Tensors::embedded(name, bytes),
            Self::File(path) => Tensors::open(path),
        }
    }
}

impl fmt::Display for AdapterPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded { name, .. } => f.write_str(name),
            Self::File(path) => path.display().fmt(f),
        }
    }
}
