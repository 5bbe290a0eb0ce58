//! HL7 v2 messages that tell of a way within the house, of accounts, and of what belongs to another
//! patient or under another number than was told before.

use std::path::Path;

use tonic::transport::Channel;
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_bus_client::CareBusClient;
use tsunagi_proto::v1::timeline_client::TimelineClient;

use crate::mllp::{Sender, code, find, refuse, take};
use crate::support::{Server, folder, liaison, timeline};

fn start(data: &Path) -> Server {
    Server::start_with(data, &["--mllp-listen", "127.0.0.1:0"])
}

/// A message of an hour of 1 May, with a control id of its own, and whatever segments.
fn adt(event: &str, hour: u8, segments: &str) -> String {
    format!(
        "MSH|^~\\&|HIS|H|GW|R|20260501{hour:02}0000||ADT^{event}|{event}-{hour}|P|2.5\r\
         EVN||20260501{hour:02}0000\r{segments}\r"
    )
}

fn person(number: &str) -> String {
    format!("PID|1||{number}^^^H^MR||Doe^Jo||19400203|F||||||||||ACC-{number}")
}

fn merged(number: &str, account: &str, visit: &str) -> String {
    let number = if number.is_empty() { String::new() } else { format!("{number}^^^H^MR") };
    format!("MRG|{number}||{account}||{visit}")
}

/// PV1 of a stay that began at nine: where the patient is, and its number.
fn stay(place: &str, visit: &str) -> String {
    let (doctor, until_44) = ("|".repeat(16), "|".repeat(25));
    format!("PV1|1|I|{place}{doctor}{visit}{until_44}202605010900")
}

fn of(number: &str, rest: &str) -> String {
    format!("{}\r{rest}", person(number))
}

async fn patient(channel: &Channel, number: &str) -> v1::PatientSummary {
    find(channel, "urn:tsunagi:hl7:H:H", number).await
}

async fn entries(channel: &Channel, number: &str) -> Vec<v1::TimelineEntry> {
    timeline(channel, &patient(channel, number).await.patient_id).await
}

/// The types of what stands on a timeline, and is neither cancelled nor in error.
async fn standing(channel: &Channel, number: &str) -> Vec<String> {
    let entries = entries(channel, number).await;
    let takes_back = |of: &str| of.ends_with("cancelled.v1") || of.ends_with("in_error.v1");
    let stands = |entry: &v1::TimelineEntry| {
        entry.cancelled_by_event_id.is_empty()
            && entry.entered_in_error_by_event_id.is_empty()
            && !takes_back(&entry.r#type)
    };
    let short = |entry: v1::TimelineEntry| entry.r#type.replace("care.", "").replace(".v1", "");
    entries.into_iter().filter(stands).map(short).collect()
}

/// Where the patient is: none if in no hospital.
async fn ward(channel: &Channel, number: &str) -> Option<String> {
    let patient = patient(channel, number).await;
    let is_in = patient.state() == v1::PatientState::InHospital;
    is_in.then(|| patient.place.unwrap().ward)
}

/// What was kept for the time between two writes: what was said of it when it was released.
async fn kept_until_done(channel: &Channel) -> Vec<Option<String>> {
    let request = v1::ListQuarantineRequest {
        origin: "moves a visit".to_owned(),
        include_released: true,
        ..v1::ListQuarantineRequest::default()
    };
    let listed = CareBusClient::new(channel.clone()).list_quarantine(liaison(request)).await;
    let messages = listed.unwrap().into_inner().messages;
    messages.into_iter().map(|message| message.released.map(|released| released.note)).collect()
}

#[tokio::test]
async fn a_patient_who_left_for_another_ward_is_on_the_way_until_the_arrival() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    take(&mut sender, adt("A01", 9, &of("7", &stay("W1", "V-1")))).await;
    take(&mut sender, adt("A09", 10, &of("7", &stay("W2", "V-1")))).await;
    take(&mut sender, adt("A09", 10, &of("7", &stay("W2", "V-1")))).await;
    let told = standing(&channel, "7").await;
    assert_eq!(told[1..], ["encounter.admitted", "encounter.transfer_planned"]);
    assert_eq!(ward(&channel, "7").await.as_deref(), Some("W1"), "the bed is kept until then");
    take(&mut sender, adt("A10", 11, &of("7", &stay("W2", "V-1")))).await;
    assert_eq!(ward(&channel, "7").await.as_deref(), Some("W2"));
    // The arrival was none, nor was the way.
    take(&mut sender, adt("A32", 12, &of("7", &stay("W1", "V-1")))).await;
    assert_eq!(ward(&channel, "7").await.as_deref(), Some("W1"));
    take(&mut sender, adt("A33", 12, &of("7", &stay("W1", "V-1")))).await;
    assert_eq!(standing(&channel, "7").await[1..], ["encounter.admitted"]);
}

#[tokio::test]
async fn a_way_to_an_examination_moves_no_patient_and_takes_back_no_move() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    take(&mut sender, adt("A01", 9, &of("7", &stay("W1", "V-1")))).await;
    take(&mut sender, adt("A02", 10, &of("7", &stay("W2", "V-1")))).await;
    let before = standing(&channel, "7").await;
    // PV1-11 alone: a place for the time being. The official one stays.
    let away = stay("W2", "V-1").replacen("W2||||||||", "W2||||||||XRAY", 1);
    take(&mut sender, adt("A09", 11, &of("7", &away))).await;
    take(&mut sender, adt("A10", 12, &of("7", &away))).await;
    // What tracking never told is not taken back by it.
    take(&mut sender, adt("A32", 13, &of("7", &stay("W2", "V-1")))).await;
    take(&mut sender, adt("A33", 13, &of("7", &stay("W2", "V-1")))).await;
    assert_eq!(standing(&channel, "7").await, before);
    // A move that is planned is not forgotten for a way somewhere else.
    let planned = of("7", &stay("W5", "V-1"));
    let planned =
        adt("A15", 14, &planned).replace("EVN||20260501140000", "EVN||20260501140000|20260503");
    take(&mut sender, planned).await;
    let before = standing(&channel, "7").await;
    take(&mut sender, adt("A09", 15, &of("7", &stay("OR", "V-1")))).await;
    assert_eq!(standing(&channel, "7").await, before);
}

#[tokio::test]
async fn what_changes_accounts_and_alternate_ids_changes_no_timeline() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    take(&mut sender, adt("A01", 9, &of("7", &stay("W1", "V-1")))).await;
    take(&mut sender, adt("A28", 9, &person("8"))).await;
    let before = standing(&channel, "7").await;
    for event in ["A35", "A41", "A44", "A48", "A49", "A51"] {
        for prior in ["", "7", "nobody"] {
            let hour = 10 + u8::try_from(prior.len()).unwrap();
            take(&mut sender, adt(event, hour, &of("7", &merged(prior, "ACC-1", "")))).await;
        }
    }
    // Of another patient's account nobody here knows the visits.
    for event in ["A35", "A41", "A44", "A49"] {
        let message = adt(event, 20, &of("8", &merged("7", "ACC-7", "")));
        refuse(&mut sender, message, &["ACCOUNT_OF_ANOTHER", "MRG-1", "A45"]).await;
    }
    assert_eq!(standing(&channel, "7").await, before);
    assert_eq!(standing(&channel, "8").await.len(), 1);
    // Who the patient is, they say as every message does.
    let renamed = of("7", &merged("7", "ACC-1", "")).replace("Doe^Jo", "Roe^Jo");
    take(&mut sender, adt("A49", 21, &renamed)).await;
    let names = patient(&channel, "7").await.demographics.unwrap().names;
    assert_eq!(names[0].family, "Roe");
}

#[tokio::test]
async fn a_visit_that_was_another_patient_s_is_moved_with_all_that_was_told_of_it() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    take(&mut sender, adt("A01", 9, &of("7", &stay("W1", "V-1")))).await;
    take(&mut sender, adt("A02", 10, &of("7", &stay("W2", "V-1")))).await;
    let moved = of("8", &format!("{}\r{}", merged("7", "A-7", "V-1"), stay("W2", "V-1")));
    let moved = adt("A45", 12, &moved);
    for _ in 0..2 {
        take(&mut sender, moved.clone()).await;
        assert_eq!(kept_until_done(&channel).await, [Some("it is done".to_owned())]);
        let told = standing(&channel, "8").await;
        assert_eq!(told, ["patient.registered", "encounter.admitted", "encounter.transferred"]);
        assert_eq!(standing(&channel, "7").await, ["patient.registered"]);
    }
    assert_eq!(ward(&channel, "8").await.as_deref(), Some("W2"));
    assert_eq!(ward(&channel, "7").await, None);
    let told = entries(&channel, "8").await;
    assert_eq!(told[1].occurred_at, "2026-05-01T09:00:00+09:00", "when it happened");
    assert_eq!(told[2].occurred_at, "2026-05-01T10:00:00+09:00");
    // The visit goes on where it is now, and nowhere else.
    take(&mut sender, adt("A03", 15, &of("8", &stay("W2", "V-1")))).await;
    assert_eq!(standing(&channel, "8").await.last().unwrap(), "encounter.discharged");
    let unknown = of("8", &format!("{}\r{}", merged("7", "A-7", "V-9"), stay("W2", "V-9")));
    refuse(&mut sender, adt("A45", 16, &unknown), &["ENCOUNTER_UNKNOWN", "PV1-19", "A01"]).await;
    // From one account to another of the same patient, nothing moves.
    let before = standing(&channel, "8").await;
    let account = of("8", &format!("{}\r{}", merged("", "A-7", "V-1"), stay("W2", "V-1")));
    take(&mut sender, adt("A45", 17, &account)).await;
    assert_eq!(standing(&channel, "8").await, before);
}

#[tokio::test]
async fn who_came_to_attend_a_visit_goes_with_it_and_stays_with_nobody_else() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    let by = |doctor: &str| stay("W2", "V-1").replacen("W2||||", &format!("W2||||{doctor}"), 1);
    take(&mut sender, adt("A01", 9, &of("7", &by("1^Ito")))).await;
    take(&mut sender, adt("A02", 10, &of("7", &by("1^Ito").replacen("W2", "W3", 1)))).await;
    take(&mut sender, adt("A54", 11, &of("7", &by("2^Sato")))).await;
    take(&mut sender, adt("A03", 12, &of("7", &by("2^Sato")))).await;
    let of_visit = [
        "patient.registered",
        "encounter.admitted",
        "encounter.transferred",
        "encounter.attending_changed",
        "encounter.discharged",
    ];
    assert_eq!(standing(&channel, "7").await, of_visit);
    // To the other patient, and back again.
    for (hour, from, to) in [(13, "7", "8"), (14, "8", "7")] {
        let moved = of(to, &format!("{}\r{}", merged(from, "", "V-1"), by("2^Sato")));
        for _ in 0..2 {
            take(&mut sender, adt("A45", hour, &moved)).await;
            assert_eq!(standing(&channel, to).await, of_visit);
            assert_eq!(standing(&channel, from).await, ["patient.registered"]);
        }
    }
    take(&mut sender, adt("A23", 15, &of("7", &by("2^Sato")))).await;
    assert_eq!(standing(&channel, "7").await, ["patient.registered"], "never told of");
}

#[tokio::test]
async fn a_visit_that_cannot_be_the_other_patient_s_stays_where_it_is() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    take(&mut sender, adt("A01", 9, &of("7", &stay("W1", "V-1")))).await;
    take(&mut sender, adt("A01", 10, &of("8", &stay("W3", "V-2")))).await;
    let before = [standing(&channel, "7").await, standing(&channel, "8").await];
    let moved = of("8", &format!("{}\r{}", merged("7", "", "V-1"), stay("W1", "V-1")));
    for times in 1..=2 {
        refuse(&mut sender, adt("A45", 12, &moved), &["IN_FACILITY_ALREADY"]).await;
        let over = kept_until_done(&channel).await;
        assert_eq!(over, vec![Some("it was refused".to_owned()); times], "each time anew");
    }
    let unnumbered = of("8", &format!("{}\r{}", merged("7", "", ""), stay("W1", "")));
    refuse(&mut sender, adt("A45", 13, &unnumbered), &["FIELD_MISSING", "PV1-19"]).await;
    assert_eq!([standing(&channel, "7").await, standing(&channel, "8").await], before);
}

#[tokio::test]
async fn a_visit_is_known_by_its_new_number_and_no_more_by_the_old_one() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    take(&mut sender, adt("A01", 9, &of("7", &stay("W1", "V-1")))).await;
    let anew = of("7", &format!("{}\r{}", merged("7", "", "V-1"), stay("W1", "V-2")));
    take(&mut sender, adt("A50", 10, &anew)).await;
    take(&mut sender, adt("A50", 11, &anew)).await;
    take(&mut sender, adt("A02", 12, &of("7", &stay("W2", "V-2")))).await;
    assert_eq!(ward(&channel, "7").await.as_deref(), Some("W2"));
    let old = "PV1|1|I|W2||||||||||||||||V-1";
    let old = adt("A03", 13, &of("7", old));
    refuse(&mut sender, old, &["ENCOUNTER_UNKNOWN"]).await;
    // The old number may be another visit's now.
    let clinic = "PV1|1|O|OPD||||||||||||||||V-1|||||||||||||||||||||||||202605011400";
    take(&mut sender, adt("A04", 14, &of("7", clinic))).await;
    assert_eq!(ward(&channel, "7").await.as_deref(), Some("W2"));
    let told = standing(&channel, "7").await;
    assert_eq!(told.iter().filter(|of| *of == "encounter.registered").count(), 1, "{told:?}");
    let both = of("7", &format!("{}\r{}", merged("7", "", "V-1"), stay("W1", "V-2")));
    refuse(&mut sender, adt("A50", 15, &both), &["NUMBER_TAKEN", "A42"]).await;
    let nobody = of("7", &format!("{}\r{}", merged("7", "", "V-8"), stay("W1", "V-9")));
    refuse(&mut sender, adt("A50", 16, &nobody), &["ENCOUNTER_UNKNOWN", "MRG-5"]).await;
}

#[tokio::test]
async fn a_plan_is_known_by_its_new_number_too() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    let plan = |visit: &str| {
        let pv1 = format!("PV1|1|I|W1{}{visit}", "|".repeat(16));
        format!("{pv1}\rPV2||||||||20260520")
    };
    take(&mut sender, adt("A14", 9, &of("7", &plan("V-1")))).await;
    let anew = of("7", &format!("{}\r{}", merged("7", "", "V-1"), plan("V-2")));
    take(&mut sender, adt("A50", 10, &anew)).await;
    let told = standing(&channel, "7").await;
    assert_eq!(told, ["patient.registered", "encounter.admission_planned"]);
    take(&mut sender, adt("A27", 11, &of("7", &plan("V-2")))).await;
    assert_eq!(standing(&channel, "7").await, ["patient.registered"]);
}

#[tokio::test]
async fn two_numbers_that_are_one_visit_leave_one_visit() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    let clinic = |visit: &str, hour: u8| {
        format!("PV1|1|O|OPD||||||||||||||||{visit}|||||||||||||||||||||||||20260501{hour:02}00")
    };
    take(&mut sender, adt("A04", 9, &of("7", &clinic("V-1", 9)))).await;
    take(&mut sender, adt("A04", 10, &of("7", &clinic("V-2", 10)))).await;
    let by = clinic("V-1", 9).replacen("OPD||||", "OPD||||2^Sato", 1);
    take(&mut sender, adt("A54", 10, &of("7", &by))).await;
    let one = of("7", &format!("{}\r{}", merged("7", "", "V-1"), clinic("V-2", 10)));
    take(&mut sender, adt("A42", 11, &one)).await;
    // The visit that is left, and that the other number leads to it.
    let left = ["patient.registered", "encounter.registered", "record.value_corrected"];
    assert_eq!(standing(&channel, "7").await, left);
    take(&mut sender, adt("A42", 12, &one)).await;
    assert_eq!(standing(&channel, "7").await, left);
    // Of a number of which nothing is known here, the other one is the visit's from now on.
    let other = of("7", &format!("{}\r{}", merged("7", "", "V-2"), clinic("V-3", 10)));
    take(&mut sender, adt("A42", 13, &other)).await;
    take(&mut sender, adt("A03", 14, &of("7", &clinic("V-3", 10)))).await;
    assert_eq!(standing(&channel, "7").await.last().unwrap(), "encounter.discharged");
}

#[tokio::test]
async fn what_comes_late_under_a_merged_number_is_told_of_the_visit_that_is_left() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    take(&mut sender, adt("A01", 10, &of("7", &stay("W2", "V-2")))).await;
    let one = of("7", &format!("{}\r{}", merged("7", "", "V-1"), stay("W2", "V-2")));
    take(&mut sender, adt("A42", 12, &one)).await;
    take(&mut sender, adt("A42", 13, &one)).await;
    // Written before the two were made one, and after.
    for hour in [9, 14] {
        take(&mut sender, adt("A01", hour, &of("7", &stay("W2", "V-1")))).await;
    }
    let told = standing(&channel, "7").await;
    assert_eq!(told, ["patient.registered", "encounter.admitted", "record.value_corrected"]);
    take(&mut sender, adt("A02", 15, &of("7", &stay("W3", "V-1")))).await;
    assert_eq!(ward(&channel, "7").await.as_deref(), Some("W3"));
    take(&mut sender, adt("A02", 16, &of("7", &stay("W4", "V-2")))).await;
    assert_eq!(ward(&channel, "7").await.as_deref(), Some("W4"), "nor is its own number lost");
    // A visit is none: it does not take the stay's place.
    let clinic = stay("OPD", "V-1").replace("|I|", "|O|");
    refuse(&mut sender, adt("A04", 17, &of("7", &clinic)), &["PV1-2", "ENCOUNTER_UNKNOWN"]).await;
    let told = standing(&channel, "7").await;
    assert!(!told.contains(&"encounter.registered".to_owned()), "{told:?}");
}

#[tokio::test]
async fn of_a_visit_that_has_two_numbers_the_one_that_is_named_is_another() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    let merge =
        |from: &str, to: &str| of("7", &format!("{}\r{}", merged("7", "", from), stay("W1", to)));
    take(&mut sender, adt("A01", 9, &of("7", &stay("W1", "V-2")))).await;
    take(&mut sender, adt("A42", 10, &merge("V-1", "V-2"))).await;
    // What says more of the stay by either number leaves both.
    take(&mut sender, adt("A01", 11, &of("7", &stay("W2", "V-2")))).await;
    take(&mut sender, adt("A50", 12, &merge("V-1", "V-3"))).await;
    for (hour, ward_now, number) in [(13, "W3", "V-2"), (14, "W4", "V-3")] {
        take(&mut sender, adt("A02", hour, &of("7", &stay(ward_now, number)))).await;
        assert_eq!(ward(&channel, "7").await.as_deref(), Some(ward_now), "{number}");
    }
    let old = adt("A03", 15, &of("7", &stay("W4", "V-1").replace("202605010900", "")));
    refuse(&mut sender, old, &["ENCOUNTER_UNKNOWN"]).await;
    // Of a number that was made one with the visit's, a third one is the visit's, too.
    take(&mut sender, adt("A42", 16, &merge("V-3", "V-4"))).await;
    for (hour, ward_now, number) in [(17, "W5", "V-2"), (18, "W6", "V-3"), (19, "W7", "V-4")] {
        take(&mut sender, adt("A02", hour, &of("7", &stay(ward_now, number)))).await;
        assert_eq!(ward(&channel, "7").await.as_deref(), Some(ward_now), "{number}");
    }
    take(&mut sender, adt("A03", 20, &of("7", &stay("W7", "V-4")))).await;
    let later = |message: String| message.replace("202605010900", "202605012100");
    take(&mut sender, later(adt("A01", 21, &of("7", &stay("W9", "V-9"))))).await;
    // All of them are the other visit's, once it takes that one's place.
    take(&mut sender, later(adt("A42", 22, &merge("V-3", "V-9")))).await;
    for (hour, number) in [(23, "V-2"), (24, "V-4")] {
        take(&mut sender, later(adt("A02", hour, &of("7", &stay(number, number))))).await;
        assert_eq!(ward(&channel, "7").await.as_deref(), Some(number));
    }
}

#[tokio::test]
async fn numbers_that_are_made_one_in_a_circle_are_told() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let merge =
        |from: &str, to: &str| of("7", &format!("{}\r{}", merged("7", "", from), stay("W1", to)));
    take(&mut sender, adt("A01", 9, &of("7", &stay("W1", "V-2")))).await;
    take(&mut sender, adt("A42", 10, &merge("V-1", "V-2"))).await;
    let circle = ["MRG-5", "NUMBERS_CIRCULAR", "A50"];
    refuse(&mut sender, adt("A42", 11, &merge("V-2", "V-1")), &circle).await;
    refuse(&mut sender, adt("A42", 12, &merge("V-2", "V-2")), &circle).await;
    take(&mut sender, adt("A42", 13, &merge("V-1", "V-2"))).await;
}

#[tokio::test]
async fn what_is_only_planned_takes_over_no_number_of_which_nothing_is_known() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    let plan = format!("PV1|1|I|W1{}V-2\rPV2||||||||20260520", "|".repeat(16));
    take(&mut sender, adt("A14", 9, &of("7", &plan))).await;
    let one = of("7", &format!("{}\r{}", merged("7", "", "V-1"), stay("W1", "V-2")));
    refuse(&mut sender, adt("A42", 12, &one), &["MRG-5", "ENCOUNTER_UNKNOWN"]).await;
    take(&mut sender, adt("A01", 10, &of("7", &stay("W1", "V-1")))).await;
    take(&mut sender, adt("A42", 13, &one)).await;
    let told = standing(&channel, "7").await;
    assert_eq!(told, ["patient.registered", "encounter.admitted", "record.value_corrected"]);
}

#[tokio::test]
async fn a_stay_and_a_visit_are_not_made_one() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    take(&mut sender, adt("A01", 9, &of("7", &stay("W1", "V-1")))).await;
    let clinic = stay("OPD", "V-2").replace("|I|", "|O|");
    take(&mut sender, adt("A04", 10, &of("7", &clinic))).await;
    let before = standing(&channel, "7").await;
    let one = of("7", &format!("{}\r{clinic}", merged("7", "", "V-1")));
    refuse(&mut sender, adt("A42", 12, &one), &["CLASSES_DIFFER", "MRG-5", "A06"]).await;
    let other = of("7", &format!("{}\r{}", merged("7", "", "V-2"), stay("W1", "V-1")));
    refuse(&mut sender, adt("A42", 13, &other), &["CLASSES_DIFFER"]).await;
    assert_eq!(standing(&channel, "7").await, before);
    assert_eq!(ward(&channel, "7").await.as_deref(), Some("W1"));
}

#[tokio::test]
async fn a_number_with_a_record_of_its_own_is_moved_to_another_person() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    for (hour, number) in [(8, "S"), (9, "T")] {
        take(&mut sender, adt("A28", hour, &person(number))).await;
    }
    take(&mut sender, adt("A01", 10, &of("N", &stay("W1", "V-1")))).await;
    take(&mut sender, adt("A40", 11, &of("S", &merged("N", "", "")))).await;
    assert_eq!(ward(&channel, "S").await.as_deref(), Some("W1"));
    // PID-2 and MRG-4 say to whom and from whom, PID-3 and MRG-1 what is moved.
    let moved = "PID|1|T^^^H^MR|N^^^H^MR||Doe^Jo||19400203|F\rMRG|N^^^H^MR|||S^^^H^MR";
    for hour in [12, 12, 13] {
        take(&mut sender, adt("A43", hour, moved)).await;
        assert_eq!(ward(&channel, "T").await.as_deref(), Some("W1"), "with all that is its own");
        assert_eq!(ward(&channel, "S").await, None);
        let [one, other] = [patient(&channel, "N").await, patient(&channel, "T").await];
        assert_eq!(one.patient_id, other.patient_id);
    }
}

#[tokio::test]
async fn a_number_is_not_moved_to_somebody_of_another_birth() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    let other = person("T").replace("19400203|F", "19720202|M");
    take(&mut sender, adt("A28", 8, &other)).await;
    for (hour, number) in [(9, "S"), (10, "N")] {
        take(&mut sender, adt("A28", hour, &person(number))).await;
    }
    take(&mut sender, adt("A40", 11, &of("S", &merged("N", "", "")))).await;
    let moved = "PID|1|T^^^H^MR|N^^^H^MR||Doe^Jo||19400203|F\rMRG|N^^^H^MR|||S^^^H^MR";
    refuse(&mut sender, adt("A43", 12, moved), &["PATIENT_MISMATCH"]).await;
    let [one, other] = [patient(&channel, "N").await, patient(&channel, "S").await];
    assert_eq!(one.patient_id, other.patient_id, "it is where it was");
}

#[tokio::test]
async fn a_number_whose_events_nobody_can_tell_apart_is_not_moved() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    take(&mut sender, adt("A28", 9, &person("T"))).await;
    let both = person("S").replace("S^^^H^MR", "S^^^H^MR~N^^^H^MR");
    take(&mut sender, adt("A28", 10, &both)).await;
    let moved = "PID|1|T^^^H^MR|N^^^H^MR||Doe^Jo||19400203|F\rMRG|N^^^H^MR|||S^^^H^MR";
    refuse(&mut sender, adt("A43", 11, moved), &["NUMBER_OF_ONE_RECORD", "MarkEnteredInError"])
        .await;
    // A message that names two numbers does not say which is moved, and to whom.
    let unclear = "PID|1||T^^^H^MR||Doe^Jo||19400203|F\rMRG|S^^^H^MR";
    refuse(&mut sender, adt("A43", 12, unclear), &["FIELD_MISSING", "A40"]).await;
    let nowhere = "PID|1||N^^^H^MR||Doe^Jo||19400203|F\rMRG|N^^^H^MR|||S^^^H^MR";
    refuse(&mut sender, adt("A43", 13, nowhere), &["FIELD_MISSING", "PID-2"]).await;
    assert_ne!(patient(&channel, "N").await.patient_id, patient(&channel, "T").await.patient_id);
}

#[tokio::test]
async fn allergies_are_told_of_and_not_what_they_are() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    let known = "IAM|1|DA^drug|106824501^アリナミン|MO|のどの渇き|A\rIAM|2|FA^food|1^ソバ|MI||U\r\
                 IAM|3|EA|2^ハウスダスト|MI||D\rIAM|4|EA|3^スギ|MI||X";
    let message = adt("A60", 9, &of("7", known)).replace("2.5\r", "2.5||||||UNICODE UTF-8\r");
    take(&mut sender, message.clone()).await;
    take(&mut sender, message).await;
    let told = standing(&channel, "7").await;
    assert_eq!(told, ["patient.registered", "patient.allergies_recorded"]);
    let told = entries(&channel, "7").await.remove(1);
    let said = told.text.unwrap_or_default().ja;
    assert!(said.contains("アレルギー") && !said.contains("アリナミン"), "{said}");
    // Without any, it says who the patient is.
    take(&mut sender, adt("A60", 10, &person("7"))).await;
    assert_eq!(standing(&channel, "7").await.len(), 2);
}

/// Whose a visit is at the end, that was told to patient `a` and moved to patient `b`.
async fn whose(channel: &Channel, pair: usize) -> [bool; 2] {
    let has = async |side: &str| {
        let told = standing(channel, &format!("{side}{pair}")).await;
        told.iter().any(|of| of == "encounter.admitted")
    };
    [has("a").await, has("b").await]
}

/// The same once it is told to one of them alone: looked at anew whenever something is told of the
/// first.
async fn settled(channel: &Channel, pair: usize) -> [bool; 2] {
    let patient_id = patient(channel, &format!("a{pair}")).await.patient_id;
    let watch = v1::WatchTimelineRequest { patient_id, ..Default::default() };
    let watched = TimelineClient::new(channel.clone()).watch_timeline(liaison(watch)).await;
    let mut frames = watched.unwrap().into_inner();
    loop {
        let whose = whose(channel, pair).await;
        if whose != [true, true] {
            return whose;
        }
        frames.message().await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_move_that_a_kill_interrupted_is_finished_though_nobody_sends_it_again() {
    const PAIRS: usize = 48;
    const SENDERS: usize = 8;
    let data = folder();
    let mut server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    for pair in 0..PAIRS {
        let (one, other, visit) = (format!("a{pair}"), format!("b{pair}"), format!("V-{pair}"));
        take(&mut sender, adt("A01", 9, &of(&one, &stay("W1", &visit)))).await;
        take(&mut sender, adt("A28", 9, &person(&other))).await;
    }
    let moved = |pair: usize| {
        let (one, visit) = (format!("a{pair}"), format!("V-{pair}"));
        let said = format!("{}\r{}", merged(&one, "", &visit), stay("W1", &visit));
        adt("A45", 12, &of(&format!("b{pair}"), &said))
    };
    // Killed after the first was answered, when the others are at any point of their way.
    for round in 0..PAIRS / SENDERS {
        let mut sent = tokio::task::JoinSet::new();
        for pair in round * SENDERS..(round + 1) * SENDERS {
            let (mut connection, message) = (Sender::connect(&server).await, moved(pair));
            sent.spawn(async move { connection.try_send(message).await });
        }
        sent.join_next().await.unwrap().unwrap();
        server.kill();
        while sent.join_next().await.is_some() {}
        server = start(data.path());
    }
    let channel = server.channel().await;
    for pair in 0..PAIRS {
        assert!(settled(&channel, pair).await.contains(&true), "it is somebody's");
    }
    let moved_to = async |pair| whose(&channel, pair).await == [false, true];
    let mut count = 0;
    for pair in 0..PAIRS {
        count += usize::from(moved_to(pair).await);
    }
    assert!(count >= PAIRS / SENDERS, "{count}");
}

#[tokio::test]
async fn a_move_that_many_senders_say_at_once_is_one() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    for round in 0..4 {
        let (one, other, visit) = (format!("a{round}"), format!("b{round}"), format!("V-{round}"));
        take(&mut sender, adt("A01", 9, &of(&one, &stay("W1", &visit)))).await;
        let said = format!("{}\r{}", merged(&one, "", &visit), stay("W1", &visit));
        let moved = adt("A45", 12, &of(&other, &said));
        let mut sent = tokio::task::JoinSet::new();
        for _ in 0..6 {
            let (mut connection, message) = (Sender::connect(&server).await, moved.clone());
            sent.spawn(async move { connection.send(message).await });
        }
        while let Some(answer) = sent.join_next().await {
            assert_eq!(code(answer.as_ref().unwrap()).0, "AA", "{answer:?}");
        }
        assert_eq!(whose(&channel, round).await, [false, true]);
    }
    let kept = crate::hl7_news::sent(&channel, &["care.system.message_quarantined."]).await;
    let released = crate::hl7_news::sent(&channel, &["care.system.message_released."]).await;
    assert_eq!(kept.len(), released.len(), "nobody has to look at any of them");
}
