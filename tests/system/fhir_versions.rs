//! Which version of an Encounter holds: the one of the latest `meta.lastUpdated`, whenever it was
//! sent. What it says otherwise than an older one corrects that.

use jiff::{Timestamp, ToSpan as _};
use prost::Message as _;
use serde_json::{Value, json};
use tsunagi_proto::v1;

use crate::export;
use crate::fhir::{bundle, get, reason, request, start};
use crate::fhir_record::post;
use crate::import::open_encounter;
use crate::support::{Server, folder, timeline, timelines};

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

/// What is shown of an encounter: when it began and ended, in which ward, and how it ended.
fn told(encounter: &Value) -> [&Value; 4] {
    let end = &encounter["hospitalization"]["dischargeDisposition"]["coding"][0]["code"];
    let ward = &encounter["location"][0]["location"]["display"];
    [&encounter["period"]["start"], &encounter["period"]["end"], ward, end]
}

/// An encounter in a ward that is sent within it.
fn in_ward(class: &str, status: &str, hours: i64, ward: &str) -> Value {
    let mut encounter = written(class, status, hours);
    let kind = json!({ "coding": [{ "code": "wa" }] });
    encounter["contained"] = json!([
        { "resourceType": "Location", "id": "w", "name": ward, "physicalType": kind },
    ]);
    encounter["location"] = json!([{ "location": { "reference": "#w" } }]);
    encounter
}

#[tokio::test]
async fn a_newer_version_of_an_encounter_corrects_what_an_older_one_said() {
    for class in ["IMP", "AMB"] {
        let data = folder();
        let server = start(data.path(), &[]);
        assert_eq!(post(&server, &in_ward(class, "in-progress", 72, "4E")).await, CREATED);
        let mut began = in_ward(class, "in-progress", 60, "5W");
        let earlier = "2026-03-01T09:00:00+09:00";
        began["period"]["start"] = json!(earlier);
        assert_eq!(post(&server, &began).await, CREATED, "{class}");
        assert_eq!(post(&server, &began).await, KNOWN, "a repeat adds nothing");
        let now = shown(&server).await;
        assert_eq!(told(&now)[..3], [&json!(earlier), &Value::Null, &json!("5W")], "{now}");
        let first = in_ward(class, "in-progress", 72, "4E");
        assert_eq!(post(&server, &first).await, NOT_IN_FORCE, "it is older");
        let over = |hours: i64, end: &str, how: &str| {
            let mut over = in_ward(class, "finished", hours, "5W");
            over["period"] = json!({ "start": earlier, "end": end });
            if !how.is_empty() {
                let how = json!({ "coding": [{ "system": "urn:oid:1.2.3", "code": how }] });
                over["hospitalization"] = json!({ "dischargeDisposition": how });
            }
            over
        };
        let later = "2026-03-02T12:00:00+09:00";
        assert_eq!(post(&server, &over(48, END, "")).await, CREATED, "{class}");
        for (hours, end, how) in [(40, later, ""), (36, later, "home"), (30, END, "other")] {
            let corrected = over(hours, end, how);
            assert_eq!(post(&server, &corrected).await, CREATED, "{class} {end} {how}");
            assert_eq!(post(&server, &corrected).await, KNOWN);
            let now = shown(&server).await;
            assert_eq!(told(&now)[..3], [&json!(earlier), &json!(end), &json!("5W")], "{now}");
        }
        assert_eq!(post(&server, &over(36, later, "home")).await, NOT_IN_FORCE, "it is older");
    }
}

#[tokio::test]
async fn a_visit_that_was_told_with_its_end_is_given_another_or_goes_on() {
    let data = folder();
    let server = start(data.path(), &[]);
    assert_eq!(post(&server, &written("AMB", "finished", 48)).await, CREATED);
    let mut later = written("AMB", "finished", 36);
    later["period"]["end"] = json!("2026-03-02T12:00:00+09:00");
    assert_eq!(post(&server, &later).await, CREATED);
    assert_eq!(shown(&server).await["period"], later["period"]);
    assert_eq!(post(&server, &written("AMB", "in-progress", 24)).await, CREATED);
    assert_eq!(shown(&server).await["status"], "in-progress");
}

#[tokio::test]
async fn what_a_newer_version_leaves_out_stays_and_a_place_come_to_since_is_a_move() {
    let data = folder();
    let server = start(data.path(), &[]);
    assert_eq!(post(&server, &in_ward("IMP", "in-progress", 72, "4E")).await, CREATED);
    let silent = written("IMP", "in-progress", 60);
    assert_eq!(post(&server, &silent).await, KNOWN);
    let mut moved = in_ward("IMP", "in-progress", 48, "5W");
    moved["location"][0]["period"] = json!({ "start": "2026-03-02T09:00:00+09:00" });
    assert_eq!(post(&server, &moved).await, CREATED);
    let channel = server.channel().await;
    let patient = timelines(&channel).await.into_keys().next().unwrap();
    let place_of = |entry: v1::TimelineEntry| {
        let detail = entry.detail?.value;
        match entry.r#type.as_str() {
            "care.encounter.admitted.v1" => v1::Admitted::decode(&*detail).ok()?.place,
            "care.encounter.transferred.v1" => v1::Transferred::decode(&*detail).ok()?.to,
            _ => None,
        }
    };
    let places = timeline(&channel, &patient).await.into_iter().filter_map(place_of);
    assert_eq!(places.map(|place| place.ward).collect::<Vec<_>>(), ["4E", "5W"]);
}

#[tokio::test]
async fn a_version_that_contradicts_itself_or_does_not_say_when_it_was_written_corrects_nothing() {
    let data = folder();
    let server = start(data.path(), &[]);
    assert_eq!(post(&server, &written("IMP", "finished", 48)).await, CREATED);
    let mut other = written("IMP", "finished", 24);
    other["period"]["start"] = json!("2026-03-04T10:00:00+09:00");
    other["period"]["end"] = json!("2026-03-03T10:00:00+09:00");
    let mut undated = written("IMP", "finished", 0);
    undated["meta"] = json!({});
    undated["period"]["end"] = json!("2026-03-02T12:00:00+09:00");
    for (refused, why) in [(other, "ENDS_BEFORE_IT_BEGINS"), (undated, "EVENT_ID_REUSED")] {
        let sent = bundle("transaction", vec![export::patient(0), refused]);
        let (status, answer) = request(&server, "POST", "", &sent).await;
        assert!(status >= 400, "{answer}");
        assert_eq!(reason(&answer), why, "{answer}");
    }
}
