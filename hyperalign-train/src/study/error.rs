//! What keeps a study from being read.

use std::path::PathBuf;

use super::FORMAT;

/// A study, or votes, that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StudyError {
    /// There is no study.
    #[error("`{}` holds no study; make one with `hyperalign study new`", folder.display())]
    NoStudy {
        /// The folder.
        folder: PathBuf,
    },
    /// It is not as it was written.
    #[error("`{}` is damaged: {what}; make the study anew, in another folder", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Another version wrote it.
    #[error("`{}` is of format {given}, and this version reads {FORMAT}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        given: String,
    },
    /// The votes cannot be read.
    #[error("cannot read the votes in `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Votes of another study.
    #[error(
        "line {line} of `{}` is a vote of the study {found}, and this is the study {expected}; put \
         the votes beside the study.json that they were given for", path.display()
    )]
    OtherStudy {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The number of the vote's study.
        found: String,
        /// That of the study beside it.
        expected: String,
    },
    /// A line that is whole and no vote.
    #[error("line {line} of `{}` is no vote of this study: {what}", path.display())]
    NoVote {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
}
