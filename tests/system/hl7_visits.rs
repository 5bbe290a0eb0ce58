//! Which visit an HL7 v2 message is about, what is said a second time and otherwise, and what was
//! taken back since.

use std::path::Path;

use prost::Message as _;
use tonic::transport::Channel;
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_team_client::CareTeamClient;

use crate::mllp::{Sender, find, refuse, take};
use crate::support::{Server, by, context, folder, id, sentences, timeline};

fn start(data: &Path) -> Server {
    Server::start_with(data, &["--mllp-listen", "127.0.0.1:0"])
}

/// A message that was written at a time, about patient 7.
fn adt(event: &str, control: &str, at: &str, visit: &str) -> String {
    format!(
        "MSH|^~\\&|HIS|H|GW|R|{at}||ADT^{event}|{control}|P|2.5\rEVN||{at}\r\
         PID|1||7^^^H^MR||Doe^Jo||19400203|F\r{visit}\r"
    )
}

/// PV1: its class, ward and number; how it ended, when it began, and when it ended.
fn visit(class: &str, ward: &str, number: &str, [how, from, to]: [&str; 3]) -> String {
    let (doctor, source) = ("|".repeat(16), "|".repeat(17));
    format!("PV1|1|{class}|{ward}{doctor}{number}{source}{how}||||||||{from}|{to}")
}

fn stay(ward: &str, number: &str) -> String {
    visit("I", ward, number, ["", "202605010900", ""])
}

async fn patient(channel: &Channel) -> v1::PatientSummary {
    find(channel, "urn:tsunagi:hl7:H:H", "7").await
}

async fn types(channel: &Channel) -> Vec<String> {
    let entries = timeline(channel, &patient(channel).await.patient_id).await;
    entries.into_iter().map(|entry| entry.r#type.replace("care.", "").replace(".v1", "")).collect()
}

/// Where the patient is: none if in no hospital.
async fn ward(channel: &Channel) -> Option<String> {
    let patient = patient(channel).await;
    let is_in = patient.state() == v1::PatientState::InHospital;
    is_in.then(|| patient.place.unwrap().ward)
}

async fn of_type(channel: &Channel, wanted: &str) -> v1::TimelineEntry {
    let entries = timeline(channel, &patient(channel).await.patient_id).await;
    let wanted = format!("care.encounter.{wanted}.v1");
    entries.into_iter().find(|entry| entry.r#type == wanted).unwrap()
}

#[tokio::test]
async fn a_message_about_another_visit_leaves_a_stay_as_it_is() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    take(&mut sender, adt("A01", "1", "202605010905", &stay("W1", "V-1"))).await;
    let before = types(&channel).await;
    let events = ["A02", "A03", "A11", "A13", "A16", "A21", "A23", "A54"];
    for (at, event) in events.iter().enumerate() {
        for class in ["I", "O"] {
            let other =
                visit(class, "W9", "V-2", ["", "", ""]).replace("|W9||||", "|W9||||34^Jones");
            let other = format!("{other}\rPV2|||||||||20260509");
            let message = adt(event, &format!("{at}{class}"), "202605020900", &other);
            refuse(&mut sender, message, &["[ENCOUNTER_UNKNOWN]"]).await;
        }
    }
    // Who the patient is can be said with any visit.
    for (control, class, number) in [("a", "O", "V-2"), ("b", "I", "V-2"), ("c", "O", "V-1")] {
        let elsewhere = visit(class, "OPD", number, ["", "", ""]);
        take(&mut sender, adt("A08", control, "202605030900", &elsewhere)).await;
    }
    assert_eq!(types(&channel).await, before);
    assert_eq!(ward(&channel).await.as_deref(), Some("W1"));
}

#[tokio::test]
async fn a_discharge_is_not_cancelled_while_a_later_stay_goes_on_and_a_visit_s_end_is() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    let clinic = |to: &str| visit("O", "OPD", "V-0", ["", "202604200900", to]);
    take(&mut sender, adt("A04", "0", "202604200905", &clinic(""))).await;
    take(&mut sender, adt("A03", "1", "202604201105", &clinic("202604201100"))).await;
    take(&mut sender, adt("A01", "2", "202605010905", &stay("W1", "V-1"))).await;
    take(&mut sender, adt("A03", "3", "202605051005", &stay("W1", "V-1"))).await;
    let later = visit("I", "W2", "V-2", ["", "202605080900", ""]);
    take(&mut sender, adt("A01", "4", "202605080905", &later)).await;
    refuse(&mut sender, adt("A13", "5", "202605090905", &stay("W1", "V-1")), &["(A11)"]).await;
    // A visit beside a stay is no second stay.
    take(&mut sender, adt("A13", "6", "202605090906", &clinic(""))).await;
    assert_eq!(ward(&channel).await.as_deref(), Some("W2"));
    // What the refusal says to do does it.
    take(&mut sender, adt("A11", "7", "202605090907", &later)).await;
    take(&mut sender, adt("A13", "8", "202605090908", &stay("W1", "V-1"))).await;
    assert_eq!(ward(&channel).await.as_deref(), Some("W1"));
}

#[tokio::test]
async fn an_outpatient_s_message_never_means_a_stay() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    take(&mut sender, adt("A01", "1", "202605010905", &stay("W1", ""))).await;
    let before = types(&channel).await;
    for (at, event) in ["A03", "A11", "A13", "A21"].iter().enumerate() {
        for class in ["O", "E"] {
            let other = visit(class, "112", "", ["", "", ""]);
            let message = adt(event, &format!("{at}{class}"), "202605020900", &other);
            refuse(&mut sender, message, &["[ENCOUNTER_UNKNOWN]"]).await;
        }
    }
    let outpatient = visit("O", "112", "", ["", "", ""]);
    take(&mut sender, adt("A08", "2", "202605030900", &outpatient)).await;
    assert_eq!(types(&channel).await, before);
    // A visit to an outpatient department meanwhile begins and ends beside the stay.
    let near = visit("O", "112", "V-2", ["", "202605011500", ""]);
    take(&mut sender, adt("A01", "3", "202605011505", &near)).await;
    let short = visit("O", "112", "V-3", ["", "202605011600", "202605011700"]);
    take(&mut sender, adt("A03", "4", "202605011705", &short)).await;
    assert_eq!(ward(&channel).await.as_deref(), Some("W1"));
    let registered = types(&channel).await.iter().filter(|of| of.ends_with("registered")).count();
    assert_eq!(registered, 3, "the patient, and two visits");
}

#[tokio::test]
async fn a_visit_becomes_a_stay_and_a_visit_again() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    let emergency = visit("E", "ER", "V-1", ["", "", ""]);
    take(&mut sender, adt("A04", "1", "202605010800", &emergency)).await;
    take(&mut sender, adt("A06", "2", "202605010900", &visit("I", "W1", "V-1", ["", "", ""])))
        .await;
    assert_eq!(ward(&channel).await.as_deref(), Some("W1"));
    // That the emergency department has let the patient go does not end the stay.
    let message = adt("A03", "3", "202605010910", &emergency);
    refuse(&mut sender, message, &["[ENCOUNTER_UNKNOWN]"]).await;
    assert_eq!(ward(&channel).await.as_deref(), Some("W1"));
    let back = visit("O", "OPD", "V-1", ["", "", ""]);
    take(&mut sender, adt("A07", "4", "202605020900", &back)).await;
    assert_eq!(ward(&channel).await, None);
}

/// As an SS-MIX2 storage writes it, which has no message for the end of a visit.
fn of_ss_mix2(message: &str) -> String {
    message.replacen("|P|2.5\r", "|P|2.5|||||||||SS-MIX2^^1.2.392.200250.2.1.100.1.2.120^ISO\r", 1)
}

#[tokio::test]
async fn a_visit_that_would_have_ended_that_day_becomes_a_stay() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    let none = ["", "", ""];
    for (number, becomes, day) in [("V-1", "A06", "20260501"), ("V-2", "A01", "20260511")] {
        let said = |event: &str, class: &str, ward: &str, at: &str| {
            let (control, visit) = (format!("{number}{at}"), visit(class, ward, number, none));
            of_ss_mix2(&adt(event, &control, &format!("{day}{at}"), &visit))
        };
        take(&mut sender, said("A04", "O", "OPD", "0800")).await;
        assert_eq!(ward(&channel).await, None);
        take(&mut sender, said(becomes, "I", "W1", "0900")).await;
        assert_eq!(ward(&channel).await.as_deref(), Some("W1"), "{becomes}");
        take(&mut sender, said("A04", "O", "OPD", "0800").replace("A04|V", "A04|W")).await;
        take(&mut sender, said("A02", "I", "W2", "1000")).await;
        assert_eq!(ward(&channel).await.as_deref(), Some("W2"), "{becomes}");
        // A visit again, and a stay once more.
        take(&mut sender, said("A07", "O", "OPD", "1100")).await;
        assert_eq!(ward(&channel).await, None);
        take(&mut sender, said("A06", "I", "W3", "1200")).await;
        assert_eq!(ward(&channel).await.as_deref(), Some("W3"), "{becomes}");
        take(&mut sender, said("A03", "I", "W3", "1300")).await;
        assert_eq!(ward(&channel).await, None);
    }
}

#[tokio::test]
async fn a_visit_that_became_no_stay_after_all_ended_on_its_day() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    let state = async || patient(&channel).await.state();
    for (number, becomes, day) in [("V-1", "A06", "20260501"), ("V-2", "A01", "20260511")] {
        let said = |event: &str, [class, ward]: [&str; 2], at: &str| {
            let (control, at) = (format!("{event}{number}{at}"), format!("{day}{at}"));
            let visit = visit(class, ward, number, ["", "", ""]);
            of_ss_mix2(&adt(event, &control, &at, &visit))
        };
        take(&mut sender, said("A04", ["O", "OPD"], "0800")).await;
        assert_eq!(state().await, v1::PatientState::Visited);
        for hour in ["09", "11"] {
            take(&mut sender, said(becomes, ["I", "W1"], &format!("{hour}00"))).await;
            assert_eq!(ward(&channel).await.as_deref(), Some("W1"), "{becomes}");
            // What was taken back of the stay is in nobody's way.
            take(&mut sender, said("A02", ["I", "W2"], &format!("{hour}10"))).await;
            take(&mut sender, said("A12", ["I", "W1"], &format!("{hour}20"))).await;
            take(&mut sender, said("A11", ["I", "W1"], &format!("{hour}30"))).await;
            assert_eq!(state().await, v1::PatientState::Visited, "{becomes}");
        }
        take(&mut sender, said(becomes, ["I", "W3"], "1300")).await;
        assert_eq!(ward(&channel).await.as_deref(), Some("W3"), "{becomes}");
        take(&mut sender, said("A03", ["I", "W3"], "1400")).await;
    }
}

#[tokio::test]
async fn a_visit_that_became_no_stay_is_taken_back_with_the_end_that_was_assumed() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    let state = async || patient(&channel).await.state();
    for (number, day) in [("V-1", "20260501"), ("V-2", "20260511"), ("V-3", "20260521")] {
        let said = |event: &str, class: &str, at: &str| {
            let (control, at) = (format!("{event}{number}{at}"), format!("{day}{at}"));
            of_ss_mix2(&adt(event, &control, &at, &visit(class, "W1", number, ["", "", ""])))
        };
        for (event, class, at) in [("A04", "O", "0800"), ("A01", "I", "0900"), ("A11", "I", "1000")]
        {
            take(&mut sender, said(event, class, at)).await;
        }
        assert_eq!(state().await, v1::PatientState::Visited);
        match number {
            "V-1" => take(&mut sender, said("A11", "O", "1100")).await,
            "V-2" => take(&mut sender, said("A23", "O", "1100")).await,
            _other => {
                let moved = said("A45", "O", "1100").replacen("|7^", "|8^", 1);
                let moved = moved.replace("PV1|", "MRG|7^^^H^MR||||V-3\rPV1|");
                take(&mut sender, moved).await;
                let other = find(&channel, "urn:tsunagi:hl7:H:H", "8").await;
                assert_eq!(other.state(), v1::PatientState::Visited);
            }
        }
        assert_eq!(state().await, v1::PatientState::Unspecified, "{number}");
    }
}

#[tokio::test]
async fn an_end_that_a_person_said_of_a_visit_does_not_give_way_to_a_stay() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    let none = ["", "", ""];
    let mut team = CareTeamClient::new(channel.clone());
    let facility = Some(v1::Organisation { id: "H".to_owned(), ..Default::default() });
    let place = v1::Place { facility, ward: "W1".to_owned(), ..Default::default() };
    for (event, number, ended_at) in [(1, "V-1", "2026-05-01"), (2, "V-2", "2026-05-02")] {
        let said = |event: &str, class: &str, at: &str| {
            adt(event, &format!("{number}{at}"), at, &visit(class, "W1", number, none))
        };
        take(&mut sender, said("A04", "O", "202605010800")).await;
        let patient_id = patient(&channel).await.patient_id;
        let entries = timeline(&channel, &patient_id).await;
        let begun = entries.iter().rfind(|of| of.r#type == "care.encounter.registered.v1").unwrap();
        let instead = v1::EncounterRegistered {
            encounter_id: begun.encounter_id.clone(),
            class: v1::EncounterClass::Outpatient.into(),
            place: Some(place.clone()),
            ended_at: ended_at.to_owned(),
            ..Default::default()
        };
        let correction = v1::ValueCorrected {
            corrects_event_id: begun.event_id.clone(),
            r#type: begun.r#type.clone(),
            payload: instead.encode_to_vec(),
            ..Default::default()
        };
        let request = v1::CorrectValueRequest {
            context: Some(context(&patient_id, &id(event), "2026-05-03T09:00:00+09:00")),
            event: Some(correction),
        };
        team.correct_value(by("H", "liaison-nurse", request)).await.unwrap();
        refuse(&mut sender, said("A06", "I", "202605040900"), &["[ENCOUNTER_ENDED]"]).await;
        assert_eq!(patient(&channel).await.state(), v1::PatientState::Visited, "{ended_at}");
    }
}

#[tokio::test]
async fn a_visit_that_ended_long_ago_does_not_become_a_stay() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    let none = ["", "", ""];
    let said = |event: &str, class: &str, number: &str, at: &str| {
        of_ss_mix2(&adt(event, &format!("{event}{at}"), at, &visit(class, "W1", number, none)))
    };
    for (number, becomes) in [("V-1", "A01"), ("V-2", "A06")] {
        take(&mut sender, said("A04", "O", number, "202605010800")).await;
        let before = types(&channel).await;
        // The number is used again.
        refuse(&mut sender, said(becomes, "I", number, "202605090900"), &["[OTHER_VISIT]"]).await;
        assert_eq!(types(&channel).await, before);
    }
    take(&mut sender, said("A06", "I", "V-2", "202605080900")).await;
    assert_eq!(ward(&channel).await.as_deref(), Some("W1"));
}

#[tokio::test]
async fn a_plan_is_not_used_up_by_another_admission() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    let planned = |on: &str| format!("{}\rPV2||||||||{on}", visit("I", "W1", "", ["", "", ""]));
    take(&mut sender, adt("A14", "1", "202605010900", &planned("20260601"))).await;
    let emergency = |to: &str| visit("I", "W1", "", ["", "202605100900", to]);
    take(&mut sender, adt("A01", "2", "202605100905", &emergency(""))).await;
    take(&mut sender, adt("A03", "3", "202605120905", &emergency("202605120900"))).await;
    let planned_stay = of_type(&channel, "admission_planned").await.encounter_id;
    assert_ne!(of_type(&channel, "admitted").await.encounter_id, planned_stay);
    // The patient comes a day early.
    let comes = visit("I", "W1", "", ["", "202605310900", ""]);
    take(&mut sender, adt("A01", "4", "202605310905", &comes)).await;
    let entries = timeline(&channel, &patient(&channel).await.patient_id).await;
    let last = entries.iter().rfind(|entry| entry.r#type.ends_with("admitted.v1")).unwrap();
    assert_eq!(last.encounter_id, planned_stay);
}

#[tokio::test]
async fn what_was_taken_back_since_is_not_said_again() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let in_w1 = || stay("W1", "V-1");
    let a01 = |control: &str| adt("A01", control, "202605010905", &in_w1());
    let a02 = |control: &str| adt("A02", control, "202605021000", &stay("W2", "V-1"));
    let left = visit("I", "W1", "V-1", ["", "202605010900", "202605031000"]);
    let a03 = |control: &str| adt("A03", control, "202605031005", &left);
    // Each comes twice; the second says nothing new, and nothing of it is stored.
    for (first, again) in [(a02("3"), a02("4")), (a03("6"), a03("7"))] {
        for message in [a01("1"), a01("2"), first, again] {
            take(&mut sender, message).await;
        }
    }
    take(&mut sender, adt("A13", "8", "202605031100", &left)).await;
    take(&mut sender, a03("7")).await;
    take(&mut sender, adt("A12", "5", "202605031200", &in_w1())).await;
    take(&mut sender, a02("4")).await;
    let channel = server.channel().await;
    assert_eq!(ward(&channel).await.as_deref(), Some("W1"));
    take(&mut sender, adt("A11", "9", "202605031300", &in_w1())).await;
    let before = types(&channel).await;
    server.kill();
    let server = start(data.path());
    let channel = server.channel().await;
    let mut sender = Sender::connect(&server).await;
    for message in [a01("1"), a01("2")] {
        take(&mut sender, message).await;
    }
    assert_eq!(types(&channel).await, before);
    assert_eq!(ward(&channel).await, None);
    // So is what is said at the same time and is something else, and what is said after that.
    let other = in_w1().replace("|W1||||", "|W1||||34^Jones");
    take(&mut sender, adt("A01", "9b", "202605031300", &other)).await;
    assert_eq!(ward(&channel).await.as_deref(), Some("W1"));
    take(&mut sender, adt("A11", "9c", "202605031330", &in_w1())).await;
    take(&mut sender, adt("A01", "10", "202605031400", &in_w1())).await;
    assert_eq!(ward(&channel).await.as_deref(), Some("W1"));
}

#[tokio::test]
async fn an_update_from_before_a_move_was_taken_back_moves_nobody() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    take(&mut sender, adt("A01", "1", "202605010905", &stay("W1", "V-1"))).await;
    take(&mut sender, adt("A02", "2", "202605021000", &stay("W2", "V-1"))).await;
    take(&mut sender, adt("A08", "3", "202605021100", &stay("W2", "V-1"))).await;
    take(&mut sender, adt("A12", "4", "202605021200", &stay("W1", "V-1"))).await;
    take(&mut sender, adt("A08", "3", "202605021100", &stay("W2", "V-1"))).await;
    assert_eq!(ward(&channel).await.as_deref(), Some("W1"));
}

#[tokio::test]
async fn what_is_said_otherwise_corrects_what_was_told() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    take(&mut sender, adt("A01", "1", "202605010905", &stay("W1^101", "V-1"))).await;
    // The same admission, in another ward; what says less says nothing new.
    take(&mut sender, adt("A01", "2", "202605011000", &stay("ICU^9", "V-1"))).await;
    take(&mut sender, adt("A01", "3", "202605011100", &stay("ICU", "V-1"))).await;
    assert_eq!(ward(&channel).await.as_deref(), Some("ICU"));
    let admitted = of_type(&channel, "admitted").await;
    assert_eq!(admitted.earlier.len(), 1, "{admitted:?}");
    // An older message does not take the correction back.
    take(&mut sender, adt("A01", "4", "202605010930", &stay("W1^101", "V-1"))).await;
    assert_eq!(ward(&channel).await.as_deref(), Some("ICU"));
    // It began earlier than was told.
    let earlier = visit("I", "ICU", "V-1", ["", "202605010730", ""]);
    take(&mut sender, adt("A08", "5", "202605020900", &earlier)).await;
    assert_eq!(of_type(&channel, "admitted").await.occurred_at, "2026-05-01T07:30:00+09:00");
    // The patient did not go home: the patient died, and an hour earlier.
    let ends = |how: &str, at: &str| visit("I", "ICU", "V-1", [how, "202605010730", at]);
    take(&mut sender, adt("A03", "6", "202605050900", &ends("01", "202605050800"))).await;
    take(&mut sender, adt("A03", "7", "202605051000", &ends("20", "202605050800"))).await;
    let discharged = of_type(&channel, "discharged").await;
    assert_eq!(discharged.earlier.len(), 1, "{discharged:?}");
    take(&mut sender, adt("A03", "8", "202605051100", &ends("20", "202605050700"))).await;
    let discharged = of_type(&channel, "discharged").await;
    assert_eq!(discharged.occurred_at, "2026-05-05T07:00:00+09:00");
    let said = sentences(&channel, &patient(&channel).await.patient_id).await;
    assert!(said.iter().any(|of| of.contains("discharged") && of.contains("20")), "{said:?}");
    // A number that is used again is not the first stay's.
    let later = visit("I", "W1", "V-1", ["", "202608010900", ""]);
    refuse(&mut sender, adt("A08", "9", "202608010905", &later), &["PV1-44"]).await;
}

#[tokio::test]
async fn an_admission_that_comes_late_says_where_it_was() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    for number in ["V-1", ""] {
        let day = if number.is_empty() { "10" } else { "01" };
        let of =
            |ward: &str, to: &str| visit("I", ward, number, ["", &format!("202605{day}0900"), to]);
        let end = format!("202605{day}1900");
        take(&mut sender, adt("A03", &format!("1{number}"), &end, &of("5W", &end))).await;
        let began = format!("202605{day}0905");
        take(&mut sender, adt("A01", &format!("2{number}"), &began, &of("4E", ""))).await;
    }
    let entries = timeline(&channel, &patient(&channel).await.patient_id).await;
    let admitted: Vec<_> =
        entries.iter().filter(|entry| entry.r#type.ends_with("admitted.v1")).collect();
    let words: Vec<_> = admitted.iter().map(|entry| entry.text.clone().unwrap().en).collect();
    assert!(words.len() == 2 && words.iter().all(|of| of.contains("4E")), "{words:?}");
}

#[tokio::test]
async fn a_cancelled_move_is_the_one_that_was_told_and_not_an_update_s() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    take(&mut sender, adt("A01", "1", "202605010905", &stay("W1", "V-1"))).await;
    take(&mut sender, adt("A02", "2", "202605021000", &stay("W2", "V-1"))).await;
    take(&mut sender, adt("A08", "3", "202605031000", &stay("W3", "V-1"))).await;
    take(&mut sender, adt("A12", "4", "202605041000", &stay("W3", "V-1"))).await;
    assert_eq!(ward(&channel).await.as_deref(), Some("W3"));
    assert!(!of_type(&channel, "transferred").await.cancelled_by_event_id.is_empty());
}

#[tokio::test]
async fn an_admission_that_is_told_with_another_time_makes_no_second_stay() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    let began = |at: &str, number: &str| visit("I", "W1", number, ["", at, ""]);
    // Without a number it may be another stay's: somebody has to look at it.
    take(&mut sender, adt("A01", "1", "202605010905", &began("202605010900", ""))).await;
    let earlier = began("202605010800", "");
    refuse(&mut sender, adt("A01", "2", "202605010910", &earlier), &["ALREADY_ADMITTED"]).await;
    let left = visit("I", "W1", "", ["", "202605010900", "202605021000"]);
    take(&mut sender, adt("A03", "3", "202605021000", &left)).await;
    refuse(&mut sender, adt("A01", "4", "202605021010", &earlier), &["ENCOUNTER_ENDED"]).await;
    assert_eq!(ward(&channel).await, None);
    // With one it is the same stay's.
    for control in ["5", "5b"] {
        let first = began("202605100900", "V-1");
        take(&mut sender, adt("A01", control, "202605100905", &first)).await;
    }
    take(&mut sender, adt("A01", "6", "202605100910", &began("202605100700", "V-1"))).await;
    // What said nothing new is answered alike when it comes again.
    take(&mut sender, adt("A01", "5b", "202605100905", &began("202605100900", "V-1"))).await;
    let since = patient(&channel).await.since_at;
    assert_eq!(since, "2026-05-10T07:00:00+09:00");
}

#[tokio::test]
async fn a_visit_is_deleted_though_a_later_one_goes_on() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    let first = visit("I", "W1", "V-1", ["", "202605010900", "202605030900"]);
    take(&mut sender, adt("A01", "1", "202605010905", &stay("W1", "V-1"))).await;
    take(&mut sender, adt("A03", "2", "202605030905", &first)).await;
    let later = visit("I", "W2", "V-2", ["", "202605050900", ""]);
    take(&mut sender, adt("A01", "3", "202605050905", &later)).await;
    take(&mut sender, adt("A23", "4", "202605060900", &first)).await;
    assert_eq!(ward(&channel).await.as_deref(), Some("W2"));
    for cancelled in ["admitted", "discharged"] {
        assert!(!of_type(&channel, cancelled).await.cancelled_by_event_id.is_empty());
    }
    // That the patient was not discharged from it would make two stays at once.
    take(&mut sender, adt("A03", "5", "202605070900", &later)).await;
    let third = visit("I", "W3", "V-3", ["", "202605080900", ""]);
    take(&mut sender, adt("A01", "6", "202605080905", &third)).await;
    let back = adt("A13", "7", "202605090900", &later);
    refuse(&mut sender, back, &["[IN_FACILITY_ALREADY]"]).await;
}
