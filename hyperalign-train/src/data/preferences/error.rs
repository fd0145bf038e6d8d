//! Why preferences cannot be used.

use std::path::PathBuf;

use hyperalign_core::image::DecodeError;

use super::ShardError;

/// Why preferences cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PreferenceError {
    /// A file or folder cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is nothing of a known kind.
    #[error(
        "`{}` is neither a .parquet file, nor HPD's .json, nor a folder of them",
        path.display()
    )]
    Kind {
        /// What was given.
        path: PathBuf,
    },
    /// A file of a set could not be fetched.
    #[error("a file of the preferences cannot be had: {source}")]
    Shard {
        /// Why.
        source: ShardError,
    },
    /// Something else under the name of a file of preferences.
    #[error("`{}` holds no preferences: it is {what}", path.display())]
    NotTheFile {
        /// The file.
        path: PathBuf,
        /// What it is, and what to do.
        what: &'static str,
    },
    /// A column holds values of another kind.
    #[error("the column `{column}` of `{}` holds {found}; expected {expected}", path.display())]
    Column {
        /// The file.
        path: PathBuf,
        /// The column, as the file calls it.
        column: String,
        /// What it holds.
        found: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// A parquet file is damaged.
    #[error("`{}` is not a whole parquet file: {reason}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A parquet file has other columns.
    #[error(
        "`{}` has the columns {columns}; expected Pick-a-Pic's (caption, jpg_0, jpg_1, label_0) \
         or HPD's (prompt, image_path or images, human_preference or rank); `--columns \
         jpg_0=NAME,..` says how they are called here",
        path.display()
    )]
    Schema {
        /// The file.
        path: PathBuf,
        /// What it has.
        columns: String,
    },
    /// A JSON file is not HPD's.
    #[error(
        "`{}`: {error}; expected a list of {{\"prompt\", \"image_path\": [..], \
         \"human_preference\" or \"rank\": [..]}}",
        path.display()
    )]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        error: serde_json::Error,
    },
    /// One row cannot be used.
    #[error("`{}`, {place}: {reason}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Which row.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// No row has a preferred picture.
    #[error(
        "`{}` has no pair of which one picture is preferred{}",
        path.display(),
        if *without_caption > 0 {
            format!(" and that has a caption; {without_caption} have none")
        } else {
            String::new()
        }
    )]
    Empty {
        /// What was given.
        path: PathBuf,
        /// Pairs that are left out because they have no caption.
        without_caption: usize,
    },
    /// Too many pictures cannot be read.
    #[error(
        "{damaged} of {drawn} pictures cannot be read, more than the {:.0} % that may be passed \
         over (`--max-damaged`); the first: {first}",
        100.0 * most
    )]
    Damaged {
        /// Pictures that cannot be read.
        damaged: u64,
        /// Pictures that were to be read.
        drawn: u64,
        /// The share that may be damaged.
        most: f64,
        /// What is wrong with the first of them.
        first: String,
    },
    /// A picture cannot be used.
    #[error("the picture of the prompt `{prompt}`: {source}")]
    Picture {
        /// The prompt.
        prompt: String,
        /// What is wrong.
        source: DecodeError,
    },
}
