//! The file of scores that an interrupted run goes on from: what made them in the first line,
//! then a picture a line, appended as they are scored.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions, TryLockError},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
};

use hyperalign_core::input;
use hyperalign_models::weights::sha256_of_file;
use miette::Diagnostic;
use serde::{Deserialize, Serialize};

use super::items::Item;

/// What made the scores of a file. Others do not belong into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Name and version of each reward, in the order of the scores.
    pub rewards: Vec<(String, String)>,
}

/// One scored picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The file, as it was given.
    pub image: PathBuf,
    /// SHA-256 of its bytes: another picture of this name is scored anew, also where its size and
    /// its date are those of the old one, as copies and unpacked archives may have them.
    pub sha256: String,
    /// What it was scored against.
    pub prompt: String,
    /// The part of the set that it belongs to.
    pub group: Option<String>,
    /// A hash of the rules that it was judged by, where a reward judges by rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<String>,
    /// Scores in the order of the rewards; none by a reward that judges by rules and had none.
    pub scores: Vec<Option<f32>>,
}

/// A file of scores that cannot be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum JournalError {
    /// It cannot be read or written.
    #[error("cannot keep scores in `{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process writes it.
    #[error("another process keeps its scores in `{}`", path.display())]
    #[diagnostic(help("wait for its end, or choose another name"))]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It is something else.
    #[error("`{}` is no file of scores", path.display())]
    #[diagnostic(help("choose another name; this file is left as it is"))]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// A line that is whole and no score.
    #[error("line {line} of `{}` is no score that this version keeps", path.display())]
    #[diagnostic(help(
        "choose another name, or remove the file to score its pictures anew; it is left as it is"
    ))]
    OtherLine {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// It holds scores of other rewards.
    #[error("`{}` holds scores of other rewards: {found}", path.display())]
    #[diagnostic(help("choose another name, or ask for the same rewards with the same weights"))]
    OtherRewards {
        /// The file.
        path: PathBuf,
        /// Their names and versions.
        found: String,
    },
}

/// An open file of scores.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    done: HashMap<PathBuf, Line>,
}

impl Journal {
    /// Opens or begins the file at `path`. Half a line, as a killed run may leave, is cut off.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be used, or is not one of `head`.
    pub fn open(path: &Path, head: &Head) -> Result<Self, JournalError> {
        let io = |source| JournalError::Io { path: path.to_owned(), source };
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(io)?;
        }
        if path.exists() {
            input::regular(path).map_err(io)?;
        }
        let mut options = OpenOptions::new();
        let file = options.create(true).read(true).append(true).open(path).map_err(io)?;
        // Two that append to one file would score everything twice.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(JournalError::InUse { path: path.to_owned() });
        }
        let mut journal = Self { path: path.to_owned(), file, done: HashMap::new() };
        let (mut kept, mut has_head, mut number) = (0, false, 0);
        let mut reader = BufReader::new(&journal.file);
        let mut text = Vec::new();
        loop {
            text.clear();
            let length = reader.read_until(b'\n', &mut text).map_err(io)?;
            // Half a line is what a killed run leaves.
            if length == 0 || (has_head && !text.ends_with(b"\n")) {
                break;
            }
            number += 1;
            if !has_head {
                let found: Head = serde_json::from_slice(&text)
                    .map_err(|_| JournalError::NotOurs { path: path.to_owned() })?;
                if found != *head {
                    let found: Vec<_> =
                        found.rewards.iter().map(|(n, v)| format!("{n} {v:.12}")).collect();
                    let found = found.join(", ");
                    return Err(JournalError::OtherRewards { path: path.to_owned(), found });
                }
                has_head = true;
            } else {
                let line: Line = serde_json::from_slice(&text)
                    .map_err(|_| JournalError::OtherLine { path: path.to_owned(), line: number })?;
                journal.done.insert(line.image.clone(), line);
            }
            kept += length as u64;
        }
        drop(reader);
        journal.file.set_len(kept).map_err(io)?;
        if !has_head {
            journal.write(&[head]).map_err(io)?;
        }
        Ok(journal)
    }

    /// The scores of `item`, if they are known and neither it nor its `rules` have changed.
    pub fn find(&self, item: &Item, rules: Option<&str>) -> Option<&Line> {
        let line = self.done.get(&item.path)?;
        let same_prompt = item.prompt.as_ref().is_none_or(|prompt| *prompt == line.prompt);
        let same_question = same_prompt && rules == line.rules.as_deref();
        (same_question && sha256_of_file(&item.path).ok()? == line.sha256).then_some(line)
    }

    /// Appends lines, in one write.
    ///
    /// # Errors
    ///
    /// Fails if they cannot be written.
    pub fn append(&mut self, lines: &[&Line]) -> Result<(), JournalError> {
        self.write(lines).map_err(|source| JournalError::Io { path: self.path.clone(), source })
    }

    fn write(&mut self, lines: &[&impl Serialize]) -> io::Result<()> {
        let mut text = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut text, line)?;
            text.push(b'\n');
        }
        self.file.write_all(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(version: &str) -> Head {
        Head { rewards: vec![("r".to_owned(), version.to_owned())] }
    }

    #[test]
    fn half_a_line_is_cut_off_and_changes_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let picture = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, name).unwrap();
            let (key, prompt) = (name.into(), Some("x".to_owned()));
            let (row, unread, named_instead) = (None, None, None);
            Item { path, key, prompt, row, by_place: false, unread, named_instead, group: None }
        };
        let line = |item: &Item| Line {
            image: item.path.clone(),
            sha256: sha256_of_file(&item.path).unwrap(),
            prompt: "x".to_owned(),
            group: None,
            rules: None,
            scores: vec![Some(0.1), None],
        };
        let (a, b) = (picture("a"), picture("b"));
        let path = folder.path().join("deep/scores.jsonl");
        let mut journal = Journal::open(&path, &head("1")).unwrap();
        assert!(matches!(Journal::open(&path, &head("1")), Err(JournalError::InUse { .. })));
        journal.append(&[&line(&a), &line(&b)]).unwrap();
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 5]).unwrap();

        let mut journal = Journal::open(&path, &head("1")).unwrap();
        assert_eq!(journal.find(&a, None), Some(&line(&a)));
        assert_eq!(journal.find(&b, None), None);
        journal.append(&[&line(&b)]).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole);
        let other = Item { prompt: Some("y".to_owned()), ..a.clone() };
        assert_eq!(journal.find(&other, None), None, "another prompt");
        assert_eq!(journal.find(&a, Some("1")), None, "other rules");
        // As large and as old, and another one; and then the first again, of a new date.
        let date = a.path.metadata().unwrap().modified().unwrap();
        std::fs::write(&a.path, "c").unwrap();
        std::fs::File::options().write(true).open(&a.path).unwrap().set_modified(date).unwrap();
        assert_eq!(a.path.metadata().unwrap().modified().unwrap(), date);
        assert_eq!(journal.find(&a, None), None, "another picture");
        std::fs::write(&a.path, "a").unwrap();
        assert_eq!(journal.find(&a, None), Some(&line(&a)), "the same picture");
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "dear diary\n").unwrap();
        assert!(matches!(Journal::open(&path, &head("1")), Err(JournalError::NotOurs { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "dear diary\n");
        let path = folder.path().join("older");
        let older = concat!(
            r#"{"rewards":[["r","1"]]}"#,
            "\n",
            r#"{"image":"a.png","stamp":[1,2],"prompt":"","group":null,"scores":[1.0]}"#,
            "\n",
        );
        std::fs::write(&path, older).unwrap();
        let error = Journal::open(&path, &head("1")).unwrap_err().to_string();
        assert!(error.contains("line 2 of"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), older);
        let path = folder.path().join("scores");
        drop(Journal::open(&path, &head("1")).unwrap());
        let error = Journal::open(&path, &head("2")).unwrap_err().to_string();
        assert!(error.contains("other rewards: r 1"), "{error}");
    }
}
