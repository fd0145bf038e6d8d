//! The options of a command from a TOML file, under their own long names.
//!
//! There is one description of the options, that of the command line: the file's keys become
//! arguments where the command line has none of that name, and what comes of it is read as if it
//! had been typed. Each value is checked by itself first, so that an error points into the file.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    ops::Range,
    path::PathBuf,
};

use clap::{
    Arg, ArgAction, ArgMatches, Command, Id,
    builder::{PossibleValue, Resettable},
    parser::ValueSource,
};
use toml::{
    Table, Value,
    de::{DeTable, DeValue},
};

use super::file::{ConfigError, Problem};

/// The option that names the file.
const CONFIG: &str = "config";

/// The command line `given`, with the options of the file that `--config` of `command` names where
/// it has none of that name itself. What cannot be read is left as it is, for whoever reads all of
/// it.
///
/// # Errors
///
/// Fails for a file that cannot be read or is not TOML, for a key that is no option of `command`,
/// and for a value that the option cannot take.
pub fn with_file(
    parsing: &Command,
    command: &str,
    mut given: Vec<OsString>,
) -> miette::Result<Vec<OsString>> {
    let mut lenient = parsing.clone().mut_subcommand(command, lenient);
    // This is also when a command learns of the options that all commands have.
    lenient.build();
    let Ok(matches) = lenient.try_get_matches_from_mut(&given) else { return Ok(given) };
    let Some(matches) = matches.subcommand_matches(command) else { return Ok(given) };
    let Some(path) = matches.get_one::<PathBuf>(CONFIG) else { return Ok(given) };
    let text = hyperalign_core::input::read_text(path)
        .map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?;
    let name = path.display().to_string();
    let program = given.first().cloned().unwrap_or_default();
    let file = File { program, command, lenient };
    let options = file.read(&text).map_err(|problem| problem.into_error(&name, text));
    for option in options? {
        if !is_typed(matches, &option.id) {
            given.extend(option.words.into_iter().map(OsString::from));
        }
    }
    Ok(given)
}

/// Whether the option `id` was given on the command line.
fn is_typed(matches: &ArgMatches, id: &Id) -> bool {
    matches.value_source(id.as_str()) == Some(ValueSource::CommandLine)
}

/// `command` with every option by itself: none is needed, and none needs or excludes another.
fn lenient(command: Command) -> Command {
    command.mut_args(|arg| {
        arg.required(false)
            .required_unless_present(Resettable::<Id>::Reset)
            .requires(Resettable::<Id>::Reset)
            .conflicts_with(Resettable::<Id>::Reset)
    })
}

/// The options of `command` that can be in a file.
fn options(command: &Command) -> impl Iterator<Item = (&str, &Arg)> {
    command
        .get_arguments()
        .filter_map(|arg| Some((arg.get_long()?, arg)))
        .filter(|(name, _)| ![CONFIG, "help", "version"].contains(name))
}

/// An option that the file gives, as words of a command line.
struct Given {
    id: Id,
    words: Vec<String>,
}

/// What the keys of a file are read with.
struct File<'a> {
    program: OsString,
    command: &'a str,
    lenient: Command,
}

impl File<'_> {
    /// The options that `text` gives, in its order.
    fn read(&self, text: &str) -> Result<Vec<Given>, Problem> {
        let syntax =
            |error: toml::de::Error| Problem::new(&error, error.span().unwrap_or(0..text.len()));
        let places = DeTable::parse(text).map_err(syntax)?;
        let values: Table = toml::from_str(text).map_err(syntax)?;
        let mut seen: HashMap<Id, (String, Range<usize>)> = HashMap::new();
        let mut options = Vec::new();
        for (key, place) in places.get_ref() {
            let (written, span) = (key.get_ref().as_ref(), key.span());
            let arg = self.option(written, span.clone())?;
            let id = arg.get_id().clone();
            if let Some((other, earlier)) =
                seen.insert(id.clone(), (written.to_owned(), span.clone()))
            {
                let message = format!("`{written}` and `{other}` are the same option");
                return Err(Problem::at(message, span, "keep one of them").and(earlier));
            }
            let Some(value) = values.get(written) else { continue };
            let words =
                words(arg, value).map_err(|message| Problem::at(message, place.span(), ""))?;
            for (word, part) in words.iter().zip(parts(place.get_ref(), place.span())) {
                self.check(word, part)?;
            }
            options.push(Given { id, words });
        }
        Ok(options)
    }

    fn arguments(&self) -> impl Iterator<Item = (&str, &Arg)> {
        self.lenient.find_subcommand(self.command).into_iter().flat_map(options)
    }

    /// The option that the key `written` names.
    fn option(&self, written: &str, span: Range<usize>) -> Result<&Arg, Problem> {
        let name = written.replace('_', "-");
        if let Some((_, arg)) = self.arguments().find(|(known, _)| *known == name) {
            return Ok(arg);
        }
        let known = self.arguments().map(|(known, _)| known);
        let help = match hyperalign_core::nearest(&name, known) {
            Some(known) => format!("did you mean `{known}`?"),
            None => format!("`hyperalign {} --help` lists them", self.command),
        };
        let message =
            format!("unknown key `{written}`: it is no option of `hyperalign {}`", self.command);
        Err(Problem::at(message, span, &help))
    }

    /// Fails where the option `word`, with its value, cannot be read by itself.
    fn check(&self, word: &str, span: Range<usize>) -> Result<(), Problem> {
        let line: [&OsStr; 3] = [&self.program, self.command.as_ref(), word.as_ref()];
        match self.lenient.clone().try_get_matches_from(line) {
            Ok(_) => Ok(()),
            Err(error) => {
                let told = error.to_string();
                // What follows is the usage of the command line.
                let told = told.split("\n\nFor more information").next().unwrap_or_default();
                let told = told.strip_prefix("error: ").unwrap_or(told);
                let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
                Err(Problem::at(told, span, ""))
            }
        }
    }
}

/// `value` of the option `arg` as words of a command line.
fn words(arg: &Arg, value: &Value) -> Result<Vec<String>, String> {
    let name = arg.get_long().unwrap_or_default();
    let word = |value: &Value| {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Boolean(_) => return Err(format!("`{name}` takes a value, and not yes or no")),
            _ => return Err(format!("`{name}` takes a text or a number")),
        };
        Ok(format!("--{name}={text}"))
    };
    match (arg.get_action(), value) {
        (ArgAction::SetTrue, Value::Boolean(is_set)) => {
            Ok(is_set.then(|| format!("--{name}")).into_iter().collect())
        }
        (ArgAction::SetTrue, _) => Err(format!("`{name}` is true or false")),
        (ArgAction::Append, Value::Array(values)) => values.iter().map(word).collect(),
        (_, Value::Array(_)) => Err(format!("`{name}` takes one value, and not a list")),
        (_, value) => Ok(vec![word(value)?]),
    }
}

/// Where the values of a list stand, or the one value.
fn parts(value: &DeValue, span: Range<usize>) -> Vec<Range<usize>> {
    match value {
        DeValue::Array(values) => values.iter().map(|value| value.span()).collect(),
        _ => vec![span],
    }
}

/// A JSON schema (draft 2020-12) of the file that `--config` of the subcommand `command` reads.
pub fn schema(parsing: &Command, command: &str) -> serde_json::Value {
    let mut parsing = parsing.clone();
    parsing.build();
    let Some(found) = parsing.find_subcommand(command) else { return serde_json::Value::Null };
    let mut properties = serde_json::Map::new();
    for (name, arg) in options(found) {
        let one = match arg.get_action() {
            ArgAction::SetTrue => serde_json::json!({ "type": "boolean" }),
            _ => value_schema(arg),
        };
        let mut property = match arg.get_action() {
            ArgAction::Append => {
                serde_json::json!({ "anyOf": [one, { "type": "array", "items": one }] })
            }
            _ => one,
        };
        if let Some(help) = arg.get_help() {
            property["description"] = help.to_string().into();
        }
        properties.insert(name.replace('-', "_"), property);
    }
    serde_json::json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": format!("Options of hyperalign {command}"),
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    })
}

/// What one value of `arg` can be: one of its names, or a text or number that the program reads.
fn value_schema(arg: &Arg) -> serde_json::Value {
    let values = arg.get_possible_values();
    let names: Vec<&str> = values.iter().map(PossibleValue::get_name).collect();
    match names.is_empty() {
        true => serde_json::json!({ "type": ["string", "number"] }),
        false => serde_json::json!({ "enum": names }),
    }
}

#[cfg(test)]
mod tests;
