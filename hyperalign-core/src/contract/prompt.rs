//! Prompts as data.

use super::{Row, Task};

/// What a picture is to show: the text that the network reads, and what is known beside it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prompt {
    /// The text.
    pub text: String,
    /// The part of its set that it belongs to: a category, a style, a task.
    pub group: Option<String>,
    /// The picture that it belongs to, as the file of the set writes it.
    pub image: Option<String>,
    /// The rules that a picture of it must meet, in GenEval's terms.
    pub row: Option<Row>,
}

impl Prompt {
    /// Prompts of these texts, of which nothing else is known.
    pub fn of(texts: &[impl AsRef<str>]) -> Vec<Self> {
        texts.iter().map(|text| text.as_ref().into()).collect()
    }

    /// The texts of `prompts`.
    pub fn texts(prompts: &[Self]) -> Vec<String> {
        prompts.iter().map(|prompt| prompt.text.clone()).collect()
    }

    /// The task of GenEval that its rules belong to; none without rules.
    pub fn task(&self) -> Option<Task> {
        self.row.as_ref().map(|row| row.tag)
    }
}

impl From<&str> for Prompt {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::default() }
    }
}

impl From<Row> for Prompt {
    fn from(row: Row) -> Self {
        let (text, group) = (row.prompt.clone(), Some(row.tag.to_string()));
        Self { text, group, image: None, row: Some(row) }
    }
}
