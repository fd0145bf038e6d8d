//! Configurations of other versions: what means the same is read, and an error names its key.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// A `T` from a JSON object. Where a key is `null` and should be something, it counts as not set;
/// where it is a list of equal numbers and should be one of them (`"sample_size": [64, 64]`), it
/// counts as that number.
///
/// # Errors
///
/// Fails with what is wrong, with the key that it is wrong with where one can be blamed.
pub(super) fn read<T: DeserializeOwned>(mut value: Value) -> Result<T, String> {
    loop {
        let error = match serde_json::from_value(value.clone()) {
            Ok(read) => return Ok(read),
            Err(error) => error.to_string(),
        };
        let Value::Object(settings) = &mut value else { return Err(error) };
        let Some(key) = culprit::<T>(settings, &error) else { return Err(error) };
        // Each round takes a null or a list away, so that there are no more than keys.
        match settings.get(&key).and_then(|value| meant(value, &error)) {
            Some(Value::Null) => settings.remove(&key),
            Some(number) => settings.insert(key, number),
            None if error.contains(&key) => return Err(error),
            None => return Err(format!("`{key}`: {error}")),
        };
    }
}

/// The key that makes the same `error` alone; the others have their defaults then.
fn culprit<T: DeserializeOwned>(settings: &Map<String, Value>, error: &str) -> Option<String> {
    let alone = |key: &str, value: &Value| {
        let alone = Map::from_iter([(key.to_owned(), value.clone())]);
        serde_json::from_value::<T>(Value::Object(alone)).err().map(|error| error.to_string())
    };
    let makes_it = |key: &str, value: &Value| alone(key, value).as_deref() == Some(error);
    settings.iter().find(|(key, value)| makes_it(key, value)).map(|(key, _)| key.clone())
}

/// What else a value may mean whose kind is the error: `null` for not set, a number for a list of
/// it.
fn meant(value: &Value, error: &str) -> Option<Value> {
    match value {
        Value::Null if error.contains("invalid type: null") => Some(Value::Null),
        Value::Array(values) if error.contains("invalid type: sequence") => {
            let first = values.first().filter(|first| first.is_number())?;
            values.iter().all(|value| value == first).then(|| first.clone())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{t5::T5Config, unet::UnetConfig, vae::AutoencoderKlConfig};

    #[test]
    fn lists_and_nulls_where_numbers_were() {
        let unet: UnetConfig = read(json!({
            "sample_size": [16, 16],
            "layers_per_block": [1, 1],
            "cross_attention_dim": [128, 128],
            "norm_num_groups": null,
            "only_cross_attention": [false, false],
        }))
        .unwrap();
        let expected = UnetConfig {
            sample_size: 16,
            layers_per_block: 1,
            cross_attention_dim: 128,
            ..UnetConfig::default()
        };
        assert_eq!(unet, expected);
        let vae: AutoencoderKlConfig = read(json!({"sample_size": null})).unwrap();
        assert_eq!(vae, AutoencoderKlConfig::default());
        assert_eq!(read::<T5Config>(json!({"num_heads": [64]})).unwrap().num_heads, 64);
    }

    #[test]
    fn the_key_is_named() {
        for (settings, key) in [
            (json!({"in_channels": 4, "sample_size": [16, 32]}), "`sample_size`"),
            (json!({"block_out_channels": 320, "sample_size": 16}), "`block_out_channels`"),
            (json!({"norm_eps": "small"}), "`norm_eps`"),
            (json!({"sample_size": -1}), "`sample_size`"),
            (json!({"down_block_types": ["X"]}), "`down_block_types`"),
            (json!({"dual_cross_attention": true}), "`dual_cross_attention`"),
        ] {
            let error = read::<UnetConfig>(settings).unwrap_err();
            assert!(error.contains(key), "{error}");
        }
        assert!(read::<UnetConfig>(json!([1])).is_err());
    }
}
