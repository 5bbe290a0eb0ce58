//! What a resource says beyond what becomes of it here: kept as it was sent, and given back as it
//! was sent (`restored`).
//!
//! An element is kept if it would not come back otherwise: if not all of it is in what this
//! resource alone would make of the same element here. That is noted beside it, as a hash; as long
//! as it is what is said here, nothing is known that speaks against the element.

mod json;
mod of_resource;
mod remembered;
mod restored;
mod types;

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;
use uuid::Uuid;

use crate::fhir::NotMapped;
use crate::fhir::resource::read_of;
use crate::received::{content, hash};
use json::{has, is_nothing, is_within, refers_into_the_resource};

pub(super) use remembered::Remembered;
pub(super) use restored::restored;

/// The elements of a resource as they were sent, by their names.
#[derive(Debug, Clone, Default)]
pub struct Elements(BTreeMap<String, Box<RawValue>>);

/// What is kept of a resource, and what is not.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    elements: Vec<v1::ReceivedElement>,
    /// Those for which there is no room.
    too_large: Vec<v1::ElementTooLarge>,
    /// The names of those that are neither kept nor said here otherwise.
    left_out: Vec<String>,
    /// The labels that nothing is withheld by, by their places.
    unread_labels: Vec<String>,
    resource_type: &'static str,
    /// Its id here; nil, where that is the patient's.
    resource_id: Uuid,
    sent_as: String,
    /// When it says that it was written.
    written: String,
    /// The same of an encounter, as a source names it.
    version: String,
    occurred_at: String,
}

/// What is told of a resource that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    pub reason: &'static str,
    /// Holds names of elements, and nothing of what they say.
    pub message: String,
}

/// A label by which its sender may mean that something is withheld, and nothing is.
pub(super) const LABEL_NOT_READ: &str = "LABEL_NOT_READ";

/// Bytes of what is kept of one resource, whatever the settings say: an event has no more.
const BYTES_MAX: usize = 256 << 10;
const ELEMENTS_MAX: usize = 200;
/// Elements that are not kept and are named.
const NOT_KEPT_MAX: usize = 50;

/// What is never kept. Resources in a resource stand there for references that may lead somewhere
/// else here; rules that nobody here knows would be said of what is told by others too; and which
/// records are of one person is ours to say: `link` would name records of another system.
const NEVER_KEPT: [&str; 3] = ["contained", "implicitRules", "link"];
const MODIFIER: &str = "modifierExtension";
/// Of `meta`, what the sender says of the content, and not of its own copy of it.
const OF_META: [&str; 2] = ["security", "tag"];

impl Elements {
    pub fn read(json: &str) -> serde_json::Result<Self> {
        let mut elements: BTreeMap<String, Box<RawValue>> = serde_json::from_str(json)?;
        elements.retain(|name, _| is_kept(name));
        Ok(Self(elements))
    }

    /// The names of those that nothing is made of here, of a resource of this type.
    fn unread(&self, kind: &str) -> Vec<String> {
        let read = read_of(kind);
        let unread = self.0.keys().filter(|name| !read.contains(&name.as_str()));
        unread.take(NOT_KEPT_MAX).cloned().collect()
    }

    /// Refuses what changes the meaning of an element that is read here, in a way that is not
    /// known: FHIR forbids to read the element as though it were not there. Where nothing is read,
    /// it is kept with its element.
    pub fn check_modifiers(&self, kind: &str) -> Result<(), NotMapped> {
        let read = read_of(kind);
        for (name, json) in &self.0 {
            let value = || serde_json::from_str::<Value>(json.get()).unwrap_or_default();
            let element = format!("{kind}.{name}");
            let place = match name.as_str() {
                MODIFIER if !is_nothing(&value()) => element.clone(),
                name if read.contains(&name)
                    && may_have(json.get(), MODIFIER)
                    && has(&value(), &|name, value| name == MODIFIER && !is_nothing(value)) =>
                {
                    format!("{element} with a {MODIFIER}")
                }
                _ => continue,
            };
            let message = format!(
                "{place} changes what the resource means in a way that is not known here: send the resource without what it changes, or not at all"
            );
            return Err(NotMapped { reason: "MODIFIER_UNKNOWN", message, element });
        }
        Ok(())
    }

    /// What is kept of them, beside what is said here in their place.
    fn kept(&self, ours: &Map<String, Value>, bytes_max: usize) -> Kept {
        let mut groups: BTreeMap<&str, Vec<(&str, &RawValue)>> = BTreeMap::new();
        for (name, json) in &self.0 {
            groups.entry(group(name)).or_default().push((name, json));
        }
        let mut wanted = Vec::new();
        let mut kept = Kept::default();
        for (group, members) in groups {
            match wanted_of(group, &members, ours) {
                Ok(elements) if elements.is_empty() => {}
                Ok(elements) => wanted.push(elements),
                Err(NotKept) => kept.left_out.extend(members.iter().map(|(n, _)| (*n).to_owned())),
            }
        }
        // The smaller come first: one large picture does not keep the others out.
        wanted.sort_by_key(|elements| bytes(elements));
        let mut left = bytes_max.min(BYTES_MAX);
        for elements in wanted {
            let room = left.checked_sub(bytes(&elements));
            match room.filter(|_| kept.elements.len() + elements.len() <= ELEMENTS_MAX) {
                Some(room) => {
                    left = room;
                    kept.elements.extend(elements);
                }
                None => kept.too_large.extend(elements.into_iter().map(too_large)),
            }
        }
        kept.left_out.extend(kept.too_large.iter().map(|element| element.name.clone()));
        kept.too_large.sort_by(|one, other| one.name.cmp(&other.name));
        kept.too_large.truncate(ELEMENTS_MAX);
        kept.elements.sort_by(|one, other| one.name.cmp(&other.name));
        kept.left_out.sort_unstable();
        kept.left_out.truncate(NOT_KEPT_MAX);
        kept
    }
}

/// Why an element is not kept: it cannot be, or it would not be what it was.
struct NotKept;

/// The elements of a group that are to be kept: none, if they are said here.
fn wanted_of(
    group: &str,
    members: &[(&str, &RawValue)],
    ours: &Map<String, Value>,
) -> Result<Vec<v1::ReceivedElement>, NotKept> {
    if NEVER_KEPT.contains(&group) {
        return Err(NotKept);
    }
    let mut is_said = true;
    for (name, json) in members {
        let value: Value = serde_json::from_str(json.get()).or(Err(NotKept))?;
        let value = if *name == "meta" { of_meta(value) } else { value };
        let is_here =
            is_nothing(&value) || ours.get(*name).is_some_and(|ours| is_within(&value, ours));
        if !is_here && has(&value, &refers_into_the_resource) {
            return Err(NotKept);
        }
        is_said &= is_here;
    }
    if is_said {
        return Ok(Vec::new());
    }
    let shown = shown(group, ours);
    let element = |(name, json): &(&str, &RawValue)| {
        let json = if *name == "meta" { meta_json(json) } else { json.get().to_owned() };
        v1::ReceivedElement { name: (*name).to_owned(), json, shown: shown.clone() }
    };
    Ok(members.iter().map(element).collect())
}

/// The names that say one thing: an element and what extends it, and the ways to say that somebody
/// died, or was born with others.
fn group(name: &str) -> &str {
    let name = name.strip_prefix('_').unwrap_or(name);
    types::choice(name).unwrap_or(name)
}

/// Whether it is the name of an element that may be the sender's word: which resource it is, is ours
/// to say.
fn is_kept(name: &str) -> bool {
    let bare = name.strip_prefix('_').unwrap_or(name);
    (1..=63).contains(&bare.len())
        && bare.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && !matches!(group(name), "resourceType" | "id")
}

/// Whether a name may be in a piece of JSON, in which any letter may be escaped.
fn may_have(json: &str, name: &str) -> bool {
    json.contains(name) || json.contains("\\u")
}

/// A hash of what is said here in the place of a group of elements; empty for nothing. A narrative
/// tells of the whole, but for numbers, to which others add theirs.
fn shown(of: &str, ours: &Map<String, Value>) -> String {
    let is_in_place = |name: &str| match of {
        "text" => !matches!(name, "id" | "meta" | "identifier" | "subject" | "partOf"),
        of => group(name) == of,
    };
    let in_place = ours.iter().filter(|(name, _)| is_in_place(name));
    let in_place: Map<String, Value> = in_place.map(|(n, v)| (n.clone(), v.clone())).collect();
    if in_place.is_empty() {
        return String::new();
    }
    let text = Value::Object(in_place).to_string();
    Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes()).to_string()
}

fn of_meta(meta: Value) -> Value {
    let Value::Object(meta) = meta else { return Value::Null };
    Value::Object(meta.into_iter().filter(|(name, _)| OF_META.contains(&name.as_str())).collect())
}

fn meta_json(meta: &RawValue) -> String {
    let mut members: BTreeMap<String, &RawValue> =
        serde_json::from_str(meta.get()).unwrap_or_default();
    members.retain(|name, _| OF_META.contains(&name.as_str()));
    serde_json::to_string(&members).unwrap_or_default()
}

fn too_large(element: v1::ReceivedElement) -> v1::ElementTooLarge {
    let v1::ReceivedElement { name, json, shown } = element;
    v1::ElementTooLarge { hash: hash(&name, &json).to_string(), name, shown }
}

fn bytes(elements: &[v1::ReceivedElement]) -> usize {
    elements.iter().map(|element| element.name.len() + element.json.len()).sum()
}

impl Kept {
    /// Nothing: what is not read of a resource of this type is told to be left out.
    pub fn nothing_of(kind: &str, sent: &Elements) -> Self {
        Self { left_out: sent.unread(kind), ..Self::default() }
    }

    /// What its sender is told of it.
    pub fn remarks(&self) -> Vec<Remark> {
        let remark = |reason, words: &str, of: &[String]| {
            let message = format!("{words}: {}", of.join(", "));
            (!of.is_empty()).then_some(Remark { reason, message })
        };
        let not_kept = "not kept here, and not given back, unless the same was kept before";
        let not_read = "nothing is withheld because of this label: only R and V of http://terminology.hl7.org/CodeSystem/v3-Confidentiality on a Patient are read, which withhold the address";
        let remarks = [
            remark(LABEL_NOT_READ, not_read, &self.unread_labels),
            remark("ELEMENTS_NOT_KEPT", not_kept, &self.left_out),
        ];
        remarks.into_iter().flatten().collect()
    }

    pub fn is_empty(&self) -> bool {
        self.elements.is_empty() && self.too_large.is_empty()
    }

    pub(super) fn content(&self) -> Uuid {
        content(&self.elements, &self.too_large)
    }

    pub(super) fn sent_as(&self) -> &str {
        &self.sent_as
    }

    pub(super) fn written(&self) -> &str {
        &self.written
    }

    pub(super) fn occurred_at(&self) -> &str {
        &self.occurred_at
    }

    /// Only what could not be taken as a message: it has a My Number in it.
    fn checked(self) -> Result<Self, NotMapped> {
        let (elements, too_large) = (self.elements.clone(), self.too_large.clone());
        let said = v1::ResourceReceived { elements, too_large, ..Default::default() };
        let wrong = Payload::ResourceReceived(said).violations(None);
        // A name that is refused is not repeated: a My Number may be in it.
        let wrong_name = |problem: &str| {
            let message = format!("{}: the name of an element {problem}", self.resource_type);
            NotMapped { reason: "FIELDS_INVALID", message, element: String::new() }
        };
        if let Some(wrong) = wrong.iter().find(|wrong| wrong.field.starts_with("too_large[")) {
            return Err(wrong_name(&wrong.problem));
        }
        for (index, element) in self.elements.iter().enumerate() {
            let of = format!("elements[{index}]");
            if let Some(wrong) = wrong.iter().find(|wrong| wrong.field.starts_with(&of)) {
                if wrong.field == format!("{of}.name") {
                    return Err(wrong_name(&wrong.problem));
                }
                let element = format!("{}.{}", self.resource_type, element.name);
                let message = format!("{element} {}", wrong.problem);
                return Err(NotMapped { reason: "FIELDS_INVALID", message, element });
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;
    use serde_json::json;
    use tsunagi_domain::PatientId;

    use super::*;
    use crate::fhir::map::Mapper;
    use crate::fhir::resource::Patient;
    use crate::fhir::{Directory, Ids};

    fn ours(members: Value) -> Map<String, Value> {
        let Value::Object(members) = members else { panic!("no object") };
        members
    }

    /// What is kept of a resource beside this, by names.
    fn kept(sent: &str, beside: Value) -> Kept {
        Elements::read(sent).unwrap().kept(&ours(beside), 16384)
    }

    fn names(kept: &Kept) -> Vec<&str> {
        kept.elements.iter().map(|element| element.name.as_str()).collect()
    }

    /// The members of what is given back, as they are written.
    fn back(kept: &Kept, beside: &Value) -> BTreeMap<String, String> {
        let elements = kept.elements.clone();
        let word = v1::ResourceReceived { elements, ..v1::ResourceReceived::default() };
        let given = restored(beside, &[word]).unwrap();
        let members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(given.get()).unwrap();
        members.into_iter().map(|(name, json)| (name, json.get().to_owned())).collect()
    }

    /// Some JSON as somebody may write it.
    fn written() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("true".to_owned()),
            "-?[1-9][0-9]{0,5}(\\.[0-9]{1,9})?(e[0-9])?",
            "[a-zあ-ん \\\\u{1f600}]{1,8}".prop_map(|text| Value::from(text).to_string()),
            Just("\"\\u00e9\\/\"".to_owned()),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            let members = proptest::collection::vec(("[a-z]{1,6}", inner.clone()), 1..5);
            prop_oneof![
                proptest::collection::vec(inner, 1..5)
                    .prop_map(|items| format!("[ {} ]", items.join(" ,\n"))),
                members.prop_map(|members| {
                    let members =
                        members.into_iter().map(|(name, json)| format!("{name:?} : {json}"));
                    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_kept_comes_back_byte_for_byte(json in written(), other in written()) {
            let sent = format!("{{\"name\":{json},\"own\" : {other} }}");
            let beside = json!({ "resourceType": "Basic", "name": { "": 7 } });
            let kept = kept(&sent, beside.clone());
            prop_assert_eq!(names(&kept), ["name", "own"]);
            let given = back(&kept, &beside);
            prop_assert_eq!((&given["name"], &given["own"]), (&json, &other));
            // What is said in its place by now was said by somebody else.
            let changed = json!({ "resourceType": "Basic", "name": { "": 8 } });
            let given = back(&kept, &changed);
            prop_assert_eq!(&given["name"], "{\"\":8}");
            prop_assert_eq!(&given["own"], &other);
        }

        #[test]
        fn what_is_said_here_is_not_kept_as_well(json in written()) {
            let value: Value = serde_json::from_str(&json).unwrap();
            let more = json!({ "resourceType": "Patient", "name": value, "active": true });
            let kept = kept(&format!("{{\"name\":{json}}}"), more);
            prop_assert_eq!(names(&kept), [""; 0]);
        }
    }

    #[test]
    fn what_is_no_json_or_of_another_type_keeps_nothing_else_from_being_given_out() {
        let beside = json!({ "resourceType": "Patient", "id": "ours", "birthDate": "1938-04-02" });
        let shown = shown("birthDate", &ours(beside.clone()));
        let element = |name: &str, json: &str| v1::ReceivedElement {
            name: name.to_owned(),
            json: json.to_owned(),
            shown: if group(name) == "birthDate" { shown.clone() } else { String::new() },
        };
        for bad in ["", "7", "{", "[1] 2", "\"\\ud800\"", "1e999", &"[".repeat(200)] {
            let elements = vec![
                element("_birthDate", "{\"id\":\"b\"}"),
                element("birthDate", bad),
                element("id", "\"theirs\""),
                element("identifier", bad),
                element("maritalStatus", "{ \"text\": \"既婚\" }"),
                element("meta", bad),
            ];
            let kept = Kept { elements, ..Kept::default() };
            let given = back(&kept, &beside);
            assert_eq!(given["maritalStatus"], "{ \"text\": \"既婚\" }", "{bad}");
            let names: Vec<&str> = given.keys().map(String::as_str).collect();
            assert_eq!(names, ["birthDate", "id", "maritalStatus", "resourceType"], "{bad}");
            assert_eq!((&*given["birthDate"], &*given["id"]), ("\"1938-04-02\"", "\"ours\""));
        }
    }

    #[test]
    fn an_element_is_kept_if_some_of_it_is_not_said_here() {
        let here =
            json!({ "name": [{ "use": "official", "family": "髙橋", "given": ["花", "子"] }] });
        for (name, is_kept) in [
            (json!([{ "family": "髙橋", "given": ["花"] }]), false),
            (json!([{ "family": "高橋" }]), true),
            (json!([{ "family": "髙橋" }, { "family": "髙橋", "use": "old" }]), true),
            (json!([]), false),
            (json!([{ "period": { "start": "" } }]), false),
            (json!("髙橋"), true),
        ] {
            let kept = kept(&json!({ "name": name }).to_string(), here.clone());
            assert_eq!(!kept.is_empty(), is_kept, "{name}");
        }
        let place = json!({ "location": [{ "location": { "display": "4E" } }] });
        let sent = json!({ "location": [{ "location": { "reference": "Location/1", "type": "Location" } }] });
        assert!(kept(&sent.to_string(), place).is_empty(), "where it leads is somewhere else here");
    }

    #[test]
    fn of_two_ways_to_say_one_thing_one_is_given_back() {
        let word = |sent: &str| {
            let elements = kept(sent, json!({})).elements;
            v1::ResourceReceived { elements, ..v1::ResourceReceived::default() }
        };
        let birth = |given: &RawValue| {
            let given: Map<String, Value> = serde_json::from_str(given.get()).unwrap();
            given.into_iter().filter(|(name, _)| name.starts_with('m')).collect::<Vec<_>>()
        };
        let ours = json!({ "resourceType": "Patient" });
        let newer = word(r#"{"multipleBirthInteger":2}"#);
        let older = word(r#"{"multipleBirthBoolean":true}"#);
        let given = restored(&ours, &[newer, older]).unwrap();
        assert_eq!(birth(&given), [("multipleBirthInteger".to_owned(), json!(2))]);
        let both = word(r#"{"multipleBirthBoolean":true,"multipleBirthInteger":2}"#);
        assert_eq!(birth(&restored(&ours, &[both]).unwrap()), [], "taken by an earlier version");
    }

    #[test]
    fn the_two_ways_to_say_that_somebody_died_are_one_element() {
        let lives = kept(
            r#"{"deceasedBoolean":false,"_birthDate":{"id":"b"},"birthDate":"1938"}"#,
            json!({ "birthDate": "1938" }),
        );
        assert_eq!(names(&lives), ["_birthDate", "birthDate", "deceasedBoolean"]);
        let given = back(&lives, &json!({ "birthDate": "1938", "deceasedDateTime": "2026" }));
        assert_eq!(
            given.keys().collect::<Vec<_>>(),
            ["_birthDate", "birthDate", "deceasedDateTime"]
        );
        let given = back(&lives, &json!({ "birthDate": "1939" }));
        assert_eq!(given.keys().collect::<Vec<_>>(), ["birthDate", "deceasedBoolean"]);
    }

    #[test]
    fn what_cannot_be_read_or_is_too_much_is_named() {
        let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
        let sent = format!(
            r##"{{"a":{deep},"b":1e999,"c":"{}","d":"{}","contained":[{{"id":"o"}}],"e":{{"reference":"#o"}},"not a name":1}}"##,
            "x".repeat(9_000),
            "y".repeat(9_000)
        );
        let kept = kept(&sent, json!({}));
        assert_eq!(names(&kept), ["c"]);
        assert_eq!(kept.left_out, ["a", "b", "contained", "d", "e"]);
    }

    #[test]
    fn labels_of_our_own_stay_beside_the_sender_s() {
        let sent = r#"{"meta":{"versionId":"9","tag":[{"code":"t"}],"security":[{"code":"N"}]}}"#;
        let kept = kept(sent, json!({}));
        let given =
            back(&kept, &json!({ "meta": { "profile": ["p"], "security": [{ "code": "R" }] } }));
        let expected =
            r#"{"profile":["p"],"security":[{"code":"R"},{"code":"N"}],"tag":[{"code":"t"}]}"#;
        assert_eq!(given["meta"], expected);
    }

    #[test]
    fn the_same_of_a_resource_is_kept_under_the_same_id_for_ever() {
        // Golden: with other ids, all would be kept a second time; with another hash, what was
        // kept would not come back.
        let (ids, directory) = (Ids::new("fhir"), Directory::default());
        let mapper = Mapper { ids: &ids, directory: &directory, now: "2026-05-01T00:00:00Z" };
        let sent =
            r#"{"resourceType":"Patient","id":"p1","birthDate":"1938","_birthDate":{"id":"b"}}"#;
        let patient: Patient = serde_json::from_str(sent).unwrap();
        let kept = mapper.kept_of_patient(&patient, &Elements::read(sent).unwrap(), 16384).unwrap();
        let event = mapper.received(&kept, PatientId::new(Uuid::from_u128(7)), None);
        let mut hex = String::new();
        for byte in &event.payload {
            write!(hex, "{byte:02x}").unwrap();
        }
        let ids = [event.event_id.as_str(), &kept.elements[1].shown];
        assert_eq!(
            ids,
            ["4bd6876b-ab9f-5fa3-9a8a-1e72b5b2a899", "480f1c4b-b421-5dc8-8aeb-3c38abd9ecea"]
        );
        let expected = concat!(
            "0a0750617469656e74122430303030303030302d303030302d303030302d303030302d30303030303030",
            "30303030371a0a50617469656e742f7031223e0a0a5f626972746844617465120a7b226964223a226222",
            "7d1a2434383066316334622d623432312d356463382d386165622d33633338616264396563656122390a",
            "0962697274684461746512062231393338221a2434383066316334622d623432312d356463382d386165",
            "622d336333386162643965636561"
        );
        assert_eq!(hex, expected);
    }
}
