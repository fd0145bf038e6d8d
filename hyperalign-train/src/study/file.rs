//! The file of a study.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use hyperalign_core::{atomic, atomic::WriteError, input};
use hyperalign_models::weights::sha256;
use serde::{Deserialize, Serialize};

use super::{Answer, StudyError};

/// The form of the file that this version writes and reads.
pub const FORMAT: u32 = 1;
/// Digits of a study's number.
const DIGITS: usize = 16;

/// What voters are asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Study {
    /// The form of this file.
    pub format: u32,
    /// What voters read above everything.
    pub title: String,
    /// What prompts, sides and order were drawn with.
    pub seed: u64,
    /// What is asked about every item.
    pub questions: Vec<Question>,
    /// The methods that are compared.
    pub methods: Vec<String>,
    /// What is shown, in order.
    pub items: Vec<Item>,
    /// Who made parts of the pictures, where that must be told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attribution: Vec<String>,
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Its name in votes and tables.
    pub name: String,
    /// What voters read.
    pub text: String,
}

/// Where the noise of a picture comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Noise {
    /// From this seed.
    Seed(u64),
    /// That is not known; the picture is in this place among those of its prompt and method.
    Place(usize),
}

/// What methods have pictures of: a prompt and noise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// The prompt.
    pub prompt: String,
    /// The noise.
    pub noise: Noise,
}

/// Two pictures side by side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// What both are pictures of.
    pub subject: Subject,
    /// The one on the left.
    pub left: Shown,
    /// The one on the right.
    pub right: Shown,
}

/// One of two pictures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// Index of the method that made it.
    pub method: usize,
    /// Whether it was spoiled with noise, for an attention check.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_degraded: bool,
    /// SHA-256 of its file.
    pub sha256: String,
}

impl Item {
    /// The picture on this side; none for [`Answer::Neither`].
    pub fn shown(&self, side: Answer) -> Option<&Shown> {
        match side {
            Answer::Left => Some(&self.left),
            Answer::Right => Some(&self.right),
            Answer::Neither => None,
        }
    }

    /// Whether it compares methods, and is no attention check.
    pub fn compares(&self) -> bool {
        !self.left.is_degraded && !self.right.is_degraded
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    id: String,
    study: Study,
}

impl Study {
    /// Its name in the folder of a study.
    pub const FILE: &'static str = "study.json";
    /// The votes beside it.
    pub const VOTES: &'static str = "votes.jsonl";

    /// A number that two studies have only if all of their items, pictures and questions are the same.
    pub fn id(&self) -> String {
        let bytes = serde_json::to_vec(self).expect("a study is plain data");
        sha256(bytes)[..DIGITS].to_owned()
    }

    /// Where the picture on one side of an item lies in the folder of a study: the name tells where it
    /// is shown, and not who made it.
    pub fn picture(folder: &Path, item: usize, side: Answer) -> PathBuf {
        let side = if side == Answer::Left { "left" } else { "right" };
        folder.join("pictures").join(format!("{item}-{side}.png"))
    }

    /// Index of the question called `name`.
    pub fn question(&self, name: &str) -> Option<usize> {
        self.questions.iter().position(|question| question.name == name)
    }

    /// Writes it into `folder`.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), WriteError> {
        let kept = Kept { id: self.id(), study: self.clone() };
        let text = serde_json::to_string_pretty(&kept).expect("a study is plain data") + "\n";
        atomic::write(&folder.join(Self::FILE), text.as_bytes())
    }

    /// The study in `folder`.
    ///
    /// # Errors
    ///
    /// Fails if there is none, or it is not as it was written.
    pub fn open(folder: &Path) -> Result<Self, StudyError> {
        let path = folder.join(Self::FILE);
        if !input::is_there(&path) {
            return Err(StudyError::NoStudy { folder: folder.to_owned() });
        }
        let damaged = |what: String| StudyError::Damaged { path: path.clone(), what };
        let text = input::read_text(&path).map_err(|error| damaged(error.to_string()))?;
        let value: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        let given = &value["study"]["format"];
        if given.is_number() && *given != FORMAT {
            return Err(StudyError::Format { path, given: given.to_string() });
        }
        let kept: Kept =
            serde_json::from_value(value).map_err(|error| damaged(error.to_string()))?;
        let study = kept.study;
        if kept.id != study.id() {
            return Err(damaged("it was changed after it was made".to_owned()));
        }
        study.check().map_err(damaged)?;
        Ok(study)
    }

    /// What would make indices lead nowhere.
    fn check(&self) -> Result<(), String> {
        let sides = self.items.iter().flat_map(|item| [&item.left, &item.right]);
        if sides.clone().any(|shown| shown.method >= self.methods.len()) {
            return Err("an item names a method that there is none of".to_owned());
        }
        let mut names = HashSet::new();
        match self.questions.iter().find(|question| !names.insert(&question.name)) {
            Some(question) => Err(format!("two questions are called `{}`", question.name)),
            None if self.items.is_empty() || self.questions.is_empty() => {
                Err("it asks for nothing".to_owned())
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::testing::toy;

    #[test]
    fn a_study_is_read_as_it_was_written_and_knows_when_it_was_not() {
        let folder = tempfile::tempdir().unwrap();
        let error = Study::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("holds no study") && error.contains("study new"), "{error}");
        let study = toy();
        study.write(folder.path()).unwrap();
        assert_eq!(Study::open(folder.path()).unwrap(), study);
        assert_ne!(Study { seed: 8, ..study.clone() }.id(), study.id());

        let path = folder.path().join(Study::FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        for (from, to, what) in [
            ("\"seed\": 7", "\"seed\": 9", "was changed"),
            ("\"format\": 1", "\"format\": 2", "format 2"),
            ("\"items\"", "\"things\"", "things"),
        ] {
            std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
            let error = Study::open(folder.path()).unwrap_err().to_string();
            assert!(error.contains(what) && error.contains("study.json"), "{error}");
        }
    }
}
