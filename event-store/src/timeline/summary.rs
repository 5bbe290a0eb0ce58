//! What one sees of a patient at a glance: who it is, and where.

use tsunagi_domain::PatientId;
use tsunagi_domain::encounter::{Class, Encounter, Stage};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::{fields, v1};

use super::Timeline;

pub(super) fn summary(timeline: &Timeline, patient: PatientId) -> v1::PatientSummary {
    let record = timeline.record();
    let mut summary = v1::PatientSummary {
        patient_id: patient.to_string(),
        identifiers: record.patient().identifiers().map(Into::into).collect(),
        demographics: timeline.demographics(),
        version: timeline.version(),
        is_anonymous: record.patient().is_anonymous(),
        merged_into_patient_id: record
            .patient()
            .retired_into()
            .map(|survivor| survivor.to_string())
            .unwrap_or_default(),
        merged_patient_ids: record.patient().merged().map(|(id, _)| id.to_string()).collect(),
        ..v1::PatientSummary::default()
    };
    super::glance::add(timeline, &mut summary);
    if record.patient().is_deceased() {
        // What was said of a stay afterwards does not tell where the patient is, nor since when.
        summary.set_state(v1::PatientState::Deceased);
        let known = summary.demographics.as_ref();
        let known = known.map(|known| known.deceased_at.clone()).unwrap_or_default();
        summary.since_at = if known.is_empty() { death(timeline) } else { known };
        return summary;
    }
    if let Some((id, encounter)) = record.whereabouts() {
        summary.encounter_id = id.to_string();
        summary.set_state(state(encounter));
        summary.set_encounter_class(encounter.class().into());
        summary.place = encounter.place().map(Into::into);
        summary.since_at = since(timeline, encounter);
    }
    summary.planned_discharge_at = plan(timeline, Encounter::planned_discharge);
    summary.planned_admission_at = plan(timeline, Encounter::planned_admission);
    summary
}

fn state(encounter: &Encounter) -> v1::PatientState {
    match encounter.stage() {
        Stage::Expected => v1::PatientState::Unspecified,
        Stage::Visiting => v1::PatientState::Visiting,
        Stage::InHospital => v1::PatientState::InHospital,
        Stage::OnLeave => v1::PatientState::OnLeave,
        Stage::Ended if encounter.class() == Class::Inpatient => v1::PatientState::Discharged,
        Stage::Ended => v1::PatientState::Visited,
    }
}

/// When the patient died, as an event of its own says.
fn death(timeline: &Timeline) -> String {
    let said = timeline.standing().filter(|standing| standing.error.is_none());
    let said = said.filter_map(|standing| {
        if let Payload::PatientDeceased(death) = &*standing.payload {
            Some(death.deceased_at.clone())
        } else {
            None
        }
    });
    said.last().unwrap_or_default()
}

/// Since when, in the words in which it was told.
pub(super) fn since(timeline: &Timeline, encounter: &Encounter) -> String {
    let Some(event) = encounter.since_event() else { return String::new() };
    let Some(said) = timeline.said(event) else { return String::new() };
    if let Payload::EncounterRegistered(visit) = &*said.payload
        && !visit.ended_at.is_empty()
    {
        return visit.ended_at.clone();
    }
    said.occurred_at.to_owned()
}

/// The plan that was made last of those that are still to come, in the words in which it was
/// told: what was said last is what holds.
fn plan(
    timeline: &Timeline,
    of: impl Fn(&Encounter) -> Option<(tsunagi_domain::EventId, tsunagi_domain::CareTime)>,
) -> String {
    let plans = timeline.record().encounters().filter_map(|(_, encounter)| of(encounter));
    let newest = plans.max_by_key(|(event, _)| timeline.version_of(*event));
    newest.map(|(event, _)| planned_at(timeline, event)).unwrap_or_default()
}

/// When something is planned for, in the words in which it was told.
pub(super) fn planned_at(timeline: &Timeline, event: tsunagi_domain::EventId) -> String {
    let Some(plan) = timeline.said(event) else { return String::new() };
    let plan = plan.payload.fields();
    plan.map(|plan| fields::written(plan, "planned_at").to_owned()).unwrap_or_default()
}
