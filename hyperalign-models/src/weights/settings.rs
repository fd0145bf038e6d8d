//! Reading of a published `config.json`, which may hold settings that we do not implement, and
//! sizes that no network has.

use serde_json::{Map, Value};

/// The largest width or count that is believed. Products of two of them are still numbers, and
/// files are compared with what they promise before memory is taken.
const MOST: usize = 1 << 30;
/// The most blocks of a kind in a network; the deepest published ones have some sixty. Blocks are
/// made before the file is compared, so their number alone could fill the memory.
const MOST_LAYERS: usize = 1000;

/// The most resolutions of a network; each halves a picture, whose side is a number of bits.
pub(crate) const MOST_LEVELS: usize = 16;

/// The largest side of a picture that is believed, in pixels.
pub(crate) const MOST_PIXELS: usize = 1 << 16;

/// Fails unless each of the named sizes is at least 1 and none is absurd.
pub(crate) fn sizes(sizes: &[(&str, usize)]) -> Result<(), String> {
    sizes.iter().try_for_each(|(name, size)| within(name, *size, 1, MOST))
}

/// Fails if one of the named numbers of blocks is more than any network has.
pub(crate) fn layers(layers: &[(&str, usize)]) -> Result<(), String> {
    layers.iter().try_for_each(|(name, count)| within(name, *count, 0, MOST_LAYERS))
}

/// Fails unless the size `name` is from `least` to `most`.
pub(crate) fn within(name: &str, size: usize, least: usize, most: usize) -> Result<(), String> {
    match size {
        _ if size < least => Err(format!("{name} is {size}; it must be at least {least}")),
        _ if size > most => Err(format!("{name} is {size}; at most {most} are read")),
        _ => Ok(()),
    }
}

/// Fails unless the attention heads can share the width, each with its name.
pub(crate) fn heads(
    (width_name, width): (&str, usize),
    (heads_name, heads): (&str, usize),
) -> Result<(), String> {
    sizes(&[(width_name, width), (heads_name, heads)])?;
    match width.is_multiple_of(heads) {
        true => Ok(()),
        false => Err(format!(
            "{heads_name} is {heads}, but {width_name} is {width}; the heads must divide it"
        )),
    }
}

/// Fails unless what is added to variances is a number above 0.
pub(crate) fn epsilon(name: &str, epsilon: f64) -> Result<(), String> {
    match epsilon.is_finite() && epsilon > 0.0 {
        true => Ok(()),
        false => Err(format!("{name} is {epsilon}; it must be above 0")),
    }
}

/// Reads and writes configurations as their derives with `#[serde(remote = "Self")]` say, and
/// fails where the `validate` of what was read does.
macro_rules! validated {
    ($($config:ty),+) => {$(
        impl<'de> serde::Deserialize<'de> for $config {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                // With `remote = "Self"`, the derive makes this function instead of the trait's.
                let config = Self::deserialize(deserializer)?;
                config.validate().map_err(serde::de::Error::custom)?;
                Ok(config)
            }
        }

        impl serde::Serialize for $config {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Self::serialize(self, serializer)
            }
        }
    )+};
}
pub(crate) use validated;

/// Keys that tell where a configuration came from and nothing about the network.
const NOTES: [&str; 3] = ["_diffusers_version", "_name_or_path", "transformers_version"];

/// Takes the settings of `switched_off` out of `settings`, so that those we implement remain.
///
/// # Errors
///
/// Fails for a setting at another value than that of `switched_off`: the network would compute
/// something else than we do.
pub(crate) fn implemented(
    mut settings: Map<String, Value>,
    switched_off: &Value,
) -> Result<Value, String> {
    for note in NOTES {
        settings.remove(note);
    }
    for (name, off) in switched_off.as_object().into_iter().flatten() {
        match settings.remove(name) {
            Some(given) if !same(&given, off) => {
                return Err(format!(
                    "`{name}` is {given}, which is not implemented; only {off} is"
                ));
            }
            _ => {}
        }
    }
    Ok(Value::Object(settings))
}

/// `1` and `1.0` are the same setting, and so are `null` and `false`, and a list of what is the
/// same for every block.
fn same(a: &Value, b: &Value) -> bool {
    let off = |value: &Value| matches!(value, Value::Null | Value::Bool(false));
    if let (Value::Array(values), false) = (a, b.is_array()) {
        return !values.is_empty() && values.iter().all(|value| same(value, b));
    }
    a == b || (a.as_f64().is_some() && a.as_f64() == b.as_f64()) || (off(a) && off(b))
}
