//! Resources as they are given out. What is not known is left out: FHIR has no empty elements.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tsunagi_domain::encounter::{Encounter, Stage};
use tsunagi_domain::referral::{Referral, State};
use tsunagi_domain::{EncounterId, PatientId, ReferralId};
use tsunagi_proto::v1;
use uuid::Uuid;

use super::chart::{Chart, Details, Referred};

const JP_CORE: &str = "http://jpfhir.jp/fhir/core/StructureDefinition/";
const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
const REPRESENTATION: &str = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation";

/// The id of a resource of a patient: both ids side by side, so that it can be read without a
/// search.
pub(super) fn compound(patient: PatientId, own: Uuid) -> String {
    format!("{}{}", patient.uuid().as_simple(), own.as_simple())
}

/// The two ids that a compound id is made of.
pub(super) fn parts(id: &str) -> Option<(PatientId, Uuid)> {
    let (patient, own) = id.split_at_checked(32)?;
    let [patient, own] = [patient, own].map(|half| Uuid::try_parse(half).ok());
    Some((PatientId::new(patient?), own?))
}

/// Takes out what says nothing, at every depth.
fn tidy(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let tidied = object.into_iter().map(|(key, value)| (key, tidy(value)));
            Value::Object(tidied.filter(|(_, value)| !is_nothing(value)).collect())
        }
        Value::Array(items) => {
            let tidied = items.into_iter().map(tidy);
            Value::Array(tidied.filter(|value| !is_nothing(value)).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(object) => object.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A patient; of a record that was merged into another, that it leads there.
pub(super) fn patient(summary: &v1::PatientSummary) -> Value {
    let unknown = v1::Demographics::default();
    let demographics = summary.demographics.as_ref().unwrap_or(&unknown);
    let v1::Demographics { birth_on, address, contacts, .. } = demographics;
    let is_withheld = address.as_ref().is_some_and(|address| address.confidential);
    let restricted = json!({
        "system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality",
        "code": "R", "display": "restricted",
    });
    let (deceased, deceased_at) = death(summary, demographics);
    tidy(json!({
        "resourceType": "Patient",
        "id": summary.patient_id,
        "meta": {
            "profile": [format!("{JP_CORE}JP_Patient")],
            "security": if is_withheld { vec![restricted] } else { Vec::new() },
        },
        "identifier": summary.identifiers.iter().map(identifier).collect::<Vec<_>>(),
        "active": summary.merged_into_patient_id.is_empty(),
        "name": demographics.names.iter().map(name).collect::<Vec<_>>(),
        "telecom": contacts.iter().map(contact).collect::<Vec<_>>(),
        "gender": gender(demographics.sex()),
        "birthDate": birth_on,
        "deceasedBoolean": deceased,
        "deceasedDateTime": deceased_at,
        "address": address.as_ref().filter(|address| !address.confidential).map(|a| vec![place_of_living(a)]),
        "link": links(summary),
    }))
}

/// That somebody died, or, if it is known, when.
fn death<'a>(
    summary: &'a v1::PatientSummary,
    demographics: &'a v1::Demographics,
) -> (Option<bool>, &'a str) {
    let is_deceased = summary.state() == v1::PatientState::Deceased || demographics.deceased;
    let at = match demographics.deceased_at.as_str() {
        "" if summary.state() == v1::PatientState::Deceased => &summary.since_at,
        said => said,
    };
    ((is_deceased && at.is_empty()).then_some(true), at)
}

/// The records of the same person.
fn links(summary: &v1::PatientSummary) -> Vec<Value> {
    let link = |patient: &String, kind: &str| json!({ "other": { "reference": format!("Patient/{patient}") }, "type": kind });
    let survivor = Some(&summary.merged_into_patient_id).filter(|survivor| !survivor.is_empty());
    let survivor = survivor.map(|survivor| link(survivor, "replaced-by"));
    let retired = summary.merged_patient_ids.iter().map(|retired| link(retired, "replaces"));
    survivor.into_iter().chain(retired).collect()
}

fn identifier(identifier: &v1::Identifier) -> Value {
    json!({ "system": identifier.system, "value": identifier.value })
}

fn name(name: &v1::HumanName) -> Value {
    let code = match name.script() {
        v1::NameScript::Ideographic => "IDE",
        v1::NameScript::Syllabic => "SYL",
        v1::NameScript::Alphabetic => "ABC",
        v1::NameScript::Unspecified => "",
    };
    let script = json!({ "url": REPRESENTATION, "valueCode": code });
    let text = format!("{} {}", name.family, name.given);
    json!({
        "extension": if code.is_empty() { Vec::new() } else { vec![script] },
        "use": "official",
        "text": if name.text.is_empty() { text.trim() } else { name.text.as_str() },
        "family": name.family,
        "given": name.given.split_whitespace().collect::<Vec<_>>(),
    })
}

fn contact(contact: &v1::ContactPoint) -> Value {
    let system = match contact.kind.as_str() {
        kind @ ("phone" | "fax" | "email" | "pager" | "url" | "sms") => kind,
        _ => "other",
    };
    let usage = match contact.r#use.as_str() {
        usage @ ("home" | "work" | "mobile" | "temp" | "old") => usage,
        _ => "",
    };
    json!({ "system": system, "value": contact.value, "use": usage })
}

fn gender(sex: v1::Sex) -> &'static str {
    match sex {
        v1::Sex::Female => "female",
        v1::Sex::Male => "male",
        v1::Sex::Other => "other",
        v1::Sex::Unknown => "unknown",
        v1::Sex::Unspecified => "",
    }
}

fn place_of_living(address: &v1::Address) -> Value {
    json!({
        "use": "home",
        "text": address.text,
        "city": address.city,
        "state": address.state,
        "postalCode": address.postal_code,
    })
}

fn subject(patient: PatientId) -> Value {
    json!({ "reference": format!("Patient/{patient}") })
}

fn code(code: Option<&v1::Code>) -> Value {
    let Some(code) = code else { return Value::Null };
    let coding = json!({ "system": code.system, "version": code.version, "code": code.code, "display": code.display });
    let has_code = !code.code.is_empty();
    json!({ "coding": if has_code { vec![coding] } else { Vec::new() }, "text": code.display })
}

pub(super) fn encounter(chart: &Chart, id: EncounterId) -> Option<Value> {
    let details = chart.encounters.get(&id)?;
    let state = chart.record.encounter(id);
    let coded =
        |code: &str, display: &str| json!({ "system": ACT_CODE, "code": code, "display": display });
    let class = match state.map_or(details.class, |state| state.class().into()) {
        v1::EncounterClass::Outpatient => coded("AMB", "ambulatory"),
        v1::EncounterClass::Emergency => coded("EMER", "emergency"),
        v1::EncounterClass::Home => coded("HH", "home health"),
        v1::EncounterClass::Virtual => coded("VR", "virtual"),
        v1::EncounterClass::Inpatient | v1::EncounterClass::Unspecified => {
            coded("IMP", "inpatient encounter")
        }
    };
    let place = state.and_then(Encounter::place);
    let preceding = state.and_then(Encounter::preceding).and_then(|id| {
        let told_in = chart.encounters.get(&id)?.told_in;
        Some(json!({ "reference": format!("Encounter/{}", compound(told_in, id.uuid())) }))
    });
    let (source, disposition) = (details.admit_source.as_ref(), details.disposition.as_ref());
    Some(tidy(json!({
        "resourceType": "Encounter",
        "id": compound(details.told_in, id.uuid()),
        "meta": { "profile": [format!("{JP_CORE}JP_Encounter")] },
        "identifier": details.number.as_ref().map(|number| vec![identifier(number)]),
        "status": status(state),
        "class": class,
        "subject": subject(chart.patient),
        "participant": details.attending.as_ref().map(|doctor| vec![attending(doctor)]),
        "period": state.map(|state| period(state, details)),
        "hospitalization": { "admitSource": code(source), "dischargeDisposition": code(disposition) },
        "location": place.and_then(location).map(|location| vec![location]),
        "serviceProvider": place.map(|place| json!({
            "identifier": { "value": place.facility.id.as_str() },
            "display": if place.facility.name.is_empty() { place.facility.id.as_str() } else { &place.facility.name },
        })),
        "partOf": preceding,
    })))
}

fn status(state: Option<&Encounter>) -> &'static str {
    let Some(state) = state else { return "entered-in-error" };
    match state.stage() {
        Stage::Expected if state.planned_admission().is_some() => "planned",
        // All that was said of it was taken back.
        Stage::Expected => "cancelled",
        Stage::Visiting | Stage::InHospital => "in-progress",
        Stage::OnLeave => "onleave",
        Stage::Ended => "finished",
    }
}

fn period(state: &Encounter, details: &Details) -> Value {
    match state.stage() {
        Stage::Expected => json!({ "start": details.planned }),
        Stage::Visiting | Stage::InHospital | Stage::OnLeave => json!({ "start": details.began }),
        Stage::Ended => json!({ "start": details.began, "end": details.ended }),
    }
}

fn attending(doctor: &v1::Participant) -> Value {
    let kind = json!({
        "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType",
        "code": "ATND", "display": "attender",
    });
    json!({ "type": [{ "coding": [kind] }], "individual": person(doctor) })
}

fn person(participant: &v1::Participant) -> Value {
    json!({ "identifier": { "value": participant.person }, "display": participant.name })
}

fn location(place: &tsunagi_domain::place::Place) -> Option<Value> {
    let parts = [&place.department, &place.ward, &place.room, &place.bed];
    let words: Vec<&str> =
        parts.into_iter().map(|part| &**part).filter(|p| !p.is_empty()).collect();
    (!words.is_empty()).then(|| json!({ "location": { "display": words.join(" ") } }))
}

/// The care team, if there is one.
pub(super) fn care_team(chart: &Chart) -> Option<Value> {
    let team = &chart.summary.team;
    if team.is_empty() {
        return None;
    }
    let member = |of: &v1::TeamMember| {
        let member = of.member.clone().unwrap_or_default();
        let organisation = member.organisation.clone().unwrap_or_default();
        json!({
            "role": [{ "text": member.role }],
            "member": person(&member),
            "onBehalfOf": { "identifier": { "value": organisation.id }, "display": organisation.name },
            "period": { "start": of.since_at },
        })
    };
    Some(tidy(json!({
        "resourceType": "CareTeam",
        "id": chart.patient.to_string(),
        "status": "active",
        "subject": subject(chart.patient),
        // A body on whose behalf a practitioner acts is only said of practitioners.
        "participant": team.iter().map(member).collect::<Vec<_>>(),
    })))
}

/// Where a referral stands: entered in error, if nothing holds of it.
fn referral_state(chart: &Chart, id: ReferralId) -> State {
    let mut known =
        chart.record.referrals().filter(|(of, referral)| *of == id && referral.is_known());
    known.next().map_or(State::EnteredInError, |(_, referral): (_, &Referral)| referral.state())
}

pub(super) fn service_request(chart: &Chart, id: ReferralId) -> Option<Value> {
    let referred = chart.referrals.get(&id)?;
    let status = match referral_state(chart, id) {
        State::Rejected | State::Failed | State::Cancelled => "revoked",
        State::Completed => "completed",
        State::OnHold => "on-hold",
        State::EnteredInError => "entered-in-error",
        State::Requested | State::Accepted | State::InProgress => "active",
    };
    let asked = &referred.asked;
    let resource = asked.resource.as_ref().map(|resource| resource.name.as_str());
    Some(tidy(json!({
        "resourceType": "ServiceRequest",
        "id": compound(referred.told_in, id.uuid()),
        "status": status,
        "intent": "order",
        "code": { "text": resource.unwrap_or("social prescribing") },
        "subject": subject(chart.patient),
        "authoredOn": referred.asked_at,
        "requester": { "identifier": { "value": referred.requester } },
        "performer": [receiver(referred)],
        "reasonCode": asked.reasons.iter().map(|reason| code(Some(reason))).collect::<Vec<_>>(),
    })))
}

pub(super) fn task(chart: &Chart, id: ReferralId) -> Option<Value> {
    let referred = chart.referrals.get(&id)?;
    let status = match referral_state(chart, id) {
        State::Requested => "requested",
        State::Accepted => "accepted",
        State::Rejected => "rejected",
        State::InProgress => "in-progress",
        State::OnHold => "on-hold",
        State::Failed => "failed",
        State::Completed => "completed",
        State::Cancelled => "cancelled",
        State::EnteredInError => "entered-in-error",
    };
    let compound = compound(referred.told_in, id.uuid());
    Some(tidy(json!({
        "resourceType": "Task",
        "id": compound,
        "status": status,
        "intent": "order",
        "code": { "coding": [{ "system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "fulfill" }] },
        "focus": { "reference": format!("ServiceRequest/{compound}") },
        "for": subject(chart.patient),
        "authoredOn": referred.asked_at,
        "lastModified": referred.changed_at,
        "requester": { "identifier": { "value": referred.requester } },
        "owner": receiver(referred),
        "restriction": { "period": { "end": referred.asked.answer_by_on } },
    })))
}

fn receiver(referred: &Referred) -> Value {
    let receiver = referred.asked.receiver.clone().unwrap_or_default();
    json!({ "identifier": { "value": receiver.id }, "display": receiver.name })
}

/// A resource as it is given out.
pub(super) struct Given {
    /// `Patient/7`.
    pub(super) place: String,
    pub(super) json: Box<RawValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Searchset {
    resource_type: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<usize>,
    link: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    entry: Vec<Found>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    full_url: String,
    resource: Box<RawValue>,
    search: Value,
}

/// A searchset, with the links by which it was found and goes on.
pub(super) fn searchset(
    base: &str,
    links: &[(&str, String)],
    total: Option<usize>,
    resources: Vec<Given>,
) -> impl Serialize + use<> {
    let found = |Given { place, json }| Found {
        full_url: format!("{base}/{place}"),
        resource: json,
        search: json!({ "mode": "match" }),
    };
    let link = |(relation, url): &(&str, String)| json!({ "relation": relation, "url": url });
    Searchset {
        resource_type: "Bundle",
        kind: "searchset",
        total,
        link: links.iter().map(link).collect(),
        entry: resources.into_iter().map(found).collect(),
    }
}
