//! HPD's JSON: a list of prompts, paths and labels beside a folder of pictures.

use std::{
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use hyperalign_core::input;
use serde::Deserialize;

use super::{Choice, Found, PreferenceError, files::Pictures, rank};

/// One entry of `train.json` or `test.json`.
#[derive(Debug, Deserialize)]
struct Entry {
    /// Null in sets that were filtered by someone; it has to be there.
    #[serde(deserialize_with = "Option::deserialize")]
    prompt: Option<String>,
    image_path: Vec<String>,
    human_preference: Option<Vec<f64>>,
    rank: Option<Vec<f64>>,
}

/// A file of entries: prompts and paths are held, pictures are not.
#[derive(Debug)]
pub(super) struct Listing {
    path: PathBuf,
    entries: Vec<Entry>,
}

impl Listing {
    /// Reads the file at `path` and tells `found` of every entry with a preferred picture.
    pub(super) fn open(path: &Path, found: &mut dyn FnMut(Found)) -> Result<Self, PreferenceError> {
        let unreadable = |source| PreferenceError::Unreadable { path: path.to_owned(), source };
        let mut file = BufReader::new(input::open(path).map_err(unreadable)?);
        let head = file.fill_buf().map_err(unreadable)?;
        if let Some(what) = input::not_the_file(head) {
            return Err(PreferenceError::NotTheFile { path: path.to_owned(), what });
        }
        // The file may be too large to be held as a text.
        match input::decode_text(&head[..head.len().min(4)]) {
            Err(error @ input::TextError::Wide { .. }) => {
                return Err(unreadable(io::Error::new(io::ErrorKind::InvalidData, error)));
            }
            _ if head.starts_with(b"\xEF\xBB\xBF") => file.consume(3),
            _ => {}
        }
        let entries: Vec<Entry> = serde_json::from_reader(file)
            .map_err(|error| PreferenceError::Json { path: path.to_owned(), error })?;
        for (row, entry) in entries.iter().enumerate() {
            let (values, is_rank) = match (&entry.human_preference, &entry.rank) {
                (Some(values), _) => (values, false),
                (None, Some(values)) => (values, true),
                (None, None) => (&Vec::new(), false),
            };
            if values.len() != entry.image_path.len() {
                return Err(PreferenceError::Row {
                    path: path.to_owned(),
                    place: format!("entry {}", row + 1),
                    reason: format!(
                        "{} pictures and {} labels; expected `human_preference` or `rank` with \
                         one number for each picture",
                        entry.image_path.len(),
                        values.len()
                    ),
                });
            }
            if let Some([preferred, rejected]) = rank::best_and_worst(values, is_rank) {
                let has_caption =
                    entry.prompt.as_ref().is_some_and(|prompt| !prompt.trim().is_empty());
                let pair = Choice { source: 0, group: 0, row: row as u32, preferred, rejected };
                found(if has_caption { Found::Pair(pair) } else { Found::WithoutCaption });
            }
        }
        Ok(Self { path: path.to_owned(), entries })
    }

    /// The prompt of an entry.
    pub(super) fn prompt(&self, at: Choice) -> String {
        self.entries[at.row as usize].prompt.clone().unwrap_or_default()
    }

    /// Picture `which` of an entry: its file.
    pub(super) fn picture(
        &self,
        at: Choice,
        which: u16,
        folder: &Pictures,
    ) -> Result<Vec<u8>, PreferenceError> {
        folder.read(&self.entries[at.row as usize].image_path[usize::from(which)], &self.path)
    }
}
