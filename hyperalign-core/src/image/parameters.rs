//! How a picture was made, in the text that AUTOMATIC1111's web UI writes into its PNG files and
//! that viewers and galleries read:
//!
//! ```text
//! a red heart
//! Negative prompt: blurry
//! Steps: 20, Sampler: DDIM, CFG scale: 7.5, Seed: 7, Size: 512x512, Model hash: 0123, Model: x
//! ```
//!
//! Extensions write more lines behind the settings (`Template: ..`), and line ends into values.

use std::{fmt, str::FromStr};

/// The settings of one picture.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Parameters {
    /// The prompt; it may have several lines.
    pub prompt: String,
    /// The negative prompt; empty for none.
    pub negative_prompt: String,
    /// Sampling steps.
    pub steps: usize,
    /// Name of the scheduler.
    pub sampler: String,
    /// Guidance scale.
    pub cfg_scale: f64,
    /// Seed of the picture.
    pub seed: u64,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// Short hash of the base model.
    pub model_hash: String,
    /// Name of the base model.
    pub model: String,
    /// Further settings, in order.
    pub extra: Vec<(String, String)>,
}

/// Why a text is not one of parameters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParametersError {
    /// There is no line of settings.
    #[error("no settings in `{text}`; a line should begin with `Steps: `")]
    NoSettings {
        /// What was given.
        text: String,
    },
    /// A setting is not what it should be.
    #[error("`{key}: {value}` is not {expected}")]
    Value {
        /// The setting.
        key: String,
        /// What was given.
        value: String,
        /// What was expected.
        expected: &'static str,
    },
}

const NEGATIVE: &str = "Negative prompt:";
const SETTINGS: &str = "Steps: ";
/// What the extension Dynamic Prompts writes behind the settings, each to the end of its lines.
const TEMPLATES: [&str; 2] = ["Negative Template:", "Template:"];

impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.prompt)?;
        if !self.negative_prompt.is_empty() {
            writeln!(f, "{NEGATIVE} {}", self.negative_prompt)?;
        }
        let (width, height) = self.size;
        write!(
            f,
            "Steps: {}, Sampler: {}, CFG scale: {}, Seed: {}, Size: {width}x{height}",
            self.steps,
            Quoted(&self.sampler),
            self.cfg_scale,
            self.seed
        )?;
        let model = [("Model hash", &self.model_hash), ("Model", &self.model)];
        let model = model.into_iter().filter(|(_, value)| !value.is_empty());
        let extra = self.extra.iter().map(|(key, value)| (key.as_str(), value));
        for (key, value) in model.chain(extra) {
            write!(f, ", {key}: {}", Quoted(value))?;
        }
        Ok(())
    }
}

/// A value, as a JSON string where it would break the line of settings apart.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains([',', ':', '\n', '"']) {
            write!(f, "{}", serde_json::Value::from(self.0))
        } else {
            f.write_str(self.0)
        }
    }
}

impl FromStr for Parameters {
    type Err = ParametersError;

    fn from_str(text: &str) -> Result<Self, ParametersError> {
        let Sections { prompt, negative_prompt, settings: line, templates } = Sections::of(text);
        let line = line.ok_or_else(|| ParametersError::NoSettings { text: text.to_owned() })?;
        let mut parameters = Self {
            prompt: prompt.to_owned(),
            negative_prompt: negative_prompt.to_owned(),
            ..Self::default()
        };
        for (key, value) in settings(line) {
            parameters.set(key, value)?;
        }
        parameters.extra.extend(templates.into_iter().filter(|(_, value)| !value.is_empty()));
        Ok(parameters)
    }
}

/// The parts of a text of parameters.
struct Sections<'a> {
    prompt: &'a str,
    negative_prompt: &'a str,
    settings: Option<&'a str>,
    templates: Vec<(String, String)>,
}

impl<'a> Sections<'a> {
    fn of(text: &'a str) -> Self {
        let text = text.trim_end();
        // The last line of settings: a prompt may speak of steps as well.
        let begins = |at: &usize| text[*at..].starts_with(SETTINGS);
        let starts = line_starts(text).filter(begins);
        let start = starts.filter(|at| text[*at..].contains(", ") || *at == 0).last();
        let start = start.or_else(|| line_starts(text).filter(begins).last());
        let (prompts, rest) = match start {
            Some(0) => ("", Some(text)),
            Some(at) => (&text[..at - 1], Some(&text[at..])),
            None => (text, None),
        };
        let (prompt, negative_prompt) =
            match line_starts(prompts).find(|at| prompts[*at..].starts_with(NEGATIVE)) {
                Some(at) => (&prompts[..at.saturating_sub(1)], &prompts[at + NEGATIVE.len()..]),
                None => (prompts, ""),
            };
        let (settings, templates) = match rest.map(without_templates) {
            Some((settings, templates)) => (Some(settings), templates),
            None => (None, Vec::new()),
        };
        let negative_prompt = negative_prompt.strip_prefix(' ').unwrap_or(negative_prompt);
        Self { prompt, negative_prompt, settings, templates }
    }
}

/// Where the lines of `text` begin.
fn line_starts(text: &str) -> impl Iterator<Item = usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1))
}

/// The settings, and the templates that stand behind them.
fn without_templates(text: &str) -> (&str, Vec<(String, String)>) {
    let name = |at: usize| TEMPLATES.into_iter().find(|name| text[at..].starts_with(name));
    let starts: Vec<_> = line_starts(text).filter_map(|at| Some((at, name(at)?))).collect();
    let ends = starts.iter().skip(1).map(|(at, _)| *at).chain([text.len()]);
    let templates = starts.iter().zip(ends).map(|((at, name), end)| {
        let value = text[at + name.len()..end].trim().to_owned();
        (name.trim_end_matches(':').to_owned(), value)
    });
    let end = starts.first().map_or(text.len(), |(at, _)| *at);
    (text[..end].trim_end(), templates.collect())
}

/// The prompt in a text of parameters, whatever else it says: settings that no one can read make
/// the prompt no worse, and a text without settings is a prompt alone, as the web UI takes it.
pub(super) fn prompt_of(text: &str) -> String {
    Sections::of(&text.replace("\r\n", "\n").replace('\r', "\n")).prompt.trim().to_owned()
}

impl Parameters {
    fn set(&mut self, key: String, value: String) -> Result<(), ParametersError> {
        fn number<T: FromStr>(
            key: &str,
            value: &str,
            expected: &'static str,
        ) -> Result<T, ParametersError> {
            let error = |_| ParametersError::Value {
                key: key.to_owned(),
                value: value.to_owned(),
                expected,
            };
            value.parse().map_err(error)
        }
        match key.as_str() {
            "Steps" => self.steps = number(&key, &value, "a whole number")?,
            "Sampler" => self.sampler = value,
            "CFG scale" => self.cfg_scale = number(&key, &value, "a number")?,
            "Seed" => self.seed = number(&key, &value, "a whole number from 0 up")?,
            "Size" => {
                let expected = "a size such as 512x512";
                // What has no `x` fails as a number, with the whole value in the message.
                let (width, height) = value.split_once('x').unwrap_or((&value, ""));
                let side = |side: &str| {
                    number(&key, side, expected).map_err(|_| ParametersError::Value {
                        key: key.clone(),
                        value: value.clone(),
                        expected,
                    })
                };
                self.size = (side(width)?, side(height)?);
            }
            "Model hash" => self.model_hash = value,
            "Model" => self.model = value,
            _ => self.extra.push((key, value)),
        }
        Ok(())
    }
}

/// The `key: value` pairs of the settings; values may be JSON strings.
fn settings(line: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = line;
    while let Some((key, after)) = rest.split_once(':') {
        let after = after.trim_start();
        let (value, end) = match quoted(after) {
            Some(quoted) => quoted,
            None => {
                let end = after.find([',', '\n']).unwrap_or(after.len());
                (after[..end].trim_end().to_owned(), end)
            }
        };
        pairs.push((key.trim().to_owned(), value));
        rest = after[end..].trim_start().trim_start_matches(',');
    }
    pairs
}

/// The JSON string that `text` begins with, and where it ends. Line ends in it are taken as they
/// are: not every extension escapes them.
fn quoted(text: &str) -> Option<(String, usize)> {
    let inner = text.strip_prefix('"')?;
    let mut is_escaped = false;
    let end = inner.find(|c| {
        let is_end = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        is_end
    })?;
    let end = end + 2;
    let value = serde_json::from_str(&text[..end].replace('\n', "\\n")).ok()?;
    Some((value, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters() -> Parameters {
        Parameters {
            prompt: "a red heart to the left of a dog".to_owned(),
            negative_prompt: "blurry, dark".to_owned(),
            steps: 20,
            sampler: "DDIM".to_owned(),
            cfg_scale: 7.5,
            seed: 18_446_744_073_709_551_615,
            size: (640, 512),
            model_hash: "0123456789".to_owned(),
            model: "emoji-sd".to_owned(),
            extra: vec![("Variant".to_owned(), "s".to_owned())],
        }
    }

    #[test]
    fn the_text_of_the_web_ui() {
        assert_eq!(
            parameters().to_string(),
            "a red heart to the left of a dog\nNegative prompt: blurry, dark\n\
             Steps: 20, Sampler: DDIM, CFG scale: 7.5, Seed: 18446744073709551615, Size: 640x512, \
             Model hash: 0123456789, Model: emoji-sd, Variant: s"
        );
    }

    #[test]
    fn round_trips() {
        let odd = Parameters {
            prompt: "two\nlines, with: marks".to_owned(),
            negative_prompt: String::new(),
            model: "a, \"b\": c\nd".to_owned(),
            extra: vec![
                ("Adapter".to_owned(), "x: \\ y".to_owned()),
                ("Empty".to_owned(), String::new()),
            ],
            ..parameters()
        };
        let no_prompt = Parameters { prompt: String::new(), ..parameters() };
        for parameters in [parameters(), odd, no_prompt] {
            assert_eq!(parameters.to_string().parse(), Ok(parameters));
        }
    }

    #[test]
    fn what_extensions_write() {
        let text = "a red heart\nNegative prompt: blurry\nand dark\n\
                    Steps: 20, Sampler: Euler a, Seed: 5, Size: 64x64, \
                    Wildcard prompt: \"a __color__\nheart\", Version: v1.5.1\n\
                    Template: a {red|blue},\nheart\nNegative Template: ";
        let read: Parameters = text.parse().unwrap();
        assert_eq!((read.prompt.as_str(), read.seed), ("a red heart", 5));
        assert_eq!(read.negative_prompt, "blurry\nand dark");
        let extra = [
            ("Wildcard prompt", "a __color__\nheart"),
            ("Version", "v1.5.1"),
            ("Template", "a {red|blue},\nheart"),
        ];
        assert_eq!(read.extra, extra.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(read.to_string().parse(), Ok(read));
    }

    #[test]
    fn the_prompt_of_any_text() {
        let settings = "Steps: 20, Sampler: Euler a, Seed: -1, Size: 64x64";
        for (text, prompt) in [
            (format!("a red heart\n{settings}"), "a red heart"),
            (format!("a red heart\r\nNegative prompt:\r\n{settings}"), "a red heart"),
            (format!("a red heart\n{settings}, Nonsense\nmore lines"), "a red heart"),
            (format!("a\n\nheart\n{settings}"), "a\n\nheart"),
            (format!("Steps: of stone\n{settings}"), "Steps: of stone"),
            (format!("Negative prompt: dark\n{settings}"), ""),
            (settings.to_owned(), ""),
            ("a red heart".to_owned(), "a red heart"),
            ("a red heart\nNegative prompt: dark".to_owned(), "a red heart"),
            (String::new(), ""),
        ] {
            assert_eq!(prompt_of(&text), prompt, "{text:?}");
        }
    }

    #[test]
    fn bad_texts() {
        let error = |text: &str| text.parse::<Parameters>().unwrap_err().to_string();
        assert!(error("just a prompt").contains("`just a prompt`"));
        assert!(error("x\nSteps: many").contains("`Steps: many`"));
        assert!(error("x\nSteps: 2, Size: 512").contains("`Size: 512`"));
        assert!(error("x\nSteps: 2, Seed: -1").contains("`Seed: -1`"));
    }
}
