//! What a run is made with, and how two runs differ.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ResumeError;

/// What a run is made with: a checkpoint continues a run only where these are equal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Origin {
    pub(crate) identity: String,
    pub(crate) settings: Value,
    pub(crate) parameters: Value,
}

impl Origin {
    /// What `self` is after being written and read: a float may come back one bit off.
    pub(crate) fn as_read(&self) -> Self {
        let again = serde_json::to_string(self).and_then(|text| serde_json::from_str(&text));
        again.unwrap_or_else(|_| self.clone())
    }

    /// Fails, naming the first thing that differs, unless `self`, of the checkpoint at `path`, is
    /// `now`.
    pub(crate) fn check(&self, path: &Path, now: &Self) -> Result<(), ResumeError> {
        let saved = self;
        let differs = |what: String, saved: String, now: String| {
            Err(ResumeError::Foreign { path: path.to_owned(), what, saved, now })
        };
        if saved.identity != now.identity {
            let (what, saved, now) = identities(&saved.identity, &now.identity);
            return differs(what, saved, now);
        }
        if let Some((what, saved, now)) = difference("settings", &saved.settings, &now.settings) {
            return differs(what, saved, now);
        }
        if let Some((what, saved, now)) =
            difference("parameters", &saved.parameters, &now.parameters)
        {
            return differs(what, saved, now);
        }
        Ok(())
    }
}

/// What differs in two identities, which may be JSON objects.
fn identities(saved: &str, now: &str) -> (String, String, String) {
    let read = |text| serde_json::from_str::<Value>(text).ok().filter(Value::is_object);
    let found = read(saved).zip(read(now)).and_then(|(saved, now)| difference("", &saved, &now));
    match found {
        Some((path, saved, now)) => (path.trim_start_matches('.').to_owned(), saved, now),
        None => ("identity".to_owned(), saved.to_owned(), now.to_owned()),
    }
}

/// The path and the two values of the first difference of two JSON values.
fn difference(path: &str, saved: &Value, now: &Value) -> Option<(String, String, String)> {
    if saved == now {
        return None;
    }
    let nested: Vec<(String, &Value, &Value)> = match (saved, now) {
        (Value::Object(saved), Value::Object(now)) => {
            let keys = saved.keys().chain(now.keys().filter(|key| !saved.contains_key(*key)));
            keys.map(|key| (format!("{path}.{key}"), value_of(saved, key), value_of(now, key)))
                .collect()
        }
        (Value::Array(saved), Value::Array(now)) if saved.len() == now.len() => {
            let pairs = saved.iter().zip(now).enumerate();
            pairs.map(|(i, (saved, now))| (format!("{path}[{i}]"), saved, now)).collect()
        }
        _ => return Some((path.to_owned(), saved.to_string(), now.to_string())),
    };
    nested.iter().find_map(|(path, saved, now)| difference(path, saved, now))
}

fn value_of<'a>(map: &'a serde_json::Map<String, Value>, key: &str) -> &'a Value {
    map.get(key).unwrap_or(&Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_in_two_identities_is_named() {
        let of = |base: &str, steps: usize| {
            format!(r#"{{"base": "{base}", "method": {{"steps": {steps}}}}}"#)
        };
        let named = |what: &str, saved: &str, now: &str| {
            (what.to_owned(), saved.to_owned(), now.to_owned())
        };
        assert_eq!(identities(&of("a", 1), &of("b", 1)), named("base", "\"a\"", "\"b\""));
        assert_eq!(identities(&of("a", 1), &of("a", 2)), named("method.steps", "1", "2"));
        assert_eq!(identities("{}", &of("a", 1)).0, "base");
        assert_eq!(identities("one", "two"), named("identity", "one", "two"));
        assert_eq!(identities("1", "2"), named("identity", "1", "2"));
    }
}
