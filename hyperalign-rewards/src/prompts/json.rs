//! Prompts as JSON: a document, or an object a line.

use std::path::Path;

use serde_json::{Map, Value};

use super::{GROUP, IMAGE, Prompt, PromptFileError, TEXT, entry};
use crate::geneval;

/// An object a line. Empty lines are passed over.
pub(super) fn lines(path: &Path, text: &str) -> Result<Vec<Prompt>, PromptFileError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(index, line)| object_line(path, index + 1, line)).collect()
}

fn object_line(path: &Path, line: usize, text: &str) -> Result<Prompt, PromptFileError> {
    let place = || format!("line {line}");
    let value: Value = serde_json::from_str(text).map_err(|error| {
        entry(path, format!("line {line}, column {}", error.column()), reason(&error))
    })?;
    let Value::Object(object) = value else {
        return Err(entry(path, place(), "expected an object with `prompt`"));
    };
    if object.contains_key("include") && object.contains_key("tag") {
        let row = geneval::Row::read(line, text)
            .map_err(|source| PromptFileError::Row { path: path.to_owned(), source })?;
        return Ok(row.into());
    }
    prompt(&object).map_err(|reason| entry(path, place(), reason))
}

/// What is wrong with a text that is no JSON, without the place.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

/// A list, or lists by group.
pub(super) fn document(path: &Path, text: &str) -> Result<Vec<Prompt>, PromptFileError> {
    let value: Value = serde_json::from_str(text).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        entry(path, place, reason(&error))
    })?;
    match value {
        Value::Array(entries) => list(path, None, entries),
        Value::Object(groups) if groups.values().all(Value::is_array) => {
            let mut prompts = Vec::new();
            for (group, entries) in groups {
                let Value::Array(entries) = entries else { continue };
                prompts.extend(list(path, Some(&group), entries)?);
            }
            Ok(prompts)
        }
        _ => Err(entry(path, "line 1".to_owned(), "expected a list of prompts, or lists by group")),
    }
}

fn list(
    path: &Path,
    group: Option<&str>,
    entries: Vec<Value>,
) -> Result<Vec<Prompt>, PromptFileError> {
    let one = |(index, value): (usize, Value)| {
        let place = match group {
            Some(group) => format!("entry {} of `{group}`", index + 1),
            None => format!("entry {}", index + 1),
        };
        let mut prompt = match value {
            Value::String(text) => Prompt { text, ..Prompt::default() },
            Value::Object(object) => {
                prompt(&object).map_err(|reason| entry(path, place, reason))?
            }
            other => {
                let reason = format!("{other} is neither a text nor an object with `prompt`");
                return Err(entry(path, place, reason));
            }
        };
        prompt.group = prompt.group.or_else(|| group.map(str::to_owned));
        Ok(prompt)
    };
    entries.into_iter().enumerate().map(one).collect()
}

fn prompt(object: &Map<String, Value>) -> Result<Prompt, String> {
    let find = |names: &[&str]| {
        names.iter().find_map(|name| {
            object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        })
    };
    let text = match find(&TEXT) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => return Err(format!("`prompt` is {other}; expected a text")),
        None => {
            let keys: Vec<_> = object.keys().map(|key| format!("`{key}`")).collect();
            return Err(format!("no `prompt`, `caption` or `text` among {}", keys.join(", ")));
        }
    };
    // Lists and numbers under these names mean something else to whoever wrote them.
    let optional = |names| find(names).and_then(Value::as_str).map(str::to_owned);
    Ok(Prompt { text, group: optional(&GROUP), image: optional(&IMAGE), row: None })
}
