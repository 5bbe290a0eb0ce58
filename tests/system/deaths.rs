//! Deaths: told by themselves or by a discharge, they end what is expected of the patient.

use tonic::transport::Channel;
use tsunagi_proto::v1;
use tsunagi_proto::v1::timeline_client::TimelineClient;

use crate::desks::{place, register};
use crate::mllp::Sender;
use crate::stories::{LIAISON, code, desk, signed};
use crate::support::{Server, context, folder, id, liaison, reason};

async fn state(channel: &Channel) -> (v1::PatientState, String) {
    let mut reader = TimelineClient::new(channel.clone());
    let request = v1::ReadTimelineRequest { patient_id: id(1), ..Default::default() };
    let page = reader.read_timeline(liaison(request)).await.unwrap().into_inner();
    let patient = page.patient.unwrap();
    (patient.state(), patient.since_at)
}

#[expect(clippy::unnecessary_wraps, reason = "as fields take it")]
fn at(number: u128, day: &str) -> Option<v1::CommandContext> {
    Some(context(&id(1), &id(number), &format!("2026-05-{day}T10:00:00+09:00")))
}

fn admit(number: u128, day: &str, stay: u128) -> v1::AdmitRequest {
    let place = Some(place("acute", "4E"));
    let event = v1::Admitted { encounter_id: id(stay), place, ..v1::Admitted::default() };
    v1::AdmitRequest { context: at(number, day), event: Some(event) }
}

fn discharge(number: u128, day: &str, to: Option<v1::Code>) -> v1::DischargeRequest {
    let (encounter_id, disposition) = (id(0xa), to);
    let event = v1::Discharged { encounter_id, disposition, ..v1::Discharged::default() };
    v1::DischargeRequest { context: at(number, day), event: Some(event) }
}

#[tokio::test]
async fn who_died_in_hospital_is_dead_until_that_is_taken_back() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    register(&channel, &id(1), "00123").await;
    let mut desk = desk(&channel);
    desk.admit(signed(LIAISON, admit(2, "02", 0xa))).await.unwrap();
    let death = desk.discharge(signed(LIAISON, discharge(3, "09", code("death")))).await.unwrap();
    let died = (v1::PatientState::Deceased, "2026-05-09T10:00:00+09:00".to_owned());
    assert_eq!(state(&channel).await, died);
    let later = desk.admit(signed(LIAISON, admit(4, "12", 0xb))).await.unwrap_err();
    assert_eq!(reason(&later), "PATIENT_DECEASED");
    // An earlier stay of which is told late.
    let earlier = v1::AdmitRequest {
        event: Some(v1::Admitted {
            encounter_id: id(0xc),
            place: Some(place("rehab", "1")),
            ..v1::Admitted::default()
        }),
        ..admit(5, "01", 0xc)
    };
    let rehab = crate::stories::REHAB;
    desk.admit(signed(rehab, earlier)).await.unwrap();
    assert_eq!(state(&channel).await, died);
    let cancel = v1::CancelDischargeRequest {
        context: at(6, "10"),
        event: Some(v1::EncounterCancellation {
            encounter_id: id(0xa),
            cancelled_event_id: death.into_inner().event_id,
            reason: String::new(),
        }),
    };
    desk.cancel_discharge(signed(LIAISON, cancel)).await.unwrap();
    assert_eq!(state(&channel).await.0, v1::PatientState::InHospital);
}

#[tokio::test]
async fn nobody_is_admitted_after_a_death_that_was_recorded() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    register(&channel, &id(1), "00123").await;
    let mut desk = desk(&channel);
    let event = v1::PatientDeceased { deceased_at: "2026-05-05".into(), ..Default::default() };
    let death = v1::RecordDeathRequest { context: at(2, "06"), event: Some(event) };
    desk.record_death(signed(LIAISON, death)).await.unwrap();
    let later = desk.admit(signed(LIAISON, admit(3, "12", 0xa))).await.unwrap_err();
    assert_eq!(reason(&later), "PATIENT_DECEASED");
    desk.admit(signed(LIAISON, admit(4, "04", 0xa))).await.unwrap();
}

#[tokio::test]
async fn where_from_and_where_to_are_said_in_codes_that_are_known() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    register(&channel, &id(1), "00123").await;
    let mut desk = desk(&channel);
    let mut from_nowhere = admit(2, "02", 0xa);
    from_nowhere.event.as_mut().unwrap().admit_source = code("no-such-code");
    let refused = desk.admit(signed(LIAISON, from_nowhere)).await.unwrap_err();
    assert_eq!(reason(&refused), "FIELDS_INVALID");
    desk.admit(signed(LIAISON, admit(3, "02", 0xa))).await.unwrap();
    let refused = desk.discharge(signed(LIAISON, discharge(4, "09", code("no-such-code")))).await;
    assert_eq!(reason(&refused.unwrap_err()), "FIELDS_INVALID");
    let planned_at = "2026-05-09".to_owned();
    let plan = v1::PlanDischargeRequest {
        context: at(5, "03"),
        event: Some(v1::DischargePlanned {
            encounter_id: id(0xa),
            planned_at,
            disposition: code("no-such-code"),
            ..v1::DischargePlanned::default()
        }),
    };
    let refused = desk.plan_discharge(signed(LIAISON, plan)).await;
    assert_eq!(reason(&refused.unwrap_err()), "FIELDS_INVALID");
}

#[tokio::test]
async fn a_message_that_says_when_somebody_died_and_that_they_did_not_is_remarked() {
    let data = folder();
    let server = Server::start_with(data.path(), &["--mllp-listen", "127.0.0.1:0"]);
    let mut sender = Sender::connect(&server).await;
    for (number, died, says) in [("7", "20260401", true), ("8", "\"\"", false), ("9", "", false)] {
        let fields = format!("{}{died}|N", "|".repeat(21));
        let pid = format!("PID|1||{number}^^^H^MR||Doe^Jane||19400203|F{fields}\r");
        let sent = format!("MSH|^~\\&|HIS|H|GW|R|20260501||ADT^A28|{number}|P|2.5\r{pid}");
        let answer = sender.send(sent).await;
        assert!(answer.contains(&format!("\rMSA|AA|{number}")), "{answer}");
        assert_eq!(answer.contains("PID-29 says when the patient died"), says, "{answer}");
    }
    // What cannot be read says nothing: nobody is taken for dead by it.
    let fields = format!("{}202x\u{fffd}|N", "|".repeat(21));
    let pid = format!("PID|1||10^^^H^MR||Doe^Jane||19400203|F{fields}\r");
    let sent = format!("MSH|^~\\&|HIS|H|GW|R|20260501||ADT^A28|10|P|2.5||||||UNICODE UTF-8\r{pid}");
    let answer = sender.send(sent).await;
    assert!(
        answer.contains("\rMSA|AA|10") && answer.contains("what was known is kept"),
        "{answer}"
    );
    assert!(!answer.contains("taken for dead"), "{answer}");
}
