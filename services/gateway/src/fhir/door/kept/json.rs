//! Comparing what was sent with what is said here, as JSON.

use serde_json::Value;

/// Whether all that `sent` says is in `ours`, but for where it refers to: that is somewhere else
/// here.
pub(super) fn is_within(sent: &Value, ours: &Value) -> bool {
    match (sent, ours) {
        (Value::Object(sent), Value::Object(ours)) => sent.iter().all(|(name, value)| {
            let is_place = name == "reference" || name == "type" && sent.contains_key("reference");
            is_place
                || is_nothing(value)
                || ours.get(name).is_some_and(|ours| is_within(value, ours))
        }),
        (Value::Array(sent), Value::Array(ours)) => {
            sent.iter().all(|sent| ours.iter().any(|ours| is_within(sent, ours)))
        }
        (sent, ours) => sent == ours,
    }
}

/// FHIR has no empty elements: what has one says nothing.
pub(super) fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.iter().all(is_nothing),
        Value::Object(object) => object.values().all(is_nothing),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether a member of this name and value is anywhere in a value.
pub(super) fn has(value: &Value, is_one: &impl Fn(&str, &Value) -> bool) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| has(item, is_one)),
        Value::Object(object) => {
            object.iter().any(|(name, value)| is_one(name, value) || has(value, is_one))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

pub(super) fn refers_into_the_resource(name: &str, value: &Value) -> bool {
    name == "reference" && value.as_str().is_some_and(|reference| reference.starts_with('#'))
}
