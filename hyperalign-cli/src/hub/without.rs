//! The hub is not part of this program.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, atomic::AtomicBool};

use hyperalign_train::data::{ShardError, Shards};
use miette::Diagnostic;
use serde::Serialize;

/// The hub is not part of this program.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("this program was built without the Hugging Face hub")]
#[diagnostic(help(
    "build it with the feature `hub`, which is on by default, or download {id} yourself and give \
     the folder"
))]
pub struct DataError {
    id: String,
}

/// Fails.
pub fn download(id: &str, _: bool) -> miette::Result<PathBuf> {
    Err(DataError { id: id.to_owned() }.into())
}

/// Nothing.
#[derive(Debug, Clone)]
pub struct Data(Infallible);

impl Data {
    /// Fails.
    pub fn open(name: &str, _: bool, _: &[&str]) -> Result<Self, DataError> {
        Err(DataError { id: name.to_owned() })
    }

    /// Fails.
    pub fn preferences(name: &str, _: bool) -> Result<Self, DataError> {
        Err(DataError { id: name.to_owned() })
    }

    /// None.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.commit())
    }

    /// None.
    pub fn single(&self) -> Result<(), DataError> {
        match self.0 {}
    }

    /// None.
    pub fn commit(&self) -> &str {
        match self.0 {}
    }

    /// None.
    pub fn folder(&self) -> PathBuf {
        match self.0 {}
    }

    /// Nothing.
    pub fn tell(&self, _: &str) {
        match self.0 {}
    }

    /// None.
    pub fn shows_progress(&self) -> Arc<AtomicBool> {
        match self.0 {}
    }

    /// None.
    pub fn fetch(&self, _: usize) -> Result<PathBuf, DataError> {
        match self.0 {}
    }
}

impl Shards for Data {
    fn count(&self) -> usize {
        match self.0 {}
    }

    fn get(&self, _: usize) -> Result<PathBuf, ShardError> {
        match self.0 {}
    }
}

/// Something of the hub that a flag names.
#[derive(Debug, Clone, Copy)]
pub enum Asked<'a> {
    /// A model.
    Model(&'a str),
    /// Prompts.
    Prompts(&'a str),
    /// Preferences.
    Preferences(&'a str),
}

/// Nothing.
#[derive(Debug, Serialize)]
pub struct Downloads;

impl Downloads {
    /// Fails if anything is asked.
    pub fn of(asked: &[(&'static str, Asked)], _: bool) -> miette::Result<Self> {
        match asked {
            [] => Ok(Self),
            [(_, Asked::Model(id) | Asked::Prompts(id) | Asked::Preferences(id)), ..] => {
                Err(DataError { id: (*id).to_owned() }.into())
            }
        }
    }

    /// Always.
    pub fn are_begun(&self) -> bool {
        true
    }

    /// Nothing.
    pub fn told(&self) -> String {
        String::new()
    }
}
