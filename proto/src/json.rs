//! Texts that are JSON, as other systems wrote it: whether they are, and whether a My Number is in
//! them, however it is escaped there.

use serde_json::{Map, Value};
use tsunagi_domain::my_number::{self, Writing};

/// Whether a text is one JSON value, nested no deeper than it is read.
pub(crate) fn is_value(text: &str) -> bool {
    serde_json::from_str::<Value>(text).is_ok()
}

/// The first My Number in a text that is JSON, or in one that should be.
pub(crate) fn my_number(text: &str) -> Option<Writing> {
    match serde_json::from_str(text) {
        Ok(value) => in_value(&value, false),
        Err(_no_json) => my_number::find(text),
    }
}

fn in_value(value: &Value, is_numbered_by_system: bool) -> Option<Writing> {
    let found = match value {
        Value::Null | Value::Bool(_) => None,
        Value::Number(number) => my_number::find(&number.to_string()),
        Value::String(text) => my_number::find(text),
        Value::Array(items) => {
            return items.iter().find_map(|item| in_value(item, is_numbered_by_system));
        }
        Value::Object(object) => return in_object(object),
    };
    found.filter(|found| !(is_numbered_by_system && *found == Writing::InOnePiece))
}

fn in_object(object: &Map<String, Value>) -> Option<Writing> {
    let system = object.get("system").and_then(Value::as_str);
    // The system of a telephone number is `phone`.
    let has_system = system.is_some_and(|system| system.contains(':'));
    object.iter().find_map(|(name, value)| {
        let is_numbered = match name.as_str() {
            "id" | "reference" | "url" => true,
            "value" | "code" => has_system,
            _ => false,
        };
        my_number::find(name).or_else(|| in_value(value, is_numbered))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_my_number_is_found_in_whatever_of_a_json_value_it_stands() {
        for with_one in [
            r#""1234 5678 9018""#,
            r#"{"text":"\u0031\u0032\u0033456789018"}"#,
            r#"[{"a":[{"b":123456789018}]}]"#,
            r#"{"123456789018":true}"#,
            r#"{"system":"phone","value":"123456789018"}"#,
            r#"{"system":"urn:oid:1.2","value":"1234-5678-9018"}"#,
            r#"{"value":"123456789018"}"#,
            "no JSON 123456789018",
        ] {
            assert!(my_number(with_one).is_some(), "{with_one}");
        }
    }

    #[test]
    fn numbers_that_systems_give_out_and_those_of_several_texts_are_none() {
        for without in [
            r#"{"system":"urn:oid:1.2","value":"123456789018"}"#,
            r#"{"reference":"Encounter/123456789018","id":"123456789018"}"#,
            r#"["1234","5678","9018"]"#,
            r#"{"a":1234,"b":5678,"c":9018}"#,
            "null",
        ] {
            assert_eq!(my_number(without), None, "{without}");
        }
    }

    #[test]
    fn json_is_read_to_a_depth_of_127() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(is_value(&nested(127)) && !is_value(&nested(128)));
        assert!(!is_value("{") && !is_value("1 2") && !is_value("1e999"));
    }
}
