//! HL7 v2 messages about a visit that is under way: where the patient is in the emergency
//! department, and that the visit becomes a stay, or a stay a visit, under a number of its own.

use std::path::Path;

use tonic::transport::Channel;
use tsunagi_proto::v1;

use crate::mllp::{Sender, code, find, refuse, take};
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

#[tokio::test]
async fn a_visit_becomes_a_stay_under_another_number() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    // MRG-5 says which visit it is; or it is the one that is under way; or there are no numbers.
    for (number, old, new) in [("1", "E-1", "W-1"), ("2", "E-2", "W-2"), ("3", "", "")] {
        let visit = ["E", "ER", old, "202605010100"];
        let stay = ["I", "W1", new, "202605010300"];
        take(&mut sender, adt("A04", number, 1, visit)).await;
        let becomes = adt("A06", number, 3, stay);
        let prior = format!("\rMRG|{number}^^^H^MR||||{old}\rPV1|");
        let becomes = if number == "1" { becomes.replace("\rPV1|", &prior) } else { becomes };
        take(&mut sender, becomes.clone()).await;
        take(&mut sender, becomes.replace("|A06", "|B06")).await;
        assert_eq!(place(&channel, number).await, (v1::PatientState::InHospital, "W1".to_owned()));
        take(&mut sender, adt("A02", number, 4, ["I", "W2", new, "202605010300"])).await;
        if !old.is_empty() {
            // The visit of the old number is the stay.
            refuse(&mut sender, adt("A03", number, 5, visit), &["[ENCOUNTER_UNKNOWN]"]).await;
        }
        take(&mut sender, adt("A03", number, 6, ["I", "W2", new, "202605010300"])).await;
        let told = steps(&channel, number).await;
        assert_eq!(told, ["1 registered", "1 admitted", "1 transferred", "1 discharged"]);
        assert_eq!(patient(&channel, number).await.state(), v1::PatientState::Discharged);
    }
}

#[tokio::test]
async fn which_of_several_visits_became_a_stay_is_not_guessed() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    take(&mut sender, adt("A04", "1", 1, ["E", "ER", "E-1", "202605010100"])).await;
    take(&mut sender, adt("A04", "1", 2, ["O", "OPD", "O-1", "202605010200"])).await;
    let becomes = adt("A06", "1", 3, ["I", "W1", "W-1", "202605010300"]);
    take(&mut sender, becomes).await;
    let told = steps(&channel, "1").await;
    assert_eq!(told, ["1 registered", "2 registered", "3 admitted"], "a stay of its own");
    // MRG-5 says which.
    take(&mut sender, adt("A04", "2", 1, ["E", "ER", "E-2", "202605010100"])).await;
    take(&mut sender, adt("A04", "2", 2, ["O", "OPD", "O-2", "202605010200"])).await;
    let becomes = adt("A06", "2", 3, ["I", "W1", "W-2", "202605010300"]);
    take(&mut sender, becomes.replace("\rPV1|", "\rMRG|2^^^H^MR||||E-2\rPV1|")).await;
    let told = steps(&channel, "2").await;
    assert_eq!(told, ["1 registered", "2 registered", "1 admitted"]);
}

#[tokio::test]
async fn a_stay_becomes_a_visit_under_another_number() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    for (number, old, new) in [("1", "I-1", "O-1"), ("2", "I-2", "O-2"), ("3", "", "")] {
        let visit = ["O", "OPD", new, "202605010300"];
        take(&mut sender, adt("A01", number, 1, ["I", "W1", old, "202605010100"])).await;
        let becomes = adt("A07", number, 3, visit);
        let prior = format!("\rMRG|{number}^^^H^MR||||{old}\rPV1|");
        let becomes = if number == "1" { becomes.replace("\rPV1|", &prior) } else { becomes };
        take(&mut sender, becomes.clone()).await;
        take(&mut sender, becomes.replace("|A07", "|B07")).await;
        assert_eq!(place(&channel, number).await, (v1::PatientState::Visiting, "OPD".to_owned()));
        take(&mut sender, adt("A03", number, 5, visit)).await;
        let told = steps(&channel, number).await;
        assert_eq!(told.len(), 4, "{told:?}");
        let ends = ["1 admitted", "1 discharged", "2 registered", "2 discharged"];
        assert!(ends.iter().all(|end| told.contains(&(*end).to_owned())), "{told:?}");
    }
}
