//! What can go wrong in a comparison.

use std::path::PathBuf;

use hyperalign_core::atomic::WriteError;

use super::config::FORMAT;

/// Why a comparison cannot be made, merged or reported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// The file is of another version of the program.
    #[error(
        "the comparison is of format {given}, and this program reads format {FORMAT}; \
         docs/src/compare.md says what the keys of format {FORMAT} are"
    )]
    Format {
        /// What the file says.
        given: u32,
    },
    /// Something in the file does not go together.
    #[error("{place}: {what}")]
    Config {
        /// Where, by the names of the file.
        place: String,
        /// What is wrong, and what to write instead.
        what: String,
    },
    /// A name that nothing has.
    #[error("{place} names `{given}`, and there is no such {kind}{}", near(.nearest.as_ref()))]
    Unknown {
        /// Where.
        place: String,
        /// What was named.
        given: String,
        /// What it should be the name of.
        kind: &'static str,
        /// The name that is nearest, if one is near.
        nearest: Option<String>,
    },
    /// A folder holds no comparison.
    #[error(
        "`{}` holds no comparison: there is no {} in it; name the --out of `hyperalign compare`",
        folder.display(),
        super::Folders::COMPARISON
    )]
    NoComparison {
        /// The folder.
        folder: PathBuf,
    },
    /// Two folders that are to be merged hold different comparisons.
    #[error(
        "`{}` and `{}` hold different comparisons, and shards of one are merged; make both by the \
         same file",
        first.display(),
        other.display()
    )]
    OtherComparison {
        /// The first.
        first: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// A file of a run cannot be read.
    #[error("cannot use `{}`: {what}; remove it, and `hyperalign compare` makes it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A file or a folder cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A file cannot be copied.
    #[error("cannot copy `{}` to `{}`: {source}", from.display(), to.display())]
    Copy {
        /// From where.
        from: PathBuf,
        /// To where.
        to: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

fn near(name: Option<&String>) -> String {
    name.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}
