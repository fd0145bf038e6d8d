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
            return differs("identity".to_owned(), saved.identity.clone(), now.identity.clone());
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
