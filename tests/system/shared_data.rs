//! Real input that nobody here wrote. It lies beside the repository, not in it: where it is
//! missing, these tests say so and pass.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Output;

use tonic::transport::Channel;
use tsunagi_gateway::hl7::Message;
use tsunagi_gateway::hl7::batch;
use tsunagi_gateway::hl7::charset::decode;
use tsunagi_proto::v1;
use tsunagi_proto::v1::subscribe_response::Frame;

use crate::mllp::{Sender, code, find};
use crate::support::{Server, folder, liaison, run, stdout, timeline, timelines};

/// The folder of a data set. None, said loudly, if it is not there: then `skipped` is skipped.
pub(crate) fn data_set(name: &str, skipped: &str) -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let path = root.join("shared/data").join(name);
    if path.is_dir() {
        return Some(path);
    }
    #[expect(clippy::print_stderr, reason = "a test that skips says so")]
    {
        eprintln!(
            "SKIPPED: `{skipped}` checked nothing, because there is no folder {}",
            path.display()
        );
    }
    None
}

fn counts(output: &Output, of: &str) -> Vec<u64> {
    let text = stdout(output);
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(of)).unwrap();
    line.split_whitespace().skip(1).map(|count| count.parse().unwrap()).collect()
}

#[tokio::test]
async fn a_japanese_hospital_s_export_arrives_whole() {
    let skipped = "a_japanese_hospital_s_export_arrives_whole";
    let Some(export) = data_set("fhir/clinosim-jp-p1500-seed20261121", skipped) else { return };
    let data = folder();
    let path = data.path().to_str().unwrap();
    let output = run(&["import", "fhir", export.to_str().unwrap(), "--data", path]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    // Of each, some stand in the Bundles a second time.
    assert_eq!(counts(&output, "Patient"), [785, 85, 0, 0]);
    assert_eq!(counts(&output, "Encounter")[0], 4611);
    assert_eq!(counts(&output, "Encounter")[2..], [0, 0]);
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let patients = timelines(&channel).await;
    assert_eq!(patients.len(), 785);
    let (mut admissions, mut discharges, mut with_ward, mut episodes) = (0, 0, 0, 0);
    for patient in patients.keys() {
        let entries = timeline(&channel, patient).await;
        for entry in &entries {
            let text = entry.text.clone().unwrap_or_default().ja;
            match entry.r#type.as_str() {
                "care.encounter.admitted.v1" => {
                    admissions += 1;
                    with_ward += usize::from(text.contains("病棟"));
                    episodes += usize::from(entry.episode_id != entry.encounter_id);
                }
                "care.encounter.discharged.v1" => discharges += 1,
                _ => {}
            }
        }
    }
    assert_eq!((admissions, discharges), (104, 102));
    assert_eq!(with_ward, 96, "as many as name a ward");
    assert_eq!(episodes, 98, "as many as are part of another encounter");
    // Kanji and kana stand side by side, wherever the export has both.
    let mut client = v1::timeline_client::TimelineClient::new(channel);
    let request = v1::ListPatientsRequest { page_size: 1000, ..Default::default() };
    let list = client.list_patients(liaison(request)).await.unwrap().into_inner();
    let both = list.patients.iter().filter(|patient| {
        let names = &patient.demographics.as_ref().unwrap().names;
        let has = |script: v1::NameScript| names.iter().any(|name| name.script() == script);
        has(v1::NameScript::Ideographic) && has(v1::NameScript::Syllabic)
    });
    assert_eq!(both.count(), 781);
}

#[tokio::test]
async fn american_bundles_arrive_as_well() {
    let skipped = "american_bundles_arrive_as_well";
    let Some(bundles) = data_set("fhir/synthea-r4-smart", skipped) else { return };
    let data = folder();
    let path = data.path().to_str().unwrap();
    let output = run(&["import", "fhir", bundles.to_str().unwrap(), "--data", path]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert_eq!(counts(&output, "Patient"), [12, 0, 0, 0]);
    assert_eq!(counts(&output, "Encounter"), [218, 0, 0, 0]);
    let again = run(&["import", "fhir", bundles.to_str().unwrap(), "--data", path]);
    assert!(stdout(&again).contains("0 events stored"), "{}", stdout(&again));
}

/// The messages of every file under a folder, in the order of the files' names.
fn messages(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(messages(&path));
        } else if path.extension().is_some_and(|ending| ending != "jsonl") {
            let bytes = std::fs::read(&path).unwrap();
            files.extend(batch::messages(&bytes).iter().map(|m| (path.clone(), m.to_vec())));
        }
    }
    files.sort_by(|one, other| one.0.cmp(&other.0));
    files
}

/// Sends a message and waits for all the answers that it asks for. Its type, and the last one.
async fn send(
    sender: &mut Sender,
    message: &[u8],
) -> (Result<(String, String), tsunagi_gateway::hl7::Unreadable>, String) {
    let decoded = decode(message, None);
    let read = Message::parse(&decoded.text);
    let wants_both = read.as_ref().is_ok_and(|read| {
        [15, 16].iter().all(|number| !matches!(read.field("MSH", *number).raw(), "" | "NE"))
    });
    let mut answer = sender.send(message).await;
    if wants_both {
        answer = sender.answer().await.unwrap();
    }
    (read.map(|read| read.kind()), answer)
}

/// A server that answers also those who want no answer.
fn server_for_real_messages(data: &Path) -> Server {
    let profiles = data.join("profiles.toml");
    std::fs::write(&profiles, "[[facility]]\nalways-acknowledge = true\n").unwrap();
    let profiles = profiles.to_str().unwrap();
    let settings = ["--mllp-listen", "127.0.0.1:0", "--hl7-profiles", profiles, "--log", "warn"];
    Server::start_with(data, &settings)
}

#[tokio::test]
async fn every_real_message_is_answered_and_taken_or_refused_for_a_reason() {
    let skipped = "every_real_message_is_answered_and_taken_or_refused_for_a_reason";
    let Some(folder_of_messages) = data_set("hl7v2", skipped) else { return };
    let data = folder();
    let server = server_for_real_messages(data.path());
    let mut sender = Sender::connect(&server).await;
    let mut table: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    let mut reasons: BTreeMap<(String, String), usize> = BTreeMap::new();
    for (file, message) in messages(&folder_of_messages) {
        let (kind, answer) = send(&mut sender, &message).await;
        let (code, text) = code(&answer);
        let kind = kind.map_or("unreadable".to_owned(), |(kind, event)| match kind.as_str() {
            "ADT" => format!("ADT {event}"),
            _other => "no ADT".to_owned(),
        });
        *table.entry(kind.clone()).or_default().entry(code[1..].to_owned()).or_default() += 1;
        if !code.ends_with('A') {
            if kind.starts_with("ADT") {
                eprintln!("{}: {kind} {text}", file.display());
            }
            let reason = text.rsplit_once('[').unwrap_or_else(|| panic!("{answer}")).1;
            *reasons.entry((kind, reason.trim_end_matches(']').to_owned())).or_default() += 1;
            assert!(text.len() > 40 && answer.contains("\rERR|"), "{}: {answer}", file.display());
        }
    }
    for (kind, answers) in &table {
        let why = reasons.iter().filter(|((of, _), _)| of == kind);
        let why: Vec<_> = why.map(|((_, why), count)| format!("{why} {count}")).collect();
        eprintln!("{kind:12} {answers:?} {}", why.join(", "));
    }
    let taken = |kind: &str| table[kind].get("A").copied().unwrap_or_default();
    assert!(taken("ADT A01") >= 1290 && taken("ADT A03") >= 105 && taken("ADT A08") >= 94);
    assert_eq!(table["no ADT"].keys().collect::<Vec<_>>(), ["R"], "what is no ADT is refused");
    for (event, answer) in
        [("A09", "A"), ("A29", "R"), ("A41", "A"), ("A43", "E"), ("A45", "A"), ("A60", "A")]
    {
        let answers: Vec<_> = table[&format!("ADT {event}")].keys().collect();
        assert_eq!(answers, [answer], "{event}");
    }
    let all: usize = table.values().flat_map(BTreeMap::values).sum();
    assert!(all > 2290, "{all}");
    // All of it again: not one event more.
    let channel = server.channel().await;
    let before = timelines(&channel).await;
    for (_, message) in messages(&folder_of_messages) {
        let _kind_and_answer = send(&mut sender, &message).await;
    }
    let after = timelines(&channel).await;
    let changed: Vec<_> =
        before.iter().filter(|(id, bytes)| after.get(*id) != Some(bytes)).collect();
    assert!(changed.len() + after.len() - before.len() < 12, "{} changed", changed.len());
}

/// The stays of each patient who was admitted: when they began and ended.
async fn stays(channel: &Channel) -> Vec<Vec<(String, String)>> {
    let mut all = Vec::new();
    for patient in timelines(channel).await.keys() {
        let mut stays: BTreeMap<String, (String, String)> = BTreeMap::new();
        for entry in timeline(channel, patient).await {
            let at = entry.occurred_at.get(..16).unwrap_or_default().to_owned();
            match entry.r#type.as_str() {
                "care.encounter.admitted.v1" => stays.entry(entry.encounter_id).or_default().0 = at,
                "care.encounter.discharged.v1" => {
                    stays.entry(entry.encounter_id).or_default().1 = at;
                }
                _ => {}
            }
        }
        let mut stays: Vec<_> =
            stays.into_values().filter(|(admitted, _)| !admitted.is_empty()).collect();
        stays.sort();
        all.extend((!stays.is_empty()).then_some(stays));
    }
    all.sort();
    all
}

#[tokio::test]
async fn ss_mix2_messages_say_what_the_fhir_export_of_the_same_patients_says() {
    let skipped = "ss_mix2_messages_say_what_the_fhir_export_of_the_same_patients_says";
    let Some(twins) = data_set("hl7v2/gen-ssmixtwins-seed20261121", skipped) else { return };
    let Some(bundles) = data_set("fhir/clinosim-jp-p1500-seed20261121/bundles", skipped) else {
        return;
    };
    let data = folder();
    let path = data.path().to_str().unwrap();
    run(&["import", "fhir", bundles.to_str().unwrap(), "--data", path]);
    let server = Server::start(data.path());
    let expected = stays(&server.channel().await).await;
    assert_eq!(expected.len(), 85);
    let count =
        |of: fn(&(String, String)) -> bool| expected.iter().flatten().filter(|s| of(s)).count();
    assert_eq!((count(|_| true), count(|stay| !stay.1.is_empty())), (104, 102));
    let all = messages(&twins);
    assert_eq!(all.len(), 999);
    let mut in_time = all.clone();
    in_time.sort_by_key(|(file, _)| written_at(file));
    for order in [&all, &in_time] {
        let data = folder();
        let server = server_for_real_messages(data.path());
        let mut sender = Sender::connect(&server).await;
        for (file, message) in order {
            let answer = sender.send(message).await;
            assert_eq!(code(&answer).0, "AA", "{}: {answer}", file.display());
        }
        let channel = server.channel().await;
        names_are_whole(&channel, &all).await;
        assert_eq!(stays(&channel).await, expected);
    }
    // And as the storage that they were taken from.
    let data = folder();
    let settings = ["--ssmix2-folder", twins.to_str().unwrap(), "--ssmix2-settle-ms", "0"];
    let server = Server::start_with(data.path(), &settings);
    let channel = server.channel().await;
    let request = v1::SubscribeRequest {
        type_prefixes: ["admitted", "discharged"].map(|of| format!("care.encounter.{of}.")).into(),
        ..Default::default()
    };
    let mut bus = v1::care_bus_client::CareBusClient::new(channel.clone());
    let mut frames = bus.subscribe(liaison(request)).await.unwrap().into_inner();
    let mut seen = 0;
    while seen < 104 + 102 {
        let frame = frames.message().await.unwrap().unwrap().frame;
        seen += usize::from(matches!(frame, Some(Frame::Event(_))));
    }
    assert_eq!(stays(&channel).await, expected);
}

/// When a file of the storage was written, as its name says.
fn written_at(file: &Path) -> String {
    file.file_name().unwrap().to_str().unwrap().split('_').nth(4).unwrap().to_owned()
}

/// Every name is on the record as it stands in the message, in kanji and in kana.
async fn names_are_whole(channel: &Channel, messages: &[(PathBuf, Vec<u8>)]) {
    let mut seen = BTreeSet::new();
    for (file, message) in messages {
        let decoded = decode(message, None);
        let message = Message::parse(&decoded.text).unwrap();
        let number = message.field("PID", 3).first().into_owned();
        if !seen.insert(number.clone()) {
            continue;
        }
        let patient = find(channel, "urn:tsunagi:hl7:SEND", &number).await;
        let known = patient.demographics.unwrap().names;
        let field = message.field("PID", 5);
        for (name, script) in
            field.repetitions().zip([v1::NameScript::Ideographic, v1::NameScript::Syllabic])
        {
            let known = known.iter().find(|known| known.script() == script).unwrap();
            let said = [name.component(1).text(), name.component(2).text()];
            assert_eq!([known.family.as_str(), known.given.as_str()], said, "{}", file.display());
        }
    }
    assert_eq!(seen.len(), 85);
}
