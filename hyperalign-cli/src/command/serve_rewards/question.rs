//! What is asked in JSON: pictures as base64 of their files, with a prompt each or one for all.
//!
//! Read by hand, for a parser's own words repeat what they complain of, and that may be a picture.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::Value;

/// What a request must look like.
const EXPECTED: &str = "{\"images\": [base64 of files], \"prompts\": [..], \"prompt\": \"..\" or \
                        \"metadata\": [..]}";

/// Base64 with its padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What is asked.
#[derive(Debug, PartialEq, Eq)]
pub struct Question {
    /// Base64 of files.
    pub images: Vec<String>,
    /// A prompt for each.
    pub prompts: Option<Vec<String>>,
    /// One for all.
    pub prompt: Option<String>,
    /// GenEval's rows, one for each picture, with the prompts in them.
    pub metadata: Option<Vec<Value>>,
}

impl Question {
    /// Reads a body.
    ///
    /// # Errors
    ///
    /// Fails, in a few words, if it is something else.
    pub fn read(body: &[u8]) -> Result<Self, String> {
        let bad = |reason: &str| format!("{reason}; expected {EXPECTED}");
        let value: Value = serde_json::from_slice(body).map_err(|error| {
            let what =
                if error.is_eof() { "the JSON ends too early" } else { "the body is no JSON" };
            bad(&format!("{what} (line {}, column {})", error.line(), error.column()))
        })?;
        let Value::Object(object) = value else { return Err(bad("the body is no JSON object")) };
        let (mut images, mut prompts, mut prompt, mut metadata) = (None, None, None, None);
        for (key, value) in object {
            match (key.as_str(), value) {
                ("images", value) => {
                    images = Some(texts(value).ok_or_else(|| bad("`images` is no list of texts"))?);
                }
                ("prompts" | "prompt" | "metadata", Value::Null) => {}
                ("prompts", value) => {
                    let read = texts(value).ok_or_else(|| bad("`prompts` is no list of texts"))?;
                    prompts = Some(read);
                }
                ("prompt", Value::String(text)) => prompt = Some(text),
                ("metadata", Value::Array(rows)) => metadata = Some(rows),
                ("metadata", _) => return Err(bad("`metadata` is no list of GenEval's rows")),
                ("prompt", _) => return Err(bad("`prompt` is no text")),
                _ => return Err(bad("there is a key that is none of these")),
            }
        }
        let images = images.ok_or_else(|| bad("there is no `images`"))?;
        Ok(Self { images, prompts, prompt, metadata })
    }
}

fn texts(value: Value) -> Option<Vec<String>> {
    let Value::Array(values) = value else { return None };
    let text = |value| if let Value::String(text) = value { Some(text) } else { None };
    values.into_iter().map(text).collect()
}

/// The file that `text` is base64 of; line breaks, as MIME writes them, and the beginning of a data
/// URL are passed over.
///
/// # Errors
///
/// Fails if it is none.
pub fn file(text: &str) -> Result<Vec<u8>, String> {
    let data = text.split_once(";base64,").map_or(text, |(_, data)| data);
    let decoded = match data.contains(|c: char| c.is_ascii_whitespace()) {
        true => {
            let data: Vec<u8> = data.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
            BASE64.decode(data)
        }
        false => BASE64.decode(data),
    };
    decoded.map_err(|_| "it is no base64 of a file".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_languages_write_it() {
        for text in
            ["aGVsbG8=", "aGVsbG8", "aGVs\nbG8=\n", "aGVs\r\n bG8", "data:x;base64,aGVsbG8="]
        {
            assert_eq!(file(text).unwrap(), b"hello", "{text:?}");
        }
        let error = file(&"?".repeat(10_000)).unwrap_err();
        assert!(error.len() < 60, "{error}");
    }

    #[test]
    fn errors_do_not_repeat_the_input() {
        let long = "x".repeat(10_000);
        for body in [
            format!("{{\"images\": \"{long}\"}}"),
            format!("{{\"images\": [\"{long}\", 3]}}"),
            format!("{{\"{long}\": 1}}"),
            format!("{{\"images\": [], \"prompt\": [\"{long}\"]}}"),
            format!("\"{long}\""),
            long.clone(),
            format!("{{\"images\": [\"{long}"),
        ] {
            let error = Question::read(body.as_bytes()).unwrap_err();
            assert!(error.len() < 200 && !error.contains("xx"), "{error}");
        }
        let body = "{\"images\": [\"a\"], \"prompts\": null, \"prompt\": \"x\"}";
        let question = Question::read(body.as_bytes()).unwrap();
        assert_eq!((question.prompts, question.prompt.as_deref()), (None, Some("x")));
    }
}
