//! A Bundle as it comes in: its entries, each with its resource as JSON.

use serde::Deserialize;
use serde_json::value::RawValue;
use tsunagi_domain::identity::Identifier;

use super::kept::{Elements, Kept};
use super::outcome::Problem;
use crate::fhir::Directory;
use crate::fhir::resource::{
    AnyResource, CareTeam, Encounter, Location, Organization, Patient, Practitioner,
    PractitionerRole, Reference, is_id,
};

/// What a Bundle is to be taken as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// All of it or nothing.
    Transaction,
    /// Each entry for itself.
    Batch,
    /// All of it or nothing; its first entry is a `MessageHeader`.
    Message,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    resource_type: String,
    #[serde(default, rename = "type")]
    kind: String,
    /// Each is read for itself: of a batch, one that is malformed does not spoil the others.
    #[serde(default)]
    entry: Vec<Box<RawValue>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawEntry {
    full_url: String,
    resource: Option<Box<RawValue>>,
    request: Request,
}

/// What is to be done with a resource.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Request {
    method: String,
    url: String,
    if_none_match: String,
    if_modified_since: String,
    if_match: String,
    if_none_exist: String,
}

/// The event of a message, and what it is about.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct MessageHeader {
    event_coding: EventCoding,
    focus: Vec<Reference>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct EventCoding {
    code: String,
}

/// A resource that says something about a patient.
#[derive(Debug)]
pub(super) enum Said {
    Patient(Box<Patient>),
    Encounter(Box<Encounter>),
    CareTeam(Box<CareTeam>),
    /// Read, because others refer to it.
    Referred,
    /// Of a type that nothing is made of here.
    NotUsed(String),
    /// An entry of a batch that cannot be taken.
    Unreadable(Problem),
}

/// An entry that was read.
#[derive(Debug)]
pub(super) struct Entry {
    /// `Patient/7`.
    pub(super) name: String,
    pub(super) said: Said,
    /// The number of the patient, if this one is to be created only if nobody has it.
    pub(super) unless: Option<Identifier>,
    pub(super) sent: Elements,
    /// What is kept of it, when it was looked at.
    pub(super) kept: Kept,
}

#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) mode: Mode,
    pub(super) entries: Vec<Entry>,
    pub(super) directory: Directory,
}

/// Events of messages that are taken: those of the notifications of admission, discharge and
/// transfer.
const MESSAGES: [&str; 3] = ["notification-admit", DISCHARGE, "notification-transfer"];
const DISCHARGE: &str = "notification-discharge";

/// The types of which something is made here, or to which others refer.
const USED: [&str; 8] = [
    "MessageHeader",
    "Patient",
    "Encounter",
    "CareTeam",
    "Organization",
    "Location",
    "Practitioner",
    "PractitionerRole",
];

/// Entries of the largest Bundle that is taken.
const ENTRIES_MAX: usize = 5000;

impl Entry {
    fn unreadable(problem: Problem) -> Self {
        let (name, unless, sent, kept) = Default::default();
        Self { name, said: Said::Unreadable(problem), unless, sent, kept }
    }
}

impl Said {
    /// Whether it says something about a patient.
    fn is_told(&self) -> bool {
        match self {
            Self::Patient(_) | Self::Encounter(_) | Self::CareTeam(_) => true,
            Self::Referred | Self::NotUsed(_) | Self::Unreadable(_) => false,
        }
    }
}

impl Request {
    /// The id by which a PUT names its resource.
    fn id_of_url(&self) -> &str {
        let named = self.url.rsplit_once('/').filter(|(_, id)| self.method == "PUT" && is_id(id));
        named.map(|(_, id)| id).unwrap_or_default()
    }

    /// Refuses what is asked for and not done here. The number that nobody may have, if the
    /// resource is to be created only then.
    fn check(&self, kind: &str, id: &str) -> Result<Option<Identifier>, Problem> {
        let ignored = [
            ("ifMatch", &self.if_match),
            ("ifNoneMatch", &self.if_none_match),
            ("ifModifiedSince", &self.if_modified_since),
        ];
        if let Some((element, _)) = ignored.into_iter().find(|(_, asked)| !asked.is_empty()) {
            let message = "resources have no versions here that a request could depend on: send it without this element; of when it was written, meta.lastUpdated tells";
            return Err(Problem::request_not_supported(element, message));
        }
        if self.url.contains('?') {
            let message = "a conditional update is not done: name the resource by its id, or create it with ifNoneExist";
            return Err(Problem::request_not_supported("url", message));
        }
        // A POST may name its type alone; an absolute URL ends with both.
        let is_type = self.method == "POST" && (self.url.is_empty() || last(&self.url) == kind);
        let is_one = self.url.is_empty() || {
            let (above, of_url) = self.url.rsplit_once('/').unwrap_or_default();
            of_url == id && last(above) == kind
        };
        if !is_type && !is_one {
            let message = "it names another type or id than the resource: give both the same";
            return Err(Problem::request_not_supported("url", message));
        }
        self.unless(kind)
    }

    fn unless(&self, kind: &str) -> Result<Option<Identifier>, Problem> {
        if self.if_none_exist.is_empty() {
            return Ok(None);
        }
        let query = self.if_none_exist.strip_prefix('?').unwrap_or(&self.if_none_exist);
        let identifier =
            by_identifier(query).filter(|_| kind == "Patient" && self.method == "POST");
        let message = "only a POST of a Patient may be conditional, on one identifier with its system: identifier=system|value";
        identifier.map(Some).ok_or_else(|| Problem::request_not_supported("ifNoneExist", message))
    }
}

/// What stands last in a path.
fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// The number that a query for one names: `identifier=system|value`.
pub(super) fn by_identifier(query: &str) -> Option<Identifier> {
    let token = query.strip_prefix("identifier=")?.replace("%7C", "|").replace("%7c", "|");
    let (system, value) = token.split_once('|')?;
    let is_one = !system.is_empty() && !value.is_empty() && !value.contains(['&', ',']);
    is_one.then(|| Identifier { system: system.into(), value: value.into() })
}

impl Bundle {
    /// Reads a Bundle, whole, before any of it is taken.
    pub(super) fn read(bytes: &[u8], now: &str) -> Result<Self, Problem> {
        let raw: Raw = serde_json::from_slice(bytes).map_err(|error| unreadable(&error))?;
        if raw.resource_type != "Bundle" {
            return Err(Problem::invalid("BUNDLE_EXPECTED", "post a Bundle"));
        }
        let mode = match raw.kind.as_str() {
            "transaction" => Mode::Transaction,
            "batch" => Mode::Batch,
            "message" => Mode::Message,
            _ => {
                let message = "the Bundle's type must be transaction or batch, or message for $process-message";
                return Err(Problem::invalid("BUNDLE_TYPE", message));
            }
        };
        if raw.entry.len() > ENTRIES_MAX {
            let message = format!("the Bundle has more than {ENTRIES_MAX} entries: send several");
            return Err(Problem::invalid("BUNDLE_TOO_LARGE", &message));
        }
        let mut bundle = Self {
            mode,
            entries: Vec::with_capacity(raw.entry.len()),
            directory: Directory::default(),
        };
        let mut header = None;
        for (at, entry) in raw.entry.iter().enumerate() {
            let read = parse::<RawEntry>(entry.get()).and_then(|entry| {
                header = header.take().or_else(|| entry.resource.clone());
                bundle.read_entry(at, entry, now)
            });
            let read = read.map_err(|problem| problem.at(at));
            bundle.entries.push(if mode == Mode::Batch {
                read.unwrap_or_else(Entry::unreadable)
            } else {
                read?
            });
        }
        if let (Mode::Message, Some(header)) = (mode, header) {
            bundle.check_message(&parse(header.get())?).map_err(|problem| problem.at(0))?;
        }
        Ok(bundle)
    }

    /// Checks that what a message is about is in it, and says what the message's event says:
    /// taken is what the resources say, and nothing is made of the event alone.
    fn check_message(&self, header: &MessageHeader) -> Result<(), Problem> {
        let message = "its focus is an Encounter that is in the Bundle: send it with the message";
        let missing = || Problem::rule("FOCUS_MISSING", message);
        if header.focus.is_empty() {
            return Err(missing());
        }
        for focus in &header.focus {
            let key = self.directory.key_of(focus, "Encounter");
            let entry = self.entries.iter().find(|entry| entry.name == key).ok_or_else(missing)?;
            let Said::Encounter(encounter) = &entry.said else { return Err(missing()) };
            let is_so = match header.event_coding.code.as_str() {
                DISCHARGE => encounter.status == "finished" && !encounter.period.end.is_empty(),
                _admission_or_transfer => encounter.goes_on() || encounter.status == "finished",
            };
            // Nor did what is withdrawn take place: the message takes it back.
            if !is_so && !encounter.is_withdrawn() {
                let message = "the Encounter does not say what the message's event says: of a discharge its status is finished and it has a period.end, of an admission or transfer it has begun";
                return Err(Problem::rule("EVENT_CONTRADICTED", message));
            }
        }
        Ok(())
    }

    fn read_entry(&mut self, at: usize, entry: RawEntry, now: &str) -> Result<Entry, Problem> {
        let RawEntry { full_url, resource, request } = entry;
        let is_write = matches!(request.method.as_str(), "POST" | "PUT");
        if self.mode != Mode::Message && !is_write {
            let message = "an entry's request must be a POST or a PUT: search and read with GET";
            return Err(Problem::invalid("METHOD_NOT_SUPPORTED", message));
        }
        let Some(json) = resource else {
            return Err(Problem::invalid("RESOURCE_MISSING", "the entry has no resource"));
        };
        let json = json.get();
        let any: AnyResource = parse(json)?;
        if self.mode == Mode::Message && (at == 0) != (any.resource_type == "MessageHeader") {
            return Err(no_header());
        }
        let of_url = full_url.rsplit([':', '/']).next().unwrap_or_default();
        let asked = request.id_of_url();
        let of_url = if asked.is_empty() { of_url } else { asked };
        let id = if any.id.is_empty() { of_url.to_owned() } else { any.id };
        if !is_id(&id) && any.resource_type != "MessageHeader" {
            let message = "the resource has neither an id nor a fullUrl that gives it one";
            return Err(Problem::invalid("ID_MISSING", message));
        }
        let is_message = self.mode == Mode::Message;
        let unless = if is_message { None } else { request.check(&any.resource_type, &id)? };
        self.directory.add_alias(&full_url, &any.resource_type, &id);
        let name = format!("{}/{id}", any.resource_type);
        let sent = Elements::read(json).map_err(|error| unreadable(&error))?;
        sent.check_types(&any.resource_type)?;
        if USED.contains(&any.resource_type.as_str()) {
            sent.check_modifiers(&any.resource_type)?;
        }
        let said = self.said(&any.resource_type, id, json, now)?;
        if said.is_told() && self.entries.iter().any(|entry| entry.name == name) {
            let message = "the Bundle has a resource of this type and id twice: send one";
            return Err(Problem::invalid("ID_TWICE", message));
        }
        Ok(Entry { name, said, unless, sent, kept: Kept::default() })
    }

    fn said(&mut self, kind: &str, id: String, json: &str, now: &str) -> Result<Said, Problem> {
        Ok(match kind {
            "MessageHeader" => {
                let header: MessageHeader = parse(json)?;
                if !MESSAGES.contains(&header.event_coding.code.as_str()) {
                    let message = "only the notifications of admission, discharge and transfer (notification-admit, notification-discharge, notification-transfer) are taken";
                    return Err(Problem::rule("MESSAGE_NOT_SUPPORTED", message));
                }
                Said::Referred
            }
            "Patient" => Said::Patient(Box::new(Patient { id, ..parse(json)? })),
            "Encounter" => {
                let mut encounter = Encounter { id, ..parse(json)? };
                encounter.look_within(&mut self.directory, now);
                Said::Encounter(Box::new(encounter))
            }
            "CareTeam" => {
                let mut team = CareTeam { id, ..parse(json)? };
                team.look_within(&mut self.directory, now);
                Said::CareTeam(Box::new(team))
            }
            "Organization" => {
                self.directory.add_organization(Organization { id, ..parse(json)? });
                Said::Referred
            }
            "Location" => {
                self.directory.add_location(Location { id, ..parse(json)? });
                Said::Referred
            }
            "Practitioner" => {
                self.directory.add_practitioner(&Practitioner { id, ..parse(json)? }, now);
                Said::Referred
            }
            "PractitionerRole" => {
                self.directory.add_role(PractitionerRole { id, ..parse(json)? });
                Said::Referred
            }
            other => Said::NotUsed(other.to_owned()),
        })
    }
}

pub(super) fn no_header() -> Problem {
    let message = "the first entry of a message, and no other, is its MessageHeader";
    Problem::invalid("MESSAGE_HEADER", message)
}

fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Problem> {
    serde_json::from_str(json).map_err(|error| unreadable(&error))
}

/// Without what serde quotes: it may be a patient's.
fn unreadable(error: &serde_json::Error) -> Problem {
    let (line, column) = (error.line(), error.column());
    let message = if error.is_data() {
        format!("an element is not what its type says, at line {line}, column {column}")
    } else {
        format!("this is no JSON, at line {line}, column {column}")
    };
    Problem::invalid("UNREADABLE", &message)
}
