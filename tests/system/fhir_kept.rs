//! What a FHIR resource says beyond what becomes of it here: it comes back as it was sent, and
//! never against what is known since.

use prost::Message as _;
use serde_json::{Value, json};
use tonic::transport::Channel;
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_bus_client::CareBusClient;
use tsunagi_proto::v1::care_team_client::CareTeamClient;
use tsunagi_proto::v1::discharge_desk_client::DischargeDeskClient;
use tsunagi_proto::v1::subscribe_response::Frame;

use crate::desks::register;
use crate::fhir::{bundle, get, reason, request, start};
use crate::import::{import, open_encounter, summary, write};
use crate::support::{Server, by, context, folder, id, liaison, run, sentences, stdout, timeline};

const NUMBERS: &str = "urn:oid:1.2.392.100495.20.3.51.1";

/// A patient with much of which nothing is made here.
fn person() -> Value {
    json!({
        "resourceType": "Patient",
        "id": "k1",
        "meta": {
            "lastUpdated": "2026-01-01T00:00:00+09:00",
            "profile": ["http://his.example/StructureDefinition/own"],
            "tag": [{ "system": "http://his.example/tags", "code": "ward-round" }],
            "security": [{ "system": "http://his.example/labels", "code": "internal" }],
        },
        "text": { "status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">髙橋 花</div>" },
        "extension": [{
            "url": "http://his.example/StructureDefinition/distance",
            "valueQuantity": { "value": 1.5, "unit": "km" },
        }],
        "identifier": [{
            "use": "usual",
            "type": { "text": "患者番号" },
            "system": NUMBERS,
            "value": "MR70001",
            "assigner": { "display": "つなぎ中央病院" },
        }, { "use": "old", "value": "A-7" }],
        "name": [{ "use": "official", "family": "髙橋", "given": ["花"], "period": { "start": "1990" } }],
        "gender": "female",
        "birthDate": "1938-04-02",
        "_birthDate": { "extension": [{
            "url": "http://hl7.org/fhir/StructureDefinition/patient-birthTime",
            "valueDateTime": "1938-04-02T04:30:00+09:00",
        }] },
        "deceasedBoolean": false,
        "address": [{ "use": "home", "text": "本町1-2-3", "line": ["本町1-2-3"] }],
        "maritalStatus": { "text": "既婚" },
        "contact": [{ "name": { "text": "髙橋 一郎" }, "relationship": [{ "text": "夫" }] }],
        "communication": [{ "language": { "text": "日本語" }, "preferred": true }],
    })
}

fn visit() -> Value {
    let mut visit = open_encounter("ACUTE", "arrived", "2026-02-01T09:00:00+09:00");
    visit["subject"] = json!({ "reference": "Patient/k1", "display": "髙橋 花" });
    visit["type"] = json!([{ "text": "緊急" }]);
    visit["reasonCode"] = json!([{ "text": "肺炎" }]);
    visit["period"]["extension"] =
        json!([{ "url": "http://his.example/estimated", "valueBoolean": true }]);
    visit["participant"] = json!([
        { "type": [{ "coding": [{ "code": "ATND" }] }], "individual": { "reference": "Practitioner/d1", "display": "山田" } },
        { "type": [{ "coding": [{ "code": "ADM" }] }], "individual": { "display": "佐藤" } },
    ]);
    visit
}

/// Posts resources together. The answer's entries.
async fn post(server: &Server, resources: Vec<Value>) -> Vec<Value> {
    let (status, answer) = request(server, "POST", "", &bundle("transaction", resources)).await;
    assert_eq!(status, 200, "{answer}");
    answer["entry"].as_array().unwrap().iter().map(|entry| entry["response"].clone()).collect()
}

/// Why resources are refused, and the sentence.
async fn refusal(server: &Server, resources: Vec<Value>) -> (String, String) {
    let (status, answer) = request(server, "POST", "", &bundle("transaction", resources)).await;
    assert!(status >= 400, "{answer}");
    let words = answer["issue"][0]["diagnostics"].as_str().unwrap().to_owned();
    (reason(&answer).to_owned(), words)
}

async fn patient(server: &Server) -> Value {
    let found = get(server, &format!("/Patient?identifier={NUMBERS}|MR70001")).await;
    found["entry"][0]["resource"].clone()
}

async fn encounter(server: &Server) -> Value {
    let patient = patient(server).await["id"].as_str().unwrap().to_owned();
    let found = get(server, &format!("/Encounter?patient={patient}")).await;
    found["entry"][0]["resource"].clone()
}

/// What does not come back of an element: all of it that a reader would miss.
pub(crate) fn missing(sent: &Value, given: &Value, at: &str) -> Vec<String> {
    match (sent, given) {
        (Value::Object(sent), Value::Object(given)) => {
            let of = |(name, sent): (&String, &Value)| {
                let at = format!("{at}.{name}");
                match given.get(name) {
                    // It leads to something that has another id here.
                    _ if name == "reference" => Vec::new(),
                    Some(given) => missing(sent, given, &at),
                    None => vec![at],
                }
            };
            sent.iter().flat_map(of).collect()
        }
        (Value::Array(sent), Value::Array(given)) => {
            let is_there = |sent: &&Value| given.iter().any(|g| missing(sent, g, at).is_empty());
            let lost = sent.iter().filter(|sent| !is_there(sent));
            lost.map(|_| format!("{at}[]")).collect()
        }
        (sent, given) => {
            if sent == given {
                Vec::new()
            } else {
                vec![at.to_owned()]
            }
        }
    }
}

/// What of a resource does not come back, but for what is the sender's own business.
pub(crate) fn lost(sent: &Value, given: &Value) -> Vec<String> {
    let mut sent = sent.clone();
    sent.as_object_mut().unwrap().remove("id");
    if let Some(meta) = sent.get_mut("meta").and_then(Value::as_object_mut) {
        meta.retain(|name, _| name == "tag" || name == "security");
    }
    missing(&sent, given, sent["resourceType"].as_str().unwrap())
}

#[tokio::test]
async fn what_nothing_is_made_of_comes_back_as_it_was_sent_and_once() {
    let data = folder();
    let server = start(data.path(), &[]);
    let entries = post(&server, vec![person(), visit()]).await;
    // Its own label may mean that something is withheld, and nothing is; all of it is kept.
    let told = &entries[0]["outcome"];
    assert_eq!((reason(told), told["issue"].as_array().unwrap().len()), ("LABEL_NOT_READ", 1));
    assert_eq!(entries[1].get("outcome"), None, "{entries:?}");
    let (given, stay) = (patient(&server).await, encounter(&server).await);
    assert_eq!(lost(&person(), &given), [""; 0], "{given}");
    assert_eq!(lost(&visit(), &stay), [""; 0], "{stay}");
    assert_eq!((&stay["class"]["code"], &stay["status"]), (&json!("ACUTE"), &json!("arrived")));
    let patient_id = given["id"].as_str().unwrap();
    assert_eq!(stay["subject"]["reference"], format!("Patient/{patient_id}"), "ours leads here");
    assert_eq!(
        given["meta"]["profile"],
        json!(["http://jpfhir.jp/fhir/core/StructureDefinition/JP_Patient"])
    );
    // By whichever way, and after a kill.
    let all = get(&server, &format!("/Patient/{patient_id}/$everything")).await;
    assert_eq!((&all["entry"][0]["resource"], &all["entry"][1]["resource"]), (&given, &stay));
    let version = summary(&server.channel().await, patient_id).await.version;
    server.kill();
    let server = start(data.path(), &[]);
    assert_eq!(get(&server, &format!("/Patient/{patient_id}")).await, given);
    let place = format!("/Encounter/{}", stay["id"].as_str().unwrap());
    assert_eq!(get(&server, &place).await, stay);
    // What is looked for is what is known here.
    let inpatient = get(&server, &format!("/Encounter?patient={patient_id}&class=IMP")).await;
    assert_eq!(inpatient["total"], 1);
    // The same again is nothing new.
    let again = post(&server, vec![person(), visit()]).await;
    assert!(again.iter().all(|entry| entry["status"] == "200 OK"), "{again:?}");
    assert_eq!(summary(&server.channel().await, patient_id).await.version, version);
}

#[tokio::test]
async fn what_is_known_since_is_not_spoken_against() {
    let data = folder();
    let server = start(data.path(), &["--mllp-listen", "127.0.0.1:0"]);
    post(&server, vec![person(), visit()]).await;
    let patient_id = patient(&server).await["id"].as_str().unwrap().to_owned();
    let channel = server.channel().await;
    // A desk says another name; the rest stays as it was.
    let known = summary(&channel, &patient_id).await.demographics.unwrap();
    let name = v1::HumanName {
        family: "佐々木".to_owned(),
        text: "佐々木 花".to_owned(),
        ..known.names[0].clone()
    };
    let request = v1::UpdateDemographicsRequest {
        context: Some(context(&patient_id, &id(1), "2026-03-01T10:00:00+09:00")),
        event: Some(v1::DemographicsUpdated {
            demographics: Some(v1::Demographics { names: vec![name], ..known }),
            keeps: Vec::new(),
            withdraws: Vec::new(),
        }),
    };
    DischargeDeskClient::new(channel.clone()).update_demographics(liaison(request)).await.unwrap();
    let given = patient(&server).await;
    assert_eq!(given["name"][0]["family"], "佐々木");
    assert_eq!(given["name"][0].get("period"), None, "it was the other name's");
    assert_eq!(given.get("text"), None, "it tells the other name");
    assert_eq!(
        (&given["maritalStatus"], &given["address"]),
        (&person()["maritalStatus"], &person()["address"])
    );
    // The stay ends; who sent the elements says so without them.
    let mut ended = visit();
    ended["status"] = json!("finished");
    ended["period"]["end"] = json!("2026-02-05T10:00:00+09:00");
    ended.as_object_mut().unwrap().remove("type");
    ended["participant"].as_array_mut().unwrap().pop();
    ended["period"].as_object_mut().unwrap().remove("extension");
    let mut newer = person();
    newer["meta"]["lastUpdated"] = json!("2026-03-02T00:00:00+09:00");
    newer["name"][0]["family"] = json!("佐々木");
    newer.as_object_mut().unwrap().remove("maritalStatus");
    post(&server, vec![newer.clone(), ended.clone()]).await;
    let (given, stay) = (patient(&server).await, encounter(&server).await);
    assert_eq!(
        (lost(&newer, &given), lost(&ended, &stay)),
        (Vec::new(), Vec::new()),
        "{given} {stay}"
    );
    assert_eq!((given.get("maritalStatus"), stay.get("type")), (None, None));
    assert_eq!(stay["participant"][1], Value::Null, "{stay}");
    // An older one does not come in between.
    post(&server, vec![person()]).await;
    assert_eq!(patient(&server).await, given);
}

#[tokio::test]
async fn senders_do_not_take_back_what_others_said() {
    let data = folder();
    let server = start(data.path(), &[]);
    post(&server, vec![person()]).await;
    let patient_id = patient(&server).await["id"].as_str().unwrap().to_owned();
    let export = folder();
    let mut other = json!({
        "resourceType": "Patient", "id": "77", "gender": "female", "birthDate": "1938-04-02",
        "meta": { "lastUpdated": "2026-02-01T00:00:00+09:00" },
        "identifier": [{ "system": NUMBERS, "value": "MR70001" }],
        "maritalStatus": { "text": "死別" },
        "multipleBirthInteger": 2,
    });
    let read = |other: &Value| {
        write(export.path(), "Patient.ndjson", std::slice::from_ref(other));
        let path = export.path().to_str().unwrap();
        let report = import(data.path(), &[path, "--source", "clinic"]);
        assert_eq!(report.status.code(), Some(0), "{}", stdout(&report));
        stdout(&report)
    };
    read(&other);
    let given = patient(&server).await;
    assert_eq!(given["id"], patient_id);
    assert_eq!(given["maritalStatus"]["text"], "死別", "the newer word holds");
    assert_eq!(given["multipleBirthInteger"], 2);
    assert_eq!(given["contact"], person()["contact"], "the other's word holds as well");
    assert_eq!(given["identifier"].as_array().unwrap().len(), 4, "{given}");
    assert!(
        lost(&json!({ "resourceType": "Patient", "identifier": person()["identifier"] }), &given)
            .is_empty()
    );
    assert!(read(&other).contains("0 events stored"), "nothing is new");
    // It says no more of that; what the first said of it holds again.
    other["meta"]["lastUpdated"] = json!("2026-03-01T00:00:00+09:00");
    other.as_object_mut().unwrap().remove("maritalStatus");
    read(&other);
    let given = patient(&server).await;
    assert_eq!(
        (&given["maritalStatus"]["text"], &given["multipleBirthInteger"]),
        (&json!("既婚"), &json!(2))
    );
}

/// All that is sent to somebody who follows all events.
async fn followed(channel: &Channel, events: usize) -> Vec<v1::Event> {
    let mut bus = CareBusClient::new(channel.clone());
    let all = v1::SubscribeRequest::default();
    let mut frames = bus.subscribe(liaison(all)).await.unwrap().into_inner();
    let mut sent = Vec::new();
    while sent.len() < events {
        if let Frame::Event(stored) = frames.message().await.unwrap().unwrap().frame.unwrap() {
            sent.extend(stored.event);
        }
    }
    sent
}

#[tokio::test]
async fn nobody_but_the_fhir_door_tells_what_was_kept() {
    let data = folder();
    let server = start(data.path(), &[]);
    post(&server, vec![person()]).await;
    let patient_id = patient(&server).await["id"].as_str().unwrap().to_owned();
    let channel = server.channel().await;
    assert_eq!(summary(&channel, &patient_id).await.version, 2);
    assert_eq!(sentences(&channel, &patient_id).await, ["registered as a patient"]);
    let sent = followed(&channel, 2).await;
    assert_eq!(sent[1].r#type, "care.record.resource_received.v1");
    let received = v1::ResourceReceived::decode(&*sent[1].payload).unwrap();
    let names: Vec<&str> = received.elements.iter().map(|of| of.name.as_str()).collect();
    assert!(names.contains(&"maritalStatus") && names.contains(&"_birthDate"), "{names:?}");
    assert!(received.elements.iter().all(|of| of.json.is_empty() && of.shown.is_empty()));
    // So who mirrors the feed cannot put it anywhere, and is told.
    let mut mirrored = sent[1].clone();
    mirrored.event_id = id(8);
    let publish = v1::PublishRequest { events: vec![mirrored], expected_version: None };
    let refused = CareBusClient::new(channel.clone()).publish(liaison(publish)).await.unwrap_err();
    assert_eq!(crate::support::reason(&refused), "FIELDS_INVALID", "{refused}");
    assert!(refused.message().contains("leave events of this type out"), "{refused}");
    assert_eq!(patient(&server).await["id"], patient_id);
    // Whose word it is takes it back.
    let error = |number: u128| v1::MarkEnteredInErrorRequest {
        context: Some(context(&patient_id, &id(number), "2026-05-12T09:00:00+09:00")),
        event: Some(v1::EnteredInError {
            corrects_event_id: sent[1].event_id.clone(),
            ..v1::EnteredInError::default()
        }),
    };
    let mut team = CareTeamClient::new(channel.clone());
    team.mark_entered_in_error(by("acute", "liaison-nurse", error(1))).await.unwrap();
    assert_eq!(patient(&server).await.get("maritalStatus"), None);
    let entries = timeline(&channel, &patient_id).await;
    assert!(!format!("{entries:?}").contains("既婚"));
    // Nothing else is said in its place but by who sends the resource.
    let instead = v1::ValueCorrected {
        corrects_event_id: sent[1].event_id.clone(),
        r#type: sent[1].r#type.clone(),
        payload: sent[1].payload.clone(),
        ..v1::ValueCorrected::default()
    };
    let correct = v1::CorrectValueRequest {
        context: Some(context(&patient_id, &id(2), "2026-05-12T09:00:00+09:00")),
        event: Some(instead),
    };
    let refused = team.correct_value(by("acute", "liaison-nurse", correct)).await.unwrap_err();
    assert_eq!(crate::support::reason(&refused), "FIELDS_INVALID", "{refused}");
}

#[tokio::test]
async fn of_somebody_whose_address_is_confidential_nothing_kept_is_given_back() {
    let data = folder();
    let server = start(data.path(), &[]);
    post(&server, vec![person(), visit()]).await;
    let (given, stay) = (patient(&server).await, encounter(&server).await);
    let patient_id = given["id"].as_str().unwrap();
    let channel = server.channel().await;
    // Another record of the same person says so.
    register(&channel, &id(9), "00999").await;
    let confidential = v1::Address { confidential: true, ..v1::Address::default() };
    let request = v1::UpdateDemographicsRequest {
        context: Some(context(&id(9), &id(1), "2026-03-01T10:00:00+09:00")),
        event: Some(v1::DemographicsUpdated {
            demographics: Some(v1::Demographics {
                address: Some(confidential),
                ..Default::default()
            }),
            keeps: Vec::new(),
            withdraws: Vec::new(),
        }),
    };
    let mut team = CareTeamClient::new(channel.clone());
    let mut desk = DischargeDeskClient::new(channel.clone());
    desk.update_demographics(liaison(request)).await.unwrap();
    let merge = v1::MergePatientsRequest {
        context: Some(context(patient_id, &id(2), "2026-03-02T10:00:00+09:00")),
        event: Some(v1::PatientsMerged { retired_patient_id: id(9), ..Default::default() }),
    };
    team.merge_patients(liaison(merge)).await.unwrap();
    for path in [
        format!("/Patient/{patient_id}"),
        format!("/Patient/{patient_id}/$everything"),
        "/Patient".to_owned(),
        format!("/Encounter?patient={patient_id}"),
        format!("/Encounter/{}", stay["id"].as_str().unwrap()),
    ] {
        let shown = get(&server, &path).await.to_string();
        for kept in ["本町", "既婚", "一郎", "肺炎", "ward-round", "his.example"] {
            assert!(!shown.contains(kept), "{path}: {shown}");
        }
    }
    // Nor when it is sent again.
    let mut again = person();
    again["meta"]["lastUpdated"] = json!("2026-06-01T00:00:00+09:00");
    again["maritalStatus"]["text"] = json!("死別");
    post(&server, vec![again]).await;
    assert_eq!(patient(&server).await.get("maritalStatus"), None);
}

#[tokio::test]
async fn what_cannot_be_kept_is_named_or_refused() {
    let data = folder();
    let server = start(data.path(), &["--fhir-kept-bytes", "400"]);
    // A My Number, however it is escaped.
    let mut with_number = person();
    with_number["maritalStatus"] = json!({ "text": "1234-5678-9018" });
    let (why, words) = refusal(&server, vec![with_number.clone()]).await;
    assert_eq!(why, "FIELDS_INVALID");
    assert!(words.starts_with("Patient.maritalStatus must not have a My Number"), "{words}");
    let escaped = bundle("batch", vec![with_number]).replace("1234-5678", "\\u0031234-567\\u0038");
    let (_, answer) = request(&server, "POST", "", &escaped).await;
    assert_eq!(answer["entry"][0]["response"]["status"], "400 Bad Request", "{answer}");
    assert!(!answer.to_string().contains("5678"), "{answer}");
    // Or in whatever place.
    for (element, of_extension) in [
        ("n123456789018", r#"{"url":"urn:a","valueString":"a"}"#),
        ("extension", r#"{"url":"urn:a","n123456789018":"a"}"#),
        ("extension", r#"{"url":"urn:a","valueString":"123456789018","valueString":"a"}"#),
        ("extension", r#"{"url":"urn:a","valueString":"&#49;23456789018"}"#),
    ] {
        let mut holds = person();
        holds[element] = json!(["HERE"]);
        let text = bundle("batch", vec![holds]).replace(r#""HERE""#, of_extension);
        let (_, answer) = request(&server, "POST", "", &text).await;
        assert_eq!(answer["entry"][0]["response"]["status"], "400 Bad Request", "{answer}");
        assert!(!answer.to_string().contains("456789018"), "{answer}");
    }
    // What is of another type than FHIR says: given back, it would make of the answer no FHIR.
    for (at, value, place) in [
        ("maritalStatus", json!("既婚"), "maritalStatus"),
        ("contact", json!([{ "name": { "given": "一郎" } }]), "contact[0].name.given"),
        ("name", json!({ "text": "髙橋 花" }), "name"),
        ("communication", json!([null]), "communication[0]"),
        ("deceasedDateTime", json!("2026-01-01"), "deceasedDateTime"),
    ] {
        let mut wrong = person();
        wrong[at] = value;
        let (_, answer) =
            request(&server, "POST", "", &bundle("transaction", vec![wrong.clone()])).await;
        assert_eq!(reason(&answer), "ELEMENT_WRONG", "{answer}");
        let expression = format!("Bundle.entry[0].resource.{place}");
        assert_eq!(answer["issue"][0]["expression"], json!([expression]));
        assert!(!answer.to_string().contains('郎') && !answer.to_string().contains("既婚"));
        let (_, answer) = request(&server, "POST", "", &bundle("batch", vec![wrong])).await;
        let outcome = &answer["entry"][0]["response"]["outcome"];
        assert_eq!(outcome["issue"][0]["expression"], json!([expression]), "{answer}");
    }
    // A label by which its sender may mean that the address is confidential.
    let labelled = |system: &str, code: &str| {
        let mut labelled = person();
        labelled["meta"]["security"] = json!([{ "system": system, "code": code }]);
        labelled
    };
    let unknown = labelled("http://hl7.org/fhir/v3/Confidentiality", "DV");
    let (why, words) = refusal(&server, vec![unknown]).await;
    assert_eq!(why, "LABEL_UNKNOWN");
    assert!(words.starts_with("Patient.meta.security[0] is a label"), "{words}");
    let entries = post(&server, vec![labelled("urn:his:labels", "R")]).await;
    assert_eq!(reason(&entries[0]["outcome"]), "LABEL_NOT_READ");
    assert_eq!(entries[0]["outcome"]["issue"][0]["severity"], "warning");
    // What changes the meaning of what is read.
    for (at, part) in [
        ("modifierExtension", json!([{ "url": "urn:x", "valueBoolean": true }])),
        ("participant", json!([{ "modifierExtension": [{ "url": "urn:x" }] }])),
    ] {
        let mut changed = visit();
        changed[at] = part;
        let (why, words) = refusal(&server, vec![person(), changed]).await;
        assert_eq!(why, "MODIFIER_UNKNOWN");
        assert!(words.starts_with(&format!("Encounter.{at}")), "{words}");
    }
    // However its name is written.
    let mut changed = visit();
    changed["participant"] = json!([{ "modifierExtension": [{ "url": "urn:x" }] }]);
    let escaped = bundle("batch", vec![person(), changed])
        .replace("modifierExtension", "modifier\\u0045xtension");
    let (_, answer) = request(&server, "POST", "", &escaped).await;
    assert_eq!(reason(&answer["entry"][1]["response"]["outcome"]), "MODIFIER_UNKNOWN", "{answer}");
    // What is too large, and resources in the resource.
    let mut large = json!({
        "resourceType": "Patient", "id": "k1", "gender": "female", "birthDate": "1938-04-02",
        "identifier": person()["identifier"][0],
        "maritalStatus": { "text": "既婚" },
        "photo": [{ "contentType": "image/png", "data": "A".repeat(500) }],
        "contained": [{ "resourceType": "Organization", "id": "o1" }],
        "managingOrganization": { "reference": "#o1" },
        "contact": [{ "modifierExtension": [{ "url": "urn:x", "valueBoolean": true }] }],
    });
    large["identifier"] = json!([person()["identifier"][0]]);
    let entries = post(&server, vec![large.clone()]).await;
    let outcome = &entries[0]["outcome"];
    assert_eq!(reason(outcome), "ELEMENTS_NOT_KEPT");
    let words = "not kept here, and not given back, unless the same was kept before: contained, managingOrganization, photo";
    assert_eq!(outcome["issue"][0]["diagnostics"], words);
    let given = patient(&server).await;
    assert_eq!(
        lost(&large, &given),
        ["Patient.contained", "Patient.managingOrganization", "Patient.photo"]
    );
    assert_eq!(
        given["contact"], large["contact"],
        "of what nothing is made, its modifiers come back with it"
    );
}

#[tokio::test]
async fn texts_that_an_extension_alone_stands_for_come_back_beside_those_that_are_read() {
    let data = folder();
    let server = start(data.path(), &[]);
    let absent = json!({ "extension": [{ "url": "urn:absent", "valueCode": "unknown" }] });
    let mut sent = person();
    sent["name"] = json!([
        { "family": "小林", "given": [null, "花"], "_given": [absent, null] },
    ]);
    sent["address"] = json!([{ "line": ["本町1", null], "_line": [null, absent] }]);
    post(&server, vec![sent.clone()]).await;
    assert_eq!(lost(&sent, &patient(&server).await), [""; 0]);
}

#[tokio::test]
async fn what_was_kept_is_not_lost_to_a_smaller_limit() {
    let (data, export) = (folder(), folder());
    let server = start(data.path(), &[]);
    post(&server, vec![person()]).await;
    assert!(server.terminate().await.success());
    // Through the door, and by an import, in the name of the same system.
    let server = start(data.path(), &["--fhir-kept-bytes", "0"]);
    let of = |hour: u8, marital: &str| {
        let mut sent = person();
        sent["meta"]["lastUpdated"] = json!(format!("2026-01-01T{hour:02}:00:00+09:00"));
        sent["maritalStatus"] = json!({ "text": marital });
        sent
    };
    write(export.path(), "Patient.ndjson", &[of(1, "既婚")]);
    let (url, path) = (server.url.clone(), export.path().to_str().unwrap().to_owned());
    let import = tokio::task::spawn_blocking(move || {
        let all =
            ["import", "fhir", "--server", &url, "--source", "acute", "--fhir-kept-bytes", "60"];
        run(&[&all[..], &[&path]].concat())
    });
    let output = import.await.unwrap();
    assert!(stdout(&output).contains("ELEMENTS_NOT_KEPT 1"), "{}", stdout(&output));
    assert_eq!(lost(&person(), &patient(&server).await), [""; 0]);
    for hour in 2..5 {
        post(&server, vec![of(hour, "既婚")]).await;
        let given = patient(&server).await;
        assert_eq!(lost(&person(), &given), [""; 0], "{given}");
    }
    // What is said otherwise now does not come back as it was.
    let entries = post(&server, vec![of(6, "死別")]).await;
    assert_eq!(reason(&entries[0]["outcome"]), "LABEL_NOT_READ");
    let given = patient(&server).await;
    assert_eq!(lost(&person(), &given), ["Patient.maritalStatus"], "{given}");
}

#[tokio::test]
async fn what_was_taken_back_is_kept_again_when_it_is_sent_again() {
    let data = folder();
    let server = start(data.path(), &[]);
    post(&server, vec![person()]).await;
    let patient_id = patient(&server).await["id"].as_str().unwrap().to_owned();
    let channel = server.channel().await;
    let mut team = CareTeamClient::new(channel.clone());
    for (round, count) in [(0x10, 2), (0x11, 5)] {
        let sent = followed(&channel, count).await;
        let error = v1::MarkEnteredInErrorRequest {
            context: Some(context(&patient_id, &id(round), "2026-05-12")),
            event: Some(v1::EnteredInError {
                corrects_event_id: received_last(&sent),
                ..v1::EnteredInError::default()
            }),
        };
        team.mark_entered_in_error(by("acute", "liaison-nurse", error)).await.unwrap();
        assert_eq!(patient(&server).await.get("maritalStatus"), None);
        let answer = post(&server, vec![person(), visit()]).await;
        assert!(answer[0]["status"].as_str().unwrap().starts_with("20"), "{answer:?}");
        assert_eq!(patient(&server).await["maritalStatus"], person()["maritalStatus"]);
        let version = summary(&channel, &patient_id).await.version;
        post(&server, vec![person(), visit()]).await;
        assert_eq!(summary(&channel, &patient_id).await.version, version, "said once");
    }
}

#[tokio::test]
async fn what_was_sent_of_two_who_were_merged_is_neither_s_when_they_are_apart() {
    let data = folder();
    let server = start(data.path(), &[]);
    post(&server, vec![person()]).await;
    let patient_id = patient(&server).await["id"].as_str().unwrap().to_owned();
    let channel = server.channel().await;
    register(&channel, &id(7), "MR70002").await;
    let mut team = CareTeamClient::new(channel.clone());
    let merge = v1::MergePatientsRequest {
        context: Some(context(&id(7), &id(0x21), "2026-05-12T09:00:00+09:00")),
        event: Some(v1::PatientsMerged {
            retired_patient_id: patient_id.clone(),
            ..v1::PatientsMerged::default()
        }),
    };
    team.merge_patients(liaison(merge)).await.unwrap();
    let mut newer = person();
    newer["meta"]["lastUpdated"] = json!("2026-05-13T00:00:00+09:00");
    newer["contact"] = json!([{ "address": { "text": "秘匿町9-8-7" } }]);
    post(&server, vec![newer.clone()]).await;
    let survivor = get(&server, &format!("/Patient/{}", id(7))).await;
    assert_eq!(survivor["contact"], newer["contact"], "of the one person");
    let unmerge = v1::UnmergePatientsRequest {
        context: Some(context(&id(7), &id(0x22), "2026-05-14T09:00:00+09:00")),
        event: Some(v1::PatientsUnmerged {
            retired_patient_id: patient_id.clone(),
            ..v1::PatientsUnmerged::default()
        }),
    };
    team.unmerge_patients(liaison(unmerge)).await.unwrap();
    let survivor = get(&server, &format!("/Patient/{}", id(7))).await;
    assert_eq!(survivor.get("contact"), None, "{survivor}");
    // Whose it is is said by sending it again.
    post(&server, vec![newer.clone()]).await;
    let own = get(&server, &format!("/Patient/{patient_id}")).await;
    assert_eq!(own["contact"], newer["contact"], "{own}");
    let survivor = get(&server, &format!("/Patient/{}", id(7))).await;
    assert_eq!(survivor.get("contact"), None, "{survivor}");
}

/// The id of the last event that keeps what a system sent.
fn received_last(sent: &[v1::Event]) -> String {
    let mut kept = sent.iter().rev();
    kept.find(|event| event.r#type.contains("resource_received")).unwrap().event_id.clone()
}
