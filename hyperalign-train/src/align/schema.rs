//! The settings of a run as a JSON schema, for editors.

use schemars::{
    Schema,
    generate::SchemaSettings,
    transform::{Transform, transform_subschemas},
};
use serde_json::Value;

use super::AlignSettings;

/// Keys by which the kinds of a setting are told apart.
const TAGS: [&str; 2] = ["name", "kind"];

/// A JSON schema (draft 2020-12) of the TOML file that `hyperalign train --config` reads. What a file
/// leaves out has its default, so that nothing is required but the kind of a method, a network or a
/// schedule that is another than the default's.
pub fn schema() -> Value {
    let mut schema =
        SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<AlignSettings>();
    let default = serde_json::to_value(AlignSettings::default()).unwrap_or_default();
    let mut kinds = Vec::new();
    collect(&default, &mut kinds);
    Laid { kinds }.transform(&mut schema);
    schema.insert("title".to_owned(), "Settings of hyperalign train".into());
    let mut schema = schema.to_value();
    let mut definitions = schema["$defs"].take();
    give_defaults(&mut schema, &mut definitions, &default);
    schema["$defs"] = definitions;
    schema
}

/// Makes the defaults of an object's keys those of an alignment run, which are not always those of the
/// type that has the key.
fn give_defaults(object: &mut Value, definitions: &mut Value, defaults: &Value) {
    let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    for (key, property) in properties {
        let Some(property) = property.as_object_mut() else { continue };
        let value = defaults.get(key).filter(|value| !value.is_null());
        match value {
            Some(value) => property.insert("default".to_owned(), value.clone()),
            None => property.remove("default"),
        };
        let named = property.get("$ref").and_then(Value::as_str);
        let Some(name) = named.and_then(|name| name.strip_prefix("#/$defs/")) else { continue };
        if let (Some(value), true) = (value, definitions[name].is_object()) {
            let mut definition = definitions[name].take();
            give_defaults(&mut definition, definitions, value);
            definitions[name] = definition;
        }
    }
}

/// `text` without the targets of rustdoc's links.
fn unlinked(text: &str) -> String {
    let mut parts = text.split("`](");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push('`');
        plain += part.split_once(')').map_or(part, |(_, rest)| rest);
    }
    plain.replace("[`", "`").replace("`]", "`")
}

/// The kinds that settings have by default.
fn collect(value: &Value, kinds: &mut Vec<Value>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        if TAGS.contains(&key.as_str()) {
            kinds.push(value.clone());
        }
        collect(value, kinds);
    }
}

/// Makes of a schema of whole settings one of what a file says instead of the defaults.
struct Laid {
    kinds: Vec<Value>,
}

impl Transform for Laid {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        schema.remove("required");
        let description = schema.get("description").and_then(Value::as_str).map(unlinked);
        if let Some(description) = description {
            schema.insert("description".to_owned(), description.into());
        }
        let tag = TAGS.into_iter().find_map(|tag| {
            let kind = schema.get("properties")?.get(tag)?.get("const")?;
            (!self.kinds.contains(kind)).then_some(tag)
        });
        if let Some(tag) = tag {
            schema.insert("required".to_owned(), vec![tag].into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_a_run() {
        let schema = schema();
        let of = |name: &str, key: &str| &schema["$defs"][name]["properties"][key];
        let settings = AlignSettings::default();
        assert_eq!(of("Settings", "shards")["default"], settings.training.shards);
        assert_eq!(
            of("AdamW", "weight_decay")["default"],
            settings.training.optimizer.weight_decay
        );
        assert!(of("Settings", "clip").get("default").is_none(), "nothing is no value in TOML");
        assert!(schema["properties"]["training"]["default"].is_object());
    }

    #[test]
    fn links_are_plain_text() {
        let text = "In [`a`](Self::a) and [`b`], (c) of [d](e), once.";
        assert_eq!(unlinked(text), "In `a` and `b`, (c) of [d](e), once.");
    }
}
