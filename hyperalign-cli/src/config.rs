//! Settings from TOML files, with errors that point into the line.

use std::path::Path;

use miette::{Diagnostic, NamedSource, SourceSpan};
use serde::de::DeserializeOwned;

/// A settings file that cannot be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read the settings `{path}`: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no TOML, or not of our kind.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Parse(#[from] Box<ParseError>),
}

/// What is wrong in a settings file, and where.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{message}")]
pub struct ParseError {
    message: String,
    #[source_code]
    text: NamedSource<String>,
    #[label("here")]
    span: Option<SourceSpan>,
    #[help]
    help: Option<String>,
}

/// Reads settings from the TOML file at `path`.
///
/// # Errors
///
/// Fails if the file cannot be read, is no TOML, or has a key or a value that does not exist.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: name.clone(), source })?;
    toml::from_str(&text).map_err(|error| {
        let message = error.message().to_owned();
        let (help, span) = (nearest(&message), error.span().map(SourceSpan::from));
        let text = NamedSource::new(name, text);
        Box::new(ParseError { message, text, span, help }).into()
    })
}

/// The known key that an unknown one was most likely meant to be. Serde's message lists both, in
/// backquotes, the unknown one first.
fn nearest(message: &str) -> Option<String> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    if !message.starts_with("unknown ") {
        return None;
    }
    let given = quoted.next()?;
    let best = quoted.max_by(|a, b| {
        let likeness = |known: &str| strsim::jaro_winkler(given, known);
        likeness(a).total_cmp(&likeness(b))
    })?;
    Some(format!("did you mean `{best}`?"))
}

#[cfg(test)]
mod tests {
    use hyperalign_train::align::AlignSettings;

    use super::*;

    #[test]
    fn a_typo_is_pointed_at() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.toml");
        std::fs::write(&path, "[method]\nguidance_scael = 3.0\n").unwrap();
        let Err(ConfigError::Parse(error)) = read::<AlignSettings>(&path) else {
            panic!("a typo was accepted");
        };
        assert_eq!(error.help.as_deref(), Some("did you mean `guidance_scale`?"));
        assert_eq!(error.span.map(|span| span.offset()), Some(9));
    }

    #[test]
    fn defaults_survive_a_round_trip() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.toml");
        let settings = AlignSettings::default();
        std::fs::write(&path, toml::to_string(&settings).unwrap()).unwrap();
        assert_eq!(read::<AlignSettings>(&path).unwrap(), settings);
    }
}
