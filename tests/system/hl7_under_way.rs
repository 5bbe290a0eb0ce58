//! HL7 v2 messages about a visit that is under way: where the patient is in the emergency
//! department, and that the visit becomes a stay, or a stay a visit, under a number of its own.

use std::path::Path;

use tonic::transport::Channel;
use tsunagi_proto::v1;

use crate::mllp::{Sender, code, find};
use crate::support::{Server, folder, timeline};

fn start(data: &Path) -> Server {
    Server::start_with(data, &["--mllp-listen", "127.0.0.1:0"])
}

/// A message about a patient, written at an hour of 1 May, and what PV1 says of the class, the
/// place, the visit's number, and when it began.
fn adt(event: &str, patient: &str, hour: u8, [class, place, visit, from]: [&str; 4]) -> String {
    let (doctor, until_44) = ("|".repeat(16), "|".repeat(25));
    format!(
        "MSH|^~\\&|HIS|H|GW|R|20260501{hour:02}0000||ADT^{event}|{event}{patient}{hour}|P|2.5\r\
         EVN||20260501{hour:02}0000\rPID|1||{patient}^^^H^MR||Doe^Jo||19400203|F\r\
         PV1|1|{class}|{place}{doctor}{visit}{until_44}{from}\r"
    )
}

async fn take(sender: &mut Sender, message: String) {
    let answer = sender.send(&message).await;
    assert_eq!(code(&answer).0, "AA", "{message}\n{answer}");
}

async fn refuse(sender: &mut Sender, message: String, says: &[&str]) {
    let answer = sender.send(&message).await;
    assert_eq!(code(&answer).0, "AE", "{message}\n{answer}");
    for part in says {
        assert!(answer.contains(part), "{part}: {answer}");
    }
}

async fn patient(channel: &Channel, number: &str) -> v1::PatientSummary {
    find(channel, "urn:tsunagi:hl7:H:H", number).await
}

async fn place(channel: &Channel, number: &str) -> (v1::PatientState, String) {
    let patient = patient(channel, number).await;
    let place = patient.place.clone().unwrap_or_default();
    (patient.state(), format!("{} {}", place.ward, place.bed).trim().to_owned())
}

/// The types of what stands of visits and stays, with their encounters by the order in which they
/// began.
async fn steps(channel: &Channel, number: &str) -> Vec<String> {
    let patient = patient(channel, number).await;
    let (mut encounters, mut steps) = (Vec::new(), Vec::new());
    for entry in timeline(channel, &patient.patient_id).await {
        if !entry.r#type.starts_with("care.encounter.") {
            continue;
        }
        let known = encounters.iter().position(|of| *of == entry.encounter_id);
        let place = known.unwrap_or_else(|| {
            encounters.push(entry.encounter_id.clone());
            encounters.len() - 1
        });
        let of = entry.r#type.replace("care.encounter.", "").replace(".v1", "");
        steps.push(format!("{} {of}", place + 1));
    }
    steps
}

#[tokio::test]
async fn a_patient_of_the_emergency_department_is_shown_in_the_bed_that_was_told_last() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    let in_bed = |event: &str, hour: u8, bed: &str| {
        adt(event, "1", hour, ["E", &format!("ER^1^{bed}"), "E-1", "202605010100"])
    };
    let visiting = |bed: &str| (v1::PatientState::Visiting, format!("ER {bed}"));
    take(&mut sender, in_bed("A04", 1, "1")).await;
    take(&mut sender, in_bed("A02", 2, "2")).await;
    assert_eq!(place(&channel, "1").await, visiting("2"));
    take(&mut sender, in_bed("A08", 4, "4")).await;
    assert_eq!(place(&channel, "1").await, visiting("4"));
    // What was written before that moves nobody back.
    take(&mut sender, in_bed("A08", 3, "3")).await;
    take(&mut sender, in_bed("A02", 3, "3")).await;
    assert_eq!(place(&channel, "1").await, visiting("4"));
    take(&mut sender, in_bed("A10", 5, "5")).await;
    assert_eq!(place(&channel, "1").await, visiting("5"));
    // The way was none: the patient is where the cancel says.
    take(&mut sender, in_bed("A12", 6, "4")).await;
    assert_eq!(place(&channel, "1").await, visiting("4"));
    take(&mut sender, in_bed("A32", 6, "1")).await;
    assert_eq!(place(&channel, "1").await, visiting("1"));
    assert_eq!(steps(&channel, "1").await, ["1 registered"]);
    take(&mut sender, in_bed("A03", 7, "4")).await;
    assert_eq!(steps(&channel, "1").await, ["1 registered", "1 discharged"]);
}

#[tokio::test]
async fn what_only_a_stay_has_is_refused_of_a_visit_without_the_advice_to_admit() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    let said = |event: &str, hour: u8| adt(event, "1", hour, ["E", "ER", "E-1", "202605010100"]);
    take(&mut sender, said("A04", 1)).await;
    for (event, hour) in [("A15", 2), ("A16", 3), ("A21", 4), ("A22", 5)] {
        let message = format!("{}PV2||||||||20260509|20260509\r", said(event, hour));
        let answer = sender.send(&message).await;
        assert!(answer.contains("[NOT_ADMITTED]"), "{answer}");
        assert!(answer.contains("(A06)") && !answer.contains("(A01)"), "{answer}");
    }
    assert_eq!(steps(&channel, "1").await, ["1 registered"]);
}

#[tokio::test]
async fn a_sex_that_is_not_known_is_remarked() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    for (at, sex) in ["1", "男", "X", "F", "M", "U", "", "\"\""].iter().enumerate() {
        let message = adt("A28", &format!("{at}"), 1, ["", "", "", ""]);
        let message = message.replace("|19400203|F\r", &format!("|19400203|{sex}\r"));
        let message = message.replace("|P|2.5\r", "|P|2.5||||||UNICODE UTF-8\r");
        let answer = sender.send(&message).await;
        let (answered, remark) = code(&answer);
        assert_eq!(answered, "AA", "{answer}");
        assert_eq!(remark.contains("PID-8"), at < 3, "{sex}: {answer}");
    }
}
