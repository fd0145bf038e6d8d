//! Names of models on the hub.

use std::{fmt, str::FromStr};

use super::HubError;

/// A model of the hub at a revision, written `OWNER/NAME` or `OWNER/NAME@REVISION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelId {
    /// `OWNER/NAME`, or `NAME` for the few that have no owner.
    pub name: String,
    /// A branch, a tag or a commit; `main` where nothing else was said.
    pub revision: String,
}

impl FromStr for ModelId {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        let bad = || HubError::Id { given: text.to_owned() };
        let (name, revision) = text.split_once('@').unwrap_or((text, "main"));
        let plain = |part: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !part.is_empty() && !part.starts_with('.') && part.chars().all(allowed)
        };
        let parts = name.split('/').count();
        if parts > 2 || !name.split('/').all(plain) || !revision.split('/').all(plain) {
            return Err(bad());
        }
        Ok(Self { name: name.to_owned(), revision: revision.to_owned() })
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.revision.as_str() {
            "main" => f.write_str(&self.name),
            revision => write!(f, "{}@{revision}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_revisions() {
        let id: ModelId = "black-forest-labs/FLUX.1-dev".parse().unwrap();
        assert_eq!(
            (id.name.as_str(), id.revision.as_str()),
            ("black-forest-labs/FLUX.1-dev", "main")
        );
        let id: ModelId = "a/b@refs/pr/3".parse().unwrap();
        assert_eq!(id.revision, "refs/pr/3");
        assert_eq!(id.to_string(), "a/b@refs/pr/3");
        for text in ["", "a/b/c", "a/b@", "a/../b", "../b", "a b/c", "a/b@../../x", "/a", "a/"] {
            assert!(text.parse::<ModelId>().is_err(), "{text:?}");
        }
    }
}
