//! Reading of a published `config.json`, which may hold settings that we do not implement.

use serde_json::{Map, Value};

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

/// `1` and `1.0` are the same setting, and so are `null` and `false`.
fn same(a: &Value, b: &Value) -> bool {
    let off = |value: &Value| matches!(value, Value::Null | Value::Bool(false));
    a == b || (a.as_f64().is_some() && a.as_f64() == b.as_f64()) || (off(a) && off(b))
}
