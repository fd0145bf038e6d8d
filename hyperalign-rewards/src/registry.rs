//! All published rewards, by name.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use burn::tensor::Device;

use crate::{
    Mix, MixError, MixPart, MixTerm, OpenError, Reward, aesthetic, clip_score, geneval, hps_v2,
    image_reward, mix, pick_score, source::Source, spm,
};

/// A reward, or why there is none.
type Opened = Result<Box<dyn Reward>, OpenError>;

/// A reward that can be opened by its name.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The name.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// The files to get, and where from.
    pub files: &'static str,
    /// Opens its files.
    pub(crate) open: fn(&Source, &Device) -> Opened,
    /// The published sizes with random weights, whose scores say nothing: for measuring time.
    pub(crate) random: fn(&Device) -> Opened,
}

/// Every reward.
const REGISTRY: &[Entry] = &[
    aesthetic::ENTRY,
    clip_score::ENTRY,
    geneval::ENTRY,
    hps_v2::V2,
    hps_v2::V2_1,
    hps_v2::V2_SAMPLED,
    hps_v2::V2_1_SAMPLED,
    image_reward::ENTRY,
    pick_score::ENTRY,
    spm::ENTRY,
];

/// Every reward that can be opened by name.
pub fn registry() -> &'static [Entry] {
    REGISTRY
}

/// The reward called `name`.
pub fn entry(name: &str) -> Option<&'static Entry> {
    REGISTRY.iter().find(|entry| entry.name == name)
}

impl Entry {
    /// Opens the reward from the files at `path`: a folder, or a file of it.
    ///
    /// # Errors
    ///
    /// Fails if a file is missing, damaged, or belongs to another network.
    pub fn open(&self, path: &Path, device: &Device) -> Result<Box<dyn Reward>, OpenError> {
        (self.open)(&Source::new(path)?, device)
    }

    /// [`open`](Self::open) for a network of the sizes that a `config.json` beside the weights
    /// states. For tests: scores of other sizes are not those of the published reward, and the
    /// version says so.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), sizes excepted.
    #[cfg(feature = "testing")]
    pub fn open_any_sizes(
        &self,
        path: &Path,
        device: &Device,
    ) -> Result<Box<dyn Reward>, OpenError> {
        (self.open)(&Source::new(path)?.of_any_sizes(), device)
    }

    /// The reward at its published sizes with random weights, which knows the embedded world's
    /// words only: for measuring time.
    ///
    /// # Errors
    ///
    /// Fails if its tokenizer cannot be made.
    pub fn random(&self, device: &Device) -> Result<Box<dyn Reward>, OpenError> {
        (self.random)(device)
    }
}

/// Where the files of rewards are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    by_name: BTreeMap<String, PathBuf>,
    /// For rewards that are not named.
    others: Option<PathBuf>,
}

impl Files {
    /// Reads `NAME=PATH`, for one reward, and `PATH`, for all others.
    pub fn new<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Self {
        let mut files = Self::default();
        for text in texts {
            let text = text.as_ref();
            match text.split_once('=').filter(|(name, _)| entry(name).is_some()) {
                Some((name, path)) => {
                    files.by_name.insert(name.to_owned(), path.into());
                }
                None => files.others = Some(text.into()),
            }
        }
        files
    }

    /// One place for all rewards, or none.
    pub fn all(path: Option<&Path>) -> Self {
        Self { by_name: BTreeMap::new(), others: path.map(Path::to_owned) }
    }

    /// Those of the reward called `name`.
    pub fn of(&self, name: &str) -> Option<&Path> {
        self.by_name.get(name).or(self.others.as_ref()).map(PathBuf::as_path)
    }
}

/// The name of the reward whose weights the one called `name` reads: that with antialiasing for one
/// without, and `name` itself for all others.
pub fn network_of(name: &str) -> &str {
    name.strip_suffix(hps_v2::NO_ANTIALIAS).unwrap_or(name)
}

/// Whether `text` describes rewards of the [`registry`], or a mix.
pub fn is_known(text: &str) -> bool {
    text.starts_with(mix::PREFIX) || entry(text).is_some()
}

/// Opens the reward that `text` describes: a name of the [`registry`], or a [`Mix`] of them, as in
/// `mix:1*hps_v2.1(0.27,0.02)+0.5*aesthetic(5.4,0.6)`.
///
/// # Errors
///
/// Fails for a name that is not in the registry, a mix that cannot be, and where
/// [`Entry::open`] does.
pub fn open(text: &str, files: &Files, device: &Device) -> Result<Arc<dyn Reward>, OpenError> {
    open_with(text, |name| open_one(name, files, device))
}

/// [`open`] with another meaning of names.
///
/// # Errors
///
/// Fails for a mix that cannot be, and where `one` does.
pub fn open_with<E: From<MixError>>(
    text: &str,
    mut one: impl FnMut(&str) -> Result<Arc<dyn Reward>, E>,
) -> Result<Arc<dyn Reward>, E> {
    let Some(terms) = text.strip_prefix(mix::PREFIX) else { return one(text) };
    let part = |term: MixTerm| {
        let MixTerm { name, weight, mean, std } = term;
        Ok(MixPart { reward: one(&name)?, weight, mean, std })
    };
    let parts: Result<Vec<MixPart>, E> = Mix::parse(terms)?.into_iter().map(part).collect();
    Ok(Arc::new(Mix::new(parts?)?))
}

/// Opens the reward called `name`.
///
/// # Errors
///
/// Fails for a name that is not in the registry, and where [`Entry::open`] does.
pub fn open_one(name: &str, files: &Files, device: &Device) -> Result<Arc<dyn Reward>, OpenError> {
    let entry = entry(name).ok_or_else(|| OpenError::Unknown {
        given: name.to_owned(),
        known: REGISTRY.iter().map(|entry| entry.name.to_owned()).collect(),
    })?;
    let path = files
        .of(name)
        .ok_or_else(|| OpenError::NoFiles { name: name.to_owned(), files: entry.files })?;
    Ok(entry.open(path, device)?.into())
}
