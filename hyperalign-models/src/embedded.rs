//! The small models that the program carries with it.

use crate::weights::Folder;

type Files = &'static [(&'static str, &'static [u8])];

/// Every model under `assets/`, by its folder's name.
static MODELS: &[(&str, Files)] = include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// The embedded model called `name`.
pub fn folder(name: &str) -> Option<Folder> {
    let (name, files) = MODELS.iter().find(|(known, _)| *known == name)?;
    Some(Folder::Embedded { name, files })
}

/// The names of the embedded models.
pub fn names() -> impl Iterator<Item = &'static str> {
    MODELS.iter().map(|(name, _)| *name)
}
