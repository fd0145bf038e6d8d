//! What a command would download, without downloading it.

use std::path::PathBuf;

use hyperalign_models::hub::{DatasetId, Hub, HubFile, ModelId};
use miette::IntoDiagnostic;
use serde::Serialize;

use super::data::{Data, size};
use crate::{disk, prompts};

/// Something of the hub that a flag names, without `hf:`.
#[derive(Debug, Clone, Copy)]
pub enum Asked<'a> {
    /// A model, which is there before anything begins.
    Model(&'a str),
    /// Prompts, which are too.
    Prompts(&'a str),
    /// Preferences, of which a file comes when the run comes to it.
    Preferences(&'a str),
}

/// What would be downloaded.
#[derive(Debug, Serialize)]
pub struct Downloads {
    /// The folder that it would go to.
    cache: PathBuf,
    /// Bytes that are free there.
    free_bytes: Option<u64>,
    /// Bytes that are not there yet, where the hub tells; none offline.
    missing_bytes: Option<u64>,
    sources: Vec<Source>,
}

/// What one flag names.
#[derive(Debug, Serialize)]
struct Source {
    flag: &'static str,
    name: String,
    /// Files are fetched while the run goes on, and no more of them than it reads.
    streamed: bool,
    /// Unknown offline.
    files: Option<Vec<HubFile>>,
}

/// Files that are shown of each source.
const SHOWN: usize = 12;

impl Downloads {
    /// Looks for what is `asked`, each with its flag. Only lists are asked for, and offline nothing.
    ///
    /// # Errors
    ///
    /// Fails if something is not on the hub, or may not be had.
    pub fn of(asked: &[(&'static str, Asked)], offline: bool) -> miette::Result<Self> {
        let hub = Hub::from_env(offline).into_diagnostic()?;
        let mut sources = Vec::new();
        for &(flag, asked) in asked {
            let files = || -> miette::Result<Vec<HubFile>> {
                match asked {
                    Asked::Model(name) => {
                        let id: ModelId = name.parse().into_diagnostic()?;
                        hub.files(&id).into_diagnostic()
                    }
                    Asked::Prompts(name) => {
                        Ok(Data::open(name, offline, &prompts::ENDINGS)?.files().to_vec())
                    }
                    Asked::Preferences(name) => {
                        Ok(Data::preferences(name, offline)?.files().to_vec())
                    }
                }
            };
            let files = if hub.offline { None } else { Some(files()?) };
            let (Asked::Model(name) | Asked::Prompts(name) | Asked::Preferences(name)) = asked;
            if !matches!(asked, Asked::Model(_)) {
                name.parse::<DatasetId>().into_diagnostic()?;
            }
            let streamed = matches!(asked, Asked::Preferences(_));
            sources.push(Source { flag, name: format!("hf:{name}"), streamed, files });
        }
        let missing = sources.iter().flat_map(Source::missing);
        let missing: u64 = missing.map(|file| file.size.unwrap_or(0)).sum();
        let missing_bytes = (!hub.offline).then_some(missing);
        let free_bytes = disk::free(&hub.cache);
        Ok(Self { cache: hub.cache, free_bytes, missing_bytes, sources })
    }

    /// Whether a run could begin without a download, as far as is known: of what is streamed, some
    /// file is there.
    pub fn are_begun(&self) -> bool {
        self.sources.iter().all(|source| match (&source.files, source.streamed) {
            (None, _) => true,
            (Some(_), false) => source.missing().next().is_none(),
            (Some(files), true) => files.iter().any(|file| file.is_cached),
        })
    }

    /// For people.
    pub fn told(&self) -> String {
        let mut text = format!("from the hub, into {}:\n", self.cache.display());
        for Source { flag, name, streamed, files } in &self.sources {
            let Some(files) = files else {
                text +=
                    &format!("  {flag} {name}: offline, so nobody knows what is missing of it\n");
                continue;
            };
            let of = |is_cached: bool| -> u64 {
                let files = files.iter().filter(|file| file.is_cached == is_cached);
                files.map(|file| file.size.unwrap_or(0)).sum()
            };
            text += &format!(
                "  {flag} {name}: {} files, {} to download, {} in the cache{}\n",
                files.len(),
                size(of(false)),
                size(of(true)),
                if *streamed { "; each is fetched when the run comes to it" } else { "" },
            );
            for HubFile { path, size: bytes, is_cached } in files.iter().take(SHOWN) {
                let bytes = bytes.map_or("of unknown size".to_owned(), size);
                let place = if *is_cached { ", in the cache" } else { "" };
                text += &format!("    {path} ({bytes}{place})\n");
            }
            if files.len() > SHOWN {
                text += &format!("    and {} more\n", files.len() - SHOWN);
            }
        }
        let free = self.free_bytes.map_or("unknown".to_owned(), size);
        match self.missing_bytes {
            Some(bytes) => text += &format!("to download: {} at most; free: {free}\n", size(bytes)),
            None => text += &format!("free: {free}\n"),
        }
        text
    }
}

impl Source {
    fn missing(&self) -> impl Iterator<Item = &HubFile> {
        self.files.iter().flatten().filter(|file| !file.is_cached)
    }
}
