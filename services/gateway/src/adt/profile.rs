//! What is to be known of a sending facility to read its messages: data, in a TOML file.
//!
//! A facility that no profile names is read as its messages say, in the region's time zone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use serde::Deserialize;
use tsunagi_domain::id::is_code;
use tsunagi_proto::v1;

use super::refusal::Refusal;
use crate::hl7::{Charset, Field, Message};
use crate::text;

/// Why the profiles cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    #[error("cannot read the HL7 profiles {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the HL7 profiles {path} are not what services/gateway/README.md describes")]
    Toml { path: PathBuf, source: Box<toml::de::Error> },
    #[error("in the HL7 profiles {path}, `{key}` of facility `{facility}` must be {expected}")]
    Value { path: PathBuf, facility: String, key: &'static str, expected: &'static str },
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entries {
    #[serde(default)]
    facility: Vec<Entry>,
}

/// A facility as the file has it. This crate's README.md says what each key means.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Entry {
    id: String,
    name: String,
    application: Option<String>,
    facility: Option<String>,
    zone: Option<String>,
    charset: Option<String>,
    authority: Option<String>,
    always_acknowledge: bool,
    outpatient_ends_that_day: Option<bool>,
    ignore: BTreeSet<String>,
    record_numbers: BTreeSet<String>,
    #[serde(alias = "client_certificate")]
    client_certificate: BTreeSet<String>,
    authorities: BTreeMap<String, String>,
    classes: BTreeMap<String, String>,
    sexes: BTreeMap<String, String>,
    departments: BTreeMap<String, String>,
    wards: BTreeMap<String, String>,
    fields: BTreeMap<String, String>,
}

/// Facts that a facility may say in other fields than the standard's.
const FIELDS: [&str; 6] =
    ["admitted-at", "discharged-at", "visit-number", "ward", "department", "confidential-address"];

/// Types of numbers (table 0203) that are an account's or a visit's.
const OTHER_NUMBERS: [&str; 2] = ["AN", "VN"];

/// Code points that the system of a number has, so that there is room for `#visit`.
pub(super) const SYSTEM_LENGTH_MAX: usize = 190;

/// How the messages of one facility are read.
#[derive(Debug, Clone)]
pub struct Profile {
    /// The organisation in whose name its events are said.
    pub(super) facility: v1::Organisation,
    pub(super) zone: TimeZone,
    pub(super) charset: Option<Charset>,
    /// The system of numbers that name no assigning authority.
    pub(super) authority: String,
    entry: Entry,
}

/// The profiles of a region.
#[derive(Debug, Clone)]
pub struct Profiles {
    listed: Vec<Profile>,
    region_zone: TimeZone,
}

impl Profiles {
    /// Reads the profiles, if there are any.
    pub fn read(path: Option<&Path>, region_zone: &str) -> Result<Self, ProfileError> {
        let region_zone = TimeZone::get(region_zone).unwrap_or(TimeZone::UTC);
        let Some(path) = path else { return Ok(Self { listed: Vec::new(), region_zone }) };
        let text = std::fs::read_to_string(path)
            .map_err(|source| ProfileError::Read { path: path.to_owned(), source })?;
        let entries: Entries = toml::from_str(&text).map_err(|source| ProfileError::Toml {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let mut listed = Vec::with_capacity(entries.facility.len());
        for entry in entries.facility {
            let facility = entry.id.clone();
            let profile = Profile::new(entry, &region_zone).map_err(|(key, expected)| {
                ProfileError::Value { path: path.to_owned(), facility, key, expected }
            })?;
            listed.push(profile);
        }
        Ok(Self { listed, region_zone })
    }

    /// The profile of whoever sent a message: the first that names the sender, or one made of
    /// what the message says.
    pub(super) fn of(&self, message: &Message<'_>) -> Result<Profile, Refusal> {
        let [application, facility] = [3, 4].map(|number| message.field("MSH", number));
        let says = |field, wanted: &Option<String>| {
            wanted.as_ref().is_none_or(|wanted| is_called(field, wanted))
        };
        let is_sender = |profile: &&Profile| {
            says(application, &profile.entry.application) && says(facility, &profile.entry.facility)
        };
        let listed = self.listed.iter().find(is_sender).cloned();
        let profile = match listed {
            Some(listed) => listed,
            None => {
                Profile::new(Entry::default(), &self.region_zone).map_err(|(key, expected)| {
                    Refusal::wrong("MSH-4", &format!("the profile's `{key}` must be {expected}"))
                })?
            }
        };
        if !profile.facility.id.is_empty() {
            return Ok(profile);
        }
        let name = [facility, application].into_iter().find_map(named).ok_or_else(|| {
            Refusal::missing(
                "MSH-4",
                "name the sending facility in MSH-4 (or the application in MSH-3): record numbers are only unique within it",
            )
        })?;
        Ok(profile.of_facility(text::code(&name)))
    }

    /// Whether somebody whose certificate has these names may send this message, in whose facility's
    /// name its events are said. By whatever profile it is read, and however it names a facility:
    /// what some may say alone for it nobody else does.
    pub(super) fn may_be_sent_by(
        &self,
        names: &[String],
        message: &Message<'_>,
        profile: &Profile,
    ) -> bool {
        let sender = message.field("MSH", 4);
        let is_guard = |listed: &&Profile| {
            !listed.entry.client_certificate.is_empty()
                && listed.is_of(&profile.facility.id, sender)
        };
        let mut guards = self.listed.iter().filter(is_guard).peekable();
        profile.is_spoken_for_by(names)
            && (guards.peek().is_none() || guards.any(|guard| guard.is_spoken_for_by(names)))
    }
}

/// Whether a sender (HD) has this name or universal id.
fn is_called(sender: Field<'_>, name: &str) -> bool {
    [1, 2].iter().any(|part| sender.component(*part).text() == name)
}

/// What a sender calls itself (HD): its name, and the universal id that tells it from others of
/// the same name.
fn named(sender: Field<'_>) -> Option<String> {
    let [name, universal] = [1, 2].map(|part| sender.component(part).subcomponent(1).text());
    match (name.trim(), universal.trim()) {
        ("", "") => None,
        (only, "") | ("", only) => Some(only.to_owned()),
        (name, universal) => Some(format!("{name}^{universal}")),
    }
}

impl Profile {
    fn new(entry: Entry, region_zone: &TimeZone) -> Result<Self, (&'static str, &'static str)> {
        if !entry.id.is_empty() && !is_code(&entry.id) {
            return Err(("id", "1 to 64 ASCII letters, digits, `.`, `_`, `:` or `-`, or left out"));
        }
        // An id that messages give could be given by anybody's.
        if entry.id.is_empty() && !entry.client_certificate.is_empty() {
            return Err(("id", "given where `client-certificate` is"));
        }
        let zone = match &entry.zone {
            None => region_zone.clone(),
            Some(name) => {
                TimeZone::get(name).or(Err(("zone", "a time zone such as Asia/Tokyo")))?
            }
        };
        let charset = match &entry.charset {
            None => None,
            Some(name) => Some(Charset::named(name).ok_or((
                "charset",
                "one of ascii, utf-8, latin1, iso-2022-jp, cp932 and euc-jp",
            ))?),
        };
        if entry.fields.keys().any(|key| !FIELDS.contains(&key.as_str())) {
            return Err(("fields", "of the facts that services/gateway/README.md lists"));
        }
        if entry.fields.values().any(|at| FieldPath::parse(at).is_none()) {
            return Err(("fields", "places such as `ZPV-3` or `ZPV-3.1`"));
        }
        if entry.classes.values().any(|name| class_named(name).is_none()) {
            return Err(("classes", "each one of inpatient, outpatient, emergency, home, virtual"));
        }
        if entry.sexes.values().any(|name| sex_named(name).is_none()) {
            return Err(("sexes", "each one of female, male, other, unknown"));
        }
        let authority = entry.authority.clone().unwrap_or_default();
        let facility = v1::Organisation { id: String::new(), name: text::cut(&entry.name, 200) };
        let id = entry.id.clone();
        Ok(Self { facility, zone, charset, authority, entry }.of_facility(id))
    }

    /// The profile with the id of its facility, which messages give where the profile does not.
    fn of_facility(mut self, id: String) -> Self {
        self.facility.id = id;
        if self.authority.is_empty() && !self.facility.id.is_empty() {
            self.authority = self.own_numbers();
        }
        self
    }

    /// The system of what the facility numbers. A `:` within its id would make it that of
    /// another facility's authority.
    fn own_numbers(&self) -> String {
        format!("urn:tsunagi:hl7:{}", self.facility.id.replace(':', "%3A"))
    }

    /// Whether its messages are answered also when they say that no answer is wanted.
    pub(super) fn always_acknowledges(&self) -> bool {
        self.entry.always_acknowledge
    }

    /// Whether its outpatient visits end on the day on which they begin, if the profile says so.
    pub(super) fn outpatient_ends_that_day(&self) -> Option<bool> {
        self.entry.outpatient_ends_that_day
    }

    /// Whether a number of this type (PID-3.5) is the patient's.
    pub(super) fn is_record_number(&self, kind: &str) -> bool {
        !OTHER_NUMBERS.contains(&kind) || self.entry.record_numbers.contains(kind)
    }

    /// Whether it is that of a facility, by the id that this has here or as the sender names it.
    fn is_of(&self, facility: &str, sender: Field<'_>) -> bool {
        let name = self.entry.facility.as_deref();
        self.facility.id == facility || name.is_some_and(|name| is_called(sender, name))
    }

    /// Whether the profile lets somebody whose certificate has these names speak for the facility.
    fn is_spoken_for_by(&self, names: &[String]) -> bool {
        let own = &self.entry.client_certificate;
        own.is_empty() || names.iter().any(|name| own.contains(name))
    }

    /// Whether messages of this event are to be passed over.
    pub(super) fn ignores(&self, event: &str) -> bool {
        self.entry.ignore.contains(event)
    }

    /// The system of the numbers that an authority assigns.
    pub(super) fn system_of(&self, authority: &str) -> String {
        let known = self.entry.authorities.get(authority).cloned();
        known.unwrap_or_else(|| {
            text::distinct(&format!("{}:{authority}", self.own_numbers()), SYSTEM_LENGTH_MAX)
        })
    }

    pub(super) fn class(&self, code: &str) -> Option<v1::EncounterClass> {
        self.entry.classes.get(code).and_then(|name| class_named(name))
    }

    pub(super) fn sex(&self, code: &str) -> Option<v1::Sex> {
        self.entry.sexes.get(code).and_then(|name| sex_named(name))
    }

    pub(super) fn department<'a>(&'a self, code: &'a str) -> &'a str {
        self.entry.departments.get(code).map_or(code, String::as_str)
    }

    pub(super) fn ward<'a>(&'a self, code: &'a str) -> &'a str {
        self.entry.wards.get(code).map_or(code, String::as_str)
    }

    /// Where this facility says a fact, if not where the standard has it.
    pub(super) fn place_of(&self, fact: &str) -> Option<FieldPath> {
        self.entry.fields.get(fact).and_then(|at| FieldPath::parse(at))
    }
}

/// A place in a message, such as `ZPV-3` or `ZPV-3.1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldPath {
    pub(super) segment: String,
    pub(super) field: usize,
    pub(super) component: Option<usize>,
}

impl FieldPath {
    fn parse(text: &str) -> Option<Self> {
        let (segment, rest) = text.split_once('-')?;
        let (field, component) = match rest.split_once('.') {
            Some((field, component)) => (field, Some(component.parse().ok()?)),
            None => (rest, None),
        };
        let is_name = segment.len() == 3 && segment.bytes().all(|b| b.is_ascii_alphanumeric());
        let field = field.parse().ok().filter(|number| *number > 0)?;
        is_name.then(|| Self { segment: segment.to_ascii_uppercase(), field, component })
    }
}

fn class_named(name: &str) -> Option<v1::EncounterClass> {
    match name {
        "inpatient" => Some(v1::EncounterClass::Inpatient),
        "outpatient" => Some(v1::EncounterClass::Outpatient),
        "emergency" => Some(v1::EncounterClass::Emergency),
        "home" => Some(v1::EncounterClass::Home),
        "virtual" => Some(v1::EncounterClass::Virtual),
        _ => None,
    }
}

fn sex_named(name: &str) -> Option<v1::Sex> {
    match name {
        "female" => Some(v1::Sex::Female),
        "male" => Some(v1::Sex::Male),
        "other" => Some(v1::Sex::Other),
        "unknown" => Some(v1::Sex::Unknown),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str) -> Result<Profiles, ProfileError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profiles.toml");
        std::fs::write(&path, toml).unwrap();
        Profiles::read(Some(&path), "Asia/Tokyo")
    }

    fn of(profiles: &Profiles, application: &str, facility: &str) -> Result<Profile, Refusal> {
        let text = format!("MSH|^~\\&|{application}|{facility}|GW|R");
        profiles.of(&Message::parse(&text).unwrap())
    }

    #[test]
    fn a_sender_is_found_by_what_its_profile_names() {
        let profiles = read(
            "[[facility]]\nid = \"0810112345\"\nfacility = \"SEND\"\ncharset = \"CP932\"\n\
             [facility.authorities]\nHOSP = \"urn:oid:1.2\"\n\
             [[facility]]\nid = \"lab\"\napplication = \"LIS\"\nzone = \"Europe/London\"\n",
        )
        .unwrap();
        let hospital = of(&profiles, "HIS", "SEND^1.2.3^ISO").unwrap();
        assert_eq!(hospital.facility.id, "0810112345");
        assert_eq!(hospital.charset, Some(Charset::Cp932));
        assert_eq!(hospital.system_of("HOSP"), "urn:oid:1.2");
        assert_eq!(of(&profiles, "LIS", "X").unwrap().facility.id, "lab");
        let other = of(&profiles, "HIS", "St-Mary").unwrap();
        assert_eq!(other.facility.id, "St-Mary", "as its messages say");
        assert_eq!(of(&profiles, "HIS", "").unwrap().facility.id, "HIS");
        assert_eq!(of(&profiles, "", "").unwrap_err().field, "MSH-4");
    }

    #[test]
    fn numbers_with_an_authority_are_those_without_one_where_the_profile_says_so() {
        let profiles = read(
            "[[facility]]\nid = \"FY\"\nauthority = \"urn:oid:1.2\"\n\
             [facility.authorities]\nFY = \"urn:oid:1.2\"\n",
        )
        .unwrap();
        let text = "MSH|^~\\&|HIS|FY|GW|R\rPID|1||88~88^^^FY~88^^^other";
        let message = Message::parse(text).unwrap();
        let profile = profiles.of(&message).unwrap();
        let group = &super::super::group::Group::all(&message)[0];
        let numbers = super::super::patient::own_identifiers(group, &profile);
        assert_eq!(numbers.len(), 2, "{numbers:?}");
    }

    #[test]
    fn two_facilities_never_share_their_numbers() {
        let profiles = Profiles::read(None, "Asia/Tokyo").unwrap();
        let senders = [
            "東病院",
            "西病院",
            "St Mary",
            "St-Mary",
            "St-Mary^1.2.392.1^ISO",
            "St-Mary^1.2.392.2^ISO",
            "^1.2.392.1^ISO",
            "A",
            "A:B",
        ];
        let mut systems = Vec::new();
        for sender in senders {
            let profile = of(&profiles, "HIS", sender).unwrap();
            systems.extend([profile.authority.clone(), profile.system_of("B")]);
            let long = "番".repeat(300);
            systems.extend(["1", "2"].map(|end| profile.system_of(&format!("{long}{end}"))));
        }
        for (at, system) in systems.iter().enumerate() {
            assert_eq!(systems.iter().position(|other| other == system), Some(at), "{system}");
            assert!(system.chars().count() <= SYSTEM_LENGTH_MAX, "{system}");
        }
    }

    #[test]
    fn a_facility_that_must_be_proven_is_spoken_for_by_nobody_else_whatever_the_message_calls_it() {
        let profiles = read(
            "[[facility]]\nid = \"0810112345\"\nfacility = \"HOSP1\"\nclient-certificate = [\"his\"]\n\
             [[facility]]\nid = \"lab-1\"\napplication = \"LIS\"\nclient-certificate = [\"lab\"]\n\
             [[facility]]\nid = \"HOSP-2\"\nfacility = \"HOSP2\"\napplication = \"HIS\"\nclient-certificate = [\"two\"]\n\
             [[facility]]\napplication = \"OPEN\"\n",
        )
        .unwrap();
        let may = |names: &[&str], application: &str, facility: &str| {
            let text = format!("MSH|^~\\&|{application}|{facility}|GW|R");
            let message = Message::parse(&text).unwrap();
            let profile = profiles.of(&message).unwrap();
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            profiles.may_be_sent_by(&names, &message, &profile)
        };
        for (names, application, facility, is_let) in [
            (&["his"], "HIS", "HOSP1", true),
            (&["other"], "HIS", "HOSP1", false),
            (&["other"], "HIS", "0810112345", false),
            (&["other"], "0810112345", "", false),
            (&["other"], "HIS", "9^0810112345^ISO", true),
            (&["other"], "OPEN", "HOSP1", false),
            (&["lab"], "LIS", "elsewhere", true),
            (&["lab"], "LIS", "0810112345", true),
            (&["lab"], "LIS", "HOSP1", false),
            (&["two"], "HIS", "HOSP2", true),
            (&["other"], "OPEN", "HOSP2", false),
            (&["other"], "HIS", "HOSP-2", false),
            (&["other"], "HIS", "lab-1", false),
            (&["other"], "lab-1", "", false),
            (&["other"], "HIS", "elsewhere", true),
        ] {
            assert_eq!(
                may(names, application, facility),
                is_let,
                "{names:?} {application} {facility}"
            );
        }
    }

    #[test]
    fn the_readme_s_example_is_one() {
        let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
        let readme = std::fs::read_to_string(readme).unwrap();
        let (_, example) = readme.split_once("    [[facility]]").unwrap();
        let is_example = |line: &&str| line.is_empty() || line.starts_with("    ");
        let example: Vec<&str> = example.lines().take_while(is_example).collect();
        let example = example.join("\n");
        let profiles = read(&format!("[[facility]]{example}")).unwrap();
        let profile = of(&profiles, "HIS", "SEND").unwrap();
        assert_eq!(profile.ward("12B"), "12B病棟");
        assert_eq!(profile.place_of("visit-number").unwrap().component, Some(1));
    }

    #[test]
    fn a_profile_that_cannot_be_meant_is_refused_by_name() {
        for (toml, named) in [
            ("[[facility]]\nid = \"a b\"", "`id`"),
            ("[[facility]]\nfacility = \"a\"\nclient-certificate = [\"b\"]", "`id`"),
            ("[[facility]]\nid = \"a\"\nzone = \"Mars/Base\"", "`zone`"),
            ("[[facility]]\nid = \"a\"\ncharset = \"morse\"", "`charset`"),
            ("[[facility]]\nid = \"a\"\n[facility.fields]\nward = \"PV1\"", "`fields`"),
            ("[[facility]]\nid = \"a\"\n[facility.fields]\nshoe = \"ZPV-1\"", "`fields`"),
            ("[[facility]]\nid = \"a\"\n[facility.classes]\nx = \"y\"", "`classes`"),
            ("[[facility]]\nid = \"a\"\n[facility.sexes]\nx = \"y\"", "`sexes`"),
            ("[[facility]]\nid = \"a\"\nward = 1", "README.md"),
        ] {
            let error = read(toml).unwrap_err();
            assert!(error.to_string().contains(named), "{error}");
        }
    }
}
