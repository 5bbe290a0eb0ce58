//! Exports that are not as they should be: odd files, foreign references, facts that cannot be,
//! and servers that stop. What is right in them is taken, and the rest is told.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tonic::transport::Channel;
use tsunagi_proto::v1;
use tsunagi_proto::v1::timeline_client::TimelineClient;

use crate::export::{Export, encounters, patient};
use crate::import::{import, open_encounter, row, write};
use crate::support::{Server, TSUNAGI, folder, liaison, sentences, stderr, stdout, timelines};

/// A stay of the first patient from 1 to 5 March, with a move on the 3rd.
fn stay(id: &str) -> Value {
    let mut stay = open_encounter("IMP", "finished", "2026-03-01T10:00:00+09:00");
    stay["id"] = json!(id);
    stay["period"]["end"] = json!("2026-03-05T10:00:00+09:00");
    let at = |ward: &str, start: &str| json!({ "location": { "display": ward }, "period": { "start": start } });
    stay["location"] =
        json!([at("4E", "2026-03-01T10:00:00+09:00"), at("5W", "2026-03-03T09:00:00+09:00")]);
    stay
}

fn report(path: &Path) -> Vec<Value> {
    let lines = std::fs::read_to_string(path).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn only_patient(channel: &Channel) -> String {
    timelines(channel).await.into_keys().next().unwrap()
}

#[tokio::test]
async fn a_restricted_patient_s_address_is_confidential() {
    let (data, export) = (folder(), folder());
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let path = export.path().to_str().unwrap();
    let withheld = Some(v1::Address { confidential: true, ..Default::default() });
    let restricted = |number: usize, address: Value| {
        let mut resource = patient(number);
        resource["address"] = address;
        let system = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";
        resource["meta"]["security"] = json!([{ "system": system, "code": "R" }]);
        resource
    };
    let known = async || {
        let request = v1::ListPatientsRequest { page_size: 10, ..Default::default() };
        let mut client = TimelineClient::new(channel.clone());
        client.list_patients(liaison(request)).await.unwrap().into_inner().patients
    };
    // The second was imported before with an address for all to see, the third without one.
    let mut open = patient(1);
    open["address"] = json!([{ "text": "秘密町2" }]);
    write(export.path(), "Patient.ndjson", &[open, patient(2)]);
    assert!(import(data.path(), &[path]).status.success());
    write(
        export.path(),
        "Patient.ndjson",
        &[
            restricted(0, json!([{ "text": "秘密町1", "city": "つなぎ市" }])),
            restricted(1, json!([])),
            restricted(2, json!([{ "text": "秘密町3" }])),
        ],
    );
    let output = import(data.path(), &[path]);
    assert!(output.status.success(), "{}", stdout(&output));
    let patients = known().await;
    assert_eq!(patients.len(), 3);
    for patient in patients {
        assert_eq!(patient.demographics.unwrap().address, withheld);
        let read = crate::support::timeline(&channel, &patient.patient_id).await;
        assert!(!format!("{read:?}").contains("秘密町"));
    }
    let again = import(data.path(), &[path]);
    assert!(stdout(&again).contains("0 events stored"), "{}", stdout(&again));
}

#[tokio::test]
async fn what_is_taken_and_not_kept_or_not_read_is_in_the_report() {
    let (data, export) = (folder(), folder());
    let _server = Server::start(data.path());
    let mut resource = patient(0);
    resource["contained"] =
        json!([{ "resourceType": "Organization", "id": "o1", "name": "髙橋医院" }]);
    resource["managingOrganization"] = json!({ "reference": "#o1" });
    resource["meta"]["security"] = json!([{ "system": "urn:his:labels", "code": "R" }]);
    let mut unknown = patient(1);
    let old = "http://hl7.org/fhir/v3/Confidentiality";
    unknown["meta"]["security"] = json!([{ "system": old, "code": "住所秘匿" }]);
    let mut wrong = patient(2);
    wrong["maritalStatus"] = json!("既婚");
    let team = json!({
        "resourceType": "CareTeam", "id": "t1", "period": { "start": "2026-03-01" },
        "note": [{ "text": "要注意" }],
        "subject": { "reference": format!("Patient/{}", resource["id"].as_str().unwrap()) },
        "participant": [{ "member": { "display": "佐藤" }, "role": [{ "text": "看護師" }] }],
    });
    let observation = json!({ "resourceType": "Observation", "id": "ob1" });
    let all = [resource, unknown, wrong, team, observation.clone(), observation];
    write(export.path(), "all.ndjson", &all);
    let told = export.path().join("told.txt");
    let arguments = [export.path().to_str().unwrap(), "--report", told.to_str().unwrap()];
    for round in ["taken", "repeated"] {
        let output = import(data.path(), &arguments);
        let lines = report(&told);
        let of = |reason: &str| {
            let line = lines.iter().find(|line| line["reason"] == reason);
            let line = line.unwrap_or_else(|| panic!("{round}: no {reason} in {lines:?}"));
            (line["number"].as_u64().unwrap(), line["message"].as_str().unwrap().to_owned())
        };
        let (number, words) = of("ELEMENTS_NOT_KEPT");
        assert_eq!(number, 1);
        assert!(words.ends_with(": contained, managingOrganization"), "{words}");
        assert_eq!(of("LABEL_NOT_READ").0, 1);
        assert!(of("LABEL_NOT_READ").1.ends_with(": Patient.meta.security[0]"));
        assert_eq!(of("LABEL_UNKNOWN").0, 2);
        assert_eq!(of("UNREADABLE").0, 3);
        assert!(of("UNREADABLE").1.starts_with("Patient.maritalStatus must be an object"));
        let team = lines.iter().find(|line| line["resource"] == "CareTeam/t1").unwrap();
        assert!(team["message"].as_str().unwrap().ends_with(": note"), "{team}");
        let (number, words) = of("NOT_USED");
        assert!(number == 0 && words.starts_with("2 of this file"), "{words}");
        let told = format!("{}{lines:?}", stdout(&output));
        assert!(told.contains("ELEMENTS_NOT_KEPT 2"), "{told}");
        assert!(["髙橋", "要注意", "住所秘匿", "既婚"].iter().all(|text| !told.contains(text)));
        assert_eq!(output.status.code(), Some(2));
    }
}

#[tokio::test]
async fn a_death_that_is_said_in_two_ways_is_not_taken_and_texts_with_an_extension_alone_are() {
    let (data, export) = (folder(), folder());
    let _server = Server::start(data.path());
    let mut twice = patient(0);
    twice["deceasedBoolean"] = json!(false);
    twice["deceasedDateTime"] = json!("2026-03-01");
    let mut absent = patient(1);
    absent["name"] =
        json!([{ "family": "小林", "given": [null, "花"], "_given": [{ "id": "g" }, null] }]);
    write(export.path(), "all.ndjson", &[twice, absent]);
    let told = export.path().join("told.txt");
    let output =
        import(data.path(), &[export.path().to_str().unwrap(), "--report", told.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let lines = report(&told);
    let words = "Patient.deceasedDateTime must be left out beside deceasedBoolean";
    assert!(lines.len() == 1 && lines[0]["number"] == 1, "{lines:?}");
    assert!(lines[0]["message"].as_str().unwrap().starts_with(words), "{lines:?}");
}

#[tokio::test]
async fn a_stay_that_ends_before_it_begins_is_not_begun() {
    let (data, export) = (folder(), folder());
    let path = export.path().to_str().unwrap();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let mut backwards = stay("s1");
    backwards["period"]["end"] = json!("2026-02-20T10:00:00+09:00");
    write(export.path(), "Patient.ndjson", &[patient(0)]);
    write(export.path(), "Encounter.ndjson", &[backwards]);
    let output = import(data.path(), &[path]);
    assert!(stdout(&output).contains("ENDS_BEFORE_IT_BEGINS"), "{}", stdout(&output));
    let patient = only_patient(&channel).await;
    assert_eq!(sentences(&channel, &patient).await, ["registered as a patient"]);
}

#[tokio::test]
async fn of_a_stay_all_is_taken_or_nothing_and_its_first_refusal_is_told() {
    let (data, export) = (folder(), folder());
    let path = export.path().to_str().unwrap();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let mut circular = stay("s1");
    circular["partOf"] = json!({ "reference": "Encounter/s1" });
    let mut to_come = stay("s2");
    to_come["period"] = json!({ "start": "2126-03-01", "end": "2126-03-05" });
    to_come["location"] = json!([]);
    // The admission and the move are in order; the end lies in the future.
    let mut unended = stay("s3");
    unended["period"]["end"] = json!("2126-03-05");
    write(export.path(), "Patient.ndjson", &[patient(0)]);
    write(export.path(), "Encounter.ndjson", &[circular, to_come, unended]);
    let report_path = export.path().join("report.jsonl");
    let output = import(data.path(), &[path, "--report", report_path.to_str().unwrap()]);
    assert_eq!(row(&output, "Encounter"), [0, 0, 3, 0]);
    let reasons: Vec<Value> =
        report(&report_path).iter().map(|line| line["reason"].clone()).collect();
    assert_eq!(reasons, ["CIRCULAR_EPISODE", "OCCURRED_AT_IN_FUTURE", "OCCURRED_AT_IN_FUTURE"]);
    let patient = only_patient(&channel).await;
    assert_eq!(sentences(&channel, &patient).await, ["registered as a patient"]);
}

#[tokio::test]
async fn a_stay_that_went_on_is_added_to_before_the_next_one_begins() {
    let (data, export) = (folder(), folder());
    let path = export.path().to_str().unwrap();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let mut open = stay("s1");
    open["status"] = json!("in-progress");
    open["location"].as_array_mut().unwrap().truncate(1);
    let mut next = stay("s2");
    next["period"] =
        json!({ "start": "2026-04-01T10:00:00+09:00", "end": "2026-04-02T10:00:00+09:00" });
    next["location"] = json!([]);
    write(export.path(), "Patient.ndjson", &[patient(0)]);
    write(export.path(), "Encounter.ndjson", &[open]);
    assert_eq!(row(&import(data.path(), &[path]), "Encounter"), [1, 0, 0, 0]);
    write(export.path(), "Encounter.ndjson", &[stay("s1"), next]);
    let output = import(data.path(), &[path]);
    assert_eq!(row(&output, "Encounter"), [2, 0, 0, 0], "{}", stdout(&output));
    let patient = only_patient(&channel).await;
    assert_eq!(
        sentences(&channel, &patient).await[1..],
        [
            "admitted to hospital 4E",
            "moved to hospital 5W",
            "discharged",
            "admitted to hospital",
            "discharged"
        ]
    );
    assert_eq!(row(&import(data.path(), &[path]), "Encounter"), [0, 2, 0, 0]);
}

#[tokio::test]
async fn a_reference_to_a_foreign_server_leads_to_nobody_here() {
    let (data, export) = (folder(), folder());
    let path = export.path().to_str().unwrap();
    let about = |id: &str, subject: &str| {
        let mut visit = open_encounter("AMB", "in-progress", "2026-03-01T10:00:00+09:00");
        visit["id"] = json!(id);
        visit["subject"]["reference"] = json!(subject);
        visit
    };
    write(export.path(), "Patient.ndjson", &[patient(0)]);
    let visits = [
        about("v1", "Patient/p0"),
        about("v2", "http://other.example/fhir/Patient/p0"),
        about("v3", "https://own.example/fhir/Patient/p0"),
        about("v4", "Group/p0"),
    ];
    write(export.path(), "Encounter.ndjson", &visits);
    for arguments in [&[path][..], &[path, "--source", "clinic"][..]] {
        let output = import(data.path(), arguments);
        assert_eq!(row(&output, "Encounter")[2..], [3, 0], "{}", stdout(&output));
        assert!(stdout(&output).contains("SUBJECT_NOT_IMPORTED"), "{}", stdout(&output));
    }
    // The export's own base is known when it is named, or by a Bundle's entries.
    let named = import(data.path(), &[path, "--base", "https://own.example/fhir/"]);
    assert_eq!(row(&named, "Encounter"), [1, 1, 2, 0], "{}", stdout(&named));
    let entry = json!({ "fullUrl": "https://own.example/fhir/Patient/p0", "resource": patient(0) });
    let bundle = json!({ "resourceType": "Bundle", "entry": [entry] });
    std::fs::write(export.path().join("bundle.json"), bundle.to_string()).unwrap();
    let bundled = import(data.path(), &[path]);
    assert_eq!(row(&bundled, "Encounter"), [0, 2, 2, 0], "{}", stdout(&bundled));
}

#[tokio::test]
async fn odd_files_are_told_and_all_others_are_read() {
    let (data, export) = (folder(), folder());
    let at = |name: &str| export.path().join(name);
    write(export.path(), "Patient.ndjson", &[patient(0)]);
    write(export.path(), "a\u{1b}[31m\n.ndjson", &[json!({ "resourceType": "Patient" })]);
    symlink("/no/such/folder", at("dangling.ndjson")).unwrap();
    symlink("circle.json", at("circle.json")).unwrap();
    // A regular file of which not even root can read the beginning.
    symlink("/proc/self/mem", at("memory.ndjson")).unwrap();
    symlink("/dev/zero", at("zeros.json")).unwrap();
    std::fs::create_dir(at("sub")).unwrap();
    symlink("..", at("sub/loop")).unwrap();
    assert!(Command::new("mkfifo").arg(at("fifo.ndjson")).status().unwrap().success());
    let report_path = at("report.jsonl");
    let path = export.path().to_str().unwrap();
    let output = import(data.path(), &[path, "--report", report_path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "{}{}", stdout(&output), stderr(&output));
    assert_eq!(row(&output, "Patient"), [1, 0, 0, 0]);
    assert_eq!(row(&output, "file"), [0, 0, 7, 0]);
    let mut told: Vec<String> = Vec::new();
    for line in report(&report_path) {
        assert_eq!(line["reason"], "FILE_NOT_READ");
        let file = line["file"].as_str().unwrap().strip_prefix(path).unwrap();
        told.push(format!("{file} {}", line["message"].as_str().unwrap()));
    }
    told.sort();
    let names = [
        "/a\u{1b}[31m\n.ndjson",
        "/circle.json",
        "/dangling.ndjson",
        "/fifo.ndjson",
        "/memory.ndjson",
        "/sub/loop",
        "/zeros.json",
    ];
    for (told, name) in told.iter().zip(names) {
        assert!(told.starts_with(name), "{told}");
    }
}

#[tokio::test]
async fn ids_that_are_none_are_cut_and_refused() {
    let (data, export) = (folder(), folder());
    let mut long = patient(1);
    long["id"] = json!("x".repeat(100_000));
    let mut spaced = encounters(0).remove(1);
    spaced["id"] = json!("v 1");
    let odd_type = json!({ "resourceType": "y".repeat(100_000), "id": "1" });
    write(export.path(), "Patient.ndjson", &[patient(0), long, odd_type]);
    write(export.path(), "Encounter.ndjson", &[spaced]);
    let report_path = export.path().join("report.jsonl");
    let path = export.path().to_str().unwrap();
    let output = import(data.path(), &[path, "--report", report_path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(row(&output, "Patient"), [1, 0, 1, 0]);
    assert_eq!(row(&output, "Encounter"), [0, 0, 1, 0]);
    assert_eq!(row(&output, "resource"), [0, 0, 0, 1]);
    assert!(stdout(&output).len() < 3000, "{}", stdout(&output));
    let lines = report(&report_path);
    assert_eq!(lines.iter().filter(|line| line["reason"] == "ID_INVALID").count(), 2);
    assert!(lines.iter().all(|line| line.to_string().len() < 500), "{lines:?}");
}

#[tokio::test]
async fn when_the_server_stops_the_import_says_to_run_it_again() {
    const PATIENTS: u64 = 1500;
    let (data, export) = (folder(), folder());
    Export { patients: PATIENTS.try_into().unwrap() }.write(export.path());
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let path = export.path().to_str().unwrap();
    let import_child = Command::new(TSUNAGI)
        .args(["import", "fhir", path, "--server", &server.url])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut client = TimelineClient::new(channel);
    let request = || liaison(v1::ListPatientsRequest { page_size: 1, ..Default::default() });
    while client.list_patients(request()).await.unwrap().into_inner().patients.is_empty() {}
    server.kill();
    let output = import_child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    let text = stderr(&output);
    assert!(text.contains("run it again") && text.contains("nothing is stored twice"), "{text}");
    let again = import(data.path(), &[path]);
    assert_eq!(again.status.code(), Some(0), "{}", stdout(&again));
    // One patient was seen to be stored.
    let patients = row(&again, "Patient");
    assert!(patients[1] > 0 && patients[0] + patients[1] == PATIENTS, "{patients:?}");
}
