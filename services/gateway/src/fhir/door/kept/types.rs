//! Of which type of FHIR R4 an element is: of a Patient, an Encounter and what they are made of.
//!
//! What is kept is given back as it was sent, so what is of another type would make of our answer
//! no FHIR. Names that R4 does not have are passed over: they may be of a newer version.

use std::borrow::Cow;

use serde_json::{Map, Value};
use tsunagi_domain::{CareTime, Zone};

use super::Elements;
use super::json::is_nothing;
use crate::fhir::NotMapped;
use crate::fhir::resource::read_of;

/// The elements of types: `*` stands before the type of a list, and types that begin with a small
/// letter are JSON's own.
const TYPES: [(&str, &[(&str, &str)]); 27] = [
    (
        "Patient",
        &[
            ("meta", "Meta"),
            ("implicitRules", "text"),
            ("language", "text"),
            ("text", "Narrative"),
            ("contained", "*Resource"),
            ("identifier", "*Identifier"),
            ("active", "flag"),
            ("name", "*HumanName"),
            ("telecom", "*ContactPoint"),
            ("gender", "text"),
            ("birthDate", "text"),
            ("deceasedBoolean", "flag"),
            ("deceasedDateTime", "text"),
            ("address", "*Address"),
            ("maritalStatus", "CodeableConcept"),
            ("multipleBirthBoolean", "flag"),
            ("multipleBirthInteger", "whole"),
            ("photo", "*Attachment"),
            ("contact", "*Contact"),
            ("communication", "*Communication"),
            ("generalPractitioner", "*Reference"),
            ("managingOrganization", "Reference"),
            ("link", "*Link"),
        ],
    ),
    (
        "Contact",
        &[
            ("relationship", "*CodeableConcept"),
            ("name", "HumanName"),
            ("telecom", "*ContactPoint"),
            ("address", "Address"),
            ("gender", "text"),
            ("organization", "Reference"),
            ("period", "Period"),
        ],
    ),
    ("Communication", &[("language", "CodeableConcept"), ("preferred", "flag")]),
    ("Link", &[("other", "Reference"), ("type", "text")]),
    (
        "Encounter",
        &[
            ("meta", "Meta"),
            ("implicitRules", "text"),
            ("language", "text"),
            ("text", "Narrative"),
            ("contained", "*Resource"),
            ("identifier", "*Identifier"),
            ("status", "text"),
            ("statusHistory", "*Status"),
            ("class", "Coding"),
            ("classHistory", "*Class"),
            ("type", "*CodeableConcept"),
            ("serviceType", "CodeableConcept"),
            ("priority", "CodeableConcept"),
            ("subject", "Reference"),
            ("episodeOfCare", "*Reference"),
            ("basedOn", "*Reference"),
            ("participant", "*Participant"),
            ("appointment", "*Reference"),
            ("period", "Period"),
            ("length", "Quantity"),
            ("reasonCode", "*CodeableConcept"),
            ("reasonReference", "*Reference"),
            ("diagnosis", "*Diagnosis"),
            ("account", "*Reference"),
            ("hospitalization", "Hospitalization"),
            ("location", "*Location"),
            ("serviceProvider", "Reference"),
            ("partOf", "Reference"),
        ],
    ),
    ("Status", &[("status", "text"), ("period", "Period")]),
    ("Class", &[("class", "Coding"), ("period", "Period")]),
    (
        "Participant",
        &[("type", "*CodeableConcept"), ("period", "Period"), ("individual", "Reference")],
    ),
    ("Diagnosis", &[("condition", "Reference"), ("use", "CodeableConcept"), ("rank", "whole")]),
    (
        "Hospitalization",
        &[
            ("preAdmissionIdentifier", "Identifier"),
            ("origin", "Reference"),
            ("admitSource", "CodeableConcept"),
            ("reAdmission", "CodeableConcept"),
            ("dietPreference", "*CodeableConcept"),
            ("specialCourtesy", "*CodeableConcept"),
            ("specialArrangement", "*CodeableConcept"),
            ("destination", "Reference"),
            ("dischargeDisposition", "CodeableConcept"),
        ],
    ),
    (
        "Location",
        &[
            ("location", "Reference"),
            ("status", "text"),
            ("physicalType", "CodeableConcept"),
            ("period", "Period"),
        ],
    ),
    (
        "Meta",
        &[
            ("versionId", "text"),
            ("lastUpdated", "instant"),
            ("source", "text"),
            ("profile", "*text"),
            ("security", "*Coding"),
            ("tag", "*Coding"),
        ],
    ),
    ("Narrative", &[("status", "text"), ("div", "text")]),
    ("Extension", &[("url", "text")]),
    (
        "Identifier",
        &[
            ("use", "text"),
            ("type", "CodeableConcept"),
            ("system", "text"),
            ("value", "text"),
            ("period", "Period"),
            ("assigner", "Reference"),
        ],
    ),
    (
        "HumanName",
        &[
            ("use", "text"),
            ("text", "text"),
            ("family", "text"),
            ("given", "*text"),
            ("prefix", "*text"),
            ("suffix", "*text"),
            ("period", "Period"),
        ],
    ),
    (
        "ContactPoint",
        &[
            ("system", "text"),
            ("value", "text"),
            ("use", "text"),
            ("rank", "whole"),
            ("period", "Period"),
        ],
    ),
    (
        "Address",
        &[
            ("use", "text"),
            ("type", "text"),
            ("text", "text"),
            ("line", "*text"),
            ("city", "text"),
            ("district", "text"),
            ("state", "text"),
            ("postalCode", "text"),
            ("country", "text"),
            ("period", "Period"),
        ],
    ),
    ("CodeableConcept", &[("coding", "*Coding"), ("text", "text")]),
    (
        "Coding",
        &[
            ("system", "text"),
            ("version", "text"),
            ("code", "text"),
            ("display", "text"),
            ("userSelected", "flag"),
        ],
    ),
    (
        "Reference",
        &[
            ("reference", "text"),
            ("type", "text"),
            ("identifier", "Identifier"),
            ("display", "text"),
        ],
    ),
    ("Period", &[("start", "text"), ("end", "text")]),
    (
        "Quantity",
        &[
            ("value", "number"),
            ("comparator", "text"),
            ("unit", "text"),
            ("system", "text"),
            ("code", "text"),
        ],
    ),
    ("Range", &[("low", "Quantity"), ("high", "Quantity")]),
    ("Ratio", &[("numerator", "Quantity"), ("denominator", "Quantity")]),
    (
        "Attachment",
        &[
            ("contentType", "text"),
            ("language", "text"),
            ("data", "text"),
            ("url", "text"),
            ("size", "whole"),
            ("hash", "text"),
            ("title", "text"),
            ("creation", "text"),
        ],
    ),
    // Of any other, what every element has.
    ("Element", &[]),
];

/// The types of an extension's value that JSON has itself. The others have their own names.
const VALUES: [(&str, &str); 26] = [
    ("Base64Binary", "text"),
    ("Boolean", "flag"),
    ("Canonical", "text"),
    ("Code", "text"),
    ("Date", "text"),
    ("DateTime", "text"),
    ("Decimal", "number"),
    ("Id", "text"),
    ("Instant", "text"),
    ("Integer", "whole"),
    ("Markdown", "text"),
    ("Oid", "text"),
    ("PositiveInt", "whole"),
    ("String", "text"),
    ("Time", "text"),
    ("UnsignedInt", "whole"),
    ("Uri", "text"),
    ("Url", "text"),
    ("Uuid", "text"),
    ("Age", "Quantity"),
    ("Count", "Quantity"),
    ("Distance", "Quantity"),
    ("Duration", "Quantity"),
    ("Annotation", "Element"),
    ("Money", "Element"),
    ("Signature", "Element"),
];

/// What is said in one of several ways, each of which has a name of its own: `deceased[x]`.
const CHOICES: [(&str, &str); 3] =
    [("Patient", "deceased"), ("Patient", "multipleBirth"), ("Extension", "value")];

/// What a name is one of several ways to say, in a resource of which elements are kept.
pub(super) fn choice(name: &str) -> Option<&'static str> {
    let of_resources = CHOICES.iter().filter(|(of, _)| matches!(*of, "Patient" | "Encounter"));
    of_resources.map(|(_, choice)| *choice).find(|choice| name.starts_with(choice))
}

/// What is of another type than R4 says: its place, and what it must be.
#[derive(Debug, PartialEq, Eq)]
struct Wrong {
    place: String,
    must: Cow<'static, str>,
}

impl Wrong {
    fn new(place: &str, must: &'static str) -> Self {
        Self { place: place.to_owned(), must: must.into() }
    }
}

impl From<Wrong> for NotMapped {
    fn from(Wrong { place, must }: Wrong) -> Self {
        let message = format!("{place} must be {must}, as FHIR R4 has it: correct it");
        Self { reason: "ELEMENT_WRONG", message, element: place }
    }
}

impl Elements {
    /// Refuses an element of a resource of this type that is of another type than R4 says.
    pub fn check_types(&self, kind: &str) -> Result<(), NotMapped> {
        // Others are not kept, and some are called as parts of these are.
        if !matches!(kind, "Patient" | "Encounter") {
            return Ok(());
        }
        let read = read_of(kind);
        let mut said = Vec::new();
        for (name, json) in &self.0 {
            let Ok(value) = serde_json::from_str::<Value>(json.get()) else { continue };
            let says_nothing = is_nothing(&value);
            // What says nothing is not kept; but an item that is none is none of a list.
            if says_nothing && !read.contains(&name.as_str()) && !has_null_item(&value) {
                continue;
            }
            if let Some(wrong) = of_member(kind, name, &value, kind) {
                return Err(wrong.into());
            }
            said.extend((!says_nothing).then_some(name.as_str()));
        }
        said_twice(kind, said, kind).map_or(Ok(()), |wrong| Err(wrong.into()))
    }
}

/// Whether an element of a resource of this type is of the type that R4 says, or none that R4 has.
pub(super) fn is_of_its_type(kind: &str, name: &str, value: &Value) -> bool {
    of_member(kind, name, value, kind).is_none()
}

/// Whether members of these names say nothing in two ways that is said in one.
pub(super) fn is_said_once(kind: &str, names: Vec<&str>) -> bool {
    said_twice(kind, names, kind).is_none()
}

/// What is wrong of a member of this name of what is of this type. A place is made of the names
/// that R4 has alone: no other name is repeated.
fn of_member(of: &str, name: &str, value: &Value, place: &str) -> Option<Wrong> {
    let Some(extended) = name.strip_prefix('_') else {
        return wrong(value, type_of(of, name)?, &format!("{place}.{name}"));
    };
    // What extends a text or number stands beside it.
    let kind = type_of(of, extended)?;
    let place = format!("{place}.{name}");
    match kind.strip_prefix('*') {
        _ if !is_json(kind) => Some(Wrong::new(&place, "left out")),
        None => wrong(value, "Element", &place),
        Some(_) => {
            all(
                value,
                &place,
                |item, place| {
                    if item.is_null() { None } else { wrong(item, "Element", place) }
                },
            )
        }
    }
}

fn wrong(value: &Value, kind: &str, place: &str) -> Option<Wrong> {
    if let Some(of) = kind.strip_prefix('*') {
        // What has no value has an extension beside it.
        let is_left_out = |item: &Value| item.is_null() && is_json(of);
        let each = |item: &Value, place: &str| {
            if is_left_out(item) { None } else { wrong(item, of, place) }
        };
        return all(value, place, each);
    }
    let (is_right, must) = match kind {
        "text" => (value.is_string(), "a text"),
        // Whether it is older than what others said depends on it.
        "instant" => (
            value.as_str().is_some_and(|text| text.is_empty() || is_time(text)),
            "a time such as 2026-05-01T09:00:00+09:00",
        ),
        "flag" => (value.is_boolean(), "true or false"),
        "whole" => (value.is_i64() || value.is_u64(), "a whole number"),
        "number" => (value.is_number(), "a number"),
        _ => (value.is_object(), "an object"),
    };
    if !is_right {
        return Some(Wrong::new(place, must));
    }
    let members = value.as_object()?;
    let of_members = members.iter().find_map(|(name, value)| of_member(kind, name, value, place));
    let said = members.iter().filter(|(_, value)| !is_nothing(value));
    let twice = || said_twice(kind, said.map(|(name, _)| name.as_str()).collect(), place);
    of_members.or_else(|| left_out(members, place)).or_else(twice)
}

/// The second of two members of these names that say in different ways what is said in one.
fn said_twice(of: &str, mut said: Vec<&str>, place: &str) -> Option<Wrong> {
    let bare = |name: &&str| name.trim_start_matches('_').to_owned();
    said.sort_by_key(bare);
    CHOICES.iter().filter(|(kind, _)| *kind == of).find_map(|(_, choice)| {
        let is_way = |name: &&&str| bare(name).starts_with(choice);
        let mut ways = said.iter().filter(is_way).filter(|name| type_of(of, &bare(name)).is_some());
        let first = ways.next()?;
        let second = ways.find(|name| bare(name) != bare(first))?;
        let must = format!("left out beside {first}").into();
        Some(Wrong { place: format!("{place}.{second}"), must })
    })
}

fn has_null_item(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| item.is_null() || has_null_item(item)),
        Value::Object(members) => members.values().any(has_null_item),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// An item of a list that is left out, and that nothing beside it extends.
fn left_out(members: &Map<String, Value>, place: &str) -> Option<Wrong> {
    let lists = members.iter().filter(|(name, _)| !name.starts_with('_'));
    let mut items = lists.flat_map(|(name, value)| {
        let items = value.as_array().into_iter().flatten().enumerate();
        items.map(move |(at, item)| (name, at, item))
    });
    let (name, at, _) = items.find(|(name, at, item)| {
        let beside = || members.get(&format!("_{name}"))?.get(at);
        item.is_null() && !beside().is_some_and(Value::is_object)
    })?;
    let place = format!("{place}.{name}[{at}]");
    Some(Wrong::new(&place, "a value, or have an extension beside it"))
}

fn is_time(text: &str) -> bool {
    CareTime::parse(text, &Zone::utc()).is_ok()
}

fn all(value: &Value, place: &str, each: impl Fn(&Value, &str) -> Option<Wrong>) -> Option<Wrong> {
    let Value::Array(items) = value else {
        return Some(Wrong::new(place, "a list"));
    };
    let mut places = items.iter().enumerate();
    places.find_map(|(at, item)| each(item, &format!("{place}[{at}]")))
}

/// The type of a member of this name, if R4 has it.
fn type_of(of: &str, name: &str) -> Option<&'static str> {
    let find = |all: &[(&str, &'static str)], name: &str| {
        all.iter().find(|(of, _)| *of == name).map(|(_, kind)| *kind)
    };
    let (_, own) = TYPES.iter().find(|(kind, _)| *kind == of)?;
    find(own, name).or_else(|| match name.strip_prefix("value") {
        _ if name == "id" => Some("text"),
        _ if matches!(name, "extension" | "modifierExtension") => Some("*Extension"),
        Some(value) if of == "Extension" => {
            let named = || TYPES.iter().map(|(kind, _)| *kind).find(|kind| *kind == value);
            find(&VALUES, value).or_else(named)
        }
        _ => None,
    })
}

/// Whether a type, or that of a list's items, is one of JSON's own.
fn is_json(kind: &str) -> bool {
    kind.trim_start_matches('*').starts_with(|first: char| first.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(kind: &str, sent: &Value) -> Option<String> {
        let elements = Elements::read(&sent.to_string()).unwrap();
        elements.check_types(kind).err().map(|not_mapped| not_mapped.message)
    }

    #[test]
    fn what_is_of_another_type_than_fhir_says_is_refused_by_its_place() {
        for (kind, sent, words) in [
            (
                "Patient",
                json!({ "maritalStatus": "既婚" }),
                "Patient.maritalStatus must be an object",
            ),
            ("Patient", json!({ "name": { "family": "髙橋" } }), "Patient.name must be a list"),
            ("Patient", json!({ "gender": null }), "Patient.gender must be a text"),
            ("Patient", json!({ "active": "true" }), "Patient.active must be true or false"),
            (
                "Patient",
                json!({ "multipleBirthInteger": 1.5 }),
                "Patient.multipleBirthInteger must be a whole number",
            ),
            (
                "Patient",
                json!({ "contact": [{}, { "name": [{ "text": "一郎" }] }] }),
                "Patient.contact[1].name must be an object",
            ),
            (
                "Patient",
                json!({ "_birthDate": [{ "id": "b" }] }),
                "Patient._birthDate must be an object",
            ),
            (
                "Patient",
                json!({ "name": [{ "given": ["花", null], "_given": [null, "x"] }] }),
                "Patient.name[0]._given[1] must be an object",
            ),
            ("Patient", json!({ "_name": { "id": "n" } }), "Patient._name must be left out"),
            (
                "Patient",
                json!({ "name": [{ "given": [null, "x"] }] }),
                "Patient.name[0].given[0] must be a value",
            ),
            (
                "Patient",
                json!({ "address": [{ "line": ["1", null], "_line": [null] }] }),
                "Patient.address[0].line[1] must be a value",
            ),
            (
                "Encounter",
                json!({ "meta": { "lastUpdated": "yesterday" } }),
                "Encounter.meta.lastUpdated must be a time",
            ),
            (
                "Patient",
                json!({ "extension": [{ "url": "u", "valueQuantity": { "value": "1.5" } }] }),
                "Patient.extension[0].valueQuantity.value must be a number",
            ),
            (
                "Patient",
                json!({ "extension": [{ "url": "u", "valueBoolean": "no" }] }),
                "Patient.extension[0].valueBoolean must be true or false",
            ),
            (
                "Encounter",
                json!({ "reasonCode": [{ "coding": [{ "code": 7 }] }] }),
                "Encounter.reasonCode[0].coding[0].code must be a text",
            ),
            (
                "Encounter",
                json!({ "diagnosis": [{ "condition": "Condition/1" }] }),
                "Encounter.diagnosis[0].condition must be an object",
            ),
        ] {
            let why = refused(kind, &sent);
            assert!(why.as_ref().is_some_and(|why| why.starts_with(words)), "{sent}: {why:?}");
        }
    }

    #[test]
    fn of_what_is_said_in_one_of_several_ways_two_are_refused_and_both_are_named() {
        let url = "u";
        for (sent, words) in [
            (
                json!({ "deceasedBoolean": false, "deceasedDateTime": "2026-01-01" }),
                "Patient.deceasedDateTime must be left out beside deceasedBoolean",
            ),
            (
                json!({ "deceasedBoolean": true, "_deceasedDateTime": { "id": "d" } }),
                "Patient._deceasedDateTime must be left out beside deceasedBoolean",
            ),
            (
                json!({ "multipleBirthBoolean": true, "multipleBirthInteger": 2 }),
                "Patient.multipleBirthInteger must be left out beside multipleBirthBoolean",
            ),
            (
                json!({ "contact": [{ "extension": [
                    { "url": url, "valueCode": "a", "valueQuantity": { "value": 1 } },
                ] }] }),
                "Patient.contact[0].extension[0].valueQuantity must be left out beside valueCode",
            ),
        ] {
            let why = refused("Patient", &sent);
            assert!(why.as_ref().is_some_and(|why| why.starts_with(words)), "{sent}: {why:?}");
        }
        for one in [
            json!({ "deceasedDateTime": "2026", "_deceasedDateTime": { "id": "d" } }),
            json!({ "deceasedBoolean": false, "deceasedDateTime": "" }),
            json!({ "multipleBirthBoolean": null, "multipleBirthInteger": 2 }),
            json!({ "extension": [{ "url": url, "valueCode": "a", "_valueCode": { "id": "v" } }] }),
        ] {
            assert_eq!(refused("Patient", &one), None, "{one}");
        }
    }

    #[test]
    fn a_list_that_holds_a_null_and_nothing_else_is_refused_as_one_with_a_value_beside_it_is() {
        for name in ["contact", "communication", "extension", "generalPractitioner", "photo"] {
            for items in [json!([null]), json!([null, {}])] {
                let why = refused("Patient", &json!({ name: items })).unwrap_or_default();
                assert!(why.starts_with(&format!("Patient.{name}[0] must be an object")), "{why}");
            }
        }
        let inner = json!({ "contact": [{ "telecom": [null] }] });
        let why = refused("Patient", &inner).unwrap_or_default();
        assert!(why.starts_with("Patient.contact[0].telecom[0] must be an object"), "{why}");
    }

    #[test]
    fn what_r4_does_not_have_and_what_says_nothing_is_passed_over() {
        for sent in [
            json!({ "genderIdentity": 7, "contact": [{ "role": "x" }] }),
            json!({ "maritalStatus": "", "photo": null, "link": {} }),
            json!({ "extension": [{ "url": "u", "valueCodeableReference": [] }] }),
            json!({ "name": [{ "given": ["花", null], "_given": [null, { "id": "g" }] }] }),
            json!({ "meta": { "lastUpdated": "2026-05-01T09:00:00.123+09:00" } }),
            json!({ "meta": { "lastUpdated": "" } }),
            json!({ "birthDate": "1938", "_birthDate": { "extension": [] }, "gender": "" }),
        ] {
            assert_eq!(refused("Patient", &sent), None, "{sent}");
        }
        assert_eq!(refused("Basic", &json!({ "name": 7 })), None);
    }

    #[test]
    fn every_type_that_is_named_is_there() {
        let named = TYPES.iter().flat_map(|(_, members)| *members).chain(&VALUES);
        for (name, kind) in named.filter(|(_, kind)| !is_json(kind)) {
            let kind = kind.trim_start_matches('*');
            let is_there = kind == "Resource" || TYPES.iter().any(|(of, _)| *of == kind);
            assert!(is_there, "{name}: {kind}");
        }
    }
}
