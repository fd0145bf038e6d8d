//! The file of a comparison, and what the files and models that it names are.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use hyperalign_models::{
    generate::{TestTime, TestTimeSettings},
    weights::sha256_of_file,
};
use hyperalign_train::{
    align::{AlignSettings, REMOVED},
    compare::{Comparison, Entry, Identities, Train},
};
use miette::{Diagnostic, IntoDiagnostic};
use serde_json::{Map, Value};

use crate::{
    base::{self, BaseOptions},
    config,
    context::Context,
};

/// A file that the comparison names and that cannot be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
enum FileError {
    #[error("entries.{entry} names the adapter `{}`: {source}", path.display())]
    Adapter { entry: String, path: PathBuf, source: std::io::Error },
    #[error("entries.{entry} names the method `{given}`, and there is no such one")]
    #[diagnostic(help("the methods that work while pictures are sampled are {}", TestTime::NAMES.join(", ")))]
    Method { entry: String, given: String },
}

/// Reads what is compared, and checks whether it goes together.
///
/// # Errors
///
/// Fails for a file that cannot be read, that says what there is not, or that does not go together.
pub(super) fn read(path: &Path) -> miette::Result<Comparison> {
    let comparison: Comparison = config::read(&Comparison::default(), &[], path)?;
    let checked = comparison.check();
    checked.into_diagnostic().map_err(|error| error.wrap_err(path.display().to_string()))?;
    for entry in &comparison.entries {
        method(entry)?;
    }
    Ok(comparison)
}

/// What bases, settings and adapters of `comparison` are, so that a change of them is seen; `files` is
/// what paths are relative to.
///
/// # Errors
///
/// Fails for what cannot be opened or read.
pub(super) fn identities(
    comparison: &Comparison,
    files: &Path,
    context: &Context,
) -> miette::Result<Identities> {
    let mut identities = Identities::default();
    for entry in &comparison.entries {
        if let Some(train) = &entry.train {
            let settings = settings(&entry.name, train, files)?;
            let value = serde_json::to_value(&settings).into_diagnostic()?;
            identities.settings.insert(entry.name.clone(), value);
        }
        if let Some(path) = &entry.adapter {
            let path = files.join(path);
            let hash = sha256_of_file(&path).map_err(|source| FileError::Adapter {
                entry: entry.name.clone(),
                path: path.clone(),
                source,
            })?;
            identities.adapters.insert(entry.name.clone(), hash);
        }
    }
    let device: Device = context.device()?;
    for base in &comparison.bases {
        let (opened, _) = base::open(base.model(), &BaseOptions::default(), &device)?;
        identities.bases.insert(base.name.clone(), opened.hash().to_owned());
    }
    Ok(identities)
}

/// The settings of a training: those of its file, and over them those of the entry.
fn settings(name: &str, train: &Train, files: &Path) -> miette::Result<AlignSettings> {
    let mut settings = AlignSettings::default();
    if let Some(path) = &train.config {
        settings = config::read(&settings, REMOVED, &files.join(path))?;
    }
    if train.settings.is_empty() {
        return Ok(settings);
    }
    let place = format!("entries.{name}.train.settings");
    config::read_text(&settings, REMOVED, &place, as_toml(&train.settings)?)
}

/// The method of `entry` that works while pictures are sampled, with its settings.
///
/// # Errors
///
/// Fails for a method that there is not, and for settings that it has not.
pub(super) fn method(entry: &Entry) -> miette::Result<Option<TestTime>> {
    let Some(name) = &entry.method else { return Ok(None) };
    let mut settings = TestTimeSettings::default();
    if !entry.options.is_empty() {
        let mut tables = Map::new();
        tables.insert(name.clone(), Value::Object(entry.options.clone()));
        let place = format!("entries.{}.options", entry.name);
        settings = config::read_text(&settings, &[], &place, as_toml(&tables)?)?;
    }
    let missing = FileError::Method { entry: entry.name.clone(), given: name.clone() };
    Ok(Some(settings.method(name).ok_or(missing)?))
}

/// As a file would have it.
pub(super) fn as_toml(value: &Map<String, Value>) -> miette::Result<String> {
    let table = toml::Table::try_from(value).into_diagnostic()?;
    toml::to_string(&table).into_diagnostic()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
format = 1
title = "Two"
[[bases]]
name = "emoji-sd"
[[entries]]
name = "s"
[entries.train.settings]
training.updates = 7
method.trajectories = 2
[[entries]]
name = "search"
method = "epsilon-greedy"
options = { iterations = 3 }
"#;

    fn read_text(text: &str) -> miette::Result<Comparison> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("two.toml");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn a_file_is_read_with_settings_over_defaults() {
        let comparison = read_text(FILE).unwrap();
        let train = comparison.entries[0].train.as_ref().unwrap();
        let settings = settings("s", train, Path::new("")).unwrap();
        let mut expected = AlignSettings::default();
        expected.training.updates = 7;
        let as_toml = toml::to_string(&settings).unwrap();
        assert_eq!(settings.training, expected.training, "{as_toml}");
        assert!(as_toml.contains("trajectories = 2"));
        let Some(TestTime::EpsilonGreedy(search)) = method(&comparison.entries[1]).unwrap() else {
            panic!("{comparison:?}")
        };
        assert_eq!(search.iterations, 3);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refused = |from: &str, to: &str| {
            let error = read_text(&FILE.replace(from, to)).unwrap_err();
            format!("{error:?}")
        };
        assert!(refused("format = 1", "format = 0").contains("format 0"));
        assert!(refused("name = \"search\"", "nmae = \"search\"").contains("nmae"));
        assert!(refused("epsilon-greedy", "epsilon").contains("epsilon-greedy"));
        assert!(refused("{ iterations = 3 }", "{ z = 3 }").contains("`z`"));
    }

    /// The entries that the book adds to our quick comparison go together with it.
    #[test]
    fn the_made_up_method_of_the_book_is_read() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let book = std::fs::read_to_string(root.join("docs/src/compare.md")).unwrap();
        let added = book.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
        let quick = std::fs::read_to_string(root.join("configs/compare-quick.toml")).unwrap();
        let comparison = read_text(&format!("{quick}\n{added}")).unwrap();
        let tilt = comparison.entry("tilt").unwrap();
        let settings = settings("tilt", tilt.train.as_ref().unwrap(), &root).unwrap();
        assert_eq!((settings.method.name(), settings.training.updates), ("draft", 4));
        // The others are models of one's own.
        let own = book.split("```toml\n").nth(2).unwrap().split("```").next().unwrap();
        assert_eq!(read_text(own).unwrap().protocol.rows, 1632);
    }

    /// The comparisons that come with the program can be read, with all files that they name.
    #[test]
    fn our_own_comparisons_are_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
        for name in ["emoji-paper.toml", "compare-quick.toml"] {
            let comparison = read(&folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e:?}"));
            for entry in &comparison.entries {
                let Some(train) = &entry.train else { continue };
                let settings = settings(&entry.name, train, &folder);
                let settings = settings.unwrap_or_else(|error| panic!("{name}: {error:?}"));
                settings.training.validate().unwrap();
                let span = settings.method.span();
                settings
                    .training
                    .check_span(span)
                    .unwrap_or_else(|e| panic!("{}: {e}", entry.name));
            }
        }
    }
}
