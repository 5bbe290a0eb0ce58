//! HL7 v2 messages that change what was told before: whose record it is, who attends, where the
//! patient is, and what did not happen after all.

use std::path::Path;

use prost::Message as _;
use tonic::transport::Channel;
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_team_client::CareTeamClient;
use tsunagi_proto::v1::discharge_desk_client::DischargeDeskClient;

use crate::mllp::{Sender, code, find, take};
use crate::support::{Server, by, context, folder, id, liaison, timeline};

fn start(data: &Path) -> Server {
    Server::start_with(data, &["--mllp-listen", "127.0.0.1:0"])
}

/// A message of a day in May, about whoever the segments say.
fn message(event: &str, control: &str, day: u8, segments: &str) -> String {
    format!(
        "MSH|^~\\&|HIS|H|GW|R|202605{day:02}120000||ADT^{event}|{control}|P|2.5\r\
         EVN||202605{day:02}120000\r{segments}\r"
    )
}

fn person(number: &str) -> String {
    format!("PID|1||{number}^^^H^MR||Doe^Jo||19400203|F")
}

/// A stay in a ward, with a doctor and a number.
fn stay(ward: &str, doctor: &str, visit: &str) -> String {
    let began = "|".repeat(25);
    format!("PV1|1|I|{ward}||||{doctor}||||||||||||{visit}{began}20260501090000")
}

fn of(number: &str, visit: &str) -> String {
    format!("{}\r{visit}", person(number))
}

async fn patient(channel: &Channel, number: &str) -> v1::PatientSummary {
    find(channel, "urn:tsunagi:hl7:H:H", number).await
}

async fn types(channel: &Channel, number: &str) -> Vec<String> {
    let patient = patient(channel, number).await;
    let entries = timeline(channel, &patient.patient_id).await;
    entries.into_iter().map(|entry| entry.r#type.replace("care.", "").replace(".v1", "")).collect()
}

/// Sends a message that is to be taken.
const MERGE: &str = "PID|1||7^^^H^MR||Doe^Jo||19400203|F\rMRG|8^^^H^MR";

/// 7 is in hospital, 8 at a visit.
async fn two_records(sender: &mut Sender) {
    take(sender, message("A01", "1", 1, &of("7", &stay("4E", "12^Smith", "V-1")))).await;
    let visit = "PV1|1|O|OPD||||||||||||||||V-2";
    take(sender, message("A04", "2", 2, &of("8", visit))).await;
}

#[tokio::test]
async fn two_records_of_one_person_are_merged_once_and_taken_apart_again() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    two_records(&mut sender).await;
    let channel = server.channel().await;
    let (one, other) = (patient(&channel, "7").await, patient(&channel, "8").await);
    take(&mut sender, message("A40", "3", 3, MERGE)).await;
    let both = patient(&channel, "8").await;
    assert_eq!(both.patient_id, one.patient_id);
    assert_eq!(both.merged_patient_ids.join(" "), other.patient_id);
    let merged = types(&channel, "7").await;
    assert!(merged.contains(&"encounter.registered".to_owned()), "{merged:?}");
    // Again, and the other messages again: not one event more, also after a kill.
    server.kill();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    take(&mut sender, message("A40", "3", 3, MERGE)).await;
    two_records(&mut sender).await;
    assert_eq!(types(&channel, "8").await, merged);
    // What goes on of either goes on, by either number.
    let ends = "PV1|1|O|OPD||||||||||||||||V-2";
    take(&mut sender, message("A03", "4", 4, &of("8", ends))).await;
    take(&mut sender, message("A02", "5", 4, &of("8", &stay("5W", "12^Smith", "V-1")))).await;
    let now = patient(&channel, "7").await;
    assert_eq!(
        (now.state(), now.place.unwrap().ward.as_str()),
        (v1::PatientState::InHospital, "5W")
    );
    let expected = ["encounter.transferred", "encounter.discharged"];
    let all = types(&channel, "7").await;
    assert!(expected.iter().all(|of| all.iter().filter(|one| one == of).count() == 1), "{all:?}");
    // They are two people after all; the message that merged them says nothing new any more.
    let apart = format!("{}\r{}", person("7"), person("8"));
    for _ in 0..2 {
        take(&mut sender, message("A37", "6", 5, &apart)).await;
        take(&mut sender, message("A40", "3", 3, MERGE)).await;
        assert_eq!(patient(&channel, "8").await.patient_id, other.patient_id);
        assert_eq!(patient(&channel, "7").await.patient_id, one.patient_id);
    }
    // And another one that does.
    take(&mut sender, message("A40", "7", 6, MERGE)).await;
    assert_eq!(patient(&channel, "8").await.patient_id, one.patient_id);
}

#[tokio::test]
async fn a_merge_is_said_in_older_ways_too_and_of_several_at_once() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    let ways = [
        ("A34", "MRG|b^^^H^MR"),
        ("A18", "MRG|b^^^H^MR"),
        ("A47", "MRG|b^^^H^MR"),
        ("A24", "PID|2||b^^^H^MR"),
        ("A40", "MRG|b^^^H^MR\rPID|1||c^^^H^MR||Doe^Jo||19400203|F\rMRG|d^^^H^MR"),
    ];
    for (at, (event, other)) in ways.iter().enumerate() {
        let numbered = |text: &str| {
            ["a", "b", "c", "d"].iter().fold(text.to_owned(), |text, of| {
                text.replace(&format!("|{of}^"), &format!("|{of}{at}^"))
            })
        };
        for (n, of) in ["a", "b", "c", "d"].iter().enumerate() {
            let control = format!("{at}-{n}");
            take(&mut sender, message("A28", &control, 1, &numbered(&person(of)))).await;
        }
        let said = numbered(&format!("{}\r{other}", person("a")));
        take(&mut sender, message(event, &format!("m{at}"), 2, &said)).await;
        let mut pairs = vec![("a", "b")];
        pairs.extend((*event == "A40").then_some(("c", "d")));
        for (kept, other) in pairs {
            let [kept, other] = [kept, other].map(|of| format!("{of}{at}"));
            let (kept, other) = (patient(&channel, &kept).await, patient(&channel, &other).await);
            assert_eq!(kept.patient_id, other.patient_id, "{event}");
        }
    }
}

#[tokio::test]
async fn records_that_many_senders_merge_both_ways_at_once_become_one() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    for pair in 0..5 {
        for side in ["a", "b"] {
            let said = person(&format!("{side}{pair}"));
            take(&mut sender, message("A28", &format!("{side}{pair}"), 1, &said)).await;
        }
    }
    let mut senders = Vec::new();
    for number in 0..20 {
        let mut connection = Sender::connect(&server).await;
        senders.push(tokio::spawn(async move {
            let (pair, sides) = (number % 5, [["a", "b"], ["b", "a"]][number / 5 % 2]);
            let [kept, other] = sides.map(|side| format!("{side}{pair}"));
            let said = format!("{}\rMRG|{other}^^^H^MR", person(&kept));
            let answer = connection.send(message("A40", &format!("m{kept}"), 2, &said)).await;
            code(&answer).0.to_owned()
        }));
    }
    for sender in senders {
        assert_eq!(sender.await.unwrap(), "AA");
    }
    for pair in 0..5 {
        let one = patient(&channel, &format!("a{pair}")).await;
        let other = patient(&channel, &format!("b{pair}")).await;
        assert_eq!(one.patient_id, other.patient_id);
        let types = types(&channel, &format!("a{pair}")).await;
        let merges = types.iter().filter(|of| *of == "patient.merged").count();
        assert_eq!(merges, 1, "{types:?}");
    }
}

#[tokio::test]
async fn who_cannot_be_one_person_is_not_made_one_by_a_message() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    take(&mut sender, message("A28", "1", 1, &person("7"))).await;
    let other = person("8").replace("19400203|F", "19720202|M");
    take(&mut sender, message("A28", "2", 1, &other)).await;
    let linked = format!("{}\r{other}", person("7"));
    for (event, said) in [("A40", MERGE.to_owned()), ("A24", linked)] {
        let answer = sender.send(message(event, "3", 2, &said)).await;
        assert_eq!(code(&answer).0, "AE");
        assert!(
            answer.contains("PATIENT_MISMATCH") && answer.contains("MergePatients"),
            "{answer}"
        );
    }
    let channel = server.channel().await;
    let (one, other) = (patient(&channel, "7").await, patient(&channel, "8").await);
    assert_ne!(one.patient_id, other.patient_id);
    // At a desk somebody who knows does it, and the message says nothing new then.
    let mut team = CareTeamClient::new(channel.clone());
    let merge = v1::MergePatientsRequest {
        context: Some(context(&one.patient_id, &id(1), "2026-05-02T10:00:00+09:00")),
        event: Some(v1::PatientsMerged {
            retired_patient_id: other.patient_id,
            ..v1::PatientsMerged::default()
        }),
    };
    team.merge_patients(liaison(merge)).await.unwrap();
    take(&mut sender, message("A40", "3", 2, MERGE)).await;
    // Two numbers of one record are not two records.
    let same = format!("{}~9^^^H^MR||Doe", "PID|1||5^^^H^MR");
    take(&mut sender, message("A28", "4", 1, &same)).await;
    let apart = "PID|1||5^^^H^MR\rPID|2||9^^^H^MR";
    let answer = sender.send(message("A37", "5", 1, apart)).await;
    assert_eq!(code(&answer).0, "AE");
    assert!(answer.contains("NOT_MERGED"), "{answer}");
}

#[tokio::test]
async fn a_known_number_is_not_somebody_else_s_unless_it_is_corrected() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    let said = |who: &str| person("7").replace("Doe^Jo||19400203|F", who);
    take(&mut sender, message("A01", "1", 1, &of("7", &stay("4E", "12^Smith", "V-1")))).await;
    let before = types(&channel, "7").await;
    for (event, who) in [
        ("A02", "Roe^Jim||19720202|M"),
        ("A28", "Doe^Jo||19410203|F"),
        ("A11", "Doe^Jo||19400203|M"),
    ] {
        let segments = format!("{}\r{}", said(who), stay("5W", "12^Smith", "V-1"));
        let answer = sender.send(message(event, "2", 2, &segments)).await;
        assert!(code(&answer).0 == "AE" && answer.contains("PATIENT_MISMATCH"), "{answer}");
        assert!(answer.contains("A31"), "it says what to do: {answer}");
    }
    assert_eq!(types(&channel, "7").await, before);
    // Who says that it is a correction corrects it; what was true before comes late or again.
    take(&mut sender, message("A31", "3", 3, &said("Doe^Jo||19400303|M"))).await;
    for (control, who) in [("4", "Doe^Jo||19400303|M"), ("5", "Doe^Jo||19400203|F")] {
        let segments = format!("{}\r{}", said(who), stay("4E", "12^Smith", "V-1"));
        take(&mut sender, message("A01", control, 1, &segments)).await;
    }
    let known = patient(&channel, "7").await.demographics.unwrap();
    assert_eq!((known.birth_on.as_str(), known.sex()), ("1940-03-03", v1::Sex::Male));
}

#[tokio::test]
async fn a_visit_number_that_was_corrected_leads_nowhere() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    take(&mut sender, message("A28", "1", 1, &person("7"))).await;
    let patient_id = patient(&channel, "7").await.patient_id;
    let numbered = |value: &str| {
        let system = "urn:tsunagi:hl7:H#visit".to_owned();
        let facility = v1::Organisation { id: "H".to_owned(), ..v1::Organisation::default() };
        v1::Admitted {
            encounter_id: id(0xa),
            place: Some(v1::Place { facility: Some(facility), ..v1::Place::default() }),
            visit_number: Some(v1::Identifier { system, value: value.to_owned() }),
            ..v1::Admitted::default()
        }
    };
    let at = |number, at: &str| Some(context(&patient_id, &id(number), at));
    let mut desk = DischargeDeskClient::new(channel.clone());
    let context_at = at(1, "2026-05-02T10:00:00+09:00");
    let admit = v1::AdmitRequest { context: context_at, event: Some(numbered("V-1")) };
    desk.admit(by("H", "liaison-nurse", admit)).await.unwrap();
    let correct = v1::CorrectValueRequest {
        context: at(2, "2026-05-02T11:00:00+09:00"),
        event: Some(v1::ValueCorrected {
            corrects_event_id: id(1),
            r#type: "care.encounter.admitted.v1".to_owned(),
            payload: numbered("V-2").encode_to_vec(),
            ..v1::ValueCorrected::default()
        }),
    };
    let mut team = CareTeamClient::new(channel.clone());
    team.correct_value(by("H", "liaison-nurse", correct)).await.unwrap();
    let ends = "PV1|1|I|4E||||||||||||||||V-2";
    take(&mut sender, message("A03", "2", 4, &of("7", ends))).await;
    // The number belongs to a visit that comes later.
    let visit = "PV1|1|O|OPD||||||||||||||||V-1";
    take(&mut sender, message("A04", "3", 8, &of("7", visit))).await;
    let entries = timeline(&channel, &patient_id).await;
    let of = |kind: &str| entries.iter().find(|entry| entry.r#type.contains(kind)).unwrap();
    assert_eq!(of("discharged").encounter_id, id(0xa));
    assert_ne!(of("encounter.registered").encounter_id, id(0xa));
}

#[tokio::test]
async fn an_update_tells_where_the_patient_is_and_who_attends() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    take(&mut sender, message("A01", "1", 1, &of("7", &stay("4E^401^1", "12^Smith", "V-1")))).await;
    let before = types(&channel, "7").await;
    // Less is no news, nor is what is older, nor what tells of no visit.
    take(&mut sender, message("A08", "2", 2, &of("7", &stay("4E", "12^Smith", "V-1")))).await;
    take(&mut sender, message("A08", "3", 2, &person("7"))).await;
    assert_eq!(types(&channel, "7").await, before);
    take(&mut sender, message("A08", "4", 3, &of("7", &stay("5W^502^1", "34^Jones", "V-1")))).await;
    let place = patient(&channel, "7").await.place.unwrap();
    assert_eq!((place.ward.as_str(), place.room.as_str()), ("5W", "502"));
    take(&mut sender, message("A08", "5", 2, &of("7", &stay("4E^401^1", "12^Smith", "V-1")))).await;
    let now = types(&channel, "7").await;
    let news = ["encounter.transferred", "encounter.attending_changed"];
    assert_eq!(now[before.len()..], news, "once");
    // A tracking message says where the patient has come to.
    take(&mut sender, message("A10", "6", 4, &of("7", &stay("6N", "34^Jones", "V-1")))).await;
    assert_eq!(patient(&channel, "7").await.place.unwrap().ward, "6N");
}

#[tokio::test]
async fn a_change_of_doctors_is_told_and_taken_back() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    take(&mut sender, message("A01", "1", 1, &of("7", &stay("4E", "12^Smith", "V-1")))).await;
    let changed = of("7", &stay("4E", "34^Jones", "V-1"));
    take(&mut sender, message("A54", "2", 2, &changed)).await;
    take(&mut sender, message("A54", "3", 3, &changed)).await;
    let told = types(&channel, "7").await;
    assert_eq!(told[2..], ["encounter.attending_changed"], "not said twice");
    let back = of("7", &stay("4E", "12^Smith", "V-1"));
    take(&mut sender, message("A55", "4", 4, &back)).await;
    let patient = patient(&channel, "7").await;
    let entries = timeline(&channel, &patient.patient_id).await;
    assert!(!entries[2].entered_in_error_by_event_id.is_empty(), "{:?}", entries[2]);
    let answer = sender.send(message("A55", "5", 5, &back)).await;
    assert!(code(&answer).0 == "AE" && answer.contains("NOTHING_TO_CANCEL"), "{answer}");
    // And then changed again.
    take(&mut sender, message("A54", "6", 6, &changed)).await;
    assert_eq!(types(&channel, "7").await.len(), 5);
}

#[tokio::test]
async fn a_visit_is_deleted_and_a_patient_is_not() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    let here = stay("4E", "12^Smith", "V-1");
    take(&mut sender, message("A01", "1", 1, &of("7", &here))).await;
    take(&mut sender, message("A02", "2", 2, &of("7", &stay("5W", "12^Smith", "V-1")))).await;
    let leaves = format!("{}\rPV2|||||||||20260509", of("7", &here));
    take(&mut sender, message("A16", "3", 3, &leaves)).await;
    take(&mut sender, message("A03", "4", 4, &of("7", &here))).await;
    take(&mut sender, message("A23", "5", 5, &of("7", &here))).await;
    let patient = patient(&channel, "7").await;
    assert_eq!(patient.state(), v1::PatientState::Unspecified);
    let entries = timeline(&channel, &patient.patient_id).await;
    let told: Vec<_> =
        entries.iter().filter(|entry| entry.family() == v1::Family::Encounter).collect();
    let cancelled = told.iter().filter(|entry| !entry.cancelled_by_event_id.is_empty()).count();
    assert_eq!((told.len(), cancelled), (8, 4));
    for (control, event) in [("6", "A23"), ("7", "A29")] {
        let answer = sender.send(message(event, control, 6, &person("7"))).await;
        assert_eq!(code(&answer).0, "AR", "{answer}");
        assert!(answer.contains("never deleted"), "{answer}");
    }
}

#[tokio::test]
async fn merges_that_a_kill_interrupted_are_finished_when_they_are_sent_again() {
    const PAIRS: usize = 40;
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    for pair in 0..PAIRS {
        for side in ["a", "b"] {
            let said = person(&format!("{side}{pair}"));
            take(&mut sender, message("A28", &format!("{side}{pair}"), 1, &said)).await;
        }
    }
    let merge = |pair: usize| {
        let said = format!("{}\rMRG|b{pair}^^^H^MR", person(&format!("a{pair}")));
        message("A40", &format!("m{pair}"), 2, &said)
    };
    let (answered, mut told) = tokio::sync::mpsc::unbounded_channel();
    let mut senders = Vec::new();
    for of in 0..4 {
        let mut connection = Sender::connect(&server).await;
        let answered = answered.clone();
        senders.push(tokio::spawn(async move {
            for pair in (of..PAIRS).step_by(4) {
                let Some(answer) = connection.try_send(merge(pair)).await else { return };
                assert_eq!(code(&answer).0, "AA");
                answered.send(pair).unwrap();
            }
        }));
    }
    for _ in 0..PAIRS / 3 {
        told.recv().await.unwrap();
    }
    server.kill();
    for sender in senders {
        sender.await.unwrap();
    }
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    for pair in 0..PAIRS {
        take(&mut sender, merge(pair)).await;
        let one = patient(&channel, &format!("a{pair}")).await;
        assert_eq!(patient(&channel, &format!("b{pair}")).await.patient_id, one.patient_id);
        let types = types(&channel, &format!("a{pair}")).await;
        assert_eq!(types.iter().filter(|of| *of == "patient.merged").count(), 1, "{types:?}");
    }
}
