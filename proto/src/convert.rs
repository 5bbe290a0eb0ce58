//! From the wire to the domain: the one place where what a message leaves open is settled.
//!
//! A message is first checked against its schema (`check`), then converted. What rules decide
//! on becomes a typed command; a form or a note becomes a `Document` that names what it is
//! about, and its content stays the message.

use tsunagi_domain::correction::{Change, Correction};
use tsunagi_domain::encounter::{
    Admission, Cancellation, Class, Command as EncounterCommand, PlannedAdmission,
    PlannedDischarge, PlannedTransfer, Visit, WardTransfer,
};
use tsunagi_domain::id::{IdError, parse_uuid};
use tsunagi_domain::identity::{
    Command as IdentityCommand, Death, Demographics, Identifier, Keeps, Merge, Registration,
    Retirement,
};
use tsunagi_domain::note::{self, Content, Edition, Step};
use tsunagi_domain::place::{Facility, Place};
use tsunagi_domain::referral::{Asked, Command as ReferralCommand};
use tsunagi_domain::transfer_request::{Command as TransferCommand, Question};
use tsunagi_domain::{
    Actor, CareTime, CaseId, Command, Document, EncounterId, EventId, Order, OrganisationId,
    PatientId, ReferralId, ResourceId, Stamp, Topic, TransferRequestId, Zone, case, organisation,
    resource, topic,
};

use crate::catalogue::{Family, Payload, Ruled};
use crate::check::{Check as _, Path, Violation};
use crate::codes::Moment;
use crate::lists;
use crate::{codes, demographics, fields, v1};

/// The fields of a message that stand in the way of taking it.
pub type Violations = Vec<Violation>;

type Result<T> = std::result::Result<T, Violations>;

/// The command that a publisher's event asks for, or what is wrong with its fields. None if
/// the event is of an unknown type or is one of the system's own.
///
/// Beside it, the codes that no list has that is known now. They are no reason to refuse what was
/// taken before, when a list had them.
pub fn command(
    event: &v1::Event,
    payload: &Payload,
    zone: &Zone,
) -> Result<(Option<Command>, Violations)> {
    let mut violations = violations(event, payload, zone);
    if event.patient_id.is_empty() {
        violations.insert(0, Path::ROOT.field("patient_id").violation("must be given"));
    }
    if topic_id(payload).is_some() {
        let problem = "must be of a patient: an event about a resource or an organisation names its `resource_id` or `organisation_id`, and no `patient_id`";
        violations.push(Path::ROOT.field("type").violation(problem));
    }
    if let Payload::ResourceReceived(received) = payload
        && received.elements.iter().any(|element| element.json.is_empty())
    {
        let problem = "must have what the system sent: those who follow events are sent the names of its elements alone, so leave events of this type out of what you publish of a feed";
        violations.push(Path::ROOT.field("elements").violation(problem));
    }
    let unlisted = only_unlisted(violations)?;
    check(payload, &Reader { zone, at: Path::ROOT.field("payload") })?;
    Ok((convert(event, payload, zone)?, unlisted))
}

/// What an event is about.
enum About {
    Patient,
    /// What the field of this name names.
    Topic(&'static str),
    /// The system itself, or nobody knows what.
    Nothing,
}

fn about(payload: &Payload) -> About {
    if let Payload::MoveGivenUp(_) | Payload::EventsMoved(_) = payload {
        // The system's word, of a patient's events.
        return About::Patient;
    }
    match payload.family() {
        Family::Resource => About::Topic("resource_id"),
        Family::Organisation => About::Topic("organisation_id"),
        Family::System | Family::Unspecified => About::Nothing,
        Family::Identity
        | Family::Team
        | Family::Consent
        | Family::Encounter
        | Family::DischargePlanning
        | Family::HomeCare
        | Family::Watch
        | Family::SocialPrescribing
        | Family::Documents
        | Family::Delivery
        | Family::Record => About::Patient,
    }
}

/// The field that names what an event is about, if it is about no patient.
fn topic_id(payload: &Payload) -> Option<&'static str> {
    if let About::Topic(field) = about(payload) { Some(field) } else { None }
}

/// What a publisher's event says of a community resource or an organisation, or what is wrong
/// with its fields. None if it is of another type than these, or of an unknown one. Beside it, the
/// codes that no list has.
#[expect(clippy::type_complexity, reason = "three things that one event says")]
pub fn topic_step(
    event: &v1::Event,
    payload: &Payload,
    zone: &Zone,
) -> Result<(Option<(Topic, Stamp, topic::Step)>, Violations)> {
    let mut violations = violations(event, payload, zone);
    let named = topic_id(payload);
    let ids = [
        ("patient_id", &event.patient_id),
        ("resource_id", &event.resource_id),
        ("organisation_id", &event.organisation_id),
    ];
    for (field, id) in ids {
        if named.is_some_and(|named| named != field) && !id.is_empty() {
            let problem = "must be empty in an event of this type";
            violations.push(Path::ROOT.field(field).violation(problem));
        }
    }
    if let Payload::PartnerMeetingHeld(meeting) = payload {
        violations.extend(uncounted(meeting, &event.organisation_id));
    }
    let unlisted = only_unlisted(violations)?;
    let reader = Reader { zone, at: Path::ROOT };
    let Some(step) = step(event, payload, zone)? else { return Ok((None, unlisted)) };
    let topic = match &step {
        topic::Step::Resource(_) => {
            Topic::Resource(reader.id("resource_id", &event.resource_id, ResourceId::parse)?)
        }
        topic::Step::Organisation(of, _) => Topic::Organisation(of.clone()),
    };
    Ok((Some((topic, stamp(event, zone)?, step)), unlisted))
}

/// The partners that cannot be counted as institutions that the organisation met.
fn uncounted(meeting: &v1::PartnerMeetingHeld, organisation: &str) -> Violations {
    let partners = Path::ROOT.field("payload");
    let partners = partners.field("partners");
    let problem = |partner: &v1::Organisation| match partner.id.as_str() {
        "" => Some("must be given: institutions are counted by their ids"),
        id if id == organisation => Some("must be that of another organisation than its own"),
        _ => None,
    };
    let uncounted = meeting.partners.iter().enumerate();
    let uncounted = uncounted.filter_map(|(index, partner)| Some((index, problem(partner)?)));
    uncounted.map(|(index, problem)| partners.item(index).field("id").violation(problem)).collect()
}

/// Refuses what is wrong whichever lists are known.
fn only_unlisted(violations: Violations) -> Result<Violations> {
    if violations.iter().all(|violation| violation.is_unlisted) {
        Ok(violations)
    } else {
        Err(violations)
    }
}

/// The same of an event as it is stored. None if this version cannot read it.
pub fn topic_happened(
    event: &v1::Event,
    payload: &Payload,
    zone: &Zone,
) -> Option<(Stamp, topic::Step)> {
    Some((stamp(event, zone).ok()?, step(event, payload, zone).ok()??))
}

fn step(event: &v1::Event, payload: &Payload, zone: &Zone) -> Result<Option<topic::Step>> {
    use topic::Step::{Organisation, Resource};
    let reader = Reader { zone, at: Path::ROOT };
    let of = || reader.id("organisation_id", &event.organisation_id, OrganisationId::parse);
    let run_by = |said: &v1::Resource| {
        said.organisation.as_ref().and_then(|run_by| OrganisationId::parse(&run_by.id).ok())
    };
    Ok(if let Payload::ResourcePublished(said) = payload {
        Some(Resource(resource::Step::Publish(run_by(said))))
    } else if let Payload::ResourceChanged(said) = payload {
        Some(Resource(resource::Step::Change(run_by(said))))
    } else if let Payload::ResourceWithdrawn(_) = payload {
        Some(Resource(resource::Step::Withdraw))
    } else if let Payload::PartnerMeetingHeld(_) = payload {
        Some(Organisation(of()?, organisation::Step::HoldMeeting))
    } else if let Payload::PartnerMeetingEnteredInError(message) = payload {
        let at = Reader { at: Path::ROOT.field("payload"), ..reader };
        let meeting = at.id("corrects_event_id", &message.corrects_event_id, EventId::parse)?;
        Some(Organisation(of()?, organisation::Step::MarkMeetingInError(meeting)))
    } else {
        (payload.family() == Family::Resource).then_some(Resource(resource::Step::Describe))
    })
}

/// Refuses what can be read and contradicts itself, where somebody says it: what an earlier version
/// took stays as it was told.
fn check(payload: &Payload, read: &Reader<'_>) -> Result<()> {
    if let Payload::DemographicsUpdated(message) = payload {
        read.check_parts(message)
    } else if let Payload::ValueCorrected(message) = payload {
        read.check_instead(message)
    } else {
        Ok(())
    }
}

/// All that is wrong with an event and its payload by themselves.
fn violations(event: &v1::Event, payload: &Payload, zone: &Zone) -> Violations {
    let moment = CareTime::parse(&event.occurred_at, zone).ok().map(|at| Moment { at, zone });
    let mut violations = event.violations();
    violations.extend(within("payload", payload.violations(moment)));
    if let Payload::ValueCorrected(message) = payload
        && let Ok(instead) = Payload::decode(&message.r#type, &message.payload)
    {
        // Of the time of what is corrected, only that knows.
        let unlisted = instead.violations(None).into_iter().filter(|wrong| wrong.is_unlisted);
        let unlisted = unlisted.chain(lists::contradictions(&instead, None));
        violations.extend(within("payload.payload", unlisted));
    }
    if let Payload::ResourcePublished(said) | Payload::ResourceChanged(said) = payload {
        violations.extend(contradictions(said));
    }
    violations.extend(replacement(payload).and_then(|said| said.violation()));
    let named = payload.fields().and_then(|fields| fields.field("resource"));
    if let Some(fields::Value::ResourceRef(resource)) = named
        && resource.name.is_empty()
        && ResourceId::parse(&resource.id).is_err()
    {
        let at = Path::ROOT.field("payload");
        let problem = "must be given, unless `id` is that of a resource in the region's directory";
        violations.push(at.field("resource").field("name").violation(problem));
    }
    violations.extend(within("payload", lists::contradictions(payload, moment)));
    violations
}

/// What takes whose place, as a message says it, and the field that says so.
struct Replacement<'a> {
    of: &'static str,
    older: &'a str,
    newer: &'a str,
    field: &'static str,
    problem: &'static str,
}

fn replacement(payload: &Payload) -> Option<Replacement<'_>> {
    let said = if let Payload::DocumentSuperseded(message) = payload {
        Replacement {
            of: "document_id",
            older: &message.document_id,
            newer: &message.superseded_by_document_id,
            field: "superseded_by_document_id",
            problem: "must be another document than `document_id`",
        }
    } else if let Payload::AcpPreferenceRecorded(message) = payload {
        Replacement {
            of: "preference_id",
            older: &message.supersedes_preference_id,
            newer: &message.preference_id,
            field: "supersedes_preference_id",
            problem: ANOTHER_PREFERENCE,
        }
    } else if let Payload::AcpPreferenceSuperseded(message) = payload {
        Replacement {
            of: "preference_id",
            older: &message.preference_id,
            newer: &message.superseded_by_preference_id,
            field: "superseded_by_preference_id",
            problem: ANOTHER_PREFERENCE,
        }
    } else {
        return None;
    };
    (!said.older.is_empty() && !said.newer.is_empty()).then_some(said)
}

const ANOTHER_PREFERENCE: &str = "must be another preference than `preference_id`";

impl Replacement<'_> {
    /// Nothing takes its own place.
    fn violation(&self) -> Option<Violation> {
        let is_itself = self.older.eq_ignore_ascii_case(self.newer);
        let at = Path::ROOT.field("payload");
        is_itself.then(|| at.field(self.field).violation(self.problem))
    }
}

/// So many degrees of latitude there are, north and south, and of longitude, east and west.
pub const LATITUDE_MOST: f64 = 90.0;
pub const LONGITUDE_MOST: f64 = 180.0;

/// What a resource says of itself that cannot be.
fn contradictions(said: &v1::Resource) -> Violations {
    let at = Path::ROOT.field("payload");
    let mut violations = Violations::new();
    let ages = said.eligibility.as_ref().map(|of| (of.age_min, of.age_max));
    if let Some((Some(min), Some(max))) = ages
        && max < min
    {
        let of = at.field("eligibility");
        violations.push(of.field("age_max").violation("must be at least `age_min`"));
    }
    for (index, location) in said.locations.iter().enumerate() {
        let of = at.field("locations");
        let of = of.item(index);
        let degrees = [
            ("latitude", &location.latitude, LATITUDE_MOST, "must lie between -90 and 90 degrees"),
            (
                "longitude",
                &location.longitude,
                LONGITUDE_MOST,
                "must lie between -180 and 180 degrees",
            ),
        ];
        for (field, said, most, problem) in degrees {
            if said.parse::<f64>().is_ok_and(|degrees| degrees.abs() > most) {
                violations.push(of.field(field).violation(problem));
            }
        }
        if location.address.as_ref().is_some_and(|address| address.confidential) {
            let problem = "must not be: a directory is for everybody; leave the address out";
            violations.push(of.field("address").field("confidential").violation(problem));
        }
    }
    for (index, schedule) in said.schedules.iter().enumerate() {
        let (from, to) = (schedule.valid_from_on.as_str(), schedule.valid_to_on.as_str());
        // A month or a year ends with its last day.
        if !to.is_empty() && to < from && !from.starts_with(to) {
            let of = at.field("schedules");
            let of = of.item(index);
            let problem = "must not lie before `valid_from_on`";
            violations.push(of.field("valid_to_on").violation(problem));
        }
    }
    violations
}

/// What document a payload is about.
fn content(payload: &Payload) -> Option<Content> {
    let (Payload::DocumentPublished(document)
    | Payload::DocumentReceived(document)
    | Payload::DocumentFiled(document)) = payload
    else {
        return None;
    };
    let mut sha256 = [0; 32];
    let pairs = document.sha256.as_bytes().chunks(2);
    for (byte, pair) in sha256.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    let kind = document.kind.as_ref();
    let kind = kind.and_then(|kind| codes::words("document.kind", "", &kind.code, None));
    Some(Content { sha256, kind: kind.map(|known| known.code) })
}

/// Of which kind a payload says that the thing is of which it is a step.
fn variant(payload: &Payload) -> Option<&'static str> {
    /// Of a list of the sender's own.
    const OTHER: &str = "other";
    if let Payload::SpecialOrderIssued(_) = payload {
        return Some(lists::SPECIAL_ORDER);
    }
    let (Payload::OrderIssued(order) | Payload::OrderAmended(order)) = payload else {
        return None;
    };
    let kind = lists::order_kind(order);
    Some(kind.map_or(OTHER, |kind| kind.code))
}

/// Violations of a message that stands in another one's field.
fn within(
    field: impl std::fmt::Display,
    violations: impl IntoIterator<Item = Violation>,
) -> impl Iterator<Item = Violation> {
    violations.into_iter().map(move |violation| Violation {
        field: format!("{field}.{}", violation.field),
        ..violation
    })
}

/// What happened, from an event as it is stored: it was checked when it was taken. None if
/// this version cannot read it: such an event changes nothing here.
pub fn happened(
    event: &v1::Event,
    payload: &Payload,
    zone: &Zone,
) -> Option<tsunagi_domain::Event> {
    let Command { stamp, order } = convert(event, payload, zone).ok()??;
    Some(tsunagi_domain::Event { stamp, fact: order.into() })
}

fn stamp(event: &v1::Event, zone: &Zone) -> Result<Stamp> {
    let reader = Reader { zone, at: Path::ROOT };
    let actor = actor(event.actor.as_ref(), &reader.field("actor"))?;
    Ok(Stamp {
        event: reader.id("event_id", &event.event_id, EventId::parse)?,
        occurred_at: reader.time("occurred_at", &event.occurred_at)?,
        acting_for: actor.acting_for().clone(),
        by_program: is_program(actor.role()),
        by_proxy: actor.acting_for() != actor.organisation(),
    })
}

fn convert(event: &v1::Event, payload: &Payload, zone: &Zone) -> Result<Option<Command>> {
    let stamp = stamp(event, zone)?;
    let order = order(payload, &Reader { zone, at: Path::ROOT.field("payload") })?;
    Ok(order.map(|order| Command { stamp, order }))
}

/// Whether this is a program that writes by itself: a tool of AI. By whatever name, as far as it
/// says so: `ai-tool`, `AI_scribe`, `LLM`.
pub fn is_tool(role: &str) -> bool {
    const TOOLS: [&str; 6] = ["ai", "llm", "bot", "chatbot", "agent", "assistant"];
    let mut parts = role.split(|c: char| !c.is_ascii_alphanumeric());
    role.eq_ignore_ascii_case("aitool")
        || TOOLS.iter().any(|tool| role.eq_ignore_ascii_case(tool))
        || parts.any(|part| ["ai", "llm"].iter().any(|of| part.eq_ignore_ascii_case(of)))
}

/// Whether nobody acts in this role but a program.
pub fn is_program(role: &str) -> bool {
    const PROGRAMS: [&str; 4] = ["system", "program", "software", "device"];
    is_tool(role) || PROGRAMS.iter().any(|program| role.eq_ignore_ascii_case(program))
}

/// The actor that a message names.
pub fn actor(actor: Option<&v1::Actor>, reader: &Reader<'_>) -> Result<Actor> {
    let actor = reader.given(actor)?;
    let organisation = reader.id("organisation", &actor.organisation, OrganisationId::parse)?;
    let represented =
        reader.optional_id("on_behalf_of", &actor.on_behalf_of, OrganisationId::parse)?;
    match Actor::new(organisation, &actor.role, &actor.person) {
        Ok(actor) => Ok(actor.on_behalf_of(represented)),
        Err(error) => Err(vec![reader.at.violation(error)]),
    }
}

impl From<&Actor> for v1::Actor {
    fn from(actor: &Actor) -> Self {
        Self {
            organisation: actor.organisation().to_string(),
            role: actor.role().to_owned(),
            person: actor.person().to_owned(),
            on_behalf_of: actor.represented().map(ToString::to_string).unwrap_or_default(),
        }
    }
}

impl From<&v1::Identifier> for Identifier {
    fn from(identifier: &v1::Identifier) -> Self {
        Self { system: identifier.system.as_str().into(), value: identifier.value.as_str().into() }
    }
}

impl From<&Identifier> for v1::Identifier {
    fn from(identifier: &Identifier) -> Self {
        Self { system: identifier.system.to_string(), value: identifier.value.to_string() }
    }
}

impl From<&Place> for v1::Place {
    fn from(place: &Place) -> Self {
        Self {
            facility: Some(v1::Organisation {
                id: place.facility.id.to_string(),
                name: place.facility.name.to_string(),
            }),
            department: place.department.to_string(),
            ward: place.ward.to_string(),
            room: place.room.to_string(),
            bed: place.bed.to_string(),
        }
    }
}

impl From<Class> for v1::EncounterClass {
    fn from(class: Class) -> Self {
        match class {
            Class::Inpatient => Self::Inpatient,
            Class::Outpatient => Self::Outpatient,
            Class::Emergency => Self::Emergency,
            Class::Home => Self::Home,
            Class::Virtual => Self::Virtual,
        }
    }
}

/// Reads fields, and knows where it reads.
pub struct Reader<'a> {
    pub zone: &'a Zone,
    pub at: Path<'a>,
}

impl Reader<'_> {
    fn field(&self, name: &'static str) -> Reader<'_> {
        Reader { zone: self.zone, at: self.at.field(name) }
    }

    fn given<'m, T>(&self, value: Option<&'m T>) -> Result<&'m T> {
        value.ok_or_else(|| vec![self.at.violation("must be given")])
    }

    fn id<T>(
        &self,
        field: &'static str,
        text: &str,
        parse: impl Fn(&str) -> std::result::Result<T, IdError>,
    ) -> Result<T> {
        parse(text).map_err(|error| vec![self.at.field(field).violation(error)])
    }

    fn optional_id<T>(
        &self,
        field: &'static str,
        text: &str,
        parse: impl Fn(&str) -> std::result::Result<T, IdError>,
    ) -> Result<Option<T>> {
        if text.is_empty() { Ok(None) } else { self.id(field, text, parse).map(Some) }
    }

    fn encounter(&self, text: &str) -> Result<EncounterId> {
        self.id("encounter_id", text, EncounterId::parse)
    }

    fn preceding(&self, text: &str) -> Result<Option<EncounterId>> {
        self.optional_id("preceding_encounter_id", text, EncounterId::parse)
    }

    fn time(&self, field: &'static str, text: &str) -> Result<CareTime> {
        CareTime::parse(text, self.zone)
            .map_err(|error| vec![self.at.field(field).violation(error)])
    }

    fn optional_time(&self, field: &'static str, text: &str) -> Result<Option<CareTime>> {
        if text.is_empty() { Ok(None) } else { self.time(field, text).map(Some) }
    }

    fn organisation(&self, organisation: Option<&v1::Organisation>) -> Result<OrganisationId> {
        self.id("id", &self.given(organisation)?.id, OrganisationId::parse)
    }

    fn place(&self, place: Option<&v1::Place>) -> Result<Place> {
        let place = self.given(place)?;
        let facility = self.field("facility");
        let name = place.facility.as_ref().map(|facility| facility.name.as_str());
        Ok(Place {
            facility: Facility {
                id: facility.organisation(place.facility.as_ref())?,
                name: name.unwrap_or_default().into(),
            },
            department: place.department.as_str().into(),
            ward: place.ward.as_str().into(),
            room: place.room.as_str().into(),
            bed: place.bed.as_str().into(),
        })
    }

    fn demographics(&self, demographics: Option<&v1::Demographics>) -> Result<Demographics> {
        let demographics = self.given(demographics)?;
        if demographics.not_deceased
            && (demographics.deceased || !demographics.deceased_at.is_empty())
        {
            let problem = "must be false of a person who died";
            return Err(vec![self.at.field("not_deceased").violation(problem)]);
        }
        Ok(Demographics {
            birth_on: self.optional_time("birth_on", &demographics.birth_on)?,
            deceased_at: self.optional_time("deceased_at", &demographics.deceased_at)?,
            deceased: demographics.deceased,
            not_deceased: demographics.not_deceased,
            keeps: Keeps::default(),
        })
    }

    /// Refuses an update that gives a part and says nothing of it: only names and contacts may stay
    /// beside others. And one that both keeps and withdraws a part.
    fn check_parts(&self, update: &v1::DemographicsUpdated) -> Result<()> {
        let said = update.demographics.clone().unwrap_or_default();
        let is_said = |part: v1::DemographicsPart| {
            !matches!(part, v1::DemographicsPart::Names | v1::DemographicsPart::Contacts)
                && !demographics::is_empty(&said, part)
        };
        let lists = [("keeps", &update.keeps), ("withdraws", &update.withdraws)];
        for (field, parts) in lists {
            let mut parts =
                parts.iter().filter_map(|part| v1::DemographicsPart::try_from(*part).ok());
            if parts.any(is_said) {
                let problem =
                    "must not name a part that `demographics` gives: leave it out of one of them";
                return Err(vec![self.at.field(field).violation(problem)]);
            }
        }
        if update.withdraws().any(|part| part == v1::DemographicsPart::DeceasedAt) {
            let problem = "must not name the time of a death: say `not_deceased`, or another time";
            return Err(vec![self.at.field("withdraws").violation(problem)]);
        }
        if update.keeps.iter().any(|part| update.withdraws.contains(part)) {
            let problem = "must not name a part that `keeps` names: leave it out of one of them";
            return Err(vec![self.at.field("withdraws").violation(problem)]);
        }
        self.check_halves(update, !said.contacts.is_empty())
    }

    /// Refuses half of the contacts where it says nothing: it is kept alone, where the other half is
    /// taken back and none is given.
    fn check_halves(&self, update: &v1::DemographicsUpdated, are_given: bool) -> Result<()> {
        let is_half = |part: v1::DemographicsPart| demographics::HALVES.contains(&part);
        let is_of_contacts =
            |part: &v1::DemographicsPart| is_half(*part) || *part == v1::DemographicsPart::Contacts;
        let named = update.keeps().chain(update.withdraws()).filter(is_of_contacts).count();
        let (field, problem) = if update.withdraws().any(is_half) {
            ("withdraws", "must not name half of the contacts: name all of them")
        } else if update.keeps().any(is_half) && (are_given || named > 1) {
            let problem = "must not name half of the contacts where `demographics` gives some, or more of them is named";
            ("keeps", problem)
        } else {
            return Ok(());
        };
        Err(vec![self.at.field(field).violation(problem)])
    }

    fn class(&self, class: i32) -> Result<Class> {
        match v1::EncounterClass::try_from(class) {
            Ok(v1::EncounterClass::Outpatient) => Ok(Class::Outpatient),
            Ok(v1::EncounterClass::Emergency) => Ok(Class::Emergency),
            Ok(v1::EncounterClass::Home) => Ok(Class::Home),
            Ok(v1::EncounterClass::Virtual) => Ok(Class::Virtual),
            Ok(v1::EncounterClass::Unspecified | v1::EncounterClass::Inpatient) | Err(_) => {
                Err(vec![self.at.violation("must be a kind of visit; a stay is admitted")])
            }
        }
    }

    fn cancellation(
        &self,
        cancellation: &v1::EncounterCancellation,
        command: impl Fn(Cancellation) -> EncounterCommand,
    ) -> Result<Option<Order>> {
        let cancelled =
            self.id("cancelled_event_id", &cancellation.cancelled_event_id, EventId::parse)?;
        let encounter = self.encounter(&cancellation.encounter_id)?;
        Ok(Some(Order::Encounter(encounter, command(Cancellation { cancelled }))))
    }

    fn transfer_answer(
        &self,
        answer: &v1::TransferAnswer,
        command: TransferCommand,
    ) -> Result<Option<Order>> {
        let id =
            self.id("transfer_request_id", &answer.transfer_request_id, TransferRequestId::parse)?;
        Ok(Some(Order::TransferRequest(id, command)))
    }

    fn referral(&self, id: &str, command: ReferralCommand) -> Result<Option<Order>> {
        let id = self.id("referral_id", id, ReferralId::parse)?;
        Ok(Some(Order::Referral(id, command)))
    }

    fn case(&self, id: &str, command: case::Command) -> Result<Option<Order>> {
        Ok(Some(Order::Case(self.id("case_id", id, CaseId::parse)?, command)))
    }

    /// A form or a note, by the fields in which it says what it is about.
    fn document(&self, payload: &Payload) -> Result<Option<Order>> {
        let Some(fields) = payload.fields() else { return Ok(None) };
        let text = |name| fields::written(fields, name);
        let step = match payload.step() {
            Some(step) => Some(Step {
                of: step.of,
                id: self.id(step.of, text(step.of), parse_uuid)?,
                from: step.from,
                to: step.to,
                by_person: step.by_person,
                by_beginner: step.by_beginner,
                begins_again: step.begins_again,
                content: content(payload),
                variant: variant(payload),
            }),
            None => None,
        };
        let id = |name| (name, text(name));
        let (encounter, case, referral) = (id("encounter_id"), id("case_id"), id("referral_id"));
        Ok(Some(Order::Document(Document {
            kind: payload.event_type(),
            of_facility: payload.is_of_facility(),
            encounter: self.optional_id(encounter.0, encounter.1, EncounterId::parse)?,
            case: self.optional_id(case.0, case.1, CaseId::parse)?,
            referral: self.optional_id(referral.0, referral.1, ReferralId::parse)?,
            is_case_work: matches!(payload, Payload::GoalSet(_) | Payload::GoalMet(_)),
            ended_at: self.optional_time("ended_at", text("ended_at"))?,
            valid: (
                self.optional_time("valid_from_on", text("valid_from_on"))?,
                self.optional_time("valid_to_on", text("valid_to_on"))?,
            ),
            ready_on: self.optional_time("ready_on", text("ready_on"))?,
            edition: self.edition(payload)?,
            succession: self.succession(payload)?,
            step,
        })))
    }

    /// Of which plan a payload is a version.
    fn edition(&self, payload: &Payload) -> Result<Option<Edition>> {
        let Payload::CarePlanShared(plan) = payload else { return Ok(None) };
        let of = self.id("care_plan_id", &plan.care_plan_id, parse_uuid)?;
        Ok(Some(Edition { of, version: plan.version }))
    }

    /// What takes whose place by it.
    fn succession(&self, payload: &Payload) -> Result<Option<note::Succession>> {
        let Some(said) = replacement(payload) else { return Ok(None) };
        let older = self.id(said.field, said.older, parse_uuid)?;
        let newer = self.id(said.field, said.newer, parse_uuid)?;
        Ok(Some(note::Succession { of: said.of, older, newer }))
    }

    fn merge(&self, patient: &str, command: impl Fn(Merge) -> IdentityCommand) -> Result<Order> {
        let retired = self.id("retired_patient_id", patient, PatientId::parse)?;
        Ok(Order::Identity(command(Merge { retired })))
    }

    fn retirement(&self, message: &v1::PatientRetirement) -> Result<Retirement> {
        Ok(Retirement {
            survivor: self.id(
                "survivor_patient_id",
                &message.survivor_patient_id,
                PatientId::parse,
            )?,
            merge: self.id("merge_event_id", &message.merge_event_id, EventId::parse)?,
        })
    }

    fn correction(&self, corrects: &str, change: Change) -> Result<Order> {
        let corrects = self.id("corrects_event_id", corrects, EventId::parse)?;
        Ok(Order::Correction(Correction { corrects, change }))
    }

    /// What is said instead.
    fn instead(&self, message: &v1::ValueCorrected) -> Result<Change> {
        let payload = self.said_instead(message)?;
        let order = order(&payload, self)?;
        let order = order.filter(|order| !matches!(order, Order::Correction(_)));
        let order = order.ok_or_else(|| {
            vec![self.at.field("type").violation("must be the type of the event that is corrected")]
        })?;
        Ok(Change::Value(Box::new(order.into())))
    }

    fn said_instead(&self, message: &v1::ValueCorrected) -> Result<Payload> {
        let unreadable = |problem: &str| vec![self.at.field("payload").violation(problem)];
        Payload::decode(&message.r#type, &message.payload)
            .map_err(|error| unreadable(&error.to_string()))
    }

    /// Checks what is said instead as though it were said now.
    fn check_instead(&self, message: &v1::ValueCorrected) -> Result<()> {
        let at = self.at.field("payload");
        let payload = self.said_instead(message)?;
        // What a list had once was taken, and holds.
        let violations = payload.violations(None).into_iter();
        let violations: Violations =
            within(at, violations.filter(|wrong| !wrong.is_unlisted)).collect();
        if !violations.is_empty() {
            return Err(violations);
        }
        if matches!(payload, Payload::ResourceReceived(_)) {
            let problem = "must not be that of what a system sent: it sends the resource again";
            return Err(vec![self.at.field("type").violation(problem)]);
        }
        if let Payload::PatientRegistered(registered) = &payload
            && registered
                .demographics
                .as_ref()
                .is_some_and(|said| *said != v1::Demographics::default())
        {
            let problem = "must be empty: a correction of a registration is one of its numbers; who the person is, `UpdateDemographics` says anew";
            return Err(vec![at.field("demographics").violation(problem)]);
        }
        // A correction of a correction is refused by its type.
        if matches!(payload, Payload::ValueCorrected(_)) { Ok(()) } else { check(&payload, self) }
    }
}

/// Whether a discharge says that the patient died. HL7's table 0112 is each hospital's own: with
/// HL7 v2, deaths are told in PID-29 and PID-30.
fn is_death(disposition: Option<&v1::Code>) -> bool {
    const FHIR: &str = "http://terminology.hl7.org/CodeSystem/discharge-disposition";
    disposition.is_some_and(|code| match code.system.as_str() {
        "" | "jp.discharge-disposition" => code.code == "death",
        FHIR => code.code == "exp",
        _ => false,
    })
}

/// What the payload asks for. One arm for each type that has rules of its own.
#[expect(clippy::too_many_lines, reason = "one arm for each event type, none of them long")]
fn order(payload: &Payload, read: &Reader<'_>) -> Result<Option<Order>> {
    let Some(ruled) = payload.ruled() else {
        return match about(payload) {
            About::Patient => read.document(payload),
            About::Topic(_) | About::Nothing => Ok(None),
        };
    };
    let order = match ruled {
        Ruled::PatientRegistered(message) => {
            let said = read.field("demographics").demographics(message.demographics.as_ref())?;
            // Before, nothing was known: what it does not give, it says nothing of.
            let keeps = Keeps { birth: said.birth_on.is_none(), ..Keeps::default() };
            Order::Identity(IdentityCommand::Register(Registration {
                identifiers: message.identifiers.iter().map(Identifier::from).collect(),
                demographics: Demographics { keeps, ..said },
            }))
        }
        Ruled::IdentifierLinked(message) => {
            let identifier = read.field("identifier").given(message.identifier.as_ref())?.into();
            Order::Identity(IdentityCommand::LinkIdentifier(identifier))
        }
        Ruled::DemographicsUpdated(message) => {
            let demographics =
                read.field("demographics").demographics(message.demographics.as_ref())?;
            let is_kept = |part| message.keeps().any(|kept| kept == part);
            let keeps = Keeps {
                birth: is_kept(v1::DemographicsPart::Birth),
                deceased_at: is_kept(v1::DemographicsPart::DeceasedAt),
                withdraws_birth: message
                    .withdraws()
                    .any(|part| part == v1::DemographicsPart::Birth),
            };
            let demographics = Demographics { keeps, ..demographics };
            Order::Identity(IdentityCommand::UpdateDemographics(demographics))
        }
        Ruled::AdmissionPlanned(message) => Order::Encounter(
            read.encounter(&message.encounter_id)?,
            EncounterCommand::PlanAdmission(PlannedAdmission {
                planned_at: read.time("planned_at", &message.planned_at)?,
                place: read.field("place").place(message.place.as_ref())?,
                preceding: read.preceding(&message.preceding_encounter_id)?,
            }),
        ),
        Ruled::EncounterRegistered(message) => Order::Encounter(
            read.encounter(&message.encounter_id)?,
            EncounterCommand::RegisterVisit(Visit {
                class: read.field("class").class(message.class)?,
                place: read.field("place").place(message.place.as_ref())?,
                ended_at: read.optional_time("ended_at", &message.ended_at)?,
                preceding: read.preceding(&message.preceding_encounter_id)?,
            }),
        ),
        Ruled::Admitted(message) => Order::Encounter(
            read.encounter(&message.encounter_id)?,
            EncounterCommand::Admit(Admission {
                place: read.field("place").place(message.place.as_ref())?,
                preceding: read.preceding(&message.preceding_encounter_id)?,
            }),
        ),
        Ruled::TransferPlanned(message) => Order::Encounter(
            read.encounter(&message.encounter_id)?,
            EncounterCommand::PlanTransfer(PlannedTransfer {
                planned_at: read.time("planned_at", &message.planned_at)?,
                to: read.field("to").place(message.to.as_ref())?,
            }),
        ),
        Ruled::Transferred(message) => Order::Encounter(
            read.encounter(&message.encounter_id)?,
            EncounterCommand::Transfer(WardTransfer {
                to: read.field("to").place(message.to.as_ref())?,
            }),
        ),
        Ruled::LeaveStarted(message) => Order::Encounter(
            read.encounter(&message.encounter_id)?,
            EncounterCommand::StartLeave(()),
        ),
        Ruled::LeaveReturned(message) => Order::Encounter(
            read.encounter(&message.encounter_id)?,
            EncounterCommand::ReturnFromLeave(()),
        ),
        Ruled::DischargePlanned(message) => Order::Encounter(
            read.encounter(&message.encounter_id)?,
            EncounterCommand::PlanDischarge(PlannedDischarge {
                planned_at: read.time("planned_at", &message.planned_at)?,
            }),
        ),
        Ruled::Discharged(message) => Order::Encounter(
            read.encounter(&message.encounter_id)?,
            if is_death(message.disposition.as_ref()) {
                EncounterCommand::DischargeDeceased(())
            } else {
                EncounterCommand::Discharge(())
            },
        ),
        Ruled::AdmissionPlannedCancelled(message) => {
            return read.cancellation(message, EncounterCommand::CancelPlannedAdmission);
        }
        Ruled::RegistrationCancelled(message) => {
            return read.cancellation(message, EncounterCommand::CancelVisit);
        }
        Ruled::AdmitCancelled(message) => {
            return read.cancellation(message, EncounterCommand::CancelAdmission);
        }
        Ruled::TransferPlannedCancelled(message) => {
            return read.cancellation(message, EncounterCommand::CancelPlannedTransfer);
        }
        Ruled::TransferCancelled(message) => {
            return read.cancellation(message, EncounterCommand::CancelTransfer);
        }
        Ruled::LeaveStartedCancelled(message) => {
            return read.cancellation(message, EncounterCommand::CancelLeave);
        }
        Ruled::LeaveReturnedCancelled(message) => {
            return read.cancellation(message, EncounterCommand::CancelReturn);
        }
        Ruled::DischargePlannedCancelled(message) => {
            return read.cancellation(message, EncounterCommand::CancelPlannedDischarge);
        }
        Ruled::DischargeCancelled(message) => {
            return read.cancellation(message, EncounterCommand::CancelDischarge);
        }
        Ruled::TransferRequested(message) => Order::TransferRequest(
            read.id("transfer_request_id", &message.transfer_request_id, TransferRequestId::parse)?,
            TransferCommand::Request(Question {
                encounter: read.encounter(&message.encounter_id)?,
                facility: read.field("facility").organisation(message.facility.as_ref())?,
            }),
        ),
        Ruled::TransferOffered(message) => {
            return read.transfer_answer(message, TransferCommand::Offer(()));
        }
        Ruled::TransferDeclined(message) => {
            return read.transfer_answer(message, TransferCommand::Decline(()));
        }
        Ruled::TransferAccepted(message) => {
            return read.transfer_answer(message, TransferCommand::Accept(()));
        }
        Ruled::TransferWithdrawn(message) => {
            return read.transfer_answer(message, TransferCommand::Withdraw(()));
        }
        Ruled::ReferralRequested(message) => {
            let receiver = read.field("receiver").organisation(message.receiver.as_ref())?;
            let case = read.optional_id("case_id", &message.case_id, CaseId::parse)?;
            let asked = Asked { receiver, case };
            return read.referral(&message.referral_id, ReferralCommand::Request(asked));
        }
        Ruled::ReferralAccepted(message) => {
            return read.referral(&message.referral_id, ReferralCommand::Accept(()));
        }
        Ruled::ReferralRejected(message) => {
            return read.referral(&message.referral_id, ReferralCommand::Reject(()));
        }
        Ruled::ReferralInProgress(message) => {
            return read.referral(&message.referral_id, ReferralCommand::Start(()));
        }
        Ruled::ReferralOnHold(message) => {
            return read.referral(&message.referral_id, ReferralCommand::Hold(()));
        }
        Ruled::ReferralFailed(message) => {
            return read.referral(&message.referral_id, ReferralCommand::Fail(()));
        }
        Ruled::ReferralCompleted(message) => {
            return read.referral(&message.referral_id, ReferralCommand::Complete(()));
        }
        Ruled::ReferralCancelled(message) => {
            return read.referral(&message.referral_id, ReferralCommand::Cancel(()));
        }
        Ruled::ReferralEnteredInError(message) => {
            return read.referral(&message.referral_id, ReferralCommand::MarkEnteredInError(()));
        }
        Ruled::AttendanceRecorded(message) => {
            return read.referral(&message.referral_id, ReferralCommand::RecordAttendance(()));
        }
        Ruled::Unattended(message) => {
            return read.referral(&message.referral_id, ReferralCommand::RecordNonAttendance(()));
        }
        Ruled::CaseOpened(message) => {
            let referral =
                read.optional_id("referral_id", &message.referral_id, ReferralId::parse)?;
            return read.case(&message.case_id, case::Command::Open(referral));
        }
        Ruled::CaseClosed(message) => {
            return read.case(&message.case_id, case::Command::Close(()));
        }
        Ruled::CaseReopened(message) => {
            return read.case(&message.case_id, case::Command::Reopen(()));
        }
        Ruled::ContactAttempted(message) => {
            return read.case(&message.case_id, case::Command::RecordContactAttempt(()));
        }
        Ruled::ContactHeld(message) => {
            return read.case(&message.case_id, case::Command::RecordContact(()));
        }
        Ruled::PatientDeceased(message) => Order::Identity(IdentityCommand::RecordDeath(Death {
            at: read.optional_time("deceased_at", &message.deceased_at)?,
        })),
        Ruled::WalkInConsultRecorded(_) => Order::Identity(IdentityCommand::OpenAnonymous(())),
        Ruled::PatientsMerged(message) => {
            read.merge(&message.retired_patient_id, IdentityCommand::Merge)?
        }
        Ruled::PatientsUnmerged(message) => {
            read.merge(&message.retired_patient_id, IdentityCommand::Unmerge)?
        }
        Ruled::PatientRetired(message) => {
            Order::Identity(IdentityCommand::Retire(read.retirement(message)?))
        }
        Ruled::PatientRestored(message) => {
            Order::Identity(IdentityCommand::Restore(read.retirement(message)?))
        }
        Ruled::PatientMergeAbandoned(message) => {
            read.merge(&message.retired_patient_id, IdentityCommand::AbandonMerge)?
        }
        Ruled::EnteredInError(message) => {
            let is_moved = !message.moved_to_patient_id.is_empty();
            let change = if is_moved { Change::Moved } else { Change::EnteredInError };
            read.correction(&message.corrects_event_id, change)?
        }
        Ruled::ValueCorrected(message) => {
            read.correction(&message.corrects_event_id, read.instead(message)?)?
        }
        Ruled::TimeCorrected(message) => {
            let at = read.time("occurred_at", &message.occurred_at)?;
            read.correction(&message.corrects_event_id, Change::Time(at))?
        }
        // Of no patient: see `topic_step`.
        Ruled::ResourcePublished(_)
        | Ruled::ResourceChanged(_)
        | Ruled::ResourceVerified(_)
        | Ruled::ResourceCapacitySet(_)
        | Ruled::ResourceWithdrawn(_)
        | Ruled::PartnerMeetingHeld(_)
        | Ruled::PartnerMeetingEnteredInError(_) => return Ok(None),
    };
    Ok(Some(order))
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn nothing_takes_its_own_place() {
        let [one, other] =
            ["0190a1b2-0000-7000-8000-00000000000a", "0190a1b2-0000-7000-8000-00000000000b"];
        let of = |by: &str| {
            let (one, by) = (one.to_owned(), by.to_owned());
            [
                Payload::DocumentSuperseded(v1::DocumentEnded {
                    document_id: one.clone(),
                    superseded_by_document_id: by.clone(),
                    ..Default::default()
                }),
                Payload::AcpPreferenceRecorded(v1::AcpPreferenceRecorded {
                    preference_id: one.clone(),
                    supersedes_preference_id: by.clone(),
                    ..Default::default()
                }),
                Payload::AcpPreferenceSuperseded(v1::AcpPreferenceSuperseded {
                    preference_id: one,
                    superseded_by_preference_id: by,
                    ..Default::default()
                }),
            ]
        };
        let violation = |payload: &Payload| replacement(payload).and_then(|said| said.violation());
        assert!(of(other).iter().chain(&of("")).all(|payload| violation(payload).is_none()));
        assert!(of(&one.to_uppercase()).iter().all(|payload| violation(payload).is_some()));
    }

    #[test]
    fn half_of_the_contacts_is_kept_alone_where_none_is_given() {
        use v1::DemographicsPart::{
            Contacts, ContactsAtWork as AtWork, ContactsElsewhere as Elsewhere, Names, Sex,
        };
        let phone = v1::ContactPoint { value: "1".into(), ..Default::default() };
        let is_taken = |keeps: &[v1::DemographicsPart],
                        withdraws: &[v1::DemographicsPart],
                        told| {
            let codes =
                |parts: &[v1::DemographicsPart]| parts.iter().map(|part| (*part).into()).collect();
            let contacts = if told { vec![phone.clone()] } else { Vec::new() };
            let demographics = Some(v1::Demographics { contacts, ..Default::default() });
            let (keeps, withdraws) = (codes(keeps), codes(withdraws));
            let update = v1::DemographicsUpdated { demographics, keeps, withdraws };
            Reader { zone: &Zone::utc(), at: Path::ROOT }.check_parts(&update).is_ok()
        };
        for half in [AtWork, Elsewhere] {
            assert!(is_taken(&[half], &[], false));
            assert!(is_taken(&[Names, half], &[Sex], false));
            assert!(!is_taken(&[half], &[], true), "the other half is replaced as it is");
            assert!(!is_taken(&[Contacts, half], &[], false));
            assert!(!is_taken(&[half], &[Contacts], false));
            assert!(!is_taken(&[], &[half], false));
        }
        assert!(!is_taken(&[AtWork, Elsewhere], &[], false));
        assert!(is_taken(&[Contacts], &[], true));
    }

    #[test]
    fn a_place_is_on_the_globe() {
        let at = |latitude: &str, longitude: &str| {
            let (latitude, longitude) = (latitude.to_owned(), longitude.to_owned());
            let location = v1::ResourceLocation { latitude, longitude, ..Default::default() };
            let said = v1::Resource { locations: vec![location], ..Default::default() };
            let fields = contradictions(&said).into_iter().map(|wrong| wrong.field);
            fields.collect::<Vec<_>>()
        };
        for here in [("36.6", "140.65"), ("-90", "180"), ("", "")] {
            assert!(at(here.0, here.1).is_empty(), "{here:?}");
        }
        assert_eq!(at("999", "140"), ["payload.locations[0].latitude"]);
        assert_eq!(at("-90.1", "-180.5").len(), 2);
    }

    #[test]
    fn an_update_does_not_give_a_part_that_it_says_nothing_of_but_names() {
        use v1::DemographicsPart::{Address, Birth, Names};
        let zone = Zone::utc();
        let reader = Reader { zone: &zone, at: Path::ROOT };
        let names = vec![v1::HumanName { family: "小林".to_owned(), ..Default::default() }];
        let said =
            v1::Demographics { names, birth_on: "1938".to_owned(), ..v1::Demographics::default() };
        let update = |keeps: &[v1::DemographicsPart]| v1::DemographicsUpdated {
            demographics: Some(said.clone()),
            keeps: keeps.iter().map(|part| i32::from(*part)).collect(),
            withdraws: Vec::new(),
        };
        assert_eq!(reader.check_parts(&update(&[Names, Address])), Ok(()));
        let violations = reader.check_parts(&update(&[Address, Birth])).unwrap_err();
        assert_eq!(violations[0].field, "keeps");
        let withdraws = vec![i32::from(Address)];
        let both = v1::DemographicsUpdated { withdraws, ..update(&[Address]) };
        assert_eq!(reader.check_parts(&both).unwrap_err()[0].field, "withdraws");
    }

    #[test]
    fn what_contradicts_itself_is_refused_where_it_is_said_and_read_where_it_was_taken() {
        use v1::DemographicsPart::{Birth, ContactsAtWork, ContactsElsewhere};
        let id = |number: u8| format!("0190a1b2-0000-7000-8000-00000000000{number}");
        let given = v1::Demographics { birth_on: "1938".to_owned(), ..Default::default() };
        let update = |demographics, keeps: &[v1::DemographicsPart]| v1::DemographicsUpdated {
            demographics: Some(demographics),
            keeps: keeps.iter().map(|part| (*part).into()).collect(),
            withdraws: Vec::new(),
        };
        let halves = [ContactsAtWork, ContactsElsewhere];
        let updates = [update(given, &[Birth]), update(v1::Demographics::default(), &halves)];
        let corrected = |update: &v1::DemographicsUpdated| {
            Payload::ValueCorrected(v1::ValueCorrected {
                corrects_event_id: id(3),
                r#type: "care.patient.demographics_updated.v1".to_owned(),
                payload: update.encode_to_vec(),
                ..Default::default()
            })
        };
        let corrections = updates.iter().map(corrected).collect::<Vec<_>>();
        for payload in updates.map(Payload::DemographicsUpdated).into_iter().chain(corrections) {
            let event = v1::Event {
                event_id: id(1),
                r#type: payload.event_type().to_owned(),
                patient_id: id(2),
                occurred_at: "2026-05-01T09:00:00+09:00".to_owned(),
                actor: Some(v1::Actor {
                    organisation: "acute".to_owned(),
                    role: "liaison-nurse".to_owned(),
                    person: "p-1".to_owned(),
                    ..Default::default()
                }),
                payload: payload.encode_to_vec(),
                ..Default::default()
            };
            let refused = command(&event, &payload, &Zone::utc()).unwrap_err();
            assert!(refused[0].field.ends_with("keeps"), "{refused:?}");
            assert!(happened(&event, &payload, &Zone::utc()).is_some(), "{payload:?}");
        }
    }

    #[test]
    fn a_tool_of_ai_is_known_by_its_role() {
        for role in ["ai-tool", "AI-Tool", "ai_scribe", "ai", "LLM", "gpt-llm", "bot", "agent"] {
            assert!(is_tool(role) && is_program(role), "{role}");
        }
        for role in ["system", "device", "program"] {
            assert!(!is_tool(role) && is_program(role), "{role}");
        }
        for role in ["link-worker", "aide", "maid", "main-carer", "travel-agent", "patient"] {
            assert!(!is_tool(role) && !is_program(role), "{role}");
        }
    }
}
