//! How a picture was made, in the text that AUTOMATIC1111's web UI writes into its PNG files and
//! that viewers and galleries read:
//!
//! ```text
//! a red heart
//! Negative prompt: blurry
//! Steps: 20, Sampler: DDIM, CFG scale: 7.5, Seed: 7, Size: 512x512, Model hash: 0123, Model: x
//! ```

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
    #[error("no settings in `{text}`; the last line should begin with `Steps: `")]
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

const NEGATIVE: &str = "Negative prompt: ";

impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.prompt)?;
        if !self.negative_prompt.is_empty() {
            writeln!(f, "{NEGATIVE}{}", self.negative_prompt)?;
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
        let text = text.trim_end();
        let (prompts, line) = text.rsplit_once('\n').unwrap_or(("", text));
        if !line.starts_with("Steps: ") {
            return Err(ParametersError::NoSettings { text: text.to_owned() });
        }
        let (prompt, negative_prompt) = match prompts.strip_prefix(NEGATIVE) {
            Some(negative) => ("", negative),
            None => prompts.split_once(&format!("\n{NEGATIVE}")).unwrap_or((prompts, "")),
        };
        let mut parameters = Self {
            prompt: prompt.to_owned(),
            negative_prompt: negative_prompt.to_owned(),
            ..Self::default()
        };
        for (key, value) in settings(line) {
            parameters.set(key, value)?;
        }
        Ok(parameters)
    }
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

/// The `key: value` pairs of the line of settings; values may be JSON strings.
fn settings(line: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = line;
    while let Some((key, after)) = rest.split_once(':') {
        let after = after.trim_start();
        let mut quoted = serde_json::Deserializer::from_str(after).into_iter::<String>();
        let (value, end) = match quoted.next() {
            Some(Ok(value)) if after.starts_with('"') => (value, quoted.byte_offset()),
            _ => {
                let end = after.find(',').unwrap_or(after.len());
                (after[..end].trim_end().to_owned(), end)
            }
        };
        pairs.push((key.trim().to_owned(), value));
        rest = after[end..].trim_start().trim_start_matches(',');
    }
    pairs
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
    fn bad_texts() {
        let error = |text: &str| text.parse::<Parameters>().unwrap_err().to_string();
        assert!(error("just a prompt").contains("`just a prompt`"));
        assert!(error("x\nSteps: many").contains("`Steps: many`"));
        assert!(error("x\nSteps: 2, Size: 512").contains("`Size: 512`"));
        assert!(error("x\nSteps: 2, Seed: -1").contains("`Seed: -1`"));
    }
}
