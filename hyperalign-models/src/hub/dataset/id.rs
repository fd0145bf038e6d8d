//! Names of data sets on the hub.

use std::{fmt, str::FromStr};

use crate::hub::{HubError, ModelId};

/// What the name of a data set begins with, as on the hub's pages.
const KIND: &str = "datasets/";
/// Folders of revisions that the hub itself makes; they are the only ones with a slash that can be
/// told from a path.
const MADE: [&str; 2] = ["refs/convert/", "refs/pr/"];

/// Files of a data set of the hub, written `datasets/OWNER/NAME`, with `@REVISION` and `/PATH`
/// behind it where that is needed, as Python's `hf://` paths are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetId {
    /// `OWNER/NAME`.
    pub name: String,
    /// A branch, a tag or a commit; `main` where nothing else was said.
    pub revision: String,
    /// A file, a folder, or a pattern in which `*` stands for anything but a slash; nothing for the
    /// whole set.
    pub path: String,
}

impl FromStr for DatasetId {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        let bad = || HubError::DatasetId { given: text.to_owned() };
        let rest = text.strip_prefix(KIND).ok_or_else(bad)?;
        let (owner, rest) = rest.split_once('/').ok_or_else(bad)?;
        let end = rest.find(['/', '@']).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        let (revision, path) = match rest.strip_prefix('@') {
            None => ("main", rest),
            Some(rest) => {
                let folder = MADE.iter().find(|folder| rest.starts_with(*folder));
                let from = folder.map_or(0, |folder| folder.len());
                let end = rest[from..].find('/').map_or(rest.len(), |end| from + end);
                rest.split_at(end)
            }
        };
        let path = path.strip_prefix('/').unwrap_or(path);
        let ModelId { name, revision } =
            format!("{owner}/{name}@{revision}").parse().map_err(|_| bad())?;
        let path = path.trim_end_matches('/');
        let is_inside = |part: &str| !part.is_empty() && part != "." && part != "..";
        if !path.is_empty() && (!path.split('/').all(is_inside) || path.contains('\\')) {
            return Err(bad());
        }
        Ok(Self { name, revision, path: path.to_owned() })
    }
}

impl fmt::Display for DatasetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{KIND}{}", self.name)?;
        if self.revision != "main" {
            write!(f, "@{}", self.revision)?;
        }
        if self.path.is_empty() { Ok(()) } else { write!(f, "/{}", self.path) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_and_paths() {
        for (text, name, revision, path) in [
            ("datasets/a/b", "a/b", "main", ""),
            ("datasets/a/b/", "a/b", "main", ""),
            ("datasets/a/b.c/data/train-*.parquet", "a/b.c", "main", "data/train-*.parquet"),
            ("datasets/a/b@v1/x.tsv", "a/b", "v1", "x.tsv"),
            ("datasets/a/b@refs/pr/3", "a/b", "refs/pr/3", ""),
            (
                "datasets/a/b@refs/convert/parquet/all/train",
                "a/b",
                "refs/convert/parquet",
                "all/train",
            ),
            ("datasets/a/b/one@two.txt", "a/b", "main", "one@two.txt"),
        ] {
            let id: DatasetId = text.parse().unwrap();
            let found = (id.name.as_str(), id.revision.as_str(), id.path.as_str());
            assert_eq!(found, (name, revision, path), "{text}");
            assert_eq!(id.to_string(), text.trim_end_matches('/'));
        }
        for text in [
            "a/b",
            "datasets/a",
            "datasets/a/",
            "datasets//b",
            "datasets/a/b@",
            "datasets/a/b//c",
            "datasets/a/b/../c",
            "datasets/../b",
            "datasets/a/b@/x",
            "datasets/a/b/c\\d",
        ] {
            assert!(text.parse::<DatasetId>().is_err(), "{text:?}");
        }
    }
}
