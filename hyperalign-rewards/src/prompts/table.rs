//! Prompts as tables with a line of column names.

use std::path::Path;

use super::{GROUP, IMAGE, Prompt, PromptFileError, TEXT, entry};

/// Where the columns of a table are.
struct Columns {
    count: usize,
    text: usize,
    group: Option<usize>,
    image: Option<usize>,
}

impl Columns {
    fn find(path: &Path, names: &[&str]) -> Result<Self, PromptFileError> {
        let find = |known: &[&str]| {
            let at = |name: &&str| names.iter().position(|n| n.trim().eq_ignore_ascii_case(name));
            known.iter().find_map(at)
        };
        let text = find(&TEXT).ok_or_else(|| {
            let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            let reason =
                format!("no column `prompt`, `caption` or `text` among {}", names.join(", "));
            entry(path, "line 1".to_owned(), reason)
        })?;
        Ok(Self { count: names.len(), text, group: find(&GROUP), image: find(&IMAGE) })
    }

    fn prompt(&self, fields: &[&str]) -> Prompt {
        let field = |at: Option<usize>| {
            at.map(|at| fields[at].trim()).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let text = field(Some(self.text)).unwrap_or_default();
        Prompt { text, group: field(self.group), image: field(self.image), row: None }
    }
}

/// Separated by tabs. There is no way to write a tab or a line end inside of a field, and quotes
/// mean nothing: PartiPrompts has texts that begin with one.
pub(super) fn tabs(path: &Path, text: &str) -> Result<Vec<Prompt>, PromptFileError> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let Some((_, names)) = lines.next() else { return Ok(Vec::new()) };
    let columns = Columns::find(path, &names.split('\t').collect::<Vec<_>>())?;
    let prompt = |(index, line): (usize, &str)| {
        let fields: Vec<&str> = line.split('\t').collect();
        if fields.len() != columns.count {
            let reason = wrong_count(fields.len(), columns.count);
            return Err(entry(path, format!("line {}", index + 1), reason));
        }
        Ok(columns.prompt(&fields))
    };
    lines.map(prompt).collect()
}

/// Separated by commas, with fields in quotes where they hold one.
pub(super) fn commas(path: &Path, text: &str) -> Result<Vec<Prompt>, PromptFileError> {
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut columns = None;
    let mut prompts = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| {
            let line = error.position().map_or(1, csv::Position::line);
            entry(path, format!("line {line}"), error.to_string())
        })?;
        let fields: Vec<&str> = record.iter().collect();
        let Some(columns) = &columns else {
            columns = Some(Columns::find(path, &fields)?);
            continue;
        };
        if fields.len() != columns.count {
            let line = record.position().map_or(1, csv::Position::line);
            let reason = wrong_count(fields.len(), columns.count);
            return Err(entry(path, format!("line {line}"), reason));
        }
        prompts.push(columns.prompt(&fields));
    }
    Ok(prompts)
}

fn wrong_count(found: usize, expected: usize) -> String {
    format!("{found} fields; the first line names {expected} columns")
}
