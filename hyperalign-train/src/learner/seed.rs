//! Seeds in files: all 64 bits of them, where TOML's integers end at 63.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserializer, Serializer,
    de::{Error, Unexpected, Visitor},
};

/// Writes a seed as a number where every format has it, else as a text of its digits.
pub(crate) fn serialize<S: Serializer>(seed: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    match i64::try_from(*seed) {
        Ok(seed) => serializer.serialize_i64(seed),
        Err(_) => serializer.serialize_str(&seed.to_string()),
    }
}

/// Reads a seed from a number or a text of digits.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    deserializer.deserialize_any(Seed)
}

/// What a seed may be in a file, for the schema of settings.
pub(crate) struct Written;

impl JsonSchema for Written {
    fn schema_name() -> Cow<'static, str> {
        "Seed".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "string", "pattern": "^[0-9]+$" }]
        })
    }
}

struct Seed;

impl Visitor<'_> for Seed {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a seed from 0 to {}, in quotes from {} on", u64::MAX, 1_u64 << 63)
    }

    fn visit_u64<E: Error>(self, seed: u64) -> Result<u64, E> {
        Ok(seed)
    }

    fn visit_i64<E: Error>(self, seed: i64) -> Result<u64, E> {
        u64::try_from(seed).map_err(|_| E::invalid_value(Unexpected::Signed(seed), &self))
    }

    fn visit_str<E: Error>(self, seed: &str) -> Result<u64, E> {
        seed.parse().map_err(|_| E::invalid_value(Unexpected::Str(seed), &self))
    }
}

#[cfg(test)]
mod tests {
    use crate::{align::EvaluationSettings, learner::Settings};

    #[test]
    fn every_seed_comes_back() {
        for seed in [0, 1, i64::MAX as u64, (1 << 63), u64::MAX - 1, u64::MAX] {
            let settings = Settings { seed, ..Settings::default() };
            let text = serde_json::to_string(&settings).unwrap();
            assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), settings);
            let settings = EvaluationSettings { seed, ..EvaluationSettings::default() };
            let text = serde_json::to_string(&settings).unwrap();
            assert_eq!(serde_json::from_str::<EvaluationSettings>(&text).unwrap(), settings);
        }
        for bad in ["-1", "\"-1\"", "1.5", "\"x\"", "18446744073709551616"] {
            let text = format!("{{\"seed\": {bad}}}");
            assert!(serde_json::from_str::<Settings>(&text).is_err(), "{bad}");
        }
    }
}
