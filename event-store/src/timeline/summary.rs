//! What one sees of a patient at a glance: who it is, and where.

use tsunagi_domain::encounter::{Class, Encounter, Stage};
use tsunagi_domain::{EventId, PatientId};
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
    // Somebody who came in anonymously may have said who they are since.
    let known = summary.demographics.as_ref();
    let is_named = known.is_some_and(|known| !known.names.is_empty());
    summary.is_anonymous &= !is_named && summary.identifiers.is_empty();
    super::glance::add(timeline, &mut summary);
    if record.is_deceased() {
        // What was said of a stay afterwards does not tell where the patient is, nor since when.
        summary.set_state(v1::PatientState::Deceased);
        let known = summary.demographics.as_ref();
        let known = known.map(|known| known.deceased_at.clone()).unwrap_or_default();
        summary.since_at = if known.is_empty() { death(timeline) } else { known };
        summary.planned_stays.clear();
        summary.transfer_requests.clear();
        summary.stays.iter_mut().for_each(|stay| stay.planned_discharge_at.clear());
        return summary;
    }
    if let Some((id, encounter)) = record.whereabouts() {
        summary.encounter_id = id.to_string();
        summary.set_state(state(encounter));
        summary.set_encounter_class(encounter.class().into());
        summary.place = encounter.place().map(Into::into);
        summary.since_at = since(timeline, encounter);
        // Of the stay that the patient is in; another may still be open.
        let plan = encounter.planned_discharge();
        summary.planned_discharge_at =
            plan.map(|(event, _)| planned_at(timeline, event)).unwrap_or_default();
    }
    summary.planned_admission_at = next_admission(timeline);
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

/// When the patient died, as an event of its own says, or else the discharge.
fn death(timeline: &Timeline) -> String {
    let mut said: Vec<_> = timeline.standing().filter(|said| said.error.is_none()).collect();
    super::sort(&mut said);
    let mut said = said.iter().filter_map(|standing| {
        if let Payload::PatientDeceased(death) = &*standing.payload {
            Some(death.deceased_at.clone())
        } else {
            None
        }
    });
    let in_encounter = || timeline.record().death_in_encounter();
    let at_discharge = || in_encounter().map(|(event, _)| told_at(timeline, event));
    said.rfind(|at| !at.is_empty()).or_else(at_discharge).unwrap_or_default()
}

/// Since when it stands as it stands, in the words in which it was told.
fn since(timeline: &Timeline, encounter: &Encounter) -> String {
    encounter.since_event().map(|event| told_at(timeline, event)).unwrap_or_default()
}

/// Since when the patient is in it, also while on leave.
pub(super) fn stay_since(timeline: &Timeline, encounter: &Encounter) -> String {
    encounter.stay_since_event().map(|event| told_at(timeline, event)).unwrap_or_default()
}

fn told_at(timeline: &Timeline, event: EventId) -> String {
    let Some(said) = timeline.said(event) else { return String::new() };
    if let Payload::EncounterRegistered(visit) = &*said.payload
        && !visit.ended_at.is_empty()
    {
        return visit.ended_at.clone();
    }
    said.occurred_at.to_owned()
}

/// The planned admission that comes first, in the words in which it was told.
fn next_admission(timeline: &Timeline) -> String {
    let encounters = timeline.record().encounters();
    let plans = encounters.filter_map(|(_, encounter)| encounter.planned_admission());
    let next = plans.min_by_key(|(event, at)| (at.earliest(), *event));
    next.map(|(event, _)| planned_at(timeline, event)).unwrap_or_default()
}

/// When something is planned for, in the words in which it was told.
pub(super) fn planned_at(timeline: &Timeline, event: EventId) -> String {
    let Some(plan) = timeline.said(event) else { return String::new() };
    let plan = plan.payload.fields();
    plan.map(|plan| fields::written(plan, "planned_at").to_owned()).unwrap_or_default()
}
