//! Reading a TOML file over defaults, with errors that point into it.
//!
//! The keys of the file are laid over the defaults one at a time, and the settings are read anew
//! after each: the key after which that fails is the one to point at. So every type with serde's
//! `deny_unknown_fields` gets precise errors, wherever it is defined, and a table in the file
//! changes no key that it does not name.

use std::ops::Range;
use std::path::{Path, PathBuf};

use miette::{Diagnostic, NamedSource, SourceSpan};
use serde::{Serialize, de::DeserializeOwned};
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use crate::output;

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the settings `{}`: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file says something that cannot be used.
    #[error("{message}")]
    Invalid {
        /// What is wrong.
        message: String,
        /// The whole file, to point into.
        #[source_code]
        text: NamedSource<String>,
        /// Where it is wrong.
        #[label("here")]
        span: SourceSpan,
        /// The other place, where two do not go together.
        #[label("and here")]
        other: Option<SourceSpan>,
        /// What to write instead.
        #[help]
        help: Option<String>,
    },
}

/// The `defaults`, with what the file at `path` says instead.
///
/// # Errors
///
/// Fails if the file cannot be read, is not TOML, has a key that the settings do not know or a
/// value that they cannot take.
///
/// `removed` are keys that settings had once, with what to write instead.
pub fn read<T: Serialize + DeserializeOwned>(
    defaults: &T,
    removed: &[(&str, &str)],
    path: &Path,
) -> miette::Result<T> {
    let text = hyperalign_core::input::read_text(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    read_text(defaults, removed, &path.display().to_string(), text)
}

/// The `defaults`, with what `text` says instead; errors call it by `name`.
///
/// # Errors
///
/// Fails as [`read`] does for what a file says.
pub fn read_text<T: Serialize + DeserializeOwned>(
    defaults: &T,
    removed: &[(&str, &str)],
    name: &str,
    text: String,
) -> miette::Result<T> {
    Ok(parse(defaults, removed, &text).map_err(|problem| problem.into_error(name, text))?)
}

/// What is wrong, and at which bytes.
#[derive(Debug, PartialEq)]
pub(super) struct Problem {
    message: String,
    span: Range<usize>,
    other: Option<Range<usize>>,
    help: Option<String>,
}

impl Problem {
    pub(super) fn new(error: &toml::de::Error, span: Range<usize>) -> Self {
        let message = error.message().lines().collect::<Vec<_>>().join(" ");
        Self { help: nearest(&message), message, span, other: None }
    }

    /// One that `message` tells, with what to do about it where `help` is not empty.
    pub(super) fn at(message: String, span: Range<usize>, help: &str) -> Self {
        let help = (!help.is_empty()).then(|| help.to_owned());
        Self { message, span, other: None, help }
    }

    /// The same, at another place too.
    pub(super) fn and(self, other: Range<usize>) -> Self {
        Self { other: Some(other), ..self }
    }

    /// The same as an error that shows its place in `text`, which is called `name`.
    pub(super) fn into_error(self, name: &str, text: String) -> ConfigError {
        ConfigError::Invalid {
            text: NamedSource::new(name, text).with_language("toml"),
            message: self.message,
            span: self.span.into(),
            other: self.other.map(SourceSpan::from),
            help: self.help,
        }
    }
}

pub(super) fn parse<T: Serialize + DeserializeOwned>(
    defaults: &T,
    removed: &[(&str, &str)],
    text: &str,
) -> Result<T, Problem> {
    let whole = 0..text.len();
    let syntax = |error: toml::de::Error| {
        Problem::new(&error, error.span().unwrap_or_else(|| whole.clone()))
    };
    let places = DeTable::parse(text).map_err(syntax)?;
    let values: Table = toml::from_str(text).map_err(syntax)?;
    let settings = Table::try_from(defaults).expect("defaults are plain data");
    let read = |settings| T::deserialize(settings).map(drop);
    let mut merge = Merge { settings, removed, read, renamed: Vec::new(), notes: Vec::new() };
    merge.lay(&mut Vec::new(), places.get_ref(), values)?;
    merge.lay_renamed(text, places.get_ref())?;
    merge.notes.iter().for_each(|note| output::warn(note));
    T::deserialize(merge.settings).map_err(|error| Problem::new(&error, whole))
}

/// Settings that keys are laid over.
struct Merge<'a, F> {
    settings: Table,
    /// Keys of earlier settings, with what to write instead.
    removed: &'a [(&'a str, &'a str)],
    /// Whether the settings can be read as what they are to be.
    read: F,
    /// Keys under an earlier name. They are laid last, so that none is lost in a table that stands
    /// for itself.
    renamed: Vec<Renamed>,
    /// What was read under another name.
    notes: Vec<String>,
}

/// A key under an earlier name.
struct Renamed {
    from: Vec<String>,
    to: Vec<String>,
    value: Value,
    key_span: Range<usize>,
    value_span: Range<usize>,
}

impl<F: Fn(Table) -> Result<(), toml::de::Error>> Merge<'_, F> {
    /// Lays every key of `values`, which stand at `places` of the file, over the table at `path`.
    fn lay(
        &mut self,
        path: &mut Vec<String>,
        places: &DeTable,
        values: Table,
    ) -> Result<(), Problem> {
        for (key, place) in places {
            let name = key.get_ref().as_ref();
            let Some(value) = values.get(name).cloned() else { continue };
            path.push(name.to_owned());
            if let Some(to) = self.moved(path) {
                let (key_span, value_span) = (key.span(), place.span());
                self.renamed.push(Renamed { from: path.clone(), to, value, key_span, value_span });
                path.pop();
                continue;
            }
            let old = self.at(path);
            match (place.get_ref(), value) {
                (DeValue::Table(places), Value::Table(values)) if is_same_kind(old, &values) => {
                    self.lay(path, places, values)?;
                }
                (inner, value) => {
                    self.check_removed(path, key.span(), inner)?;
                    self.set(path, value);
                    (self.read)(self.settings.clone()).map_err(|error| {
                        let span = blame(&error, key.span(), inner, place.span());
                        Problem::new(&error, span)
                    })?;
                }
            }
            path.pop();
        }
        Ok(())
    }

    /// Lays the keys under an earlier name over the settings, if each is the only one that says what
    /// it says.
    fn lay_renamed(&mut self, text: &str, places: &DeTable) -> Result<(), Problem> {
        let mut seen: Vec<(String, String, Range<usize>)> = Vec::new();
        for renamed in std::mem::take(&mut self.renamed) {
            let Renamed { from, to, value, key_span, value_span } = renamed;
            let (from, name) = (from.join("."), to.join("."));
            let earlier = seen.iter().find(|(_, of, _)| *of == name);
            let other = match place_of(places, &to) {
                Some(span) => Some((name.clone(), span)),
                None => earlier.map(|(from, _, span)| (from.clone(), span.clone())),
            };
            if let Some((other, span)) = other {
                let line = |at: usize| 1 + text[..at].matches('\n').count();
                return Err(Problem {
                    message: format!(
                        "`{from}` (line {}) and `{other}` (line {}) are the same setting, which is \
                         called `{name}` now",
                        line(key_span.start),
                        line(span.start),
                    ),
                    span: key_span,
                    other: Some(span),
                    help: Some(format!("keep one of them, as `{name}`")),
                });
            }
            self.set(&to, value);
            (self.read)(self.settings.clone()).map_err(|error| Problem::new(&error, value_span))?;
            self.notes.push(format!("`{from}` is read as `{name}`, as it is called now"));
            seen.push((from, name, key_span));
        }
        Ok(())
    }

    /// Where the value of the key at `path`, which is one of earlier settings, belongs now: where
    /// there is nothing more to say than its new name.
    fn moved(&self, path: &[String]) -> Option<Vec<String>> {
        let name = path.join(".");
        let (_, instead) = self.removed.iter().find(|(key, _)| *key == name)?;
        let new = instead.strip_prefix("write `")?.strip_suffix('`')?;
        let is_name = |new: &str| new.chars().all(|c| c.is_alphanumeric() || "._".contains(c));
        is_name(new).then(|| new.split('.').map(str::to_owned).collect())
    }

    /// Fails where the key at `path`, or one in its table, is one of earlier settings.
    fn check_removed(
        &self,
        path: &[String],
        span: Range<usize>,
        value: &DeValue,
    ) -> Result<(), Problem> {
        let name = path.join(".");
        if let Some((_, instead)) = self.removed.iter().find(|(key, _)| *key == name) {
            let message = format!("`{name}` is no setting any more");
            return Err(Problem { message, span, other: None, help: Some((*instead).to_owned()) });
        }
        for (key, place) in value.as_table().into_iter().flatten() {
            let inside = [path, &[key.get_ref().to_string()]].concat();
            self.check_removed(&inside, key.span(), place.get_ref())?;
        }
        Ok(())
    }

    fn at(&self, path: &[String]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.settings.get(first)?, |value, key| value.get(key))
    }

    fn set(&mut self, path: &[String], value: Value) {
        let Some((last, tables)) = path.split_last() else { return };
        let mut table = &mut self.settings;
        for key in tables {
            let inner = table.entry(key).or_insert_with(|| Value::Table(Table::new()));
            let Value::Table(inner) = inner else { return };
            table = inner;
        }
        table.insert(last.clone(), value);
    }
}

/// Where the file names the key at `path`.
fn place_of(table: &DeTable, path: &[String]) -> Option<Range<usize>> {
    let (first, rest) = path.split_first()?;
    let (key, value) = table.iter().find(|(key, _)| key.get_ref().as_ref() == first.as_str())?;
    if rest.is_empty() { Some(key.span()) } else { place_of(value.get_ref().as_table()?, rest) }
}

/// Whether a table of the file changes the default at its place key by key. Where it names
/// another `kind` or `name`, the default's keys mean nothing and the table stands for itself.
fn is_same_kind(default: Option<&Value>, table: &Table) -> bool {
    let Some(Value::Table(default)) = default else { return false };
    ["kind", "name"]
        .into_iter()
        .all(|tag| table.get(tag).is_none_or(|of| default.get(tag) == Some(of)))
}

/// The bytes to point at: the unknown key, or the value that cannot be taken, which may stand in
/// the table that says of which `kind` it is.
fn blame(
    error: &toml::de::Error,
    key: Range<usize>,
    value: &DeValue,
    value_span: Range<usize>,
) -> Range<usize> {
    if let (Some(unknown), Some(table)) = (unknown("variant", error.message()), value.as_table())
        && let Some(inside) =
            table.values().find(|inside| inside.get_ref().as_str() == Some(unknown))
    {
        return inside.span();
    }
    let Some(unknown) = unknown("field", error.message()) else {
        return if matches!(value, DeValue::Table(_)) { key } else { value_span };
    };
    let inside = value.as_table().and_then(|table| table.keys().find(|k| *k.get_ref() == unknown));
    inside.map_or(key, |inside| inside.span())
}

/// The name in serde's message "unknown field `a`, expected one of `b`, `c`", or of a "variant".
fn unknown<'a>(what: &str, message: &'a str) -> Option<&'a str> {
    message.strip_prefix("unknown ")?.strip_prefix(what)?.strip_prefix(" `")?.split('`').next()
}

/// The known key or value that is most like the unknown one, or all of them.
fn nearest(message: &str) -> Option<String> {
    let field = unknown("field", message);
    let found = field.or_else(|| unknown("variant", message))?;
    let (_, expected) = message.split_once(", ")?;
    let known: Vec<_> = expected.split('`').skip(1).step_by(2).collect();
    if known.is_empty() {
        return None;
    }
    Some(match hyperalign_core::nearest(found, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => {
            let what = if field.is_some() { "keys" } else { "values" };
            format!("known {what} here: {}", known.join(", "))
        }
    })
}

#[cfg(test)]
mod tests;
