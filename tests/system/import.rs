//! `tsunagi import fhir`: what is taken, repeated, refused and kept; once, in any order.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use tonic::transport::Channel;
use tsunagi_proto::v1;
use tsunagi_proto::v1::timeline_client::TimelineClient;

use crate::export::{Export, encounters, patient};
use crate::support::{
    Server, folder, liaison, run, sentences, stderr, stdout, timeline, timelines,
};

pub(crate) fn import(data: &Path, arguments: &[&str]) -> Output {
    let mut all = vec!["import", "fhir", "--data", data.to_str().unwrap()];
    all.extend(arguments);
    run(&all)
}

/// A row of the report: taken, repeated, refused, unreadable.
pub(crate) fn row(output: &Output, of: &str) -> Vec<u64> {
    let text = stdout(output);
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(of));
    let line = line.unwrap_or_else(|| panic!("no {of} in {text}{}", stderr(output)));
    line.split_whitespace().skip(1).map(|count| count.parse().unwrap()).collect()
}

pub(crate) fn write(folder: &Path, name: &str, resources: &[Value]) {
    let lines: Vec<String> = resources.iter().map(ToString::to_string).collect();
    std::fs::write(folder.join(name), lines.join("\n")).unwrap();
}

#[tokio::test]
async fn an_export_is_taken_in_once() {
    let (data, export) = (folder(), folder());
    Export { patients: 20 }.write(export.path());
    let path = export.path().to_str().unwrap();
    let first = import(data.path(), &[path]);
    assert_eq!(first.status.code(), Some(0), "{}", stdout(&first));
    assert_eq!(row(&first, "Patient"), [20, 0, 0, 0]);
    assert_eq!(row(&first, "Encounter"), [40, 0, 0, 0]);
    assert_eq!(row(&first, "CareTeam"), [20, 0, 0, 0]);
    assert!(stdout(&first).contains("Condition 20"));
    // 20 registrations, 20 visits, 10 emergencies, 10 admissions, 10 discharges, 20 teams; and
    // what else the visits and stays say, which is kept.
    assert!(stdout(&first).contains("130 events stored"), "{}", stdout(&first));
    let server = Server::start(data.path());
    let told = timelines(&server.channel().await).await;
    let again = import(data.path(), &[path]);
    assert_eq!(row(&again, "Encounter"), [0, 40, 0, 0]);
    assert!(stdout(&again).contains("0 events stored"), "{}", stdout(&again));
    assert_eq!(told, timelines(&server.channel().await).await);
}

#[tokio::test]
async fn an_emergency_and_the_stay_after_it_are_one_episode_without_diagnoses() {
    let (data, export) = (folder(), folder());
    Export { patients: 1 }.write(export.path());
    import(data.path(), &[export.path().to_str().unwrap()]);
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let patients = timelines(&channel).await;
    let patient = patients.keys().next().unwrap();
    assert_eq!(
        sentences(&channel, patient).await,
        [
            "registered as a patient",
            "outpatient visit at つなぎ中央病院 内科 until 09:20",
            "joined the care team (医師)",
            "emergency visit at つなぎ中央病院 内科 until 22:30",
            "admitted to つなぎ中央病院 内科 4E病棟 401-1 (救急外来より入院)",
            "discharged (自宅退院)",
        ]
    );
    let entries = timeline(&channel, patient).await;
    let episode = &entries[3].episode_id;
    assert!(!episode.is_empty() && *episode == entries[3].encounter_id);
    assert_eq!(entries[4].episode_id, *episode);
    assert_eq!(entries[5].episode_id, *episode);
    assert_ne!(entries[1].episode_id, *episode);
    assert!(!format!("{entries:?}").contains("肺炎"));
    // Both ways of writing the name are kept.
    let found = stdout(&run(&["timeline", "MR00000", "--data", data.path().to_str().unwrap()]));
    assert!(found.starts_with("髙橋 花0 (タカハシ ハナ)"), "{found}");
}

#[tokio::test]
async fn the_order_of_files_and_their_form_do_not_matter() {
    let (data, bundled) = (folder(), folder());
    let (ndjson, bundles) = (folder(), folder());
    Export { patients: 6 }.write(ndjson.path());
    // The same resources in one Bundle, last things first.
    let mut entries = Vec::new();
    for file in ["CareTeam", "Encounter", "Patient", "Location", "Practitioner", "Organization"] {
        let text = std::fs::read_to_string(ndjson.path().join(format!("{file}.ndjson"))).unwrap();
        for line in text.lines() {
            let resource: Value = serde_json::from_str(line).unwrap();
            let url = format!("urn:uuid:{}", resource["id"].as_str().unwrap());
            entries.push(json!({ "fullUrl": url, "resource": resource }));
        }
    }
    let bundle = json!({ "entry": entries, "type": "collection", "resourceType": "Bundle" });
    std::fs::write(bundles.path().join("all.json"), bundle.to_string()).unwrap();
    assert!(import(data.path(), &[ndjson.path().to_str().unwrap()]).status.success());
    assert!(import(bundled.path(), &[bundles.path().to_str().unwrap()]).status.success());
    let (one, other) = (Server::start(data.path()), Server::start(bundled.path()));
    let told = timelines(&one.channel().await).await;
    assert_eq!(told.len(), 6);
    assert_eq!(told, timelines(&other.channel().await).await);
}

#[tokio::test]
async fn what_is_not_taken_is_told_with_file_line_and_reason() {
    let (data, export) = (folder(), folder());
    let stay = |id: &str, changes: Value| {
        let mut resource = encounters(0).remove(0);
        resource["id"] = json!(id);
        for (key, value) in changes.as_object().unwrap() {
            resource[key] = value.clone();
        }
        resource
    };
    write(
        export.path(),
        "Patient.ndjson",
        &[patient(0), json!({ "resourceType": "Patient", "id": "p9", "birthDate": "in spring" })],
    );
    write(
        export.path(),
        "Encounter.ndjson",
        &[
            stay("s0", json!({})),
            stay("s1", json!({ "class": { "code": "MOON" } })),
            stay("s2", json!({ "status": "entered-in-error" })),
            stay("s3", json!({ "subject": { "reference": "Patient/nobody" } })),
            stay("s4", json!({ "period": {} })),
            stay(
                "s5",
                json!({ "period": { "start": "2026-03-09T10:00:00+09:00",
            "end": "2026-03-01T10:00:00+09:00" } }),
            ),
            stay("s6", json!({ "period": "always" })),
        ],
    );
    std::fs::write(export.path().join("broken.ndjson"), "{\"resourceType\":\n{}\n[1]").unwrap();
    let report = export.path().join("report.jsonl");
    let path = export.path().to_str().unwrap();
    let output = import(data.path(), &[path, "--report", report.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(row(&output, "Patient"), [1, 0, 1, 0]);
    assert_eq!(row(&output, "Encounter"), [1, 0, 5, 1]);
    assert_eq!(row(&output, "resource"), [0, 0, 0, 3]);
    let lines = std::fs::read_to_string(report).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut reasons: Vec<(String, u64, String)> = lines
        .iter()
        .map(|line| {
            let text = |key: &str| line[key].as_str().unwrap().to_owned();
            (text("resource"), line["number"].as_u64().unwrap(), text("reason"))
        })
        .collect();
    reasons.sort();
    let expected = [
        ("Encounter/s1", 2, "CLASS_UNKNOWN"),
        ("Encounter/s2", 3, "DID_NOT_HAPPEN"),
        ("Encounter/s3", 4, "SUBJECT_NOT_IMPORTED"),
        ("Encounter/s4", 5, "TIME_MISSING"),
        ("Encounter/s5", 6, "ENDS_BEFORE_IT_BEGINS"),
        ("Encounter/s6", 7, "UNREADABLE"),
        ("Patient/p9", 2, "FIELDS_INVALID"),
        ("resource", 1, "UNREADABLE"),
        ("resource", 2, "UNREADABLE"),
        ("resource", 3, "UNREADABLE"),
    ];
    let expected: Vec<(String, u64, String)> =
        expected.map(|(of, number, reason)| (of.to_owned(), number, reason.to_owned())).to_vec();
    assert_eq!(reasons, expected);
    // What could not be read is kept as it came, once.
    import(data.path(), &[path]);
    let kept = stdout(&run(&["quarantine", "--data", data.path().to_str().unwrap()]));
    assert_eq!(kept.lines().count(), 4, "{kept}");
}

#[tokio::test]
async fn a_patient_whom_a_desk_registered_is_not_made_twice() {
    let (data, export) = (folder(), folder());
    let server = Server::start(data.path());
    let channel = server.channel().await;
    crate::desks::register(&channel, &crate::support::id(1), "MR00000").await;
    Export { patients: 2 }.write(export.path());
    let newer = json!({ "lastUpdated": "2026-04-02T00:00:00+09:00" });
    let patients = [0, 1].map(|number| {
        let mut patient = patient(number);
        patient["meta"] = newer.clone();
        patient
    });
    write(export.path(), "Patient.ndjson", &patients);
    let output = import(data.path(), &[export.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert_eq!(timelines(&channel).await.len(), 2);
    let sentences = sentences(&channel, &crate::support::id(1)).await;
    assert!(sentences.contains(&"discharged (自宅退院)".to_owned()), "{sentences:?}");
    assert!(sentences.contains(&"demographics updated".to_owned()), "{sentences:?}");
    let again = import(data.path(), &[export.path().to_str().unwrap()]);
    assert!(stdout(&again).contains("0 events stored"), "{}", stdout(&again));
}

#[tokio::test]
async fn a_newer_export_adds_what_is_new() {
    let (data, export) = (folder(), folder());
    let stay = |end: Option<&str>| {
        let mut resource = encounters(0).remove(0);
        if end.is_none() {
            resource["status"] = json!("in-progress");
            resource["period"].as_object_mut().unwrap().remove("end");
        }
        resource
    };
    let mut moved = patient(0);
    write(export.path(), "Patient.ndjson", &[moved.clone()]);
    write(export.path(), "Encounter.ndjson", &[stay(None)]);
    let path = export.path().to_str().unwrap();
    assert!(import(data.path(), &[path]).status.success());
    moved["address"] = json!([{ "text": "つなぎ市本町1-2-3" }]);
    moved["meta"]["lastUpdated"] = json!("2026-04-01T00:00:00+09:00");
    write(export.path(), "Patient.ndjson", &[moved]);
    write(export.path(), "Encounter.ndjson", &[stay(Some("2026-03-05"))]);
    let newer = import(data.path(), &[path]);
    assert!(newer.status.success(), "{}", stdout(&newer));
    // The address, the discharge, and what else the stay says.
    assert!(stdout(&newer).contains("3 events stored"), "{}", stdout(&newer));
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let patient = timelines(&channel).await.into_keys().next().unwrap();
    // Without the locations and organisations that it refers to, a stay is in what it names.
    assert_eq!(
        sentences(&channel, &patient).await[1..],
        [
            "admitted to internal (救急外来より入院)",
            "discharged (自宅退院)",
            "demographics updated"
        ]
    );
}

#[tokio::test]
async fn resource_ids_of_two_systems_do_not_meet() {
    let (data, one, other) = (folder(), folder(), folder());
    write(one.path(), "Patient.ndjson", &[patient(0)]);
    let mut namesake = patient(0);
    namesake["identifier"] = json!([{ "system": "urn:other", "value": "1" }]);
    write(other.path(), "Patient.ndjson", &[namesake]);
    write(other.path(), "Encounter.ndjson", &encounters(0));
    let (one, other) = (one.path().to_str().unwrap(), other.path().to_str().unwrap());
    assert!(import(data.path(), &[one, "--source", "north"]).status.success());
    assert!(import(data.path(), &[other, "--source", "south"]).status.success());
    let server = Server::start(data.path());
    assert_eq!(timelines(&server.channel().await).await.len(), 2);
    // Encounters alone need the name of the system whose patients they are about.
    let encounters_only = format!("{other}/Encounter.ndjson");
    let unnamed = import(data.path(), &[&encounters_only]);
    assert!(stdout(&unnamed).contains("SUBJECT_NOT_IMPORTED"), "{}", stdout(&unnamed));
    let named = import(data.path(), &[&encounters_only, "--source", "south"]);
    assert_eq!(row(&named, "Encounter"), [0, 3, 0, 0]);
}

#[test]
fn an_import_that_cannot_be_done_says_why() {
    let (data, empty) = (folder(), folder());
    let nothing = import(data.path(), &[empty.path().to_str().unwrap()]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(stderr(&nothing).contains("no .ndjson or .json files"), "{}", stderr(&nothing));
    let missing = import(data.path(), &["/no/such/file.json"]);
    assert_eq!(missing.status.code(), Some(1));
}

/// A patient's summary, as everybody sees it.
pub(crate) async fn summary(channel: &Channel, patient: &str) -> v1::PatientSummary {
    let request = v1::ReadTimelineRequest { patient_id: patient.to_owned(), ..Default::default() };
    let page = TimelineClient::new(channel.clone()).read_timeline(liaison(request)).await;
    page.unwrap().into_inner().patient.unwrap()
}

/// An encounter of the first patient that is not over yet.
pub(crate) fn open_encounter(class: &str, status: &str, start: &str) -> Value {
    json!({
        "resourceType": "Encounter",
        "id": "open",
        "status": status,
        "class": { "code": class },
        "subject": { "reference": "Patient/p0" },
        "period": { "start": start },
        "serviceProvider": { "reference": "Organization/hospital" },
    })
}

#[tokio::test]
async fn a_plan_that_was_moved_is_moved() {
    let (data, export) = (folder(), folder());
    let path = export.path().to_str().unwrap();
    write(export.path(), "Patient.ndjson", &[patient(0)]);
    let server = Server::start(data.path());
    let channel = server.channel().await;
    for day in ["2036-06-01", "2036-06-08", "2036-06-08"] {
        write(export.path(), "Encounter.ndjson", &[open_encounter("IMP", "planned", day)]);
        assert_eq!(import(data.path(), &[path]).status.code(), Some(0));
        let patient = timelines(&channel).await.into_keys().next().unwrap();
        assert_eq!(summary(&channel, &patient).await.planned_admission_at, day);
    }
}

#[tokio::test]
async fn a_number_that_leads_to_somebody_else_adopts_nobody() {
    let (data, export) = (folder(), folder());
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let owner = crate::support::id(1);
    crate::desks::register(&channel, &owner, "MR00000").await;
    let before = timelines(&channel).await;
    let path = export.path().to_str().unwrap();
    write(export.path(), "Encounter.ndjson", &encounters(0));
    for (key, other) in [("birthDate", "1971-12-03"), ("gender", "male")] {
        let mut namesake = patient(0);
        namesake[key] = json!(other);
        write(export.path(), "Patient.ndjson", &[namesake]);
        let refused = import(data.path(), &[path]);
        assert_eq!(row(&refused, "Patient"), [0, 0, 1, 0]);
        assert_eq!(row(&refused, "Encounter"), [0, 0, 3, 0]);
        assert!(stdout(&refused).contains("PATIENT_MISMATCH"), "{}", stdout(&refused));
        assert!(!stdout(&refused).contains(other), "{}", stdout(&refused));
        assert_eq!(timelines(&channel).await, before);
    }
    // What is less exact does not differ and is no news, and who was taken for the same stays so.
    for (said, birth) in [("1938", "1938-04-02"), ("1938-04-20", "1938-04-20")] {
        let mut same = patient(0);
        same["birthDate"] = json!(said);
        same["meta"]["lastUpdated"] = json!("2026-04-02T00:00:00+09:00");
        write(export.path(), "Patient.ndjson", &[same]);
        let taken = import(data.path(), &[path]);
        assert_eq!(taken.status.code(), Some(0), "{}", stdout(&taken));
        let demographics = summary(&channel, &owner).await.demographics.unwrap();
        assert_eq!(demographics.birth_on, birth);
    }
}

#[tokio::test]
async fn a_confidential_address_stays_confidential() {
    let (data, export) = (folder(), folder());
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let owner = crate::support::id(1);
    crate::desks::register(&channel, &owner, "MR00000").await;
    let lives = v1::Address { text: "秘密町1".into(), confidential: true, ..Default::default() };
    let demographics = crate::desks::registration("").demographics.unwrap();
    let update = v1::UpdateDemographicsRequest {
        context: Some(crate::support::context(&owner, &crate::support::id(2), "2026-04-02")),
        event: Some(v1::DemographicsUpdated {
            demographics: Some(v1::Demographics { address: Some(lives), ..demographics }),
            keeps: Vec::new(),
            withdraws: Vec::new(),
        }),
    };
    let mut desk = v1::discharge_desk_client::DischargeDeskClient::new(channel.clone());
    desk.update_demographics(liaison(update)).await.unwrap();
    let path = export.path().to_str().unwrap();
    let mut resource = patient(0);
    resource["meta"]["lastUpdated"] = json!("2026-04-03T00:00:00+09:00");
    for address in [json!([{ "text": "つなぎ市本町1-2-3" }]), json!([])] {
        resource["address"] = address;
        resource["telecom"] = json!([{ "system": "phone", "value": "1" }]);
        write(export.path(), "Patient.ndjson", &[resource.clone()]);
        assert_eq!(row(&import(data.path(), &[path]), "Patient")[2..], [0, 0]);
        let known = summary(&channel, &owner).await.demographics.unwrap();
        assert_eq!(known.address, Some(v1::Address { confidential: true, ..Default::default() }));
        assert_eq!(known.names[0].given, "花0", "all else is brought up to date");
        let again = import(data.path(), &[path]);
        assert!(stdout(&again).contains("0 events stored"), "{}", stdout(&again));
    }
}

/// Whether the protection was wrong, or whose it was, no system can tell.
#[tokio::test]
async fn an_address_whose_protection_was_an_error_is_opened_by_no_import() {
    for was_confidential in [true, false] {
        let (data, export) = (folder(), folder());
        let server = Server::start(data.path());
        let channel = server.channel().await;
        let [owner, wrong, error, right] = [1, 2, 3, 4].map(crate::support::id);
        crate::desks::register(&channel, &owner, "MR00000").await;
        let mut desk = v1::discharge_desk_client::DischargeDeskClient::new(channel.clone());
        let moved_to = |event: &str, day: &str, text: &str, confidential| {
            let address = v1::Address { text: text.into(), confidential, ..Default::default() };
            let demographics = crate::desks::registration("").demographics.unwrap();
            let demographics = Some(v1::Demographics { address: Some(address), ..demographics });
            liaison(v1::UpdateDemographicsRequest {
                context: Some(crate::support::context(&owner, event, day)),
                event: Some(v1::DemographicsUpdated { demographics, ..Default::default() }),
            })
        };
        let told = moved_to(&wrong, "2026-04-02", "秘密町1", was_confidential);
        desk.update_demographics(told).await.unwrap();
        let in_error = v1::EnteredInError { corrects_event_id: wrong, ..Default::default() };
        let request = v1::MarkEnteredInErrorRequest {
            context: Some(crate::support::context(&owner, &error, "2026-04-03")),
            event: Some(in_error),
        };
        let mut team = v1::care_team_client::CareTeamClient::new(channel.clone());
        team.mark_entered_in_error(liaison(request)).await.unwrap();
        let told = moved_to(&right, "2026-04-04", "北町1", false);
        desk.update_demographics(told).await.unwrap();
        let path = export.path().to_str().unwrap();
        let mut resource = patient(0);
        resource["meta"]["lastUpdated"] = json!("2026-04-05T00:00:00+09:00");
        resource["address"] = json!([{ "text": "つなぎ市本町1-2-3" }]);
        write(export.path(), "Patient.ndjson", &[resource]);
        assert_eq!(row(&import(data.path(), &[path]), "Patient")[2..], [0, 0]);
        let known = summary(&channel, &owner).await.demographics.unwrap().address.unwrap();
        assert_eq!(known.confidential, was_confidential, "{known:?}");
        assert_eq!(known.text.is_empty(), was_confidential, "{known:?}");
    }
}

#[tokio::test]
async fn a_patient_who_moves_back_has_moved_twice() {
    let (data, export) = (folder(), folder());
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let path = export.path().to_str().unwrap();
    let mut resource = patient(0);
    for (month, address) in (1..).zip(["本町1", "栄町2", "本町1", "栄町2"]) {
        resource["address"] = json!([{ "text": address }]);
        resource["meta"]["lastUpdated"] = json!(format!("2026-0{month}-01T00:00:00+09:00"));
        write(export.path(), "Patient.ndjson", &[resource.clone()]);
        for stored in ["1 events stored", "0 events stored"] {
            let output = import(data.path(), &[path]);
            assert!(stdout(&output).contains(stored), "{}", stdout(&output));
        }
        let patient = timelines(&channel).await.into_keys().next().unwrap();
        let known = summary(&channel, &patient).await.demographics.unwrap();
        assert_eq!(known.address.unwrap().text, address);
    }
}

#[tokio::test]
async fn a_visit_that_was_going_on_ends_when_it_is_finished() {
    let (data, export) = (folder(), folder());
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let path = export.path().to_str().unwrap();
    write(export.path(), "Patient.ndjson", &[patient(0)]);
    let start = "2026-03-01T09:00:00+09:00";
    let mut visit = open_encounter("EMER", "in-progress", start);
    write(export.path(), "Encounter.ndjson", &[visit.clone()]);
    assert_eq!(row(&import(data.path(), &[path]), "Encounter"), [1, 0, 0, 0]);
    let patient = timelines(&channel).await.into_keys().next().unwrap();
    assert_eq!(summary(&channel, &patient).await.state(), v1::PatientState::Visiting);
    visit["status"] = json!("finished");
    visit["period"]["end"] = json!("2026-03-01T11:30:00+09:00");
    write(export.path(), "Encounter.ndjson", &[visit.clone()]);
    assert_eq!(row(&import(data.path(), &[path]), "Encounter"), [1, 0, 0, 0]);
    let ended = summary(&channel, &patient).await;
    assert_eq!(ended.state(), v1::PatientState::Visited);
    assert_eq!(ended.since_at, "2026-03-01T11:30:00+09:00");
    assert_eq!(row(&import(data.path(), &[path]), "Encounter"), [0, 1, 0, 0]);
    // Another end of a visit that has ended is not taken silently.
    visit["period"]["end"] = json!("2026-03-01T12:00:00+09:00");
    write(export.path(), "Encounter.ndjson", &[visit]);
    let other = import(data.path(), &[path]);
    assert!(stdout(&other).contains("EVENT_ID_REUSED"), "{}", stdout(&other));
}

#[tokio::test]
async fn what_did_not_happen_after_all_is_cancelled() {
    let (data, export) = (folder(), folder());
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let path = export.path().to_str().unwrap();
    write(export.path(), "Patient.ndjson", &[patient(0)]);
    let import_encounter = |encounter: &Value| {
        write(export.path(), "Encounter.ndjson", std::slice::from_ref(encounter));
        import(data.path(), &[path])
    };
    let withdrawn = |encounter: &Value, status: &str| {
        let mut encounter = encounter.clone();
        encounter["status"] = json!(status);
        encounter
    };
    let mut moved = encounters(0).remove(0);
    moved["location"][1]["period"] = json!({ "start": "2026-03-02T09:00:00+09:00" });
    let visit = encounters(0).remove(1);
    let mut plan = open_encounter("IMP", "planned", "2036-06-01");
    assert!(import_encounter(&plan).status.success());
    plan["period"]["start"] = json!("2036-06-08");
    for encounter in [&moved, &visit, &plan] {
        assert_eq!(row(&import_encounter(encounter), "Encounter"), [1, 0, 0, 0]);
    }
    let patient = timelines(&channel).await.into_keys().next().unwrap();
    plan["period"] = json!({});
    for (encounter, status) in
        [(&moved, "entered-in-error"), (&visit, "entered-in-error"), (&plan, "cancelled")]
    {
        let withdrawn = withdrawn(encounter, status);
        let output = import_encounter(&withdrawn);
        assert_eq!(row(&output, "Encounter"), [1, 0, 0, 0], "{}", stdout(&output));
        assert_eq!(row(&import_encounter(&withdrawn), "Encounter"), [0, 1, 0, 0]);
    }
    let after = summary(&channel, &patient).await;
    assert_eq!(after.state(), v1::PatientState::Unspecified);
    assert_eq!(after.planned_admission_at, "");
    let never = import_encounter(&withdrawn(&encounters(0).remove(2), "cancelled"));
    assert!(stdout(&never).contains("DID_NOT_HAPPEN"), "{}", stdout(&never));
}

#[tokio::test]
async fn what_a_desk_said_is_not_cancelled_by_an_import() {
    let (data, export) = (folder(), folder());
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let path = export.path().to_str().unwrap();
    let stay = open_encounter("IMP", "in-progress", "2026-03-01T09:00:00+09:00");
    write(export.path(), "Patient.ndjson", &[patient(0)]);
    write(export.path(), "Encounter.ndjson", std::slice::from_ref(&stay));
    assert!(import(data.path(), &[path]).status.success());
    let patient = timelines(&channel).await.into_keys().next().unwrap();
    let known = summary(&channel, &patient).await;
    let encounter_id = known.encounter_id;
    let on_behalf_of = known.place.unwrap().facility.unwrap().id;
    let context = crate::support::context(&patient, &crate::support::id(3), "2026-03-05");
    let discharge = v1::DischargeRequest {
        context: Some(v1::CommandContext { on_behalf_of, ..context }),
        event: Some(v1::Discharged { encounter_id, ..Default::default() }),
    };
    let mut desk = v1::discharge_desk_client::DischargeDeskClient::new(channel.clone());
    desk.discharge(liaison(discharge)).await.unwrap();
    let before = timelines(&channel).await;
    let mut cancelled = stay;
    cancelled["status"] = json!("cancelled");
    write(export.path(), "Encounter.ndjson", &[cancelled]);
    let refused = import(data.path(), &[path]);
    assert!(stdout(&refused).contains("LATER_MOVE_DEPENDS"), "{}", stdout(&refused));
    assert_eq!(timelines(&channel).await, before);
}

#[tokio::test]
async fn organisations_of_two_senders_are_two_where_their_ids_are_their_own() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let mut facilities = Vec::new();
    for (number, source) in [(0, "west"), (1, "east")] {
        let export = folder();
        let mut stay = open_encounter("IMP", "in-progress", "2026-05-01T10:00:00+09:00");
        let whose = patient(number);
        stay["subject"]["reference"] = json!(format!("Patient/{}", whose["id"].as_str().unwrap()));
        stay["serviceProvider"] = json!({ "reference": "Organization/1" });
        write(export.path(), "Patient.ndjson", &[whose]);
        write(export.path(), "Encounter.ndjson", &[stay]);
        let named = ["--source", source, "--own-organisations", export.path().to_str().unwrap()];
        let report = import(data.path(), &named);
        assert_eq!(row(&report, "Encounter"), [1, 0, 0, 0]);
        let mut client = TimelineClient::new(channel.clone());
        let list = client.list_patients(liaison(v1::ListPatientsRequest::default())).await;
        let patients = list.unwrap().into_inner().patients;
        facilities = patients
            .into_iter()
            .map(|patient| patient.place.unwrap().facility.unwrap().id)
            .collect();
    }
    facilities.sort();
    assert_eq!(facilities, ["east:1", "west:1"]);
}

#[tokio::test]
async fn an_import_opens_no_address_that_a_merged_record_protects() {
    for (round, lived) in ["", "つなぎ市栄町9"].into_iter().enumerate() {
        let (data, export) = (folder(), folder());
        let server = Server::start(data.path());
        let channel = server.channel().await;
        let [owner, hidden] = [1, 2].map(crate::support::id);
        crate::desks::register(&channel, &owner, "MR00000").await;
        crate::desks::register(&channel, &hidden, "MR00099").await;
        let mut desk = v1::discharge_desk_client::DischargeDeskClient::new(channel.clone());
        let secret =
            v1::Address { text: "秘密町1".into(), confidential: true, ..Default::default() };
        let open = v1::Address { text: lived.to_owned(), ..Default::default() };
        let said = [(&hidden, secret, 3), (&owner, open, 4)];
        for (patient, address, event) in said.into_iter().filter(|(_, at, _)| !at.text.is_empty()) {
            let demographics = crate::desks::registration("").demographics.unwrap();
            let event_id = crate::support::id(event);
            let update = v1::UpdateDemographicsRequest {
                context: Some(crate::support::context(patient, &event_id, "2026-04-02")),
                event: Some(v1::DemographicsUpdated {
                    demographics: Some(v1::Demographics { address: Some(address), ..demographics }),
                    keeps: Vec::new(),
                    withdraws: Vec::new(),
                }),
            };
            desk.update_demographics(liaison(update)).await.unwrap();
        }
        let merge = v1::MergePatientsRequest {
            context: Some(crate::support::context(&owner, &crate::support::id(5), "2026-04-03")),
            event: Some(v1::PatientsMerged {
                retired_patient_id: hidden,
                ..v1::PatientsMerged::default()
            }),
        };
        let mut team = v1::care_team_client::CareTeamClient::new(channel.clone());
        team.merge_patients(liaison(merge)).await.unwrap();
        let path = export.path().to_str().unwrap();
        let mut resource = patient(0);
        for written in ["", "2026-04-01T00:00:00Z", "2026-05-01T00:00:00Z"] {
            resource["address"] = json!([{ "text": format!("つなぎ市本町1-{written}") }]);
            resource["telecom"] = json!([{ "system": "phone", "value": format!("1{written}") }]);
            if !written.is_empty() {
                resource["meta"] = json!({ "lastUpdated": written });
            }
            write(export.path(), "Patient.ndjson", &[resource.clone()]);
            assert_eq!(
                row(&import(data.path(), &[path, "--source", "his"]), "Patient")[2..],
                [0, 0]
            );
            let known = summary(&channel, &owner).await.demographics.unwrap();
            let withheld = v1::Address { confidential: true, ..Default::default() };
            assert_eq!(known.address, Some(withheld), "{round} {written}");
        }
    }
}
