//! HSDS as its API has it: objects within objects, taken apart into rows of tables.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Takes a row: its table, which of the file's objects it stands in, and its fields; None of what
/// stands where a row must be, and is none.
type Add<'a> = &'a mut dyn FnMut(&'static str, u64, Option<BTreeMap<String, String>>);

/// Which property of an object holds rows of which table.
const WITHIN: [(&str, &str); 21] = [
    ("accessibility", "accessibility"),
    ("addresses", "address"),
    ("attributes", "attribute"),
    ("contacts", "contact"),
    ("cost_options", "cost_option"),
    ("funding", "funding"),
    ("languages", "language"),
    ("location", "location"),
    ("locations", "location"),
    ("metadata", "metadata"),
    ("organization", "organization"),
    ("organization_identifiers", "organization_identifier"),
    ("phones", "phone"),
    ("program", "program"),
    ("programs", "program"),
    ("required_documents", "required_document"),
    ("schedules", "schedule"),
    ("service", "service"),
    ("service_areas", "service_area"),
    ("service_at_locations", "service_at_location"),
    ("services", "service"),
];

/// What an object names by holding it: others may hold the same, and it belongs to none of them.
const NAMED: [&str; 5] = ["location", "organization", "program", "service", "taxonomy_term"];

/// Reads what a file holds: one object, a list, a page of the API, or tables.
pub(super) fn read(value: &Value, add: Add<'_>) {
    let listed = value.get("contents").unwrap_or(value);
    if let Value::Array(objects) = listed {
        for (object, number) in objects.iter().zip(1..) {
            read_object(object, number, add);
        }
    } else {
        read_object(value, 1, add);
    }
}

fn read_object(value: &Value, number: u64, add: Add<'_>) {
    let Value::Object(object) = value else { return add("service", number, None) };
    let tables = object.iter().filter_map(|(name, rows)| {
        let table = name.strip_suffix(".csv")?;
        let tables = &super::tables::TABLES;
        let (table, _) = tables.iter().find(|(_, many)| *many == table)?;
        Some((*table, rows.as_array()?))
    });
    let mut has_tables = false;
    for (table, rows) in tables {
        has_tables = true;
        for (row, number) in rows.iter().zip(1..) {
            let Value::Object(row) = row else {
                add(table, number, None);
                continue;
            };
            take_apart(table, row, number, add);
        }
    }
    if !has_tables && let Some(table) = kind(object) {
        take_apart(table, object, number, add);
    }
}

/// What an object is, by what only such have.
fn kind(object: &Map<String, Value>) -> Option<&'static str> {
    let has = |name: &str| object.contains_key(name);
    Some(if has("location_type") {
        "location"
    } else if has("service") && has("location") {
        "service_at_location"
    } else if has("services") || has("legal_status") || has("tax_status") || has("website") {
        "organization"
    } else if has("taxonomy_detail") || has("term_uri") {
        "taxonomy_term"
    } else if has("status") || has("service_at_locations") || has("organization_id") {
        "service"
    } else {
        return None;
    })
}

/// Adds an object as a row, and those within it as rows that name it. The id of the row.
fn take_apart(
    table: &'static str,
    object: &Map<String, Value>,
    number: u64,
    add: Add<'_>,
) -> String {
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in object {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(truth) => truth.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => continue,
        };
        fields.insert(name.clone(), text);
    }
    let id = fields.get("id").cloned().unwrap_or_default();
    for (name, value) in object {
        let within = WITHIN.iter().find(|(property, _)| property == name);
        let within = within.map(|(_, table)| *table);
        let within = within.or_else(|| (name == "taxonomy_term").then_some("taxonomy_term"));
        let Some(within) = within else { continue };
        let objects = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        for child in objects {
            let Value::Object(child) = child else {
                if value.is_array() {
                    add(within, number, None);
                }
                continue;
            };
            let mut child = child.clone();
            // An attribute names whatever it is of in a way of its own.
            let parent =
                if within == "attribute" { "link_id".to_owned() } else { format!("{table}_id") };
            let is_named = !value.is_array() && NAMED.contains(&within) && child.contains_key("id");
            if !is_named {
                child.entry(parent).or_insert_with(|| Value::String(id.clone()));
            }
            let child_id = take_apart(within, &child, number, add);
            if !value.is_array() {
                fields.entry(format!("{within}_id")).or_insert(child_id);
            }
        }
    }
    add(table, number, Some(fields));
    id
}
