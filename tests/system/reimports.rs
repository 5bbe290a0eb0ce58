//! Exports that are read after others: what goes back to what it was before, what took place
//! after all, and what is older than what is known.

use std::path::Path;

use jiff::{Timestamp, ToSpan as _};
use prost::Message as _;
use serde_json::{Value, json};
use tonic::transport::Channel;
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_bus_client::CareBusClient;
use tsunagi_proto::v1::timeline_client::TimelineClient;

use crate::export::patient;
use crate::import::{import, open_encounter, row, summary, write};
use crate::support::{Server, folder, id, liaison, sentences, timelines};

/// Encounter `e` of the first patient, as written now.
fn written(mut encounter: Value) -> Value {
    encounter["id"] = json!("e");
    encounter["meta"] = json!({ "lastUpdated": Timestamp::now().to_string() });
    encounter
}

fn planned(start: &str) -> Value {
    written(open_encounter("IMP", "planned", start))
}

fn read(data: &Path, export: &Path, encounter: &Value) -> Vec<u64> {
    write(export, "Encounter.ndjson", std::slice::from_ref(encounter));
    row(&import(data, &[export.to_str().unwrap()]), "Encounter")
}

async fn only_patient(channel: &Channel) -> String {
    timelines(channel).await.into_keys().next().unwrap()
}

const TAKEN: [u64; 4] = [1, 0, 0, 0];
const REPEATED: [u64; 4] = [0, 1, 0, 0];

#[tokio::test]
async fn a_plan_that_goes_back_to_an_earlier_time_is_in_force_again() {
    let (data, export) = (folder(), folder());
    let server = Server::start(data.path());
    let channel = server.channel().await;
    write(export.path(), "Patient.ndjson", &[patient(0)]);
    let read = |encounter: &Value| read(data.path(), export.path(), encounter);
    let first = planned("2126-06-01");
    assert_eq!(read(&first), TAKEN);
    assert_eq!(read(&planned("2126-06-08")), TAKEN);
    let back = planned("2126-06-01");
    assert_eq!(read(&back), TAKEN);
    assert_eq!(read(&back), REPEATED);
    assert_eq!(read(&planned("2126-06-08")), TAKEN);
    let last = planned("2126-06-01");
    assert_eq!(read(&last), TAKEN);
    for older in [&last, &back, &first] {
        assert_eq!(read(older), REPEATED, "an export that is read again says nothing new");
    }
    let patient = only_patient(&channel).await;
    assert_eq!(sentences(&channel, &patient).await.len(), 6);
}

#[tokio::test]
async fn an_encounter_that_goes_on_after_all_is_open_again() {
    let (data, export) = (folder(), folder());
    let server = Server::start(data.path());
    let channel = server.channel().await;
    write(export.path(), "Patient.ndjson", &[patient(0)]);
    let read = |status: &str| {
        let mut encounter = open_encounter("IMP", status, "2026-03-01T10:00:00+09:00");
        if status == "finished" {
            encounter["period"]["end"] = json!("2026-03-02T10:00:00+09:00");
        }
        read(data.path(), export.path(), &written(encounter))
    };
    assert_eq!(read("finished"), TAKEN);
    read("in-progress");
    let patient = only_patient(&channel).await;
    let state = async || summary(&channel, &patient).await.state();
    assert_eq!(state().await, v1::PatientState::InHospital);
    assert_eq!(read("finished"), TAKEN);
    assert_eq!(state().await, v1::PatientState::Discharged);
}

#[tokio::test]
async fn an_encounter_that_took_place_after_all_is_taken_again() {
    let (data, export) = (folder(), folder());
    let server = Server::start(data.path());
    let channel = server.channel().await;
    write(export.path(), "Patient.ndjson", &[patient(0)]);
    let read = |encounter: &Value| read(data.path(), export.path(), encounter);
    for class in ["IMP", "AMB"] {
        let begun = |status: &str| {
            let mut encounter = open_encounter(class, status, "2026-03-01T10:00:00+09:00");
            encounter["period"]["end"] = json!("2026-03-02T10:00:00+09:00");
            let mut encounter = written(encounter);
            encounter["id"] = json!(class);
            encounter
        };
        let first = begun("finished");
        assert_eq!(read(&first), TAKEN);
        let withdrawn = begun("entered-in-error");
        assert_eq!(read(&withdrawn), TAKEN);
        assert_eq!(read(&first), REPEATED, "what is older than the cancel says nothing new");
        let again = begun("finished");
        assert_eq!(read(&again), TAKEN, "{class}");
        assert_eq!(read(&again), REPEATED);
        assert_eq!(read(&begun("entered-in-error")), TAKEN);
        assert_eq!(read(&begun("finished")), TAKEN);
    }
    let patient = only_patient(&channel).await;
    let timeline = crate::support::timeline(&channel, &patient).await;
    let stands = |of: &str| {
        let of = |entry: &&v1::TimelineEntry| {
            entry.r#type == of && entry.cancelled_by_event_id.is_empty()
        };
        timeline.iter().filter(of).count()
    };
    assert_eq!(stands("care.encounter.admitted.v1"), 1);
    assert_eq!(stands("care.encounter.registered.v1"), 1);
}

#[tokio::test]
async fn of_versions_of_an_encounter_the_one_that_was_written_last_holds_in_whatever_order_they_come()
 {
    let (data, export) = (folder(), folder());
    let server = Server::start(data.path());
    let channel = server.channel().await;
    write(export.path(), "Patient.ndjson", &[patient(0)]);
    let version = |status: &str, hours: i64| {
        let mut encounter = written(open_encounter("IMP", status, "2026-03-01T10:00:00+09:00"));
        if status == "finished" {
            encounter["period"]["end"] = json!("2026-03-02T10:00:00+09:00");
        }
        encounter["meta"]["lastUpdated"] = json!((Timestamp::now() - hours.hours()).to_string());
        encounter
    };
    let state = async || {
        let patient = only_patient(&channel).await;
        summary(&channel, &patient).await.state()
    };
    // All in one file.
    let versions =
        [version("in-progress", 72), version("finished", 48), version("in-progress", 24)];
    write(export.path(), "Encounter.ndjson", &versions);
    let report = export.path().join("report.txt");
    let path = export.path().to_str().unwrap();
    assert_eq!(row(&import(data.path(), &[path]), "Encounter")[2..], [0, 0]);
    assert_eq!(state().await, v1::PatientState::InHospital);
    for older in [version("cancelled", 60), version("finished", 36)] {
        write(export.path(), "Encounter.ndjson", &[older]);
        let imported = import(data.path(), &[path, "--report", report.to_str().unwrap()]);
        assert_eq!(row(&imported, "Encounter"), REPEATED);
        let report = std::fs::read_to_string(&report).unwrap();
        assert!(report.contains("NOT_IN_FORCE"), "{report}");
        assert_eq!(state().await, v1::PatientState::InHospital);
    }
    assert_eq!(read(data.path(), export.path(), &version("finished", 12)), TAKEN);
    assert_eq!(state().await, v1::PatientState::Discharged);
}

#[tokio::test]
async fn what_an_encounter_says_otherwise_is_refused_in_words_of_the_export() {
    let (data, export) = (folder(), folder());
    let server = Server::start(data.path());
    let channel = server.channel().await;
    write(export.path(), "Patient.ndjson", &[patient(0)]);
    let begun = |start: &str| written(open_encounter("IMP", "in-progress", start));
    assert_eq!(read(data.path(), export.path(), &begun("2026-03-01T10:00:00+09:00")), TAKEN);
    let patient = only_patient(&channel).await;
    write(export.path(), "Encounter.ndjson", &[begun("2026-03-01T09:00:00+09:00")]);
    let refused = import(data.path(), &[export.path().to_str().unwrap()]);
    assert_eq!(row(&refused, "Encounter"), [0, 0, 1, 0]);
    let told = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(told.contains("EVENT_ID_REUSED") && told.contains("entered-in-error"), "{told}");
    for entry in crate::support::timeline(&channel, &patient).await {
        assert!(!told.contains(&entry.event_id), "{told}");
    }
}

#[tokio::test]
async fn an_older_export_does_not_undo_what_was_said_since() {
    let (data, export) = (folder(), folder());
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let living_at = |text: &str, hours: i64| {
        let mut resource = patient(0);
        resource["address"] = json!([{ "text": text }]);
        let at = Timestamp::now() - hours.hours();
        resource["meta"]["lastUpdated"] = json!(at.to_string());
        resource
    };
    let read = |resource: &Value| {
        write(export.path(), "Patient.ndjson", std::slice::from_ref(resource));
        row(&import(data.path(), &[export.path().to_str().unwrap()]), "Patient")
    };
    let address = async || {
        let request = v1::ListPatientsRequest { page_size: 10, ..Default::default() };
        let mut client = TimelineClient::new(channel.clone());
        let page = client.list_patients(liaison(request)).await.unwrap().into_inner();
        page.patients[0].demographics.clone().unwrap().address.unwrap().text
    };
    let (first, second) = (living_at("本町1", 9), living_at("栄町2", 8));
    assert_eq!(read(&first), TAKEN);
    assert_eq!(read(&second), TAKEN);
    assert_eq!(read(&first), REPEATED);
    assert_eq!(address().await, "栄町2");
    // At a desk, somebody learns where the patient lives now.
    let lives_at = v1::Address { text: "港町3".into(), ..Default::default() };
    let demographics = v1::Demographics { address: Some(lives_at), ..Default::default() };
    let updated = v1::DemographicsUpdated {
        demographics: Some(demographics),
        keeps: Vec::new(),
        withdraws: Vec::new(),
    };
    let event = v1::Event {
        event_id: id(7),
        r#type: "care.patient.demographics_updated.v1".into(),
        patient_id: only_patient(&channel).await,
        occurred_at: (Timestamp::now() - 7.hours()).to_string(),
        payload: updated.encode_to_vec(),
        ..Default::default()
    };
    let publish = v1::PublishRequest { events: vec![event], expected_version: None };
    CareBusClient::new(channel.clone()).publish(liaison(publish)).await.unwrap();
    for older in [&first, &second] {
        assert_eq!(read(older), REPEATED);
        assert_eq!(address().await, "港町3");
    }
    assert_eq!(read(&living_at("栄町2", 6)), TAKEN);
    assert_eq!(address().await, "栄町2");
}
