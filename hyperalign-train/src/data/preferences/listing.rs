//! HPD's JSON: a list of prompts, paths and labels beside a folder of pictures.

use std::path::Path;

use serde::Deserialize;

use super::{Choice, Pictures, PreferenceError, rank};

/// One entry of `train.json` or `test.json`.
#[derive(Debug, Deserialize)]
struct Entry {
    prompt: String,
    image_path: Vec<String>,
    human_preference: Option<Vec<f64>>,
    rank: Option<Vec<f64>>,
}

/// A file of entries: prompts and paths are held, pictures are not.
#[derive(Debug)]
pub(super) struct Listing {
    entries: Vec<Entry>,
}

impl Listing {
    /// Reads the file at `path` and tells `found` of every entry with a preferred picture.
    pub(super) fn open(
        path: &Path,
        found: &mut dyn FnMut(Choice),
    ) -> Result<Self, PreferenceError> {
        let unreadable = |source| PreferenceError::Unreadable { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let entries: Vec<Entry> = serde_json::from_reader(std::io::BufReader::new(file))
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
                found(Choice { source: 0, group: 0, row: row as u32, preferred, rejected });
            }
        }
        Ok(Self { entries })
    }

    /// The prompt of an entry.
    pub(super) fn prompt(&self, at: Choice) -> String {
        self.entries[at.row as usize].prompt.clone()
    }

    /// Picture `which` of an entry: its file.
    pub(super) fn picture(
        &self,
        at: Choice,
        which: u16,
        folder: &Pictures,
    ) -> Result<Vec<u8>, PreferenceError> {
        folder.read(&self.entries[at.row as usize].image_path[usize::from(which)])
    }
}
