//! GenEval's metadata rows, as its `evaluation_metadata.jsonl` publishes them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The six tasks, in the order of the paper's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// One object: `a photo of a bench`.
    SingleObject,
    /// Two objects of different classes.
    TwoObject,
    /// Two to four objects of one class.
    Counting,
    /// One object of a given colour.
    Colors,
    /// One object left of, right of, above or below another.
    Position,
    /// Two objects, each of its own colour.
    ColorAttr,
}

impl Task {
    /// All tasks, in the order of the paper's tables.
    pub const ALL: [Self; 6] = [
        Self::SingleObject,
        Self::TwoObject,
        Self::Counting,
        Self::Colors,
        Self::Position,
        Self::ColorAttr,
    ];

    /// The tag that the published rows carry.
    pub fn tag(self) -> &'static str {
        match self {
            Self::SingleObject => "single_object",
            Self::TwoObject => "two_object",
            Self::Counting => "counting",
            Self::Colors => "colors",
            Self::Position => "position",
            Self::ColorAttr => "color_attr",
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tag())
    }
}

/// Where one object lies, seen from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Relation {
    /// Smaller x.
    #[serde(rename = "left of")]
    LeftOf,
    /// Larger x.
    #[serde(rename = "right of")]
    RightOf,
    /// Smaller y: pictures have their origin at the top.
    #[serde(rename = "above")]
    Above,
    /// Larger y.
    #[serde(rename = "below")]
    Below,
}

impl Relation {
    /// All relations.
    pub const ALL: [Self; 4] = [Self::LeftOf, Self::RightOf, Self::Above, Self::Below];

    /// The relation of B to A, where this is the one of A to B.
    pub fn opposite(self) -> Self {
        match self {
            Self::LeftOf => Self::RightOf,
            Self::RightOf => Self::LeftOf,
            Self::Above => Self::Below,
            Self::Below => Self::Above,
        }
    }

    /// The words that the published rows use.
    pub fn name(self) -> &'static str {
        match self {
            Self::LeftOf => "left of",
            Self::RightOf => "right of",
            Self::Above => "above",
            Self::Below => "below",
        }
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One clause that must hold: at least `count` objects of a class, of a colour, at a place.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Include {
    /// Name of the class.
    pub class: String,
    /// How many there must be at least.
    pub count: usize,
    /// The colour that they must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color: Option<String>,
    /// Where they must lie, seen from the objects of an earlier clause (its index).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<(Relation, usize)>,
}

/// One clause that must not hold: `count` or more objects of a class.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exclude {
    /// Name of the class.
    pub class: String,
    /// How many are already too many.
    pub count: usize,
}

/// One prompt with the rules that a picture of it must meet.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The task that the prompt belongs to.
    pub tag: Task,
    /// Clauses that must all hold.
    pub include: Vec<Include>,
    /// Clauses none of which may hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<Exclude>,
    /// The text.
    pub prompt: String,
}

/// Why a file of rows could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RowError {
    /// A line is not a row. The parser's words name the field and the column.
    #[error(
        "line {line}: {source}; a row is \
         {{\"tag\", \"include\": [{{\"class\", \"count\", \"color\"?, \"position\"?}}], \
         \"exclude\"?: [{{\"class\", \"count\"}}], \"prompt\"}}"
    )]
    Syntax {
        /// Line of the file, from 1.
        line: usize,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A clause's position points at a clause that does not come before it.
    #[error(
        "line {line}: include[{clause}].position refers to include[{target}]; \
         expected the index of an earlier clause"
    )]
    Target {
        /// Line of the file, from 1.
        line: usize,
        /// Index of the clause.
        clause: usize,
        /// The index it refers to.
        target: usize,
    },
    /// There is nothing to judge.
    #[error("line {line}: include is empty; expected at least one clause")]
    Empty {
        /// Line of the file, from 1.
        line: usize,
    },
}

impl Row {
    /// Reads rows, one JSON object a line. Empty lines are passed over.
    ///
    /// # Errors
    ///
    /// Fails with the line and the field at the first line that is not a row.
    pub fn read_jsonl(text: &str) -> Result<Vec<Self>, RowError> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        lines.map(|(index, line)| Self::read(index + 1, line)).collect()
    }

    /// Reads the row in `text`, which is line `line` of its file.
    ///
    /// # Errors
    ///
    /// Fails with the line and the field if it is no row.
    pub fn read(line: usize, text: &str) -> Result<Self, RowError> {
        let row: Self =
            serde_json::from_str(text).map_err(|source| RowError::Syntax { line, source })?;
        if row.include.is_empty() {
            return Err(RowError::Empty { line });
        }
        for (clause, include) in row.include.iter().enumerate() {
            if let Some((_, target)) = include.position
                && target >= clause
            {
                return Err(RowError::Target { line, clause, target });
            }
        }
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISHED: [&str; 4] = [
        r#"{"tag":"single_object","include":[{"class":"bench","count":1}],"prompt":"a photo of a bench"}"#,
        r#"{"tag":"counting","include":[{"class":"clock","count":2}],"exclude":[{"class":"clock","count":3}],"prompt":"a photo of two clocks"}"#,
        r#"{"tag":"position","include":[{"class":"orange","count":1},{"class":"carrot","count":1,"position":["left of",0]}],"prompt":"a photo of a carrot left of an orange"}"#,
        r#"{"tag":"color_attr","include":[{"class":"handbag","count":1,"color":"orange"},{"class":"car","count":1,"color":"red"}],"prompt":"a photo of an orange handbag and a red car"}"#,
    ];

    #[test]
    fn published_rows_survive_a_round_trip() {
        for text in PUBLISHED {
            let rows = Row::read_jsonl(text).unwrap();
            assert_eq!(serde_json::to_string(&rows[0]).unwrap(), text);
        }
        assert_eq!(Row::read_jsonl(&PUBLISHED.join("\n\n")).unwrap().len(), 4);
    }

    #[test]
    fn errors_name_line_and_field() {
        let bad = format!("{}\n{}", PUBLISHED[0], PUBLISHED[0].replace("count", "cuont"));
        let message = Row::read_jsonl(&bad).unwrap_err().to_string();
        assert!(message.starts_with("line 2:") && message.contains("cuont"), "{message}");

        let bad = PUBLISHED[2].replace(",0]", ",1]");
        let message = Row::read_jsonl(&bad).unwrap_err().to_string();
        assert!(message.contains("include[1].position"), "{message}");

        let bad = r#"{"tag":"colors","include":[],"prompt":""}"#;
        assert!(matches!(Row::read_jsonl(bad), Err(RowError::Empty { line: 1 })));
    }
}
