//! The small models and the adapters that the program carries with it.

use crate::weights::Folder;

type Files = &'static [(&'static str, &'static [u8])];

/// Every model under `assets/`, by its folder's name.
static MODELS: &[(&str, Files)] = include!(concat!(env!("OUT_DIR"), "/models.rs"));

/// Every file under `assets/adapters/`, by its name without the ending.
static ADAPTERS: Files = include!(concat!(env!("OUT_DIR"), "/adapters.rs"));

/// The embedded model called `name`.
pub fn folder(name: &str) -> Option<Folder> {
    let (name, files) = MODELS.iter().find(|(known, _)| *known == name)?;
    Some(Folder::Embedded { name, files })
}

/// The names of the embedded models.
pub fn names() -> impl Iterator<Item = &'static str> {
    MODELS.iter().map(|(name, _)| *name)
}

/// Name and file of the embedded adapter called `name`.
pub fn adapter(name: &str) -> Option<(&'static str, &'static [u8])> {
    ADAPTERS.iter().find(|(known, _)| *known == name).copied()
}

/// The names of the embedded adapters: that of their base, and the variant that they were trained as.
pub fn adapters() -> impl Iterator<Item = &'static str> {
    ADAPTERS.iter().map(|(name, _)| *name)
}
