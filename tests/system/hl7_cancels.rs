//! What an HL7 v2 message takes back or says otherwise, when another overtook it: what was written
//! first changes nothing that was written after it.

use std::path::Path;

use tonic::transport::Channel;
use tsunagi_proto::v1;

use crate::mllp::{Sender, code, find, refuse, take};
use crate::support::{Server, folder, timeline};

fn start(data: &Path) -> Server {
    Server::start_with(data, &["--mllp-listen", "127.0.0.1:0"])
}

/// A message about a patient of one visit, who have the same number: written at a time, and what
/// PV1 says of the class, the ward, how the visit ended, when it began and when it ended.
fn adt(event: &str, number: &str, at: &str, [class, ward, how, from, to]: [&str; 5]) -> String {
    let (doctor, source) = ("|".repeat(16), "|".repeat(17));
    format!(
        "MSH|^~\\&|HIS|H|GW|R|{at}||ADT^{event}|{event}{number}{at}|P|2.5\rEVN||{at}\r\
         PID|1||{number}^^^H^MR||Doe^Jo||19400203|F\r\
         PV1|1|{class}|{ward}{doctor}{number}{source}{how}||||||||{from}|{to}\r"
    )
}

fn stay(event: &str, number: &str, at: &str, ward: &str) -> String {
    adt(event, number, at, ["I", ward, "", "202605010900", ""])
}

async fn patient(channel: &Channel, number: &str) -> v1::PatientSummary {
    find(channel, "urn:tsunagi:hl7:H:H", number).await
}

/// Where the patient is: none if in no hospital.
async fn ward(channel: &Channel, number: &str) -> Option<String> {
    let patient = patient(channel, number).await;
    let is_in = patient.state() == v1::PatientState::InHospital;
    is_in.then(|| patient.place.unwrap().ward)
}

/// The types and times of what stands of the visit, and is neither cancelled nor a cancel.
async fn steps(channel: &Channel, number: &str) -> Vec<String> {
    let patient = patient(channel, number).await;
    let mut steps = Vec::new();
    for entry in timeline(channel, &patient.patient_id).await {
        let is_step = entry.r#type.starts_with("care.encounter.")
            && !entry.r#type.ends_with("cancelled.v1")
            && entry.cancelled_by_event_id.is_empty();
        if is_step {
            let of = entry.r#type.replace("care.encounter.", "").replace(".v1", "");
            steps.push(format!("{of} {}", &entry.occurred_at[8..16]));
        }
    }
    steps
}

#[tokio::test]
async fn a_cancel_takes_back_nothing_that_came_after_it_was_written() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    // A move before it and one after.
    take(&mut sender, stay("A01", "1", "202605010900", "W1")).await;
    take(&mut sender, stay("A02", "1", "202605011200", "W4")).await;
    take(&mut sender, stay("A02", "1", "202605011400", "W5")).await;
    take(&mut sender, stay("A12", "1", "202605011300", "W1")).await;
    assert_eq!(ward(&channel, "1").await.as_deref(), Some("W5"));
    let told = steps(&channel, "1").await;
    assert_eq!(told, ["admitted 01T09:00", "transferred 01T14:00"]);
    // Nothing before it.
    take(&mut sender, stay("A01", "2", "202605010900", "W1")).await;
    take(&mut sender, stay("A02", "2", "202605011400", "W5")).await;
    refuse(&mut sender, stay("A12", "2", "202605011300", "W1"), &["[NOTHING_TO_CANCEL]"]).await;
    assert_eq!(ward(&channel, "2").await.as_deref(), Some("W5"));
    // Leaves, and what is planned.
    take(&mut sender, stay("A01", "3", "202605010900", "W1")).await;
    take(&mut sender, stay("A21", "3", "202605031000", "W1")).await;
    refuse(&mut sender, stay("A52", "3", "202605030900", "W1"), &["[NOTHING_TO_CANCEL]"]).await;
    take(&mut sender, stay("A22", "3", "202605041000", "W1")).await;
    refuse(&mut sender, stay("A53", "3", "202605040900", "W1"), &["[NOTHING_TO_CANCEL]"]).await;
    let plan = "PV2|||||||||20260509\r";
    let planned = format!("{}{plan}", stay("A16", "3", "202605051000", "W1"));
    take(&mut sender, planned).await;
    refuse(&mut sender, stay("A25", "3", "202605050900", "W1"), &["[NOTHING_TO_CANCEL]"]).await;
    take(&mut sender, stay("A25", "3", "202605051100", "W1")).await;
}

#[tokio::test]
async fn an_end_that_was_said_anew_is_not_taken_back_by_what_was_written_before() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    let ended = |at: &str| adt("A03", "1", at, ["I", "W1", "", "202605010900", at]);
    take(&mut sender, stay("A01", "1", "202605010900", "W1")).await;
    take(&mut sender, ended("202605020900")).await;
    take(&mut sender, ended("202605021000")).await;
    refuse(&mut sender, stay("A13", "1", "202605020930", "W1"), &["[NOTHING_TO_CANCEL]"]).await;
    assert_eq!(ward(&channel, "1").await, None);
    take(&mut sender, stay("A13", "1", "202605021030", "W1")).await;
    assert_eq!(ward(&channel, "1").await.as_deref(), Some("W1"));
}

#[tokio::test]
async fn what_was_said_before_a_cancel_is_taken_back_also_if_it_was_for_later() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    let end = ["I", "W1", "", "202605010900", "202605021600"];
    // The end is stated for the afternoon, in the morning, and called off at noon.
    take(&mut sender, stay("A01", "1", "202605010900", "W1")).await;
    take(&mut sender, adt("A03", "1", "202605020900", end)).await;
    take(&mut sender, stay("A13", "1", "202605021200", "W1")).await;
    assert_eq!(ward(&channel, "1").await.as_deref(), Some("W1"));
    // Of a day, and within one minute, nobody can say that it was later.
    take(&mut sender, stay("A02", "1", "20260503", "W2")).await;
    take(&mut sender, stay("A12", "1", "202605031200", "W1")).await;
    take(&mut sender, stay("A02", "1", "20260504120030", "W2")).await;
    take(&mut sender, stay("A12", "1", "202605041200", "W1")).await;
    assert_eq!(ward(&channel, "1").await.as_deref(), Some("W1"));
}

#[tokio::test]
async fn an_admission_is_not_cancelled_under_an_end_that_is_known() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    let ended = adt("A03", "1", "202605020900", ["I", "W1", "", "202605010900", "202605020900"]);
    take(&mut sender, stay("A01", "1", "202605010900", "W1")).await;
    take(&mut sender, ended).await;
    for at in ["202605010930", "202605021000"] {
        refuse(&mut sender, stay("A11", "1", at, "W1"), &["[LATER_MOVE_DEPENDS]"]).await;
    }
    assert_eq!(steps(&channel, "1").await, ["admitted 01T09:00", "discharged 02T09:00"]);
    take(&mut sender, stay("A13", "1", "202605021100", "W1")).await;
    take(&mut sender, stay("A11", "1", "202605021200", "W1")).await;
    assert_eq!(steps(&channel, "1").await, [""; 0]);
}

#[tokio::test]
async fn a_number_means_the_stay_that_goes_on_under_it() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    for (number, from) in [("1", "202605011100"), ("2", ""), ("3", "202605010900")] {
        let said = |event: &str, at: &str, class: &str, ward: &str, to: &str| {
            let from = if at < "202605011200" { at } else { from };
            adt(event, number, at, [class, ward, "", from, to])
        };
        take(&mut sender, said("A01", "202605010900", "I", "W1", "")).await;
        take(&mut sender, said("A07", "202605011000", "O", "OPD", "")).await;
        take(&mut sender, said("A06", "202605011100", "I", "W1", "")).await;
        // Its move, its leave and its planned end are taken back, and not the first stay's.
        take(&mut sender, said("A02", "202605011200", "I", "W4", "")).await;
        take(&mut sender, said("A12", "202605011230", "I", "W1", "")).await;
        assert_eq!(ward(&channel, number).await.as_deref(), Some("W1"));
        take(&mut sender, said("A21", "202605011300", "I", "W1", "")).await;
        take(&mut sender, said("A52", "202605011400", "I", "W1", "")).await;
        let plan = "PV2|||||||||20260509\r";
        let planned = said("A16", "202605011500", "I", "W1", "");
        take(&mut sender, format!("{planned}{plan}")).await;
        take(&mut sender, said("A25", "202605011600", "I", "W1", "")).await;
        // So is its end, and the first stay has ended still.
        refuse(&mut sender, said("A13", "202605011700", "I", "W1", ""), &["[NOTHING_TO_CANCEL]"])
            .await;
        take(&mut sender, said("A03", "202605020900", "I", "W1", "202605020900")).await;
        take(&mut sender, said("A13", "202605021000", "I", "W1", "")).await;
        assert_eq!(ward(&channel, number).await.as_deref(), Some("W1"));
        take(&mut sender, said("A03", "202605030900", "I", "W1", "202605030900")).await;
        assert_eq!(ward(&channel, number).await, None);
        let told = steps(&channel, number).await;
        let ends = told.iter().filter(|step| step.starts_with("discharged"));
        let ends: Vec<&String> = ends.collect();
        assert_eq!(ends, ["discharged 01T10:00", "discharged 03T09:00"]);
    }
}

#[tokio::test]
async fn what_was_written_before_what_is_known_corrects_nothing() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    let ended =
        |at: &str, how: &str, to: &str| adt("A03", "1", at, ["I", "W1", how, "202605010900", to]);
    take(&mut sender, stay("A01", "1", "202605010900", "W1")).await;
    take(&mut sender, ended("202605021000", "01", "202605020950")).await;
    // The first word comes last.
    let answer = sender.send(ended("202605020900", "02", "202605020900")).await;
    assert_eq!(code(&answer), ("AA", "known already"));
    let known = steps(&channel, "1").await;
    assert_eq!(known, ["admitted 01T09:00", "discharged 02T09:50"]);
    // What was written later holds.
    take(&mut sender, ended("202605021100", "02", "202605020940")).await;
    let known = steps(&channel, "1").await;
    assert_eq!(known, ["admitted 01T09:00", "discharged 02T09:40"]);
}
