//! The line of a file of settings that an error is about.

use std::{ops::Range, path::Path};

use miette::NamedSource;
use toml::de::{DeTable, DeValue};

use super::file::ConfigError;

/// `message` about the value of the setting `name`, such as `method.batch`, in the line of the file at
/// `path` that gives it. None where the file does not: the value is a default then, or that of a flag.
pub fn in_its_line(path: &Path, name: &str, message: &str) -> Option<miette::Report> {
    let text = hyperalign_core::input::read_text(path).ok()?;
    let span = place(&text, name)?;
    Some(
        ConfigError::Invalid {
            text: NamedSource::new(path.display().to_string(), text).with_language("toml"),
            message: message.to_owned(),
            span: span.into(),
            help: None,
            other: None,
        }
        .into(),
    )
}

/// Where the value of the setting `name` stands.
fn place(text: &str, name: &str) -> Option<Range<usize>> {
    let places = DeTable::parse(text).ok()?;
    let (mut table, mut keys) = (places.get_ref(), name.split('.').peekable());
    while let Some(key) = keys.next() {
        let (_, value) = table.iter().find(|(known, _)| known.get_ref() == key)?;
        match (keys.peek(), value.get_ref()) {
            (None, _) => return Some(value.span()),
            (Some(_), DeValue::Table(inner)) => table = inner,
            (Some(_), _) => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_the_name_of_its_setting() {
        let text = "steps = 7\noptimizer.learning_rate = 2\n[network]\nrank = 64\n";
        let found = |name| place(text, name).map(|span| &text[span]);
        assert_eq!(found("steps"), Some("7"));
        assert_eq!(found("optimizer.learning_rate"), Some("2"));
        assert_eq!(found("network.rank"), Some("64"));
        for name in ["network.width", "rank", "steps.rank", ""] {
            assert_eq!(found(name), None, "{name}");
        }
        assert_eq!(place("[network", "network.rank"), None);
    }
}
