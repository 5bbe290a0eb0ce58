//! What a message tells, as events: in whose name, and where they come from.

use tsunagi_domain::{Actor, EventId, OrganisationId, PatientId};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;

use super::acts::Told;
use super::intake::Incoming;
use super::refusal::Refusal;
use super::visit::Said;
use crate::text::cut;

/// The doors by which messages come.
pub(crate) const MLLP: &str = "mllp";
pub(crate) const SSMIX2: &str = "ssmix2";

const ROLE: &str = "system";
const PERSON: &str = "hl7";
/// In whose name an update (A08) tells what changed of a visit.
pub(super) const IN_PASSING: &str = "hl7-update";
/// In whose name the tracking of patients (A09, A10) tells.
pub(super) const TRACKING: &str = "hl7-tracking";
/// In whose name the end of a visit is told of which no message tells.
pub(super) const ASSUMING: &str = "hl7-assumed";

/// What a message tells of one of its patients.
pub(super) fn events(
    incoming: &Incoming<'_>,
    group: usize,
    patient: PatientId,
    told: Vec<Told>,
) -> Vec<v1::Event> {
    let is_odd = told.iter().any(|told| told.at.odd_offset);
    let of = |(at, told): (usize, Told)| {
        let at_all = Said { odd_offset: is_odd, ..told.at };
        let id = incoming.events().event(group, at);
        event(incoming, id, patient, Told { at: at_all, ..told })
    };
    told.into_iter().enumerate().map(of).collect()
}

/// What a message tells, as an event.
pub(super) fn event(
    incoming: &Incoming<'_>,
    id: EventId,
    patient: PatientId,
    told: Told,
) -> v1::Event {
    let (message, facility) = (incoming.message, &incoming.profile.facility.id);
    let odd = if told.at.odd_offset {
        "an offset from UTC cannot be one, and the facility's zone was taken"
    } else {
        ""
    };
    let is_end = matches!(told.payload, Payload::Discharged(_));
    let person = match message.kind().1.as_str() {
        "A08" => IN_PASSING,
        "A09" | "A10" => TRACKING,
        // What takes an admission back tells of an end only if that is assumed.
        "A01" | "A06" | "A11" if is_end => ASSUMING,
        _other => PERSON,
    };
    let warnings = [incoming.warning, odd].map(str::to_owned);
    let warnings: Vec<String> = warnings.into_iter().filter(|text| !text.is_empty()).collect();
    let is_beginning =
        matches!(told.payload, Payload::Admitted(_) | Payload::EncounterRegistered(_));
    // What a message about something else says of a beginning gives way to the one that is about it,
    // also if that comes late.
    let is_in_passing = is_beginning && !is_about_beginning(&message.kind().1);
    let says_more = !is_in_passing && told.at.text != incoming.written_at;
    let written_at = if says_more { incoming.written_at.clone() } else { String::new() };
    let source = v1::Source {
        door: incoming.door.to_owned(),
        system: cut(&message.field("MSH", 3).first(), 64),
        message_id: cut(&message.field("MSH", 10).text(), 200),
        warning: cut(&warnings.join("; "), 200),
        written_at,
    };
    v1::Event {
        event_id: id.to_string(),
        r#type: told.payload.event_type().to_owned(),
        patient_id: patient.to_string(),
        occurred_at: told.at.text,
        actor: Some(v1::Actor {
            organisation: facility.clone(),
            role: ROLE.to_owned(),
            person: person.to_owned(),
            on_behalf_of: String::new(),
        }),
        source: Some(source),
        payload: told.payload.encode_to_vec(),
        ..v1::Event::default()
    }
}

fn is_about_beginning(event: &str) -> bool {
    matches!(event, "A01" | "A04" | "A06" | "A07")
}

pub(super) fn actor(organisation: &str) -> Result<Actor, Box<Refusal>> {
    let organisation = OrganisationId::parse(organisation);
    let actor = organisation.and_then(|organisation| Actor::new(organisation, ROLE, PERSON));
    actor.map_err(|error| Box::new(Refusal::wrong("MSH-4", &error.to_string())))
}
