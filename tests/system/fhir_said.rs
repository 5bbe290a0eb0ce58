//! What senders say by FHIR, as they mean it: silence says nothing, references lead to whom they
//! name, and what cannot be done as it is asked for is refused.

use jiff::Timestamp;
use prost::Message as _;
use serde_json::{Value, json};
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_team_client::CareTeamClient;

use crate::export;
use crate::fhir::{bundle, get, reason, request, request_as, start};
use crate::import::{import, open_encounter, row, write};
use crate::support::{Server, context, folder, id, liaison, timeline};

const NUMBERS: &str = "urn:oid:1.2.392.100495.20.3.51.1";
const NUMBER: &str = "http://jpfhir.jp/fhir/core/IdSystem/insurance-medical-institution-no";

/// All that is said of who a patient is.
fn whole() -> Value {
    let mut patient = export::patient(0);
    patient["meta"] = json!({});
    patient["telecom"] = json!([{ "system": "phone", "value": "03-1111-2222" }]);
    patient["address"] = json!([{ "use": "home", "text": "本町1-2-3" }]);
    patient["deceasedDateTime"] = json!("2026-04-01");
    patient
}

/// As much as a notification of another system says, under an id of its own.
fn minimal(id: &str) -> Value {
    json!({
        "resourceType": "Patient",
        "id": id,
        "identifier": [{ "system": NUMBERS, "value": "MR00000" }],
        "name": [{ "family": "髙橋", "given": ["花0"] }],
    })
}

async fn found(server: &Server) -> Value {
    let found = get(server, "/Patient?identifier=MR00000").await;
    assert_eq!(found["entry"].as_array().map(Vec::len), Some(1), "{found}");
    found["entry"][0]["resource"].clone()
}

/// Who the patient is, without numbers.
async fn who(server: &Server) -> Value {
    let mut patient = found(server).await;
    patient.as_object_mut().unwrap().remove("identifier");
    patient
}

fn message(event: &str, id: &str, resources: Vec<Value>) -> String {
    let stay = resources.last().unwrap()["id"].as_str().unwrap();
    let header = json!({
        "resourceType": "MessageHeader", "id": id,
        "eventCoding": { "system": "http://example.org/events", "code": event },
        "source": { "endpoint": "http://his.example" },
        "focus": [{ "reference": format!("urn:uuid:{stay}") }],
    });
    bundle("message", [vec![header], resources].concat())
}

fn stay(id: &str, patient: &str) -> Value {
    let mut stay = open_encounter("IMP", "in-progress", "2026-03-01T10:00:00+09:00");
    stay["id"] = json!(id);
    stay["subject"]["reference"] = json!(format!("Patient/{patient}"));
    stay
}

async fn take(server: &Server, organisation: &str, path: &str, sent: &str) -> Value {
    let (status, answer) = request_as(server, organisation, "POST", path, sent).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

#[tokio::test]
async fn what_others_said_of_a_patient_stays_where_a_sender_says_nothing() {
    let (data, files) = (folder(), folder());
    let server = start(data.path(), &[]);
    take(&server, "acute", "", &bundle("transaction", vec![whole()])).await;
    let before = who(&server).await;
    for (element, said) in [("birthDate", "1938-04-02"), ("deceasedDateTime", "2026-04-01")] {
        assert_eq!(before[element], said);
    }
    assert_eq!(before["name"].as_array().map(Vec::len), Some(2), "{before}");
    take(&server, "rehab", "", &bundle("transaction", vec![minimal("m1")])).await;
    assert_eq!(who(&server).await, before, "a transaction");
    let mut lives = minimal("m1");
    lives["deceasedBoolean"] = json!(false);
    take(&server, "rehab", "", &bundle("transaction", vec![lives])).await;
    assert_eq!(who(&server).await["deceasedDateTime"], "2026-04-01", "by habit");
    write(files.path(), "Patient.ndjson", &[minimal("m2")]);
    let path = files.path().to_str().unwrap();
    let imported = import(data.path(), &[path, "--source", "files"]);
    assert_eq!(imported.status.code(), Some(0));
    assert_eq!(row(&imported, "Patient"), [1, 0, 0, 0], "its number is new");
    assert_eq!(who(&server).await, before, "an import");
}

#[tokio::test]
async fn a_notification_takes_nothing_back_of_who_the_patient_is() {
    let data = folder();
    let server = start(data.path(), &[]);
    let mut person = whole();
    person["deceasedDateTime"] = json!("2026-05-01");
    take(&server, "acute", "", &bundle("transaction", vec![person.clone()])).await;
    let before = who(&server).await;
    for (organisation, id) in [("rehab", "m1"), ("acute", "p0")] {
        let stay = stay(&format!("s-{organisation}"), id);
        let minimal = |id: &str| {
            let mut said = minimal(id);
            said["deceasedBoolean"] = json!(false);
            said
        };
        let sent = if organisation == "rehab" {
            message("notification-admit", "h1", vec![minimal(id), stay])
        } else {
            let mut over = stay;
            over["status"] = json!("finished");
            over["period"] = json!({ "start": "2026-01-01", "end": "2026-01-02" });
            message("notification-discharge", "h2", vec![minimal(id), over])
        };
        take(&server, organisation, "/$process-message", &sent).await;
        assert_eq!(who(&server).await, before, "{organisation}");
    }
}

#[tokio::test]
async fn a_sender_takes_its_own_word_back_by_leaving_it_out_but_no_death() {
    let (data, files) = (folder(), folder());
    let server = start(data.path(), &[]);
    let mut of_other = minimal("m1");
    of_other["telecom"] = json!([{ "system": "phone", "value": "03-1111-2222" }]);
    take(&server, "rehab", "", &bundle("transaction", vec![of_other])).await;
    take(&server, "acute", "", &bundle("transaction", vec![whole()])).await;
    let mut less = whole();
    for element in ["telecom", "address", "birthDate", "deceasedDateTime"] {
        less.as_object_mut().unwrap().remove(element);
    }
    less["name"].as_array_mut().unwrap().pop();
    take(&server, "acute", "", &bundle("transaction", vec![less.clone()])).await;
    let shown = who(&server).await;
    assert_eq!(shown["telecom"][0]["value"], "03-1111-2222", "the other's word");
    for own in ["address", "birthDate"] {
        assert_eq!(shown.get(own), None, "{shown}");
    }
    assert_eq!(shown["name"].as_array().map(Vec::len), Some(1), "{shown}");
    assert_eq!(shown["deceasedDateTime"], "2026-04-01");
    less["deceasedBoolean"] = json!(false);
    take(&server, "acute", "", &bundle("transaction", vec![less.clone()])).await;
    let shown = who(&server).await;
    assert_eq!(shown.get("deceasedDateTime"), None, "who said so takes it back in words");
    // The same of files.
    let path = files.path().to_str().unwrap();
    let read = |patient: &Value| {
        write(files.path(), "Patient.ndjson", std::slice::from_ref(patient));
        import(data.path(), &[path, "--source", "files"])
    };
    let written = || json!({ "lastUpdated": Timestamp::now().to_string() });
    let mut ours = minimal("f1");
    ours["meta"] = written();
    ours["address"] = json!([{ "text": "栄町4" }]);
    read(&ours);
    assert_eq!(who(&server).await["address"][0]["text"], "栄町4");
    let mut less = minimal("f1");
    less["meta"] = written();
    read(&less);
    let shown = who(&server).await;
    assert_eq!(shown.get("address"), None, "{shown}");
    assert_eq!(shown["telecom"][0]["value"], "03-1111-2222");
}

/// Enters the last event about who the patient is in error, of those that a system sent.
async fn enter_in_error(server: &Server, patient: &str, system: &str) {
    let channel = server.channel().await;
    let told = timeline(&channel, patient).await;
    let is_theirs = |entry: &&v1::TimelineEntry| {
        entry.r#type == "care.patient.demographics_updated.v1"
            && entry.source.as_ref().is_some_and(|source| source.system == system)
    };
    let corrects_event_id = told.iter().find(is_theirs).unwrap().event_id.clone();
    let request = v1::MarkEnteredInErrorRequest {
        context: Some(context(patient, &id(90), &Timestamp::now().to_string())),
        event: Some(v1::EnteredInError { corrects_event_id, ..v1::EnteredInError::default() }),
    };
    CareTeamClient::new(channel).mark_entered_in_error(liaison(request)).await.unwrap();
}

#[tokio::test]
async fn an_address_that_was_an_error_is_held_by_nobody_who_did_not_say_it() {
    let data = folder();
    let server = start(data.path(), &[]);
    take(&server, "rehab", "", &bundle("transaction", vec![minimal("m1")])).await;
    take(&server, "acute", "", &bundle("transaction", vec![whole()])).await;
    let mut silent = minimal("m1");
    silent["telecom"] = json!([{ "system": "phone", "value": "03-9999-0000" }]);
    take(&server, "rehab", "", &bundle("transaction", vec![silent])).await;
    let shown = found(&server).await;
    assert_eq!(shown["address"][0]["text"], "本町1-2-3");
    assert_eq!(shown["telecom"][0]["value"], "03-9999-0000");
    let patient = shown["id"].as_str().unwrap().to_owned();
    for entry in timeline(&server.channel().await, &patient).await {
        let is_rehab = entry.source.is_some_and(|source| source.system == "rehab");
        let detail = entry.detail.map(|detail| detail.value).unwrap_or_default();
        assert!(!is_rehab || !String::from_utf8_lossy(&detail).contains("本町"));
    }
    enter_in_error(&server, &patient, "acute").await;
    let shown = found(&server).await;
    assert_eq!(shown.get("address"), None, "{shown}");
    assert_eq!(shown["telecom"][0]["value"], "03-9999-0000");
}

#[tokio::test]
async fn an_old_word_of_a_new_sender_replaces_nothing() {
    let (data, files) = (folder(), folder());
    let server = start(data.path(), &[]);
    take(&server, "acute", "", &bundle("transaction", vec![whole()])).await;
    let mut old = minimal("m1");
    old["meta"] = json!({ "lastUpdated": "2020-01-01T00:00:00Z" });
    old["address"] = json!([{ "text": "旧町9" }]);
    take(&server, "rehab", "", &bundle("transaction", vec![old.clone()])).await;
    assert_eq!(found(&server).await["address"][0]["text"], "本町1-2-3", "a transaction");
    old["id"] = json!("f1");
    write(files.path(), "Patient.ndjson", &[old]);
    let path = files.path().to_str().unwrap();
    assert_eq!(import(data.path(), &[path, "--source", "files"]).status.code(), Some(0));
    assert_eq!(found(&server).await["address"][0]["text"], "本町1-2-3", "an import");
}

#[tokio::test]
async fn what_is_past_or_says_nothing_replaces_nothing() {
    let data = folder();
    let server = start(data.path(), &[]);
    take(&server, "acute", "", &bundle("transaction", vec![whole()])).await;
    let before = who(&server).await;
    let mut past = minimal("m1");
    past["name"] = json!([{ "use": "nickname", "text": "花ちゃん" }]);
    past["birthDate"] = json!("1938");
    past["gender"] = json!("unknown");
    past["telecom"] = json!([
        { "system": "phone" },
        { "system": "phone", "value": "03-0000-0001", "use": "old" },
        { "system": "phone", "value": "03-0000-0002", "period": { "end": "2020-01-01" } },
    ]);
    past["address"] = json!([
        { "country": "JP" },
        { "text": "旧町9", "use": "old" },
        { "text": "旧町8", "period": { "end": "2020-01-01" } },
    ]);
    take(&server, "rehab", "", &bundle("transaction", vec![past])).await;
    assert_eq!(who(&server).await, before);
}

#[tokio::test]
async fn what_two_have_said_stays_when_one_leaves_it_out() {
    let data = folder();
    let server = start(data.path(), &[]);
    take(&server, "acute", "", &bundle("transaction", vec![whole()])).await;
    let mut same = minimal("m1");
    same["address"] = whole()["address"].clone();
    take(&server, "rehab", "", &bundle("transaction", vec![same])).await;
    let mut less = whole();
    less.as_object_mut().unwrap().remove("address");
    take(&server, "acute", "", &bundle("transaction", vec![less.clone()])).await;
    assert_eq!(found(&server).await["address"][0]["text"], "本町1-2-3", "the other says so");
    // Another resource of one system is silent for itself alone.
    let second = minimal("p9");
    take(&server, "acute", "", &bundle("transaction", vec![second])).await;
    assert_eq!(found(&server).await["telecom"][0]["value"], "03-1111-2222");
    less.as_object_mut().unwrap().remove("telecom");
    take(&server, "acute", "", &bundle("transaction", vec![less])).await;
    assert_eq!(found(&server).await.get("telecom"), None);
}

#[tokio::test]
async fn messages_that_come_again_in_turn_are_held_once() {
    let data = folder();
    let server = start(data.path(), &[]);
    let mut admitted = stay("s", "m1");
    admitted["reasonCode"] = json!([{ "text": "骨折" }]);
    let mut over = stay("s", "m1");
    over["status"] = json!("finished");
    over["period"]["end"] = json!("2026-03-09T10:00:00+09:00");
    let mut moved = minimal("m1");
    moved["telecom"] = json!([{ "system": "phone", "value": "03-9999-0000" }]);
    let mut came = minimal("m1");
    came["telecom"] = json!([{ "system": "phone", "value": "03-1111-0000" }]);
    let admit = message("notification-admit", "h1", vec![came, admitted]);
    let discharge = message("notification-discharge", "h2", vec![moved, over]);
    for sent in [&admit, &discharge] {
        let told = take(&server, "acute", "/$process-message", sent).await;
        assert_eq!(told["issue"][0]["diagnostics"], "it is on disk", "{told}");
    }
    let patient = found(&server).await["id"].as_str().unwrap().to_owned();
    let channel = server.channel().await;
    let events = timeline(&channel, &patient).await.len();
    let shown = get(&server, &format!("/Encounter?patient={patient}")).await;
    for _ in 0..2 {
        for (sent, is_stale) in [(&admit, true), (&discharge, false)] {
            let told = take(&server, "acute", "/$process-message", sent).await;
            assert_eq!(told["issue"][0]["diagnostics"], "it was known already", "{told}");
            assert_eq!(told.to_string().contains("NOT_IN_FORCE"), is_stale, "{told}");
        }
    }
    assert_eq!(timeline(&channel, &patient).await.len(), events);
    assert_eq!(found(&server).await["telecom"][0]["value"], "03-9999-0000");
    assert_eq!(get(&server, &format!("/Encounter?patient={patient}")).await, shown);
}

/// Where a stay is shown to be that says so, or why it is refused.
async fn provider(server: &Server, number: usize, said: Value) -> (String, String) {
    let mut stay = stay(&format!("s{number}"), &format!("p{number}"));
    for (name, value) in said.as_object().unwrap() {
        stay[name] = value.clone();
    }
    let sent = bundle("transaction", vec![export::patient(number), stay]);
    let (status, answer) = request(server, "POST", "", &sent).await;
    if status != 200 {
        let place = answer["issue"][0]["expression"][0].as_str().unwrap_or_default();
        return (reason(&answer).to_owned(), place.to_owned());
    }
    let found = get(server, &format!("/Patient?identifier=MR{number:05}")).await;
    facility(server, found["entry"][0]["resource"]["id"].as_str().unwrap()).await
}

/// The id and name of the facility that a patient was admitted to.
async fn facility(server: &Server, patient: &str) -> (String, String) {
    let told = timeline(&server.channel().await, patient).await;
    let admitted = told.iter().find(|entry| entry.r#type == "care.encounter.admitted.v1").unwrap();
    let detail = admitted.detail.as_ref().unwrap();
    let admitted = v1::Admitted::decode(detail.value.as_slice()).unwrap();
    let facility = admitted.place.unwrap().facility.unwrap();
    (facility.id, facility.name)
}

#[tokio::test]
async fn a_stay_is_at_the_facility_that_its_reference_names_or_is_refused() {
    let data = folder();
    let server = start(data.path(), &[]);
    let organisation = |identifier: Value| json!([{ "resourceType": "Organization", "id": "o", "name": "含まれた病院", "identifier": identifier }]);
    let at = |reference: Value| json!({ "serviceProvider": reference });
    let by_number = json!({ "system": NUMBER, "value": "1310000001" });
    let refused = ("PROVIDER_UNKNOWN", "Bundle.entry[1].resource.serviceProvider");
    for (number, (said, (id, name))) in [
        (at(json!({ "identifier": by_number, "display": "他の病院" })), ("1310000001", "他の病院")),
        (at(json!({ "identifier": { "value": "9900000002" } })), ("9900000002", "")),
        (
            json!({ "contained": organisation(json!([by_number])), "serviceProvider": { "reference": "#o" } }),
            ("1310000001", "含まれた病院"),
        ),
        (json!({ "contained": organisation(json!([])), "serviceProvider": { "reference": "#o" } }), refused),
        (at(json!({ "reference": "#o", "display": "他の病院" })), refused),
        (at(json!({ "display": "他の病院" })), refused),
        (at(json!({})), ("acute", "")),
    ]
    .into_iter()
    .enumerate()
    {
        let (found, shown) = provider(&server, number, said.clone()).await;
        assert_eq!((found.as_str(), shown.as_str()), (id, name), "{said}");
    }
    // Of another system, it is neither the caller's nor one of the same value of a third.
    let of = |system: &str| at(json!({ "identifier": { "system": system, "value": "7" } }));
    let (one, _) = provider(&server, 8, of("http://ids.example/one")).await;
    let (two, _) = provider(&server, 9, of("http://ids.example/two")).await;
    assert!(one != two && !one.is_empty() && one != "acute" && one != "7", "{one} {two}");
    // What a Bundle says of the same number is known of it.
    let mut named = stay("s11", "p11");
    named["serviceProvider"] = json!({ "identifier": { "system": "urn:x", "value": "7" } });
    let hospital = json!({
        "resourceType": "Organization", "id": "h", "name": "総合病院",
        "identifier": [{ "system": "urn:x", "value": "7" }, by_number],
    });
    let sent = bundle("transaction", vec![export::patient(11), hospital, named]);
    let answer = take(&server, "acute", "", &sent).await;
    let place = answer["entry"][0]["response"]["location"].as_str().unwrap();
    let found = facility(&server, place.trim_start_matches("Patient/")).await;
    assert_eq!(found, ("1310000001".to_owned(), "総合病院".to_owned()));
}

fn entry(resource: &Value, request: &Value) -> Value {
    let url = format!("urn:uuid:{}", resource["id"].as_str().unwrap());
    json!({ "fullUrl": url, "resource": resource, "request": request })
}

fn entries(kind: &str, entries: &[Value]) -> String {
    json!({ "resourceType": "Bundle", "type": kind, "entry": entries }).to_string()
}

#[tokio::test]
async fn what_a_request_asks_for_and_is_not_done_is_refused() {
    let data = folder();
    let server = start(data.path(), &[]);
    let patient = export::patient(0);
    for (asked, element) in [
        (json!({ "method": "PUT", "url": "Patient/p0", "ifMatch": "W/\"99\"" }), "ifMatch"),
        (json!({ "method": "PUT", "url": "Patient/p0", "ifNoneMatch": "*" }), "ifNoneMatch"),
        (
            json!({ "method": "PUT", "url": "Patient/p0", "ifModifiedSince": "2026-01-01T00:00:00Z" }),
            "ifModifiedSince",
        ),
        (json!({ "method": "PUT", "url": "Patient?identifier=urn:x|1" }), "url"),
        (json!({ "method": "PUT", "url": "Patient/other" }), "url"),
        (json!({ "method": "PUT", "url": "Encounter/p0" }), "url"),
        (json!({ "method": "PUT", "url": "Patient" }), "url"),
        (json!({ "method": "POST", "url": "Encounter" }), "url"),
        (json!({ "method": "POST", "url": "Patient", "ifNoneExist": "family=A" }), "ifNoneExist"),
        (
            json!({ "method": "PUT", "url": "Patient/p0", "ifNoneExist": "identifier=urn:x|1" }),
            "ifNoneExist",
        ),
    ] {
        let sent = entries("transaction", &[entry(&patient, &asked)]);
        let (status, answer) = request(&server, "POST", "", &sent).await;
        assert_eq!(status, 400, "{asked}: {answer}");
        let place = format!("Bundle.entry[0].request.{element}");
        assert_eq!(answer["issue"][0]["expression"][0], place, "{asked}");
        let sent = entries("batch", &[entry(&patient, &asked)]);
        let answer = take(&server, "acute", "", &sent).await;
        assert_eq!(answer["entry"][0]["response"]["status"], "400 Bad Request");
    }
    for url in ["Patient/p0", "/Patient/p0", "http://his.example/fhir/Patient/p0"] {
        let asked = json!({ "method": "PUT", "url": url });
        take(&server, "acute", "", &entries("transaction", &[entry(&patient, &asked)])).await;
    }
}

#[tokio::test]
async fn a_patient_who_exists_is_not_created_where_it_is_asked_so() {
    let data = folder();
    let server = start(data.path(), &[]);
    take(&server, "acute", "", &bundle("transaction", vec![export::patient(0)])).await;
    let before = found(&server).await;
    let mut other = minimal("new");
    other["identifier"] = json!([{ "system": "urn:oid:9.9", "value": "77" }]);
    let asked = |value: &str| {
        let query = format!("identifier={NUMBERS}|{value}");
        json!({ "method": "POST", "url": "Patient", "ifNoneExist": query })
    };
    let stay_of = entry(&stay("s", "new"), &json!({ "method": "POST", "url": "Encounter" }));
    let sent = entries("transaction", &[entry(&other, &asked("MR00000")), stay_of]);
    let answer = take(&server, "acute", "", &sent).await;
    let place = format!("Patient/{}", before["id"].as_str().unwrap());
    assert_eq!(answer["entry"][0]["response"]["status"], "200 OK", "{answer}");
    assert_eq!(answer["entry"][0]["response"]["location"], place);
    assert_eq!(answer["entry"][1]["response"]["status"], "201 Created");
    assert_eq!(found(&server).await, before, "nothing is added to the patient");
    let stays = get(&server, &format!("/Encounter?patient={place}")).await;
    assert_eq!(stays["total"], 1, "{stays}");
    let sent = entries("transaction", &[entry(&other, &asked("MR99999"))]);
    let answer = take(&server, "acute", "", &sent).await;
    assert_eq!(answer["entry"][0]["response"]["status"], "201 Created", "nobody has it");
}

#[tokio::test]
async fn answers_say_where_resources_are_and_hold_nothing_empty() {
    let data = folder();
    let server = start(data.path(), &[]);
    let team = json!({
        "resourceType": "CareTeam", "id": "t1", "subject": { "reference": "Patient/p0" },
        "period": { "start": "2026-03-01T10:00:00+09:00" },
        "participant": [{ "member": { "display": "山田" } }],
    });
    let sent = bundle("transaction", vec![export::patient(0), stay("s", "p0"), team]);
    let answer = take(&server, "acute", "", &sent).await;
    for entry in answer["entry"].as_array().unwrap() {
        let place = entry["response"]["location"].as_str().unwrap_or_else(|| panic!("{answer}"));
        let kind = get(&server, &format!("/{place}")).await["resourceType"].clone();
        assert!(place.starts_with(kind.as_str().unwrap()), "{place}");
    }
    for kind in ["transaction", "batch"] {
        let answer = take(&server, "acute", "", &bundle(kind, vec![])).await;
        assert_eq!(answer.get("entry"), None, "{answer}");
    }
    let empty = bundle("message", vec![]);
    let (status, answer) = request(&server, "POST", "/$process-message", &empty).await;
    assert_eq!((status, reason(&answer)), (400, "MESSAGE_HEADER"));
    let mut other = stay("s9", "p0");
    other["period"]["start"] = json!("2026-04-01T10:00:00+09:00");
    let twice = vec![export::patient(0), stay("s9", "p0"), other];
    let sent = bundle("transaction", twice.clone());
    let (status, answer) = request(&server, "POST", "", &sent).await;
    assert_eq!((status, reason(&answer)), (400, "ID_TWICE"), "{answer}");
    assert_eq!(answer["issue"][0]["expression"][0], "Bundle.entry[2]");
    let answer = take(&server, "acute", "", &bundle("batch", twice)).await;
    assert_eq!(answer["entry"][2]["response"]["status"], "400 Bad Request");
}

#[tokio::test]
async fn a_link_of_the_sender_s_records_is_not_given_out_as_one_of_ours() {
    let data = folder();
    let server = start(data.path(), &[]);
    let mut patient = export::patient(0);
    patient["link"] = json!([{ "other": { "reference": "Patient/p9" }, "type": "replaced-by" }]);
    let answer = take(&server, "acute", "", &bundle("transaction", vec![patient])).await;
    assert!(answer.to_string().contains("link"), "it is told: {answer}");
    assert_eq!(found(&server).await.get("link"), None);
}

#[tokio::test]
async fn a_search_finds_what_it_asks_for_or_is_refused() {
    let data = folder();
    let server = start(data.path(), &[]);
    let mut ids = Vec::new();
    for number in 0..2 {
        let mut night = stay(&format!("n{number}"), &format!("p{number}"));
        // On 13 November in Japan.
        night["period"]["start"] = json!("2025-11-12T23:30:00Z");
        let sent = bundle("transaction", vec![export::patient(number), night]);
        let answer = take(&server, "acute", "", &sent).await;
        let place = answer["entry"][0]["response"]["location"].as_str().unwrap();
        ids.push(place.trim_start_matches("Patient/").to_owned());
    }
    let total = async |query: String| {
        let found = get(&server, &query).await;
        assert_eq!(
            found["total"].as_u64(),
            found["entry"].as_array().map_or(Some(0), |all| u64::try_from(all.len()).ok())
        );
        found["total"].as_u64().unwrap()
    };
    let (one, two) = (&ids[0], &ids[1]);
    assert_eq!(total(format!("/Encounter?patient={one},{two}")).await, 2);
    assert_eq!(total(format!("/Encounter?patient=Patient/{one},Patient/{one}")).await, 1);
    let both = get(&server, &format!("/Encounter?patient={one},{two}")).await;
    let named: Vec<&str> = both["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["resource"]["id"].as_str().unwrap())
        .collect();
    assert_eq!(total(format!("/Encounter?_id={}", named.join(","))).await, 2);
    assert_eq!(total(format!("/Encounter?_id={},none", named[0])).await, 1);
    let base = server.fhir.as_deref().unwrap();
    for (patient, found) in [
        (format!("http://{base}/fhir/Patient/{one}"), 1),
        (format!("http://other.example/fhir/Patient/{one}"), 0),
        (format!("Group/{one}"), 0),
    ] {
        assert_eq!(total(format!("/Encounter?patient={patient}")).await, found, "{patient}");
    }
    let system = "http://hl7.org/fhir/encounter-status";
    for (asked, found) in [
        ("date=lt2025-11-13", 0),
        ("date=le2025-11-12", 0),
        ("date=le2025-11-13", 1),
        ("date=lt2025-11-14", 1),
        ("date=lt2025-11-12T23:30:00Z", 0),
        ("date=le2025-11-13T08:30:00%2B09:00", 1),
        ("date=lt2025-11-13T08:31:00%2B09:00", 1),
        ("status=in-progress", 1),
        ("status=urn:x|in-progress", 0),
        ("status=finished,in-progress", 1),
        (&format!("status={system}|in-progress"), 1),
    ] {
        assert_eq!(total(format!("/Encounter?patient={one}&{asked}")).await, found, "{asked}");
    }
    let many = vec![one.as_str(); 101].join(",");
    for wrong in [
        format!("/Encounter?patient={one}&date=ge2026-13-45"),
        format!("/Encounter?patient={one}&date=ge2026-11-13T"),
        format!("/Encounter?patient={one}&_page=abc"),
        format!("/Encounter?patient={many}"),
        "/Patient?birthdate=1933xx".to_owned(),
        "/Patient?birthdate=1933-02-30".to_owned(),
    ] {
        let (status, answer) = request(&server, "GET", &wrong, "").await;
        assert_eq!((status, reason(&answer)), (400, "PARAMETER_WRONG"), "{wrong}");
    }
}

#[tokio::test]
async fn what_is_no_date_is_refused_by_the_names_of_its_element_and_entry() {
    let data = folder();
    let server = start(data.path(), &[]);
    let told = async |at: usize, place: &str, resources: Vec<Value>| {
        let expression = format!("Bundle.entry[{at}].resource.{place}");
        for kind in ["transaction", "batch"] {
            let (_, answer) = request(&server, "POST", "", &bundle(kind, resources.clone())).await;
            let of_entry = &answer["entry"][at]["response"]["outcome"];
            let outcome = if kind == "batch" { of_entry } else { &answer };
            assert_eq!(reason(outcome), "FIELDS_INVALID", "{kind} {answer}");
            let issue = &outcome["issue"][0];
            assert_eq!(issue["expression"], json!([expression]), "{kind} {answer}");
            let words = issue.to_string();
            assert!(!words.contains("payload") && !words.contains("_at"), "{words}");
        }
    };
    for (element, said) in [("birthDate", "1938/04/02"), ("deceasedDateTime", "1.4.2026")] {
        let mut wrong = whole();
        wrong[element] = json!(said);
        told(0, element, vec![wrong]).await;
    }
    let person = || minimal("p1");
    for (class, status) in [("IMP", "in-progress"), ("IMP", "planned"), ("AMB", "arrived")] {
        let mut wrong = stay("s1", "p1");
        wrong["class"]["code"] = json!(class);
        wrong["status"] = json!(status);
        wrong["period"]["start"] = json!("2026/03/01");
        told(1, "period.start", vec![person(), wrong]).await;
    }
    for class in ["IMP", "AMB"] {
        let mut wrong = stay("s1", "p1");
        wrong["class"]["code"] = json!(class);
        wrong["status"] = json!("finished");
        wrong["period"]["end"] = json!("2026/03/09");
        told(1, "period.end", vec![person(), wrong]).await;
    }
    let team = |place: &str| {
        let mut team = json!({
            "resourceType": "CareTeam", "id": "t1", "subject": { "reference": "Patient/p1" },
            "participant": [{ "member": { "display": "山田" } }],
        });
        let (of, name) = place.split_once('.').unwrap();
        team[of] = json!({ name: "2026/03/01" });
        team
    };
    for place in ["period.start", "meta.lastUpdated"] {
        told(1, place, vec![person(), team(place)]).await;
    }
}
