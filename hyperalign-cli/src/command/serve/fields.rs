//! The fields of a JSON object, read one by one.
//!
//! By hand, for a parser's own words neither say which field is meant nor what to do.

use serde_json::{Map, Value};

use super::catalog::bad;
use crate::server::Refusal;

/// The fields that have not been read yet. `null` is as good as nothing.
#[derive(Debug)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// Reads a body.
    ///
    /// # Errors
    ///
    /// Fails for what is no JSON object.
    pub fn read(body: &[u8]) -> Result<Self, Refusal> {
        let value: Value = serde_json::from_slice(body).map_err(|error| {
            let what =
                if error.is_eof() { "the JSON ends too early" } else { "the body is no JSON" };
            let (line, column) = (error.line(), error.column());
            bad(format!("{what} (line {line}, column {column}); expected {{\"prompt\": \"..\"}}"))
        })?;
        match value {
            Value::Object(object) => Ok(Self(object)),
            _ => Err(bad("the body is no JSON object; expected {\"prompt\": \"..\"}")),
        }
    }

    /// Takes a field, whatever it is.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.0.shift_remove(name).filter(|value| !value.is_null())
    }

    /// Takes a text.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(name, &other, "a text")),
        }
    }

    /// Takes a number.
    pub fn number(&mut self, name: &str) -> Result<Option<f64>, Refusal> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let number = value.as_f64().ok_or_else(|| wrong(name, &value, "a number"))?;
        Ok(Some(number))
    }

    /// Takes a whole number of at least 0; 8.0 is one, as some languages have no other.
    pub fn whole(&mut self, name: &str) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.take(name) else { return Ok(None) };
        // Above 2^53 a float stands for several whole numbers.
        let exact = |x: &f64| x.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(x);
        let float = || value.as_f64().filter(exact).map(|number| number as u64);
        let number = value.as_u64().or_else(float);
        number.map(Some).ok_or_else(|| wrong(name, &value, "a whole number of at least 0"))
    }

    /// Takes a yes or no.
    pub fn flag(&mut self, name: &str) -> Result<bool, Refusal> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => Err(wrong(name, &other, "true or false")),
        }
    }

    /// Takes a text that may only be one of these, for it changes nothing here.
    pub fn only(&mut self, name: &str, allowed: &[&str]) -> Result<(), Refusal> {
        match self.text(name)? {
            Some(text) if !allowed.contains(&text.as_str()) => {
                let allowed = allowed.join("` or `");
                Err(bad(format!("`{name}` is `{text}`; this server only has `{allowed}`")))
            }
            _ => Ok(()),
        }
    }

    /// Refuses what is left, with the nearest of the names that are `known`.
    pub fn finish(self, known: &[&str]) -> Result<(), Refusal> {
        let left = self.0.iter().find(|(_, value)| !value.is_null());
        left.map_or(Ok(()), |(name, _)| {
            Err(bad(format!("there is no field `{name}`{}", nearest(name, known))))
        })
    }
}

fn wrong(name: &str, value: &Value, expected: &str) -> Refusal {
    bad(format!("`{name}` is {value}; expected {expected}"))
}

/// The end of a sentence about a name that is none of those `known`.
pub fn nearest(name: &str, known: &[&str]) -> String {
    match hyperalign_core::nearest(name, known.iter().copied()) {
        Some(meant) => format!("; did you mean `{meant}`?"),
        None if known.is_empty() => "; there are none here".to_owned(),
        None => format!("; there are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason<T: std::fmt::Debug>(result: Result<T, Refusal>) -> String {
        result.unwrap_err().short()
    }

    #[test]
    fn fields_are_read_as_what_they_are() {
        let body = br#"{"a": "x", "b": 8.0, "c": 1.5, "d": true, "e": null, "f": -1, "g": 1e300}"#;
        let mut fields = Fields::read(body).unwrap();
        assert_eq!(fields.text("a").unwrap().as_deref(), Some("x"));
        assert_eq!(fields.whole("b").unwrap(), Some(8));
        assert_eq!(fields.number("c").unwrap(), Some(1.5));
        assert!(fields.flag("d").unwrap() && !fields.flag("e").unwrap());
        assert_eq!(fields.text("e").unwrap(), None);
        assert!(reason(fields.whole("f")).contains("`f` is -1; expected a whole number"));
        assert!(reason(fields.whole("g")).contains("expected a whole number"));
        fields.finish(&[]).unwrap();
    }

    #[test]
    fn what_is_not_known_is_refused_with_the_nearest_name() {
        let finish = |body: &str, known: &[&str]| {
            reason(Fields::read(body.as_bytes()).unwrap().finish(known))
        };
        let known = ["prompt", "steps"];
        assert_eq!(
            finish(r#"{"promt": 1}"#, &known),
            "there is no field `promt`; did you mean `prompt`?"
        );
        assert_eq!(
            finish(r#"{"zzz": 1}"#, &known),
            "there is no field `zzz`; there are prompt, steps"
        );
        let long = "x".repeat(10_000);
        assert!(finish(&format!("{{\"{long}\": 1}}"), &known).len() < 310);
        for body in ["", "{", "[]", "{\"a\": }", "\u{0}"] {
            let found = reason(Fields::read(body.as_bytes()));
            assert!(found.contains("expected {\"prompt\""), "{body}: {found}");
        }
        let deep = "[".repeat(100_000);
        assert!(reason(Fields::read(deep.as_bytes())).contains("no JSON"));
    }

    #[test]
    fn a_value_that_changes_nothing_may_only_be_the_usual_one() {
        let mut fields = Fields::read(br#"{"a": "png", "b": "webp"}"#).unwrap();
        fields.only("a", &["png"]).unwrap();
        fields.only("missing", &["png"]).unwrap();
        assert!(reason(fields.only("b", &["png", "auto"])).contains("has `png` or `auto`"));
    }
}
