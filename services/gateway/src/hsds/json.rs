//! HSDS as its API has it: objects within objects, taken apart into rows of tables.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::tables::TABLES;

/// What stands in a file.
pub(super) enum Found {
    Row(&'static str, Fields, Option<Holder>),
    /// In the place of a row of a table, what is no object.
    NoObject(&'static str),
    /// In the place of a table's rows, what is no list.
    NoList(&'static str),
    /// Objects of no table of HSDS, by the name under which they stand.
    Unknown(String),
}

/// The texts of an object, by their names.
pub(super) type Fields = BTreeMap<String, String>;

/// The object in which another one stands. One that many services share stands in each.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Holder {
    /// How the other one names it, as a table would (`service_id`).
    pub(super) link: String,
    pub(super) table: &'static str,
    /// Empty if it has none.
    pub(super) id: String,
}

/// Takes what stands in one of the file's objects, which are counted from 1.
type Add<'a> = &'a mut dyn FnMut(u64, Found);

/// Properties that hold rows of a table, and are not named as it is.
const NAMED_OTHERWISE: [(&str, &str); 4] = [
    ("additional_urls", "url"),
    ("additional_websites", "url"),
    ("service_at_locations", "service_at_location"),
    ("taxonomy_detail", "taxonomy"),
];

/// What belongs to one object alone. That two say so of the same is a contradiction.
const OF_ONE: [&str; 2] = ["service", "service_at_location"];

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
    let Value::Object(object) = value else { return add(number, Found::NoObject("service")) };
    let tables = object.iter().filter_map(|(name, rows)| Some((name.strip_suffix(".csv")?, rows)));
    let tables: Vec<_> = tables.collect();
    for (name, rows) in &tables {
        read_table(name, rows, add);
    }
    match kind(object) {
        _ if !tables.is_empty() => {}
        Some(table) => {
            take_apart(table, object, None, number, add);
        }
        None => add(number, Found::Unknown("object".to_owned())),
    }
}

fn read_table(name: &str, rows: &Value, add: Add<'_>) {
    let table = TABLES.iter().find(|(_, many)| *many == name).map(|(table, _)| *table);
    let rows = match (rows, table) {
        (Value::Array(rows), _) => rows.as_slice(),
        (Value::Null, _) => return,
        (_, Some(table)) => return add(0, Found::NoList(table)),
        (_, None) => return add(0, Found::Unknown(name.to_owned())),
    };
    for (row, number) in rows.iter().zip(1..) {
        match (table, row) {
            (Some(table), Value::Object(row)) => {
                take_apart(table, row, None, number, add);
            }
            (Some(table), _) => add(number, Found::NoObject(table)),
            (None, _) => add(number, Found::Unknown(name.to_owned())),
        }
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

/// Adds an object as a row, and those within it as rows that it holds. The id of the row.
fn take_apart(
    table: &'static str,
    object: &Map<String, Value>,
    holder: Option<Holder>,
    number: u64,
    add: Add<'_>,
) -> String {
    let mut fields = texts(object);
    // What it says itself of where it belongs is what a table would say.
    let holder =
        holder.filter(|holder| fields.get(&holder.link).is_none_or(|said| *said == holder.id));
    if let Some(holder) = &holder {
        fields.remove(&holder.link);
    }
    let holder = match holder {
        Some(Holder { link, id, .. }) if OF_ONE.contains(&table) => {
            if !id.is_empty() {
                fields.insert(link, id);
            }
            None
        }
        holder => holder,
    };
    let id = fields.get("id").cloned().unwrap_or_default();
    for (name, value) in object {
        let objects = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        let Some(within) = table_of(name) else {
            for _ in objects.iter().filter(|value| value.is_object()) {
                add(number, Found::Unknown(name.clone()));
            }
            continue;
        };
        for child in objects {
            let Value::Object(child) = child else {
                if value.is_array() {
                    add(number, Found::NoObject(within));
                }
                continue;
            };
            // An attribute names whatever it is of in a way of its own.
            let link =
                if within == "attribute" { "link_id".to_owned() } else { format!("{table}_id") };
            let is_named = !value.is_array() && NAMED.contains(&within) && child.contains_key("id");
            let holder = (!is_named).then(|| Holder { link, table, id: id.clone() });
            let child_id = take_apart(within, child, holder, number, add);
            if !value.is_array() {
                fields.entry(format!("{name}_id")).or_insert(child_id);
            }
        }
    }
    add(number, Found::Row(table, fields, holder));
    id
}

/// The table of which a property holds rows, if it holds objects.
fn table_of(property: &str) -> Option<&'static str> {
    let named = NAMED_OTHERWISE.iter().find(|(name, _)| *name == property).map(|(_, of)| *of);
    let known = || TABLES.iter().find(|(one, many)| *one == property || *many == property);
    named.or_else(|| known().map(|(table, _)| *table))
}

fn texts(object: &Map<String, Value>) -> Fields {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    object.iter().filter_map(|(name, value)| Some((name.clone(), text(value)?))).collect()
}
