//! What the columns of a set are called.

use std::{collections::BTreeMap, fmt, str::FromStr};

/// The columns of the published schemas.
const KNOWN: [&str; 10] = [
    "caption",
    "jpg_0",
    "jpg_1",
    "label_0",
    "has_label",
    "prompt",
    "images",
    "image_path",
    "human_preference",
    "rank",
];

/// Names that stand for those of the published schemas, written `caption=text,jpg_0=left`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ColumnNames(BTreeMap<&'static str, String>);

/// A text that names no columns.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{given}` names no column; write a known name, `=` and the name in the file, as in \
     caption=text,jpg_0=left; known are {}",
    KNOWN.join(", ")
)]
pub struct ColumnNamesError {
    given: String,
}

impl ColumnNames {
    /// What the column `known` of the published schema is called.
    pub(super) fn of<'a>(&'a self, known: &'a str) -> &'a str {
        self.0.get(known).map_or(known, String::as_str)
    }
}

impl FromStr for ColumnNames {
    type Err = ColumnNamesError;

    fn from_str(text: &str) -> Result<Self, ColumnNamesError> {
        let mut names = BTreeMap::new();
        for entry in text.split(',') {
            let bad = || ColumnNamesError { given: entry.to_owned() };
            let (known, own) = entry.split_once('=').ok_or_else(bad)?;
            let known = KNOWN.into_iter().find(|name| *name == known.trim()).ok_or_else(bad)?;
            if own.trim().is_empty() || names.insert(known, own.trim().to_owned()).is_some() {
                return Err(bad());
            }
        }
        Ok(Self(names))
    }
}

impl fmt::Display for ColumnNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries: Vec<_> = self.0.iter().map(|(known, own)| format!("{known}={own}")).collect();
        f.write_str(&entries.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_and_read() {
        let names: ColumnNames = "caption=text, jpg_0=left.bytes".parse().unwrap();
        assert_eq!((names.of("caption"), names.of("jpg_1")), ("text", "jpg_1"));
        assert_eq!(names.to_string().parse(), Ok(names));
        for bad in ["", "caption", "caption=", "text=caption", "rank=a,rank=b"] {
            assert!(bad.parse::<ColumnNames>().is_err(), "{bad:?}");
        }
    }
}
