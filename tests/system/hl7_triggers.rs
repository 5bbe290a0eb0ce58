//! What HL7 v2 messages say in an odd order, twice or late: numbers that are used again, a stay that
//! became a visit, what was taken back, and refusals that say in the words of messages what to do.

use std::path::Path;

use tonic::transport::Channel;

use crate::mllp::{Sender, code, find};
use crate::support::{Server, folder, run, stdout, timeline};

fn start(data: &Path) -> Server {
    Server::start_with(data, &["--mllp-listen", "127.0.0.1:0"])
}

/// PV1 of a message: its class, place and doctor, the visit's number, when it began and ended.
struct Visit<'a> {
    class: &'a str,
    place: &'a str,
    doctor: &'a str,
    number: &'a str,
    from: &'a str,
    to: &'a str,
}

const STAY: Visit<'_> =
    Visit { class: "I", place: "3W", doctor: "", number: "V-1", from: "", to: "" };

impl Visit<'_> {
    fn segment(&self) -> String {
        let Self { class, place, doctor, number, from, to } = self;
        let (until_19, until_44) = ("|".repeat(12), "|".repeat(25));
        format!("PV1|1|{class}|{place}||||{doctor}{until_19}{number}{until_44}{from}|{to}")
    }
}

/// A message about patient 7 that was written at a time; its control id is the time and the event.
fn adt(event: &str, at: &str, rest: &str) -> String {
    format!(
        "MSH|^~\\&|HIS|H|GW|R|{at}||ADT^{event}|{event}-{at}|P|2.5\rEVN||{at}\r\
         PID|1||7^^^H^MR||Doe^Jo||19400203|F\r{rest}\r"
    )
}

async fn take(sender: &mut Sender, event: &str, at: &str, visit: &Visit<'_>) -> String {
    let message = adt(event, at, &visit.segment());
    let answer = sender.send(&message).await;
    assert_eq!(code(&answer).0, "AA", "{message}\n{answer}");
    code(&answer).1.to_owned()
}

async fn refuse(sender: &mut Sender, event: &str, at: &str, visit: &Visit<'_>, says: &[&str]) {
    let message = adt(event, at, &visit.segment());
    let answer = sender.send(&message).await;
    assert_eq!(code(&answer).0, "AE", "{message}\n{answer}");
    for words in says {
        assert!(answer.contains(words), "{words}\n{message}\n{answer}");
    }
}

/// The types of what is in effect, the first to happen first.
async fn standing(channel: &Channel) -> Vec<String> {
    let patient = find(channel, "urn:tsunagi:hl7:H:H", "7").await;
    let entries = timeline(channel, &patient.patient_id).await.into_iter();
    let entries = entries.filter(|entry| {
        entry.cancelled_by_event_id.is_empty() && entry.entered_in_error_by_event_id.is_empty()
    });
    entries.map(|entry| entry.r#type.replace("care.", "").replace(".v1", "")).collect()
}

async fn place(channel: &Channel) -> String {
    let patient = find(channel, "urn:tsunagi:hl7:H:H", "7").await;
    let place = patient.place.clone().unwrap_or_default();
    format!("{} {}", patient.state().as_str_name(), place.ward)
}

#[tokio::test]
async fn a_number_that_is_used_again_makes_no_stay_of_an_earlier_one() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    take(&mut sender, "A01", "202605010900", &STAY).await;
    take(&mut sender, "A03", "202605031000", &STAY).await;
    let elsewhere = Visit { place: "5E", ..STAY };
    let says = ["OTHER_VISIT", "number of its own", "A13"];
    // Neither the one that says when it began, nor the one that does not.
    for from in ["", "202605051000"] {
        let again = Visit { from, ..elsewhere };
        refuse(&mut sender, "A01", "202605051000", &again, &says).await;
    }
    let ended = Visit { from: "202605051000", to: "202605061000", ..elsewhere };
    refuse(&mut sender, "A03", "202605061000", &ended, &says).await;
    assert_eq!(place(&channel).await, "PATIENT_STATE_DISCHARGED 3W");
    // An admission that comes late is of before the end.
    let late = Visit { from: "202605010900", ..elsewhere };
    take(&mut sender, "A01", "202605011000", &late).await;
    assert_eq!(place(&channel).await, "PATIENT_STATE_DISCHARGED 5E");
    // The patient never left.
    take(&mut sender, "A13", "202605070900", &STAY).await;
    assert_eq!(place(&channel).await, "PATIENT_STATE_IN_HOSPITAL 5E");
}

#[tokio::test]
async fn the_visit_behind_a_stay_is_the_one_that_its_number_means_afterwards() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    let [emergency, visit] = ["E", "O"].map(|class| Visit { class, from: "202605010900", ..STAY });
    let stay = Visit { from: "202605010900", ..STAY };
    take(&mut sender, "A04", "202605010900", &emergency).await;
    take(&mut sender, "A06", "202605011200", &stay).await;
    assert_eq!(take(&mut sender, "A06", "202605011300", &stay).await, "known already");
    take(&mut sender, "A07", "202605021200", &visit).await;
    assert_eq!(take(&mut sender, "A07", "202605021300", &visit).await, "known already");
    assert_eq!(place(&channel).await, "PATIENT_STATE_VISITING 3W");
    take(&mut sender, "A03", "202605021500", &Visit { to: "202605021500", ..visit }).await;
    assert_eq!(place(&channel).await, "PATIENT_STATE_VISITED 3W");
    let types = [
        "patient.registered",
        "encounter.registered",
        "encounter.admitted",
        "encounter.discharged",
        "encounter.registered",
        "encounter.discharged",
    ];
    let mut told = standing(&channel).await;
    told.sort();
    let mut types = types.map(str::to_owned).to_vec();
    types.sort();
    assert_eq!(told, types);
}

#[tokio::test]
async fn a_stay_that_became_a_visit_becomes_a_stay_again() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    take(&mut sender, "A01", "202605010900", &STAY).await;
    take(&mut sender, "A07", "202605021200", &Visit { class: "O", place: "X1", ..STAY }).await;
    take(&mut sender, "A06", "202605021800", &Visit { place: "4N", ..STAY }).await;
    assert_eq!(place(&channel).await, "PATIENT_STATE_IN_HOSPITAL 4N");
    take(&mut sender, "A02", "202605031200", &Visit { place: "5E", ..STAY }).await;
    take(&mut sender, "A03", "202605041200", &STAY).await;
    assert_eq!(place(&channel).await, "PATIENT_STATE_DISCHARGED 5E");
}

#[tokio::test]
async fn a_stay_becomes_a_visit_as_often_as_it_is_said_under_one_number() {
    let [emergency, visit] = ["E", "O"].map(|class| Visit { class, place: "X1", ..STAY });
    for begun in [("A04", &emergency), ("A01", &STAY)] {
        let data = folder();
        let server = start(data.path());
        let mut sender = Sender::connect(&server).await;
        let channel = server.channel().await;
        take(&mut sender, begun.0, "202605010900", begun.1).await;
        take(&mut sender, "A06", "202605011000", &STAY).await;
        for day in 2..5 {
            take(&mut sender, "A07", &format!("2026050{day}1200"), &visit).await;
            assert_eq!(
                take(&mut sender, "A07", &format!("2026050{day}1300"), &visit).await,
                "known already"
            );
            assert_eq!(place(&channel).await, "PATIENT_STATE_VISITING X1");
            if day < 4 {
                take(&mut sender, "A06", &format!("2026050{day}1800"), &STAY).await;
                assert_eq!(place(&channel).await, "PATIENT_STATE_IN_HOSPITAL 3W");
            }
        }
        take(&mut sender, "A03", "202605050900", &visit).await;
        assert_eq!(place(&channel).await, "PATIENT_STATE_VISITED X1");
    }
}

#[tokio::test]
async fn a_stay_that_became_a_visit_does_not_end_once_more() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    let visit = Visit { class: "O", place: "X1", ..STAY };
    take(&mut sender, "A01", "202605010900", &STAY).await;
    take(&mut sender, "A07", "202605021200", &visit).await;
    let says = ["[ENCOUNTER_ENDED]", "PV1-2"];
    refuse(&mut sender, "A03", "202605021500", &STAY, &says).await;
    let ended = Visit { to: "202605021500", ..STAY };
    refuse(&mut sender, "A03", "202605021501", &ended, &says).await;
    assert_eq!(place(&channel).await, "PATIENT_STATE_VISITING X1");
    // What the refusal says to do does it.
    take(&mut sender, "A03", "202605021502", &visit).await;
    assert_eq!(place(&channel).await, "PATIENT_STATE_VISITED X1");
    assert_eq!(take(&mut sender, "A03", "202605021503", &STAY).await, "known already");
}

#[tokio::test]
async fn the_end_of_an_earlier_stay_is_known_after_it_became_a_stay_again() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    let visit = Visit { class: "O", place: "X1", ..STAY };
    take(&mut sender, "A01", "202605010900", &STAY).await;
    take(&mut sender, "A07", "202605021200", &visit).await;
    take(&mut sender, "A06", "202605021800", &STAY).await;
    for at in ["202605021100", "202605021300"] {
        assert_eq!(take(&mut sender, "A07", at, &visit).await, "known already");
    }
    assert_eq!(place(&channel).await, "PATIENT_STATE_IN_HOSPITAL 3W");
    take(&mut sender, "A07", "202605031200", &visit).await;
    assert_eq!(place(&channel).await, "PATIENT_STATE_VISITING X1");
}

/// Replays all that is in quarantine, and says how many.
async fn replay_all(server: &Server) -> usize {
    let (url, mllp) = (server.url.clone(), server.mllp.clone().unwrap());
    let replayed = tokio::task::spawn_blocking(move || {
        let listed = stdout(&run(&["quarantine", "--server", &url]));
        let ids = listed.lines().filter_map(|line| line.split_whitespace().next());
        let replay = |id: &str| run(&["quarantine", id, "--replay", &mllp, "--server", &url]);
        let all: Vec<_> = ids.map(replay).collect();
        assert!(all.iter().all(|one| one.status.code() == Some(0)), "{all:?}");
        assert_eq!(stdout(&run(&["quarantine", "--server", &url])), "");
        all.len()
    });
    replayed.await.unwrap()
}

#[tokio::test]
async fn a_cancel_that_came_before_its_act_is_kept_and_replayed_after_it() {
    for (act, cancel, before) in [
        ("A01", "A11", None),
        ("A02", "A12", Some("A01")),
        ("A03", "A13", Some("A01")),
        ("A04", "A11", None),
        ("A14", "A27", None),
        ("A21", "A52", Some("A01")),
    ] {
        let data = folder();
        let server = start(data.path());
        let mut sender = Sender::connect(&server).await;
        let class = if act == "A04" { "O" } else { "I" };
        let visit = Visit { class, from: "202605010900", ..STAY };
        if let Some(before) = before {
            take(&mut sender, before, "202605010900", &visit).await;
        }
        refuse(
            &mut sender,
            cancel,
            "202605021000",
            &visit,
            &["send this again after it", "quarantine"],
        )
        .await;
        let other = Visit { place: "9N", ..visit };
        take(&mut sender, act, "202605020900", &other).await;
        let channel = server.channel().await;
        let told = standing(&channel).await;
        assert_eq!(replay_all(&server).await, 1, "{act}");
        let (last, before) = told.split_last().unwrap();
        let now = standing(&channel).await;
        assert!(now.starts_with(before) && !now.contains(last), "{act}: {now:?}");
    }
}

#[tokio::test]
async fn a_doctor_who_was_taken_back_is_not_said_again_by_an_older_message() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    let by = |doctor| Visit { doctor, ..STAY };
    take(&mut sender, "A01", "202605010900", &by("1^Ito")).await;
    take(&mut sender, "A54", "202605021000", &by("2^Sato")).await;
    take(&mut sender, "A55", "202605031000", &by("2^Sato")).await;
    for event in ["A54", "A08", "A02"] {
        take(&mut sender, event, "202605021001", &by("2^Sato")).await;
    }
    let changes = async || {
        let types = standing(&channel).await;
        types.iter().filter(|of| *of == "encounter.attending_changed").count()
    };
    assert_eq!(changes().await, 0);
    take(&mut sender, "A54", "202605041000", &by("2^Sato")).await;
    assert_eq!(changes().await, 1, "written after that");
}

#[tokio::test]
async fn a_null_place_is_no_place() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    take(&mut sender, "A01", "202605010900", &STAY).await;
    for null in [r#""""#, r#"""^""^"""#] {
        let nowhere = Visit { place: null, ..STAY };
        refuse(&mut sender, "A02", "202605021000", &nowhere, &["PV1-3", "FIELD_MISSING"]).await;
        take(&mut sender, "A08", "202605021100", &nowhere).await;
    }
    assert_eq!(place(&channel).await, "PATIENT_STATE_IN_HOSPITAL 3W");
}

#[tokio::test]
async fn what_is_refused_is_told_in_the_words_of_messages() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let (on, began) = ("202605010900", Visit { from: "202605010900", ..STAY });
    // Of what never came, nothing is taken back: neither is its admission the way out.
    for cancel in ["A11", "A12", "A13", "A23", "A25", "A26", "A27", "A38", "A52", "A53", "A55"] {
        let says = ["send this again after"];
        refuse(&mut sender, cancel, "202605010800", &began, &says).await;
    }
    take(&mut sender, "A01", on, &STAY).await;
    refuse(&mut sender, "A22", "202605020900", &STAY, &["NOT_ON_LEAVE", "(A21)"]).await;
    take(&mut sender, "A21", "202605030900", &STAY).await;
    refuse(&mut sender, "A02", "202605031000", &STAY, &["ON_LEAVE", "(A22)", "(A52)"]).await;
    take(&mut sender, "A22", "202605040900", &STAY).await;
    let says = ["LATER_MOVE_DEPENDS", "A12", "A13", "A53"];
    refuse(&mut sender, "A11", "202605041000", &STAY, &says).await;
    refuse(&mut sender, "A52", "202605041100", &STAY, &says).await;
    let visit = Visit { class: "O", from: "202605050900", ..STAY };
    refuse(&mut sender, "A04", "202605050900", &visit, &["ENCOUNTER_BEGUN", "PV1-19"]).await;
    let before = Visit { to: "202604300900", ..STAY };
    refuse(&mut sender, "A03", "202605050900", &before, &["OUT_OF_ORDER", "PV1-45", "EVN-6"]).await;
    let other = Visit { number: "V-2", from: "202605050900", ..STAY };
    refuse(&mut sender, "A01", "202605050900", &other, &["IN_FACILITY_ALREADY", "(A03)"]).await;
    take(&mut sender, "A03", "202605060900", &STAY).await;
    refuse(&mut sender, "A02", "202605070900", &STAY, &["ENCOUNTER_ENDED", "(A13)"]).await;
    take(&mut sender, "A23", "202605080900", &STAY).await;
    refuse(&mut sender, "A03", "202605090900", &STAY, &["NOT_ADMITTED", "(A01)"]).await;
}

#[tokio::test]
async fn a_plan_that_was_taken_back_leaves_none_to_take_back() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    take(&mut sender, "A01", "202605010900", &STAY).await;
    for (at, to) in [("202605021000", "202605100900"), ("202605021100", "202605110900")] {
        take(&mut sender, "A16", at, &Visit { to, ..STAY }).await;
    }
    take(&mut sender, "A25", "202605021200", &STAY).await;
    let says = ["NOTHING_TO_CANCEL", "taken back before"];
    refuse(&mut sender, "A25", "202605021300", &STAY, &says).await;
}
