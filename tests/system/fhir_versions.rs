//! Which version of an Encounter holds: the one of the latest `meta.lastUpdated`, whenever it was
//! sent.

use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};

use crate::export;
use crate::fhir::{bundle, get, request, start};
use crate::import::open_encounter;
use crate::support::{Server, folder};

const CREATED: &str = "201 Created";
const KNOWN: &str = "200 OK";
const NOT_IN_FORCE: &str = "NOT_IN_FORCE";

const START: &str = "2026-03-01T10:00:00+09:00";
const END: &str = "2026-03-02T10:00:00+09:00";

fn hours_ago(hours: i64) -> String {
    (Timestamp::now() - hours.hours()).to_string()
}

/// An encounter as it was written so many hours ago.
fn written(class: &str, status: &str, hours: i64) -> Value {
    let mut encounter = open_encounter(class, status, START);
    encounter["id"] = json!(class);
    encounter["meta"] = json!({ "lastUpdated": hours_ago(hours) });
    if status == "finished" {
        encounter["period"]["end"] = json!(END);
    }
    encounter
}

fn planned(start: &str, hours: i64) -> Value {
    let mut plan = written("IMP", "planned", hours);
    plan["period"]["start"] = json!(start);
    plan
}

/// Posts an encounter of the first patient, and gives the status of its entry, or that it is not
/// in force.
async fn post(server: &Server, encounter: &Value) -> String {
    let sent = bundle("transaction", vec![export::patient(0), encounter.clone()]);
    let (status, answer) = request(server, "POST", "", &sent).await;
    assert_eq!(status, 200, "{answer}");
    let response = &answer["entry"][1]["response"];
    let reason = &response["outcome"]["issue"][0]["details"]["coding"][0]["code"];
    let of_status = response["status"].as_str().unwrap();
    reason.as_str().filter(|reason| *reason == NOT_IN_FORCE).unwrap_or(of_status).to_owned()
}

/// The only encounter of the first patient.
async fn shown(server: &Server) -> Value {
    let found = get(server, "/Patient?identifier=MR00000").await;
    let patient = found["entry"][0]["resource"]["id"].as_str().unwrap().to_owned();
    let found = get(server, &format!("/Encounter?patient={patient}")).await;
    assert_eq!(found["entry"].as_array().map(Vec::len), Some(1), "{found}");
    found["entry"][0]["resource"].clone()
}

#[tokio::test]
async fn a_newer_version_holds_though_it_was_written_before_the_older_one_came() {
    for class in ["IMP", "AMB"] {
        let data = folder();
        let server = start(data.path(), &[]);
        let begun = |status: &str, hours: i64| written(class, status, hours);
        assert_eq!(post(&server, &begun("in-progress", 72)).await, CREATED);
        assert_eq!(post(&server, &begun("finished", 48)).await, CREATED);
        assert_eq!(post(&server, &begun("in-progress", 24)).await, CREATED, "{class}");
        assert_eq!(shown(&server).await["status"], "in-progress");
        assert_eq!(post(&server, &begun("cancelled", 20)).await, CREATED);
        assert_eq!(post(&server, &begun("in-progress", 16)).await, CREATED, "{class}");
        assert_eq!(shown(&server).await["status"], "in-progress");
    }
}

#[tokio::test]
async fn a_plan_of_a_newer_version_holds_though_it_was_written_before_the_older_one_came() {
    let data = folder();
    let server = start(data.path(), &[]);
    assert_eq!(post(&server, &planned("2126-06-01", 72)).await, CREATED);
    assert_eq!(post(&server, &planned("2126-06-08", 48)).await, CREATED);
    assert_eq!(post(&server, &planned("2126-06-01", 24)).await, CREATED);
    assert_eq!(post(&server, &planned("2126-06-15", 36)).await, NOT_IN_FORCE, "never sent before");
    assert_eq!(shown(&server).await["period"]["start"], "2126-06-01");
}

#[tokio::test]
async fn an_older_version_of_an_encounter_changes_nothing_and_is_remarked() {
    for class in ["IMP", "AMB"] {
        let data = folder();
        let server = start(data.path(), &[]);
        let begun = |status: &str, hours: i64| written(class, status, hours);
        assert_eq!(post(&server, &begun("in-progress", 24)).await, CREATED);
        for older in [begun("cancelled", 72), begun("finished", 48)] {
            assert_eq!(post(&server, &older).await, NOT_IN_FORCE, "{older}");
            assert_eq!(shown(&server).await["status"], "in-progress");
        }
        assert_eq!(post(&server, &begun("in-progress", 36)).await, KNOWN, "it says the same");
        let newer = begun("finished", 12);
        assert_eq!(post(&server, &newer).await, CREATED);
        assert_eq!(post(&server, &newer).await, KNOWN);
    }
}

#[tokio::test]
async fn of_versions_that_do_not_say_when_they_were_written_the_last_that_came_holds() {
    let data = folder();
    let server = start(data.path(), &[]);
    let undated = |status: &str| {
        let mut encounter = written("IMP", status, 0);
        encounter["meta"] = json!({});
        encounter
    };
    assert_eq!(post(&server, &written("IMP", "in-progress", 24)).await, CREATED);
    assert_eq!(post(&server, &undated("finished")).await, CREATED);
    assert_eq!(shown(&server).await["status"], "finished");
    assert_eq!(post(&server, &undated("cancelled")).await, CREATED);
    assert_eq!(shown(&server).await["status"], "cancelled");
}
