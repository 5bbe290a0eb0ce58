//! The FHIR R4 door over HTTP: Bundles in, patients out, and an `OperationOutcome` for every
//! error.

use std::path::Path;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tsunagi_gateway::fhir::Ids;

use crate::export;
use crate::fhir_kept::lost;
use crate::shared_data::data_set;
use crate::support::{Server, folder};

pub(crate) fn start(data: &Path, settings: &[&str]) -> Server {
    Server::start_with(data, &[&["--fhir-listen", "127.0.0.1:0"], settings].concat())
}

/// One request in the name of the hospital. The status, and the resource of the answer.
pub(crate) async fn request(server: &Server, method: &str, path: &str, body: &str) -> (u16, Value) {
    request_as(server, "acute", method, path, body).await
}

/// One request in the name of an organisation.
pub(crate) async fn request_as(
    server: &Server,
    organisation: &str,
    method: &str,
    path: &str,
    body: &str,
) -> (u16, Value) {
    let who = format!(
        "tsunagi-organisation: {organisation}\r\ntsunagi-role: system\r\ntsunagi-person: his\r\n"
    );
    raw(server, method, path, &who, body).await
}

async fn raw(server: &Server, method: &str, path: &str, headers: &str, body: &str) -> (u16, Value) {
    let address = server.fhir.as_deref().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let head = format!(
        "{method} /fhir{path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // A server that refuses a large body does not read it to its end.
    let _sent = stream.write_all(body.as_bytes()).await;
    let mut answer = Vec::new();
    let _closed = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
    assert!(head.contains("application/fhir+json"), "{head}\n{body}");
    let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|_| panic!("{head}\n{body}")))
}

pub(crate) async fn get(server: &Server, path: &str) -> Value {
    let (status, resource) = request(server, "GET", path, "").await;
    assert_eq!(status, 200, "{path}: {resource}");
    resource
}

pub(crate) fn bundle(kind: &str, resources: Vec<Value>) -> String {
    let entry = |resource: Value| {
        let url = format!("urn:uuid:{}", resource["id"].as_str().unwrap_or_default());
        json!({ "fullUrl": url, "resource": resource, "request": { "method": "POST", "url": resource["resourceType"] } })
    };
    let entries: Vec<Value> = resources.into_iter().map(entry).collect();
    json!({ "resourceType": "Bundle", "type": kind, "entry": entries }).to_string()
}

pub(crate) fn reason(outcome: &Value) -> &str {
    assert_eq!(outcome["resourceType"], "OperationOutcome", "{outcome}");
    outcome["issue"][0]["details"]["coding"][0]["code"].as_str().unwrap()
}

/// The id that the only patient has here.
async fn patient(server: &Server) -> String {
    let found = get(server, "/Patient?identifier=MR00000").await;
    assert_eq!(found["entry"].as_array().map(Vec::len), Some(1), "{found}");
    found["entry"][0]["resource"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_transaction_is_taken_whole_and_once() {
    let data = folder();
    let server = start(data.path(), &[]);
    let mut resources = vec![export::patient(0)];
    resources.extend(export::encounters(0));
    resources.push(json!({ "resourceType": "Observation", "id": "o1" }));
    let sent = bundle("transaction", resources.clone());
    let (status, answer) = request(&server, "POST", "", &sent).await;
    assert_eq!((status, answer["type"].as_str()), (200, Some("transaction-response")), "{answer}");
    let statuses: Vec<&str> = answer["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["response"]["status"].as_str().unwrap())
        .collect();
    assert_eq!(statuses, ["201 Created", "201 Created", "201 Created", "201 Created", "200 OK"]);
    assert_eq!(reason(&answer["entry"][4]["response"]["outcome"]), "NOT_USED");
    assert_eq!(answer["entry"][1]["response"].get("outcome"), None, "all of it is kept");
    let id = patient(&server).await;
    let before = get(&server, &format!("/Patient/{id}/$everything")).await;
    assert_eq!(before["total"], 4, "{before}");
    // Again, and after a kill: nothing is added.
    server.kill();
    let server = start(data.path(), &[]);
    let (_, again) = request(&server, "POST", "", &sent).await;
    assert_eq!(again["entry"][0]["response"]["status"], "200 OK", "{again}");
    let after = get(&server, &format!("/Patient/{id}/$everything")).await;
    let ids = |bundle: &Value| {
        bundle["entry"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["resource"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&before), ids(&after));
    // One encounter that cannot be: nothing of the Bundle is taken.
    let mut wrong = export::encounters(1);
    wrong[0]["id"] = json!("other");
    wrong[0]["period"]["end"] = json!("2020-01-01T00:00:00+09:00");
    wrong[0]["subject"]["reference"] = json!("Patient/p1");
    let sent = bundle("transaction", vec![export::patient(1), wrong[0].clone()]);
    let (status, problem) = request(&server, "POST", "", &sent).await;
    assert_eq!((status, reason(&problem)), (422, "ENDS_BEFORE_IT_BEGINS"));
    assert_eq!(problem["issue"][0]["expression"][0], "Bundle.entry[1]");
    assert_eq!(get(&server, "/Patient").await["entry"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_batch_takes_each_entry_for_itself() {
    let data = folder();
    let server = start(data.path(), &[]);
    let mut strange = export::encounters(1).remove(0);
    strange["class"]["code"] = json!("XYZ");
    let sent = bundle("batch", vec![strange, export::patient(0), export::patient(1)]);
    let (status, answer) = request(&server, "POST", "", &sent).await;
    assert_eq!(status, 200);
    let status_of = |at: usize| answer["entry"][at]["response"]["status"].as_str().unwrap();
    assert_eq!(
        [status_of(0), status_of(1), status_of(2)],
        ["422 Unprocessable Entity", "201 Created", "201 Created"]
    );
    assert_eq!(reason(&answer["entry"][0]["response"]["outcome"]), "CLASS_UNKNOWN");
    // A patient who is known already may be named by a number.
    let mut visit = export::encounters(1).remove(0);
    let by = |subject: &str| format!("Patient?identifier={subject}");
    for (subject, expected) in [
        ("urn:oid:1.2.392.100495.20.3.51.1|MR00001", "201 Created"),
        ("urn:oid:1.2.392.100495.20.3.51.1|MR99999", "422 Unprocessable Entity"),
        ("MR00001", "400 Bad Request"),
    ] {
        visit["subject"]["reference"] = json!(by(subject));
        let sent = bundle("batch", vec![visit.clone()]);
        let (_, answer) = request(&server, "POST", "", &sent).await;
        assert_eq!(answer["entry"][0]["response"]["status"], expected, "{answer}");
    }
}

#[tokio::test]
async fn a_notification_of_admission_and_then_of_discharge_makes_one_stay() {
    let data = folder();
    let server = start(data.path(), &[]);
    let notify = |event: &str, status: &str, end: Option<&str>| {
        let header = json!({
            "resourceType": "MessageHeader", "id": "h1",
            "eventCoding": { "system": "http://hl7.org/fhir/us/davinci-alerts/CodeSystem/notification-event", "code": event },
            "source": { "endpoint": "http://his.example" },
            "focus": [{ "reference": "urn:uuid:s0" }],
        });
        let mut stay = export::encounters(0).remove(0);
        stay["status"] = json!(status);
        stay["period"]["end"] = end.map_or(Value::Null, |end| json!(end));
        stay.as_object_mut().unwrap().remove("partOf");
        stay["period"].as_object_mut().unwrap().retain(|_, value| !value.is_null());
        bundle("message", vec![header, export::patient(0), stay])
    };
    let admit = notify("notification-admit", "in-progress", None);
    let (status, outcome) = request(&server, "POST", "/$process-message", &admit).await;
    assert_eq!((status, reason(&outcome)), (200, "TAKEN"), "{outcome}");
    let id = patient(&server).await;
    let stays = get(&server, &format!("/Encounter?patient={id}&status=in-progress")).await;
    assert_eq!(stays["total"], 1, "{stays}");
    let end = "2026-03-05T10:00:00+09:00";
    let discharge = notify("notification-discharge", "finished", Some(end));
    let (status, _) = request(&server, "POST", "/$process-message", &discharge).await;
    assert_eq!(status, 200);
    let stays = get(&server, &format!("/Encounter?subject=Patient/{id}&class=IMP")).await;
    assert_eq!(stays["entry"][0]["resource"]["period"]["end"], end, "{stays}");
    let one = stays["entry"][0]["resource"]["id"].as_str().unwrap();
    assert_eq!(get(&server, &format!("/Encounter/{one}")).await["status"], "finished");
    // What the event says alone is not taken.
    for (event, status, end) in [
        ("notification-discharge", "in-progress", None),
        ("notification-discharge", "finished", None),
        ("notification-admit", "planned", None),
    ] {
        let empty = notify(event, status, end);
        let (status, outcome) = request(&server, "POST", "/$process-message", &empty).await;
        assert_eq!((status, reason(&outcome)), (422, "EVENT_CONTRADICTED"), "{event}");
    }
    for focus in ["urn:uuid:s9", "Encounter/s9", "Patient/p0"] {
        let elsewhere = admit.replace(
            "[{\"reference\":\"urn:uuid:s0\"}]",
            &format!("[{{\"reference\":\"{focus}\"}}]"),
        );
        assert_ne!(elsewhere, admit);
        let (status, outcome) = request(&server, "POST", "/$process-message", &elsewhere).await;
        assert_eq!((status, reason(&outcome)), (422, "FOCUS_MISSING"), "{focus}");
    }
    let other = notify("notification-dance", "finished", None);
    let (status, outcome) = request(&server, "POST", "/$process-message", &other).await;
    assert_eq!((status, reason(&outcome)), (422, "MESSAGE_NOT_SUPPORTED"));
}

#[tokio::test]
async fn a_confidential_address_is_not_given_out() {
    let data = folder();
    let server = start(data.path(), &[]);
    let mut person = export::patient(0);
    person["address"] = json!([{ "text": "本町1-2-3", "city": "つなぎ市" }]);
    let post = |person: &Value| bundle("transaction", vec![person.clone()]);
    request(&server, "POST", "", &post(&person)).await;
    let id = patient(&server).await;
    assert_eq!(get(&server, &format!("/Patient/{id}")).await["address"][0]["text"], "本町1-2-3");
    person["meta"]["security"] = json!([{ "system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R" }]);
    let (status, _) = request(&server, "POST", "", &post(&person)).await;
    assert_eq!(status, 200);
    for path in
        [format!("/Patient/{id}"), format!("/Patient/{id}/$everything"), "/Patient".to_owned()]
    {
        let shown = get(&server, &path).await.to_string();
        assert!(!shown.contains("本町") && !shown.contains("つなぎ市"), "{path}: {shown}");
    }
}

#[tokio::test]
async fn every_error_is_an_operation_outcome() {
    let data = folder();
    let server = start(data.path(), &["--fhir-body-bytes", "2048"]);
    let no_id = "0198c9a4-7e3b-7c10-9d4e-3f6a2b1c0d5e";
    for (method, path, body, status, why) in [
        ("GET", "/Nonsense", "", 404, "NOT_SUPPORTED"),
        ("GET", "/Patient/x", "", 404, "NOT_FOUND"),
        ("GET", &format!("/Patient/{no_id}"), "", 404, "NOT_FOUND"),
        ("GET", "/Patient?colour=red", "", 400, "PARAMETER_UNKNOWN"),
        ("GET", "/Encounter", "", 400, "PARAMETER_MISSING"),
        ("PUT", "/Patient/x", "{}", 404, "NOT_SUPPORTED"),
        ("POST", "", "{", 400, "UNREADABLE"),
        ("POST", "", "{\"resourceType\":\"Patient\"}", 400, "BUNDLE_EXPECTED"),
        ("POST", "", &bundle("message", vec![]), 400, "BUNDLE_TYPE"),
        (
            "POST",
            "",
            &bundle(
                "transaction",
                vec![json!({ "resourceType": "Patient", "id": "a", "name": 7 })],
            ),
            400,
            "ELEMENT_WRONG",
        ),
        ("POST", "", &"x".repeat(4096), 413, "MESSAGE_TOO_LARGE"),
    ] {
        let (found, outcome) = request(&server, method, path, body).await;
        assert_eq!((found, reason(&outcome)), (status, why), "{method} {path}");
    }
    let (status, outcome) = raw(&server, "GET", "/Patient", "", "").await;
    assert_eq!((status, reason(&outcome)), (401, "ACTOR_MISSING"));
    let capabilities = get(&server, "/metadata").await;
    assert_eq!(capabilities["fhirVersion"], "4.0.1");
}

#[tokio::test]
async fn real_bundles_are_taken_and_come_out_again() {
    let skipped = "real_bundles_are_taken_and_come_out_again";
    let Some(japanese) = data_set("fhir/clinosim-jp-p1500-seed20261121/bundles", skipped) else {
        return;
    };
    let Some(american) = data_set("fhir/synthea-r4-smart", skipped) else { return };
    let data = folder();
    let server = start(data.path(), &[]);
    let (mut taken, mut stays, mut compared) = (0, 0, 0);
    for folder in [japanese, american] {
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let mut sent: Value = serde_json::from_str(&text).unwrap();
            // Of a collection, nothing says what is to be done with it.
            if sent["type"] == "collection" {
                sent["type"] = json!("transaction");
                for entry in sent["entry"].as_array_mut().unwrap() {
                    entry["request"] =
                        json!({ "method": "POST", "url": entry["resource"]["resourceType"] });
                }
            }
            let (status, answer) = request(&server, "POST", "", &sent.to_string()).await;
            assert_eq!(status, 200, "{}: {answer}", path.display());
            let mut places = answer["entry"].as_array().unwrap().iter();
            let place = places.find_map(|entry| entry["response"]["location"].as_str()).unwrap();
            let everything = get(&server, &format!("/{place}/$everything")).await;
            let of_class = |class: &str| {
                everything["entry"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter(|e| e["resource"]["class"]["code"] == class)
                    .count()
            };
            stays += of_class("IMP");
            taken += 1;
            for (at, entry) in sent["entry"].as_array().unwrap().iter().enumerate() {
                compared += usize::from(comes_back(entry, &answer["entry"][at], &everything));
            }
        }
    }
    assert_eq!(taken, 97);
    assert!(compared > 900, "{compared}");
    assert!(stays > 110, "{stays}");
}

/// Whether an entry is of what is given out; then all of it is, or named as not kept.
fn comes_back(entry: &Value, answer: &Value, everything: &Value) -> bool {
    let sent = &entry["resource"];
    let kind = sent["resourceType"].as_str().unwrap();
    if !matches!(kind, "Patient" | "Encounter") {
        return false;
    }
    let key = format!("{kind}/{}", sent["id"].as_str().unwrap());
    let own = Ids::new("acute").encounter(&key).uuid().as_simple().to_string();
    let mut resources = everything["entry"].as_array().unwrap().iter().map(|e| &e["resource"]);
    let is_one = |given: &&Value| {
        given["resourceType"] == kind
            && (kind == "Patient" || given["id"].as_str().unwrap().ends_with(&own))
    };
    let given = resources.find(is_one).unwrap_or_else(|| panic!("{key} is not given out"));
    let named = answer["response"]["outcome"]["issue"][0]["diagnostics"].as_str();
    let named = named.unwrap_or_default();
    for lost in lost(sent, given) {
        let element = lost.split(['.', '[']).nth(1).unwrap();
        assert!(named.contains(element), "{key}: {lost} is lost: {sent}\n{given}");
    }
    true
}
