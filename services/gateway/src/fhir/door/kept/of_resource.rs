//! What is kept of a Patient or an Encounter, and the event by which it is.

use serde_json::{Map, Value, json};
use tsunagi_domain::{CareTime, EncounterId, EventId, PatientId, Zone};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;
use uuid::Uuid;

use super::super::chart::Chart;
use super::super::emit;
use super::{Elements, Kept, group};
use crate::fhir::NotMapped;
use crate::fhir::directory::key;
use crate::fhir::map::{About, Mapper};
use crate::fhir::resource::{Encounter, Label, Patient};

/// The codes of `administrative-gender`; or nothing is said.
const GENDERS: [&str; 5] = ["", "female", "male", "other", "unknown"];

impl Mapper<'_> {
    /// What is kept of a patient.
    pub fn kept_of_patient(
        &self,
        patient: &Patient,
        sent: &Elements,
        bytes_max: usize,
    ) -> Result<Kept, NotMapped> {
        let mut unknown = patient.meta.labelled(|label| label == Label::Unknown);
        if let Some(at) = unknown.next() {
            return Err(label_unknown(format!("Patient.meta.security[{at}]")));
        }
        let other = patient.meta.labelled(|label| label == Label::Other);
        let unread_labels = other.map(|at| format!("Patient.meta.security[{at}]")).collect();
        if patient.is_restricted() {
            // It would never be given back.
            return Ok(Kept { unread_labels, ..Kept::nothing_of("Patient", sent) });
        }
        let ours = emit::patient(&v1::PatientSummary {
            identifiers: self.identifiers(patient),
            demographics: Some(self.demographics(patient)),
            ..v1::PatientSummary::default()
        });
        let mut kept = sent.kept(ours.as_object().unwrap_or(&Map::new()), bytes_max);
        if !GENDERS.contains(&patient.gender.as_str()) {
            kept.elements.retain(|element| group(&element.name) != "gender");
            kept.too_large.retain(|element| group(&element.name) != "gender");
            let why = "gender (it is none of male, female, other and unknown)";
            kept.left_out.push(why.to_owned());
        }
        Kept {
            unread_labels,
            resource_type: "Patient",
            sent_as: key("Patient", &patient.id),
            written: patient.meta.last_updated.clone(),
            occurred_at: self.past(&self.registered_at(patient)),
            ..kept
        }
        .checked()
    }

    /// What is kept of an encounter. Nothing of one that did not happen, or cannot be taken.
    pub fn kept_of_encounter(
        &self,
        encounter: &Encounter,
        sent: &Elements,
        bytes_max: usize,
    ) -> Result<Kept, NotMapped> {
        let encounter_key = key("Encounter", &encounter.id);
        let id = self.ids.encounter(&encounter_key);
        let labels = encounter.meta.labelled(|label| label != Label::Open);
        let unread_labels = labels.map(|at| format!("Encounter.meta.security[{at}]")).collect();
        let Some(ours) = self.shown_of(encounter, id).filter(|_| !encounter.is_withdrawn()) else {
            return Ok(Kept { unread_labels, ..Kept::nothing_of("Encounter", sent) });
        };
        let written = &encounter.meta.last_updated;
        // Nobody writes of a visit before it begins, whatever a clock that was never set says. Of
        // two that do not say when they were written, the one that comes later holds.
        let time = |text: &str| CareTime::parse(text, &Zone::utc());
        let start = encounter.period.start.as_str();
        let occurred_at = match (time(written), time(start)) {
            (Ok(at), Ok(start)) if !at.is_before(&start) => written,
            _ => start,
        };
        let kept = sent.kept(ours.as_object().unwrap_or(&Map::new()), bytes_max);
        Kept {
            unread_labels,
            resource_type: "Encounter",
            resource_id: id.uuid(),
            sent_as: encounter_key,
            written: written.clone(),
            version: self.written(encounter).to_owned(),
            occurred_at: self.past(occurred_at),
            ..kept
        }
        .checked()
    }

    /// An encounter as it would be given out if nothing else were known.
    fn shown_of(&self, encounter: &Encounter, id: EncounterId) -> Option<Value> {
        let mapped = self.encounter(encounter).ok()?;
        let patient = PatientId::new(Uuid::nil());
        let mut chart = Chart::new(patient, v1::PatientSummary::default());
        for event in mapped.events {
            let detail = prost_types::Any { value: event.payload, ..prost_types::Any::default() };
            let entry = v1::TimelineEntry {
                event_id: event.event_id,
                r#type: event.r#type,
                occurred_at: event.occurred_at,
                actor: event.actor,
                detail: Some(detail),
                ..v1::TimelineEntry::default()
            };
            chart.fold(&entry, &Zone::utc());
        }
        let mut ours = emit::encounter(&chart, id)?;
        // Whose it is has another id here.
        ours.as_object_mut()?.insert("subject".to_owned(), json!({}));
        Some(ours)
    }

    /// A time, or now if that is to come.
    pub(in crate::fhir) fn past(&self, time: &str) -> String {
        let parse = |text: &str| CareTime::parse(text, &Zone::utc());
        match (parse(self.now), parse(time)) {
            (Ok(now), Ok(at)) if !now.is_before(&at) => time.to_owned(),
            _ => self.now.to_owned(),
        }
    }

    /// The event by which it is kept. The same of another version of the resource is another
    /// fact; so is what is said again `after` something else.
    pub fn received(&self, kept: &Kept, patient: PatientId, after: Option<EventId>) -> v1::Event {
        let is_patient = kept.resource_id.is_nil();
        let id = if is_patient { patient.uuid() } else { kept.resource_id };
        let said = Payload::ResourceReceived(v1::ResourceReceived {
            resource_type: kept.resource_type.to_owned(),
            resource_id: id.to_string(),
            sent_as: kept.sent_as.clone(),
            elements: kept.elements.clone(),
            too_large: kept.too_large.clone(),
        });
        let after = after.map(|after| format!(" after {after}")).unwrap_or_default();
        let fact = format!("received {} {}{after}", kept.written, kept.content());
        let written = if is_patient { "" } else { kept.version.as_str() };
        let about = About { key: &kept.sent_as, organisation: self.ids.source(), written };
        let event = self.event(&about, &fact, &kept.occurred_at, &said);
        v1::Event { patient_id: patient.to_string(), ..event }
    }
}

/// An address must never get out because its label is spelt in a way that nobody here knows.
fn label_unknown(element: String) -> NotMapped {
    let message = format!(
        "{element} is a label of confidentiality that is not known here: say R or V, by which the address is withheld, or one of N, M, L and U, by which it is not"
    );
    NotMapped { reason: "LABEL_UNKNOWN", message, element }
}
