//! Resources as they are given out, with what their senders said beyond that.
//!
//! What must stay true: an element is given back byte for byte, and never against what is known
//! now. Of two senders' words for one element, the newer that nothing speaks against holds. What
//! cannot be given back, however it was stored, never keeps the rest from being given out.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use tsunagi_proto::v1;

use super::json::is_within;
use super::types::{is_of_its_type, is_said_once};
use super::{MODIFIER, NEVER_KEPT, OF_META, group, is_kept, shown};

type Members = BTreeMap<String, Box<RawValue>>;

/// References to what has another id here: the rest of what was said of it is given back.
const OTHER_IDS: [&str; 2] = ["subject", "partOf"];

/// A resource, with the elements that were kept of what was `received` of it, the newest first.
pub(in super::super) fn restored(
    ours: &Value,
    received: &[v1::ResourceReceived],
) -> serde_json::Result<Box<RawValue>> {
    let none = Map::new();
    let ours = ours.as_object().unwrap_or(&none);
    let mut given = Members::new();
    for (name, value) in ours {
        given.insert(name.clone(), to_raw_value(value)?);
    }
    let kind = ours.get("resourceType").and_then(Value::as_str).unwrap_or_default();
    let mut done = BTreeSet::new();
    for word in received {
        let groups: BTreeSet<&str> = word.elements.iter().map(|e| group(&e.name)).collect();
        for of in groups {
            let elements = || word.elements.iter().filter(|element| group(&element.name) == of);
            // Half of what was said in one place would say something else.
            let Some(all) = members(kind, elements()) else { continue };
            if of == "identifier" && kind == "Patient" {
                // Each number has its own word.
                identifiers(&mut given, &all)?;
                continue;
            }
            let is_shown = elements().all(|element| element.shown == shown(of, ours));
            let holds = of == "meta" || OTHER_IDS.contains(&of) || is_shown;
            if !holds || !done.insert(of) {
                continue;
            }
            match of {
                "meta" => meta(&mut given, &all)?,
                "serviceProvider" => reference(&mut given, all, of)?,
                of if OTHER_IDS.contains(&of) => reference(&mut given, all, of)?,
                of => {
                    given.retain(|name, _| group(name) != of);
                    given.extend(all);
                }
            }
        }
    }
    to_raw_value(&given)
}

/// The elements by their names. None if one of them is no JSON, of another type than FHIR says, or
/// one that is never kept, or if two of them say one thing.
fn members<'a>(
    kind: &str,
    elements: impl Iterator<Item = &'a v1::ReceivedElement>,
) -> Option<Members> {
    let mut all = Members::new();
    for element in elements {
        // No more than is looked into elsewhere: nothing is given back that nobody could read.
        serde_json::from_str::<Value>(&element.json).ok().filter(|value| {
            may_be_given(&element.name) && is_of_its_type(kind, &element.name, value)
        })?;
        all.insert(element.name.clone(), RawValue::from_string(element.json.clone()).ok()?);
    }
    is_said_once(kind, all.keys().map(String::as_str).collect()).then_some(all)
}

/// What is not kept is not given back either, if somebody told it by another door.
fn may_be_given(name: &str) -> bool {
    is_kept(name) && group(name) != MODIFIER && !NEVER_KEPT.contains(&group(name))
}

fn read<'a, T: Deserialize<'a> + Default>(members: &'a Members, name: &str) -> T {
    members.get(name).and_then(|json| serde_json::from_str(json.get()).ok()).unwrap_or_default()
}

/// The sender's labels and tags, beside our own: whom we withhold something from is ours to say.
fn meta(given: &mut Members, sent: &Members) -> serde_json::Result<()> {
    let mut ours: Members = read(given, "meta");
    let said: Members = read(sent, "meta");
    for name in OF_META {
        let mut all: Vec<Box<RawValue>> = read(&ours, name);
        all.extend(read::<Vec<Box<RawValue>>>(&said, name));
        if !all.is_empty() {
            ours.insert(name.to_owned(), to_raw_value(&all)?);
        }
    }
    given.insert("meta".to_owned(), to_raw_value(&ours)?);
    Ok(())
}

/// A reference with all that the sender said of it. Where we know what it leads to, ours leads.
fn reference(given: &mut Members, sent: Members, name: &str) -> serde_json::Result<()> {
    let ours: Members = read(given, name);
    let mut said: Members = read(&sent, name);
    for (member, json) in ours {
        if member == "reference" || !said.contains_key(&member) {
            said.insert(member, json);
        }
    }
    given.extend(sent);
    given.insert(name.to_owned(), to_raw_value(&said)?);
    Ok(())
}

/// What was said of the patient's numbers, each in the place of the same number; and those that
/// nobody is found by.
fn identifiers(given: &mut Members, sent: &Members) -> serde_json::Result<()> {
    let mut all: Vec<Box<RawValue>> = read(given, "identifier");
    for said in read::<Vec<Box<RawValue>>>(sent, "identifier") {
        let value = |json: &RawValue| serde_json::from_str::<Value>(json.get());
        let number = value(&said)?;
        let is_number = |one: &RawValue| {
            let ours = value(one).unwrap_or_default();
            ["system", "value"].iter().all(|part| ours.get(*part) == number.get(*part))
        };
        let is_whole = ["system", "value"].iter().all(|part| {
            number.get(*part).and_then(Value::as_str).is_some_and(|text| !text.is_empty())
        });
        if is_whole {
            // One that is not here leads to somebody else by now. The newest word comes first.
            if let Some(one) = all.iter_mut().find(|one| is_number(one))
                && value(one)?.as_object().is_some_and(|one| one.len() == 2)
            {
                *one = said;
            }
        } else if !all.iter().any(|one| value(one).is_ok_and(|one| is_within(&number, &one))) {
            all.push(said);
        }
    }
    given.insert("identifier".to_owned(), to_raw_value(&all)?);
    Ok(())
}
