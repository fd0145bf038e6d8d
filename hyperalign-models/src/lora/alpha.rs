//! What PEFT's configuration says about the strength of updates.
//!
//! Files of PEFT and diffusers have no alpha among their tensors. diffusers writes it into the
//! header, as JSON under one key; PEFT into a file beside the weights.

use std::path::Path;

use hyperalign_core::input;
use serde_json::{Map, Value};

use super::LoraError;
use crate::weights::Tensors;

/// The key of the header under which diffusers keeps the configuration.
pub(super) const HEADER: &str = "lora_adapter_metadata";
/// What PEFT calls its weights and, beside them, its configuration.
const PEFT_FILES: [&str; 2] = ["adapter_model.safetensors", "adapter_config.json"];

/// The configuration of a file; empty where there is none, and alpha is the rank.
#[derive(Debug, Default)]
pub(super) struct PeftConfig {
    /// For messages.
    file: String,
    settings: Map<String, Value>,
}

impl PeftConfig {
    /// The configuration of the file `tensors` at `path`: that of its header, or the one beside it.
    pub fn of(path: Option<&Path>, tensors: &Tensors) -> Result<Self, LoraError> {
        if let Some(text) = tensors.metadata().get(HEADER) {
            let file = tensors.name().to_owned();
            return Self::parse(file, text);
        }
        let Some(path) = path.filter(|path| path.file_name().is_some_and(|n| n == PEFT_FILES[0]))
        else {
            return Ok(Self::default());
        };
        let beside = path.with_file_name(PEFT_FILES[1]);
        let file = beside.display().to_string();
        match input::read_text(&beside) {
            Ok(text) => Self::parse(file, &text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(LoraError::Metadata { file, reason: error.to_string() }),
        }
    }

    fn parse(file: String, text: &str) -> Result<Self, LoraError> {
        match serde_json::from_str(text) {
            Ok(Value::Object(settings)) => Ok(Self { file, settings }),
            Ok(_) => Err(LoraError::Metadata { file, reason: "it is no JSON object".to_owned() }),
            Err(error) => Err(LoraError::Metadata { file, reason: error.to_string() }),
        }
    }

    /// The alpha of the layer at `path` of `part` (`unet`), whose update has this rank; none where
    /// the configuration says nothing.
    pub fn alpha(&self, part: &str, path: &str, rank: usize) -> Result<Option<f64>, LoraError> {
        let Some(alpha) =
            self.pattern(part, "alpha_pattern", path)?.or(self.get(part, "lora_alpha"))
        else {
            return Ok(None);
        };
        let wrong = |what: &str| LoraError::Metadata {
            file: self.file.clone(),
            reason: format!("{what} of `{path}` is {alpha}"),
        };
        let alpha = alpha.as_f64().ok_or_else(|| wrong("lora_alpha"))?;
        // arXiv:2312.03732, eq. 4: alpha over the root of the rank.
        match self.get(part, "use_rslora") {
            Some(Value::Bool(true)) => Ok(Some(alpha * (rank as f64).sqrt())),
            _ => Ok(Some(alpha)),
        }
    }

    /// Whether the configuration is that of DoRA.
    pub fn is_dora(&self) -> bool {
        let is_dora = |(key, value): (&String, &Value)| {
            key.ends_with("use_dora") && *value == Value::Bool(true)
        };
        self.settings.iter().any(is_dora)
    }

    /// The setting `name` of `part`, or of all parts.
    fn get(&self, part: &str, name: &str) -> Option<&Value> {
        let own = self.settings.get(&format!("{part}.{name}"));
        own.or_else(|| self.settings.get(name)).filter(|value| !value.is_null())
    }

    /// What the pattern setting `name` says of `path`: PEFT matches the ends of paths.
    fn pattern(&self, part: &str, name: &str, path: &str) -> Result<Option<&Value>, LoraError> {
        let Some(Value::Object(patterns)) = self.get(part, name) else { return Ok(None) };
        for (pattern, value) in patterns {
            let (pattern, whole) = match pattern.strip_prefix('^') {
                Some(pattern) => (pattern, true),
                None => (pattern.as_str(), false),
            };
            let pattern = pattern.strip_suffix('$').unwrap_or(pattern).replace("\\.", ".");
            if pattern.contains(['*', '+', '?', '(', '[', '|', '\\']) {
                return Err(LoraError::Metadata {
                    file: self.file.clone(),
                    reason: format!("its {name} `{pattern}` is a regular expression"),
                });
            }
            let before = path.strip_suffix(pattern.as_str());
            if before.is_some_and(|before| before.is_empty() || !whole && before.ends_with('.')) {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> PeftConfig {
        PeftConfig::parse("file".to_owned(), text).unwrap()
    }

    #[test]
    fn patterns_match_the_ends_of_paths() {
        let config = config(
            r#"{"unet.lora_alpha": 8, "unet.alpha_pattern": {"attn1.to_q": 2.5, "^conv_in$": 3},
                "text_encoder.lora_alpha": 4, "text_encoder.use_rslora": true}"#,
        );
        let alpha = |part, path| config.alpha(part, path, 16).unwrap();
        assert_eq!(alpha("unet", "mid_block.attn1.to_q"), Some(2.5));
        assert_eq!(alpha("unet", "mid_block.xattn1.to_q"), Some(8.0));
        assert_eq!(alpha("unet", "conv_in"), Some(3.0));
        assert_eq!(alpha("unet", "x.conv_in"), Some(8.0));
        assert_eq!(alpha("text_encoder", "q_proj"), Some(16.0));
        assert_eq!(alpha("transformer", "q_proj"), None);
    }

    #[test]
    fn what_is_not_understood_is_said() {
        let config = config(r#"{"lora_alpha": "x", "alpha_pattern": {}}"#);
        assert!(
            config.alpha("unet", "a", 4).unwrap_err().to_string().contains("lora_alpha of `a`")
        );
        let config = self::config(r#"{"lora_alpha": 4, "alpha_pattern": {"a.*": 2}}"#);
        let error = config.alpha("unet", "a", 4).unwrap_err().to_string();
        assert!(error.contains("regular expression"), "{error}");
        assert!(PeftConfig::parse("file".to_owned(), "[1]").is_err());
    }
}
