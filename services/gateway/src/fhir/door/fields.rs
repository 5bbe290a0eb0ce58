//! What is wrong with an event, in the words of the resource that it is made of: who sent a
//! `birthDate` does not know our names.

use tsunagi_domain::{PatientId, Zone};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::check::Violation;
use tsunagi_proto::{convert, v1};

use super::bundle::Said;
use crate::fhir::NotMapped;
use crate::fhir::resource::Encounter;

/// Fields of events and the elements that they are made of.
const OF_PATIENT: [(&str, &str); 6] = [
    ("payload.demographics.birth_on", "birthDate"),
    ("payload.demographics.deceased_at", "deceasedDateTime"),
    ("payload.demographics.names", "name"),
    ("payload.demographics.address", "address"),
    ("payload.demographics.contacts", "telecom"),
    ("payload.identifier", "identifier"),
];
const OF_ENCOUNTER: [(&str, &str); 5] = [
    ("payload.planned_at", "period.start"),
    ("payload.ended_at", "period.end"),
    ("payload.place", "location"),
    ("payload.attending", "participant"),
    ("payload.visit_number", "identifier"),
];
const OF_CARE_TEAM: [(&str, &str); 1] = [("payload.members", "participant")];

/// Refuses events with a field that is not what it must be, if it is made of an element that can be
/// named. All others are left to the handler.
pub(super) fn check(
    said: &Said,
    events: &[v1::Event],
    patient: PatientId,
    zone: &Zone,
) -> Result<(), NotMapped> {
    for event in events {
        let Ok(payload) = Payload::decode(&event.r#type, &event.payload) else { continue };
        let event = v1::Event { patient_id: patient.to_string(), ..event.clone() };
        let Err(wrong) = convert::command(&event, &payload, zone) else { continue };
        let named = wrong.iter().find_map(|wrong| Some((element(said, &event, wrong)?, wrong)));
        if let Some((element, Violation { problem, .. })) = named {
            let message = format!("{element} {problem}");
            return Err(NotMapped { reason: "FIELDS_INVALID", message, element });
        }
    }
    Ok(())
}

/// The element that a field is made of, such as `Patient.birthDate`.
fn element(said: &Said, event: &v1::Event, wrong: &Violation) -> Option<String> {
    let of = |all: &[(&str, &'static str)]| {
        all.iter().find(|(field, _)| wrong.field.starts_with(field)).map(|(_, element)| *element)
    };
    let (kind, element) = match said {
        Said::Patient(_) => ("Patient", of(&OF_PATIENT)),
        Said::Encounter(encounter) if wrong.field == "occurred_at" => {
            ("Encounter", Some(time_of(encounter, &event.occurred_at)))
        }
        Said::Encounter(_) => ("Encounter", of(&OF_ENCOUNTER)),
        // Where it does not say when it began, it is of the time at which it was written.
        Said::CareTeam(team) if wrong.field == "occurred_at" => {
            let is_begun = !team.period.start.is_empty();
            ("CareTeam", Some(if is_begun { "period.start" } else { "meta.lastUpdated" }))
        }
        Said::CareTeam(_) => ("CareTeam", of(&OF_CARE_TEAM)),
        Said::Referred | Said::NotUsed(_) | Said::Unreadable(_) => return None,
    };
    Some(format!("{kind}.{}", element?))
}

/// Where an encounter says this time.
fn time_of(encounter: &Encounter, time: &str) -> &'static str {
    if encounter.period.start == time {
        "period.start"
    } else if encounter.period.end == time {
        "period.end"
    } else {
        "location"
    }
}
