//! What FHIR shows of records that were corrected, merged, or told of late: what the timeline
//! shows.

use jiff::Timestamp;
use prost::Message as _;
use serde_json::{Value, json};
use tonic::transport::Channel;
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_team_client::CareTeamClient;
use tsunagi_proto::v1::discharge_desk_client::DischargeDeskClient;

use crate::desks::{place, register, registration};
use crate::export;
use crate::fhir::{bundle, get, reason, request, start};
use crate::import::open_encounter;
use crate::support::{Server, context, folder, id, liaison};

const FHIR: [&str; 0] = [];

fn at(number: u128, at: &str) -> v1::CommandContext {
    context(&id(1), &id(number), at)
}

fn admitted(ward: &str) -> v1::Admitted {
    v1::Admitted {
        encounter_id: id(0xa),
        place: Some(place("acute", ward)),
        ..v1::Admitted::default()
    }
}

/// Admitted on 2 May, discharged on 9 May.
async fn stay(channel: &Channel) {
    register(channel, &id(1), "00123").await;
    let mut desk = DischargeDeskClient::new(channel.clone());
    let admit = v1::AdmitRequest {
        context: Some(at(1, "2026-05-02T10:00:00+09:00")),
        event: Some(admitted("4E")),
    };
    desk.admit(liaison(admit)).await.unwrap();
    let discharge = v1::DischargeRequest {
        context: Some(at(2, "2026-05-09T10:00:00+09:00")),
        event: Some(v1::Discharged { encounter_id: id(0xa), ..v1::Discharged::default() }),
    };
    desk.discharge(liaison(discharge)).await.unwrap();
}

async fn encounters(server: &Server, patient: &str) -> Vec<Value> {
    let found = get(server, &format!("/Encounter?patient={patient}")).await;
    let entries = found["entry"].as_array().cloned().unwrap_or_default();
    entries.into_iter().map(|entry| entry["resource"].clone()).collect()
}

async fn error(channel: &Channel, number: u128, corrects: u128) {
    let request = v1::MarkEnteredInErrorRequest {
        context: Some(at(number, "2026-05-12T09:00:00+09:00")),
        event: Some(v1::EnteredInError {
            corrects_event_id: id(corrects),
            ..v1::EnteredInError::default()
        }),
    };
    let mut team = CareTeamClient::new(channel.clone());
    team.mark_entered_in_error(liaison(request)).await.unwrap();
}

#[tokio::test]
async fn what_was_corrected_is_given_out_as_it_holds() {
    let data = folder();
    let server = start(data.path(), &FHIR);
    let channel = server.channel().await;
    stay(&channel).await;
    let mut team = CareTeamClient::new(channel.clone());
    let earlier = v1::CorrectTimeRequest {
        context: Some(at(3, "2026-05-10T09:00:00+09:00")),
        event: Some(v1::TimeCorrected {
            corrects_event_id: id(1),
            occurred_at: "2026-05-01T08:00:00+09:00".to_owned(),
            ..v1::TimeCorrected::default()
        }),
    };
    team.correct_time(liaison(earlier)).await.unwrap();
    let elsewhere = v1::CorrectValueRequest {
        context: Some(at(4, "2026-05-10T09:05:00+09:00")),
        event: Some(v1::ValueCorrected {
            corrects_event_id: id(1),
            r#type: "care.encounter.admitted.v1".to_owned(),
            payload: v1::Admitted {
                attending: Some(v1::Participant {
                    role: "doctor".to_owned(),
                    name: "徳永 浩".to_owned(),
                    ..v1::Participant::default()
                }),
                ..admitted("5W")
            }
            .encode_to_vec(),
            ..v1::ValueCorrected::default()
        }),
    };
    team.correct_value(liaison(elsewhere)).await.unwrap();
    let shown = encounters(&server, &id(1)).await;
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0]["period"]["start"], "2026-05-01T08:00:00+09:00");
    assert_eq!(shown[0]["location"][0]["location"]["display"], "5W");
    assert_eq!(shown[0]["participant"][0]["individual"]["display"], "徳永 浩");
    assert_eq!(shown[0]["status"], "finished");
    // The discharge was an error, and then the admission: what was read before says so.
    error(&channel, 5, 2).await;
    let shown = encounters(&server, &id(1)).await;
    assert_eq!(shown[0]["status"], "in-progress");
    assert_eq!(shown[0]["period"].get("end"), None);
    error(&channel, 6, 1).await;
    let shown = encounters(&server, &id(1)).await;
    assert_eq!((shown.len(), &shown[0]["status"]), (1, &json!("entered-in-error")));
}

#[tokio::test]
async fn who_the_patient_is_does_not_depend_on_the_order_of_news() {
    let data = folder();
    let server = start(data.path(), &FHIR);
    let channel = server.channel().await;
    register(&channel, &id(1), "00123").await;
    let mut desk = DischargeDeskClient::new(channel.clone());
    for (number, day, family) in [(1, "2026-05-09", "佐藤"), (2, "2026-05-02", "鈴木")] {
        let mut said = registration("").demographics.unwrap();
        said.names[0].family = family.to_owned();
        let event = Some(v1::DemographicsUpdated {
            demographics: Some(said),
            keeps: Vec::new(),
            withdraws: Vec::new(),
        });
        let update = v1::UpdateDemographicsRequest { context: Some(at(number, day)), event };
        desk.update_demographics(liaison(update)).await.unwrap();
    }
    let patient = get(&server, &format!("/Patient/{}", id(1))).await;
    assert_eq!(patient["name"][0]["family"], "佐藤", "said of a later day, though told first");
}

/// Posts an encounter of the first patient, and gives the status of its entry, or that it is not
/// in force.
pub(crate) async fn post(server: &Server, encounter: &Value) -> String {
    let sent = bundle("transaction", vec![export::patient(0), encounter.clone()]);
    let (status, answer) = request(server, "POST", "", &sent).await;
    assert_eq!(status, 200, "{answer}");
    let response = &answer["entry"][1]["response"];
    let reason = &response["outcome"]["issue"][0]["details"]["coding"][0]["code"];
    let of_status = response["status"].as_str().unwrap();
    reason.as_str().filter(|reason| *reason == NOT_IN_FORCE).unwrap_or(of_status).to_owned()
}

fn written(class: &str, status: &str, start: &str) -> Value {
    let mut encounter = open_encounter(class, status, start);
    encounter["id"] = json!(class);
    encounter["meta"] = json!({ "lastUpdated": Timestamp::now().to_string() });
    encounter
}

const CREATED: &str = "201 Created";
const KNOWN: &str = "200 OK";
const NOT_IN_FORCE: &str = "NOT_IN_FORCE";

#[tokio::test]
async fn an_encounter_that_took_place_after_all_is_taken_again() {
    let data = folder();
    let server = start(data.path(), &FHIR);
    for class in ["IMP", "AMB"] {
        let begun = |status: &str| {
            let mut encounter = written(class, status, "2026-03-01T10:00:00+09:00");
            encounter["period"]["end"] = json!("2026-03-02T10:00:00+09:00");
            encounter
        };
        let first = begun("finished");
        assert_eq!(post(&server, &first).await, CREATED);
        assert_eq!(post(&server, &begun("entered-in-error")).await, CREATED);
        assert_eq!(post(&server, &first).await, NOT_IN_FORCE, "older than the cancel");
        let mut undated = begun("finished");
        undated["meta"] = json!({});
        assert_eq!(post(&server, &undated).await, NOT_IN_FORCE);
        let again = begun("finished");
        assert_eq!(post(&server, &again).await, CREATED, "{class}");
        for known in [&again, &undated] {
            assert_eq!(post(&server, known).await, KNOWN);
        }
        let withdrawn = begun("entered-in-error");
        assert_eq!(post(&server, &withdrawn).await, CREATED);
        assert_eq!(post(&server, &withdrawn).await, KNOWN);
        assert_eq!(post(&server, &begun("finished")).await, CREATED);
    }
    let shown = encounters(&server, &patient(&server, "MR00000").await).await;
    let statuses: Vec<&Value> = shown.iter().map(|one| &one["status"]).collect();
    assert_eq!(statuses, ["finished", "finished"]);
}

#[tokio::test]
async fn an_encounter_that_goes_on_after_all_is_open_again() {
    let data = folder();
    let server = start(data.path(), &FHIR);
    for class in ["IMP", "AMB"] {
        let begun = |status: &str, end: &str| {
            let mut encounter = written(class, status, "2026-03-01T10:00:00+09:00");
            if !end.is_empty() {
                encounter["period"]["end"] = json!(end);
            }
            encounter
        };
        let end = "2026-03-02T10:00:00+09:00";
        let first = begun("in-progress", "");
        assert_eq!(post(&server, &first).await, CREATED);
        let finished = begun("finished", end);
        assert_eq!(post(&server, &finished).await, CREATED);
        assert_eq!(post(&server, &first).await, NOT_IN_FORCE, "older than the end");
        let again = begun("in-progress", "");
        assert_eq!(post(&server, &again).await, CREATED, "{class}");
        for (older, expected) in [(&again, KNOWN), (&finished, NOT_IN_FORCE), (&first, KNOWN)] {
            assert_eq!(post(&server, older).await, expected, "{class}");
        }
        let shown = encounters(&server, &patient(&server, "MR00000").await).await;
        assert!(shown.iter().any(|one| one["status"] == "in-progress"), "{shown:?}");
        assert_eq!(post(&server, &begun("finished", end)).await, CREATED);
    }
    let shown = encounters(&server, &patient(&server, "MR00000").await).await;
    assert!(shown.iter().all(|one| one["status"] == "finished"), "{shown:?}");
}

#[tokio::test]
async fn an_older_patient_changes_nothing_of_a_newer_one() {
    let data = folder();
    let server = start(data.path(), &FHIR);
    let said = async |day: &str, phone: &str| {
        let mut person = export::patient(0);
        person["meta"] = json!({ "lastUpdated": day });
        person["telecom"] = json!([{ "system": "phone", "value": phone }]);
        let (status, answer) =
            request(&server, "POST", "", &bundle("transaction", vec![person])).await;
        assert_eq!(status, 200, "{answer}");
        let id = patient(&server, "MR00000").await;
        let shown = get(&server, &format!("/Patient/{id}")).await;
        shown["telecom"][0]["value"].as_str().unwrap().to_owned()
    };
    assert_eq!(said("2026-03-02T00:00:00Z", "new").await, "new");
    assert_eq!(said("2026-03-01T00:00:00Z", "old").await, "new");
    assert_eq!(said("2026-03-03T00:00:00Z", "newer").await, "newer");
}

#[tokio::test]
async fn a_plan_that_goes_back_to_an_earlier_time_is_in_force_again() {
    let data = folder();
    let server = start(data.path(), &FHIR);
    let planned = |start: &str| written("IMP", "planned", start);
    let first = planned("2126-06-01");
    assert_eq!(post(&server, &first).await, CREATED);
    assert_eq!(post(&server, &planned("2126-06-08")).await, CREATED);
    assert_eq!(post(&server, &first).await, NOT_IN_FORCE);
    let back = planned("2126-06-01");
    assert_eq!(post(&server, &back).await, CREATED);
    assert_eq!(post(&server, &back).await, KNOWN);
    assert_eq!(post(&server, &planned("2126-06-08")).await, CREATED);
    let last = planned("2126-06-01");
    assert_eq!(post(&server, &last).await, CREATED);
    for older in [&last, &back, &first] {
        assert_eq!(post(&server, older).await, KNOWN, "what is sent again says nothing new");
    }
    let shown = encounters(&server, &patient(&server, "MR00000").await).await;
    assert_eq!(shown[0]["period"]["start"], "2126-06-01");
}

/// The ids of the resources of a Bundle.
fn ids(bundle: &Value) -> Vec<String> {
    let entries = bundle["entry"].as_array().unwrap();
    entries.iter().map(|entry| entry["resource"]["id"].as_str().unwrap().to_owned()).collect()
}

async fn patient(server: &Server, number: &str) -> String {
    let found = get(server, &format!("/Patient?identifier={number}")).await;
    ids(&found).remove(0)
}

#[tokio::test]
async fn a_retired_record_leads_to_the_one_that_has_its_encounters() {
    let data = folder();
    let server = start(data.path(), &FHIR);
    let channel = server.channel().await;
    for number in [0, 1] {
        let mut resources = vec![export::patient(number)];
        resources.extend(export::encounters(number));
        let (status, _) = request(&server, "POST", "", &bundle("transaction", resources)).await;
        assert_eq!(status, 200);
    }
    let (one, other) = (patient(&server, "MR00000").await, patient(&server, "MR00001").await);
    let visit = encounters(&server, &other).await.remove(0);
    let visit_id = visit["id"].as_str().unwrap();
    let mut team = CareTeamClient::new(channel.clone());
    let of = |number| Some(context(&one, &id(number), "2026-05-02T10:00:00+09:00"));
    let merge = v1::MergePatientsRequest {
        context: of(1),
        event: Some(v1::PatientsMerged {
            retired_patient_id: other.clone(),
            ..v1::PatientsMerged::default()
        }),
    };
    team.merge_patients(liaison(merge)).await.unwrap();

    let all = get(&server, &format!("/Patient/{one}/$everything")).await;
    assert_eq!(all["total"], 5, "{all}");
    let from_there = get(&server, &format!("/Patient/{other}/$everything")).await;
    assert_eq!(ids(&all), ids(&from_there));
    let link = |reference: &str, kind: &str| json!([{ "other": { "reference": format!("Patient/{reference}") }, "type": kind }]);
    let survivor = get(&server, &format!("/Patient/{one}")).await;
    assert_eq!(survivor["link"], link(&other, "replaces"));
    assert_eq!(survivor["identifier"].as_array().unwrap().len(), 4, "both have two");
    let retired = get(&server, &format!("/Patient/{other}")).await;
    assert_eq!((&retired["active"], &retired["link"]), (&json!(false), &link(&one, "replaced-by")));
    let found = get(&server, "/Patient?identifier=MR00001").await;
    assert_eq!(ids(&found).join(" "), one);
    let moved = get(&server, &format!("/Encounter/{visit_id}")).await;
    assert_eq!(moved["subject"]["reference"], format!("Patient/{one}"), "under the id it had");
    assert_eq!(encounters(&server, &other).await.len(), 4);

    // What is sent of the retired one again is known; what is new goes to the survivor.
    let mut resources = vec![export::patient(1)];
    resources.extend(export::encounters(1));
    let mut new = export::encounters(1).remove(0);
    new["id"] = json!("v1b");
    new["period"] =
        json!({ "start": "2026-04-01T09:00:00+09:00", "end": "2026-04-01T09:10:00+09:00" });
    resources.push(new);
    let sent = bundle("transaction", resources);
    let (status, answer) = request(&server, "POST", "", &sent).await;
    assert_eq!(status, 200, "{answer}");
    let status_of = |at: usize| answer["entry"][at]["response"]["status"].as_str().unwrap();
    assert_eq!((status_of(1), status_of(2)), ("200 OK", "201 Created"));
    assert_eq!(answer["entry"][0]["response"]["location"], format!("Patient/{one}"));
    assert_eq!(encounters(&server, &one).await.len(), 5);

    let unmerge = v1::UnmergePatientsRequest {
        context: of(2),
        event: Some(v1::PatientsUnmerged {
            retired_patient_id: other.clone(),
            ..v1::PatientsUnmerged::default()
        }),
    };
    team.unmerge_patients(liaison(unmerge)).await.unwrap();
    let back = get(&server, &format!("/Encounter/{visit_id}")).await;
    assert_eq!(back, visit);
    assert_eq!(encounters(&server, &other).await.len(), 1);
    assert_eq!(get(&server, &format!("/Patient/{one}")).await.get("link"), None);
    let (status, outcome) =
        request(&server, "GET", &format!("/Encounter/{}x", &visit_id[..63]), "").await;
    assert_eq!((status, reason(&outcome)), (404, "NOT_FOUND"));
}
