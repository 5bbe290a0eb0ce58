//! What HL7 v2 messages say of who a patient is: which word holds, what of it cannot be read, and
//! what must not leave the record.

use std::path::Path;

use prost::Message as _;
use tonic::transport::Channel;
use tsunagi_gateway::hl7::Charset;
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_bus_client::CareBusClient;
use tsunagi_proto::v1::care_team_client::CareTeamClient;
use tsunagi_proto::v1::discharge_desk_client::DischargeDeskClient;
use tsunagi_proto::v1::subscribe_response::Frame;

use crate::mllp::{Sender, code, find};
use crate::support::{Server, context, folder, id, liaison, run, stdout, timeline};

fn start(data: &Path) -> Server {
    Server::start_with(data, &["--mllp-listen", "127.0.0.1:0"])
}

/// A message that was written at a time, and tells of another.
fn written(event: &str, control: &str, times: [&str; 2], segments: &str) -> String {
    let [at, happened] = times;
    format!(
        "MSH|^~\\&|HIS|H|GW|R|20260520120000||ADT^{event}|{control}|P|2.5\r\
         EVN||{at}||||{happened}\r{segments}\r"
    )
}

/// A message of a day in May.
fn of_day(event: &str, control: &str, day: u8, segments: &str) -> String {
    written(event, control, [&format!("202605{day:02}120000"), ""], segments)
}

fn phone(number: &str, phone: &str) -> String {
    format!("PID|1||{number}||Doe^Jo||19400203|F|||||{phone}")
}

fn living(number: &str, address: &str) -> String {
    format!("PID|1||{number}||Doe^Jo||19400203|F|||{address}^^^^^^H")
}

async fn patient(channel: &Channel, number: &str) -> v1::PatientSummary {
    find(channel, "urn:tsunagi:hl7:H", number).await
}

async fn person(channel: &Channel, number: &str) -> v1::Demographics {
    patient(channel, number).await.demographics.unwrap()
}

async fn phone_of(channel: &Channel, number: &str) -> String {
    person(channel, number).await.contacts[0].value.clone()
}

async fn name_of(channel: &Channel, number: &str) -> String {
    let names = person(channel, number).await.names;
    names
        .into_iter()
        .map(|name| format!("{} {}", name.family, name.given))
        .collect::<Vec<_>>()
        .join("/")
}

/// Sends a message that is to be taken, and gives the text of the answer.
async fn take(sender: &mut Sender, message: impl AsRef<[u8]>) -> String {
    let answer = sender.send(message).await;
    let (code, text) = code(&answer);
    assert_eq!(code, "AA", "{answer}");
    text.to_owned()
}

/// All that a subscriber to these types is sent.
pub(crate) async fn sent(channel: &Channel, prefixes: &[&str]) -> Vec<v1::Event> {
    let request = v1::SubscribeRequest {
        type_prefixes: prefixes.iter().map(|of| (*of).to_owned()).collect(),
        ..v1::SubscribeRequest::default()
    };
    let mut bus = CareBusClient::new(channel.clone());
    let mut frames = bus.subscribe(liaison(request)).await.unwrap().into_inner();
    let mut events = Vec::new();
    loop {
        match frames.message().await.unwrap().unwrap().frame {
            Some(Frame::Event(stored)) => events.push(stored.event.unwrap()),
            Some(Frame::CaughtUp(_)) => return events,
            Some(Frame::Unreadable(_)) => panic!("an event cannot be read"),
            Some(Frame::Heartbeat(_)) | None => {}
        }
    }
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

#[tokio::test]
async fn a_list_of_numbers_that_is_taken_back_leaves_the_other_and_is_news_once() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    take(&mut sender, of_day("A28", "1", 1, &phone("7", "555|777"))).await;
    let at_work = phone("7", "\"\"");
    assert_eq!(take(&mut sender, of_day("A08", "2", 2, &at_work)).await, "");
    assert_eq!(phone_of(&channel, "7").await, "777");
    assert_eq!(take(&mut sender, of_day("A08", "3", 3, &at_work)).await, "known already");
    take(&mut sender, of_day("A08", "4", 4, &phone("7", "556|\"\""))).await;
    assert_eq!(phone_of(&channel, "7").await, "556");
    take(&mut sender, of_day("A08", "5", 5, &phone("7", "|778"))).await;
    take(&mut sender, of_day("A08", "6", 6, &phone("7", "|\"\""))).await;
    let contacts = person(&channel, "7").await.contacts;
    assert_eq!((contacts.len(), contacts[0].value.as_str()), (1, "556"));
}

#[tokio::test]
async fn what_is_in_quarantine_leaves_it_only_when_it_is_asked_for() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let hidden = format!("{}\rPD1||||||||||||Y", living("7", "HIDDEN"));
    take(&mut sender, of_day("A28", "1", 1, &hidden)).await;
    let refused = of_day("A13", "2", 2, &format!("{hidden}\rPV1|1|I"));
    assert_eq!(code(&sender.send(&refused).await).0, "AE");
    let doubtful = of_day("A31", "3", 3, &format!("{}\rNTE|1||é", hidden.replace("Doe", "Roe")));
    take(&mut sender, &doubtful).await;
    let channel = server.channel().await;
    let events = sent(&channel, &["care."]).await;
    let events: Vec<_> =
        events.into_iter().chain(sent(&channel, &["care.system."]).await).collect();
    let kept: Vec<_> = events.iter().filter(|event| event.r#type.contains("quarantined")).collect();
    assert!(kept.len() >= 2, "{}", kept.len());
    for event in &events {
        assert!(!has(&event.encode_to_vec(), "HIDDEN"), "{}", event.r#type);
    }
    let (id, url) = (kept[0].event_id.clone(), server.url.clone());
    let shown = tokio::task::spawn_blocking(move || {
        let list = stdout(&run(&["quarantine", "--server", &url]));
        (list, run(&["quarantine", &id, "--server", &url]).stdout)
    });
    let (list, shown) = shown.await.unwrap();
    assert!(list.contains(&format!("{} bytes", refused.len())), "{list}");
    assert_eq!(shown, refused.as_bytes());
}

#[tokio::test]
async fn what_was_written_later_holds_whatever_time_it_tells_of() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    take(&mut sender, of_day("A28", "1", 1, &phone("7", "111"))).await;
    take(&mut sender, of_day("A08", "2", 2, &phone("7", "111"))).await;
    let moved = written("A31", "3", ["20260510120000", "20260420"], &phone("7", "222"));
    assert_eq!(take(&mut sender, &moved).await, "");
    assert_eq!(phone_of(&channel, "7").await, "222");
    // What was written before is no news.
    take(&mut sender, of_day("A31", "4", 9, &phone("7", "333"))).await;
    assert_eq!(phone_of(&channel, "7").await, "222");
}

#[tokio::test]
async fn that_an_address_is_confidential_and_a_death_are_never_too_late() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    take(&mut sender, of_day("A28", "1", 1, &living("7", "HIDDEN"))).await;
    take(&mut sender, of_day("A08", "2", 9, &living("7", "HIDDEN 2"))).await;
    let protected = format!("{}\rPD1||||||||||||Y", living("7", "HIDDEN"));
    assert_eq!(take(&mut sender, of_day("A31", "3", 3, &protected)).await, "");
    let known = person(&channel, "7").await;
    let address = known.address.unwrap();
    assert!(address.confidential && address.text.is_empty(), "{address:?}");
    let died = format!("{}{}20260501093000|Y", phone("7", ""), "|".repeat(16));
    assert_eq!(take(&mut sender, of_day("A31", "4", 4, &died)).await, "");
    let known = person(&channel, "7").await;
    assert_eq!((known.deceased, known.deceased_at.as_str()), (true, "2026-05-01T09:30:00+09:00"));
    // What was taken back since is not said again by what was written before.
    let lives = format!("{}{}\"\"|N", phone("7", ""), "|".repeat(16));
    take(&mut sender, of_day("A31", "5", 12, &lives)).await;
    take(&mut sender, of_day("A31", "6", 5, &died)).await;
    assert!(!person(&channel, "7").await.deceased);
}

#[tokio::test]
async fn what_a_message_does_not_say_is_no_word_of_its_sender() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    take(&mut sender, of_day("A28", "1", 1, &living("7", "RIGHT"))).await;
    let owner = patient(&channel, "7").await.patient_id;
    let address = v1::Address { text: "WRONG".into(), ..v1::Address::default() };
    let demographics = v1::Demographics { address: Some(address), ..person(&channel, "7").await };
    let update = v1::UpdateDemographicsRequest {
        context: Some(context(&owner, &id(2), "2026-05-02T12:00:00+09:00")),
        event: Some(v1::DemographicsUpdated {
            demographics: Some(demographics),
            keeps: Vec::new(),
            withdraws: Vec::new(),
        }),
    };
    DischargeDeskClient::new(channel.clone()).update_demographics(liaison(update)).await.unwrap();
    take(&mut sender, of_day("A31", "3", 3, &phone("7", "111"))).await;
    let lives_at = async || person(&channel, "7").await.address.unwrap().text;
    assert_eq!((lives_at().await, phone_of(&channel, "7").await), ("WRONG".into(), "111".into()));
    let error = v1::MarkEnteredInErrorRequest {
        context: Some(context(&owner, &id(4), "2026-05-04T12:00:00+09:00")),
        event: Some(v1::EnteredInError { corrects_event_id: id(2), ..Default::default() }),
    };
    CareTeamClient::new(channel.clone()).mark_entered_in_error(liaison(error)).await.unwrap();
    assert_eq!((lives_at().await, phone_of(&channel, "7").await), ("RIGHT".into(), "111".into()));
}

#[tokio::test]
async fn a_protection_in_error_opens_no_address_to_messages() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    take(&mut sender, of_day("A28", "1", 1, &living("7", "OPEN"))).await;
    let hidden = format!("{}\rPD1||||||||||||Y", living("7", "HIDDEN"));
    take(&mut sender, of_day("A31", "2", 2, &hidden)).await;
    let owner = patient(&channel, "7").await.patient_id;
    let entries = timeline(&channel, &owner).await;
    let said = entries.iter().find(|entry| entry.r#type.ends_with("demographics_updated.v1"));
    let corrects_event_id = said.unwrap().event_id.clone();
    let context = context(&owner, &id(4), "2026-05-03T12:00:00+09:00");
    let context = v1::CommandContext { on_behalf_of: "H".to_owned(), ..context };
    let error = v1::MarkEnteredInErrorRequest {
        context: Some(context),
        event: Some(v1::EnteredInError { corrects_event_id, ..Default::default() }),
    };
    CareTeamClient::new(channel.clone()).mark_entered_in_error(liaison(error)).await.unwrap();
    take(&mut sender, of_day("A31", "5", 5, &living("7", "ELSEWHERE"))).await;
    let address = person(&channel, "7").await.address.unwrap();
    assert_eq!((address.confidential, address.text.as_str()), (true, ""));
}

#[tokio::test]
async fn of_two_words_of_one_time_the_first_does_not_come_back() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    take(&mut sender, of_day("A28", "1", 1, &phone("7", "111"))).await;
    let known = of_day("A31", "2", 1, &phone("7", "111"));
    assert_eq!(take(&mut sender, &known).await, "known already");
    take(&mut sender, of_day("A31", "3", 1, &phone("7", "222"))).await;
    assert_eq!(take(&mut sender, &known).await, "known already");
    assert_eq!(phone_of(&channel, "7").await, "222");
    take(&mut sender, of_day("A31", "4", 1, &phone("7", "333"))).await;
    assert_eq!(phone_of(&channel, "7").await, "333");
    // Of what has a day and no time, the time of sending says what came first.
    let of_a_day = |control: &str, sent: &str, number: &str| {
        let message = written("A31", control, ["20260505", ""], &phone("7", number));
        message.replace("20260520120000", sent)
    };
    for (control, sent, number) in [
        ("5", "20260505100000", "444"),
        ("6", "20260505110000", "555"),
        ("7", "20260505120000", "444"),
    ] {
        take(&mut sender, of_a_day(control, sent, number)).await;
        assert_eq!(phone_of(&channel, "7").await, number);
    }
    take(&mut sender, of_a_day("6", "20260505110000", "555")).await;
    assert_eq!(phone_of(&channel, "7").await, "444");
}

#[tokio::test]
async fn where_nothing_else_says_when_the_time_of_sending_tells_messages_apart() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let left = |sent: &str, event: &str| {
        let visit = "PV1|1|I|4E||||||||||||||||V-1";
        let message = written(event, "1", ["", ""], &format!("{}\r{visit}", phone("7", "1")));
        message.replace("20260520120000", sent)
    };
    for (at, event) in [
        ("20260501120000", "A01"),
        ("20260502120000", "A21"),
        ("20260503120000", "A22"),
        ("20260504120000", "A21"),
        ("20260505120000", "A22"),
    ] {
        take(&mut sender, left(at, event)).await;
        take(&mut sender, left(at, event)).await;
    }
    let channel = server.channel().await;
    let patient = patient(&channel, "7").await;
    let entries = timeline(&channel, &patient.patient_id).await;
    let count = |kind: &str| entries.iter().filter(|entry| entry.r#type.contains(kind)).count();
    assert_eq!((count("leave_started"), count("leave_returned")), (2, 2));
}

#[tokio::test]
async fn of_several_patients_all_are_looked_at_before_anything_is_said_of_one() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    let is_other = |number: &str| format!("PID|1||{number}||Roe^Jim||19720202|M");
    for (control, who) in [("1", phone("a", "1")), ("2", phone("b", "1")), ("3", phone("c", "1"))] {
        take(&mut sender, of_day("A28", control, 1, &who)).await;
    }
    take(&mut sender, of_day("A28", "4", 1, &is_other("d"))).await;
    let pairs = "PID|1||a||Doe^Jo\rMRG|b\rPID|2||c||Doe^Jo\rMRG|d";
    let answer = sender.send(of_day("A40", "5", 2, pairs)).await;
    assert!(code(&answer).0 == "AE" && answer.contains("PATIENT_MISMATCH"), "{answer}");
    assert_ne!(
        patient(&channel, "a").await.patient_id,
        patient(&channel, "b").await.patient_id,
        "of a message that is refused, nothing is done"
    );
    let stay = |ward: &str, visit: &str| {
        format!("PV1|1|I|{ward}||||||||||||||||{visit}{}20260501090000", "|".repeat(25))
    };
    take(
        &mut sender,
        of_day("A01", "6", 1, &format!("{}\r{}", phone("a", "1"), stay("4E", "V-1"))),
    )
    .await;
    take(&mut sender, of_day("A01", "7", 1, &format!("{}\r{}", is_other("d"), stay("5W", "V-2"))))
        .await;
    let swapped = format!(
        "{}\r{}\rPID|2||d||Doe^Jo||19400203|F\r{}",
        phone("a", "1"),
        stay("5W", "V-1"),
        stay("4E", "V-2")
    );
    let answer = sender.send(of_day("A17", "8", 3, &swapped)).await;
    assert!(code(&answer).0 == "AE" && answer.contains("PATIENT_MISMATCH"), "{answer}");
    assert_eq!(patient(&channel, "a").await.place.unwrap().ward, "4E");
}

#[tokio::test]
async fn an_update_does_not_open_an_address_that_a_merged_record_protects() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    take(&mut sender, of_day("A28", "1", 10, &living("a", "OPEN"))).await;
    let protected = format!("{}\rPD1||||||||||||Y", living("b", "HIDDEN"));
    take(&mut sender, of_day("A28", "2", 1, &protected)).await;
    take(&mut sender, of_day("A40", "3", 11, "PID|1||a||Doe^Jo\rMRG|b")).await;
    assert_eq!(person(&channel, "a").await.address.unwrap().text, "");
    take(&mut sender, of_day("A08", "4", 12, &living("a", "HIDDEN"))).await;
    let address = person(&channel, "a").await.address.unwrap();
    assert!(address.confidential && address.text.is_empty(), "{address:?}");
    for event in sent(&channel, &["care."]).await {
        assert!(!has(&event.encode_to_vec(), "HIDDEN"), "{}", event.r#type);
    }
}

/// Of which of the two it was said that the address is confidential, no system knows.
#[tokio::test]
async fn an_update_does_not_open_an_address_that_was_protected_while_two_were_merged() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    take(&mut sender, of_day("A28", "1", 1, &living("a", "OPEN"))).await;
    take(&mut sender, of_day("A28", "2", 1, &living("b", "HIDDEN"))).await;
    let (a, b) = (patient(&channel, "a").await.patient_id, patient(&channel, "b").await.patient_id);
    take(&mut sender, of_day("A40", "3", 2, "PID|1||a||Doe^Jo\rMRG|b")).await;
    let protected = format!("{}\rPD1||||||||||||Y", living("a", "OPEN"));
    take(&mut sender, of_day("A08", "4", 3, &protected)).await;
    let unmerged = v1::PatientsUnmerged { retired_patient_id: b, ..Default::default() };
    let context = Some(context(&a, &id(0x21), "2026-05-04T12:00:00+09:00"));
    let request = v1::UnmergePatientsRequest { context, event: Some(unmerged) };
    let mut team = CareTeamClient::new(channel.clone());
    team.unmerge_patients(liaison(request)).await.unwrap();
    for number in ["a", "b"] {
        assert_eq!(person(&channel, number).await.address.unwrap().text, "");
    }
    let told_again = of_day("A08", "5", 5, &living("b", "HIDDEN"));
    take(&mut sender, told_again).await;
    let address = person(&channel, "b").await.address.unwrap();
    assert!(address.confidential && address.text.is_empty(), "{address:?}");
    for event in sent(&channel, &["care."]).await {
        assert!(!has(&event.encode_to_vec(), "HIDDEN"), "{}", event.r#type);
    }
}

#[tokio::test]
async fn a_byte_that_is_no_character_spoils_its_own_field_alone() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    let said = |charset: &str, number: &str, name: &str, address: &str| {
        let pid = format!("PID|1||{number}||{name}^^^^^L^I||19400203|F|||{address}^^^^^^H");
        let message = of_day("A31", "1", 1, &format!("{pid}\rNTE|1||@"));
        message.replace("|P|2.5", &format!("|P|2.5||||||{charset}"))
    };
    for (at, (name, charset)) in [
        ("CP932", Charset::Cp932),
        ("EUC-JP", Charset::EucJp),
        ("UNICODE UTF-8", Charset::Utf8),
        ("", Charset::Utf8),
    ]
    .into_iter()
    .enumerate()
    {
        let number = format!("n{at}");
        let good = said(name, &number, "山田^ポール", "東京都").replace('@', "");
        take(&mut sender, charset.write(&good)).await;
        let spoilt = |message: String| {
            let bytes = charset.write(&message);
            bytes.split(|byte| *byte == b'@').collect::<Vec<_>>().join(&0xff)
        };
        // Where it tells of no field that is kept, all of the rest is read.
        let message = said(name, &number, "鈴木^ポール", "京都府").replace("|1|P", "|2|P");
        take(&mut sender, spoilt(message)).await;
        assert_eq!(name_of(&channel, &number).await, "鈴木 ポール", "{name}");
        // In a name, that name is not taken, and the answer says so, also the second time.
        let message = said(name, &number, "鈴@^花子", "大阪府").replace("|1|P", "|3|P");
        for _ in 0..2 {
            let told = take(&mut sender, spoilt(message.clone())).await;
            assert!(told.contains("PID-5"), "{name}: {told}");
        }
        let known = person(&channel, &number).await;
        assert_eq!(known.address.unwrap().text, "大阪府", "{name}");
        assert_eq!(name_of(&channel, &number).await, "鈴木 ポール", "{name}");
    }
    let events = sent(&channel, &["care.patient."]).await;
    let warned =
        |event: &v1::Event| event.source.as_ref().unwrap().warning.contains("no characters");
    assert_eq!(events.iter().filter(|event| warned(event)).count(), 8);
    // A number that cannot be read is nobody's.
    let nobody = of_day("A28", "9", 1, "PID|1||7@||Doe^Jo");
    let mut nobody = nobody.replace("|P|2.5", "|P|2.5||||||UNICODE UTF-8").into_bytes();
    nobody.iter_mut().filter(|byte| **byte == b'@').for_each(|byte| *byte = 0xff);
    let answer = sender.send(&nobody).await;
    assert!(code(&answer).0 == "AE" && answer.contains("PID-3"), "{answer}");
}

#[tokio::test]
async fn the_number_of_an_account_is_nobody_s() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    take(&mut sender, of_day("A28", "1", 1, "PID|1||777^^^^MR||Alpha^A||19500101|F")).await;
    for other in ["AN", "VN"] {
        let said = format!("PID|1||888^^^^MR~777^^^^{other}||Beta^B");
        take(&mut sender, of_day("A28", other, 2, &said)).await;
    }
    assert_eq!(name_of(&channel, "777").await, "Alpha A");
    assert_eq!(name_of(&channel, "888").await, "Beta B");
    assert_ne!(
        patient(&channel, "777").await.patient_id,
        patient(&channel, "888").await.patient_id
    );
}

#[tokio::test]
async fn a_class_of_visit_that_is_not_known_is_remarked() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    for class in ["P", "N", "U", "C"] {
        let visit = format!("PV1|1|{class}|4E||||||||||||||||V-{class}");
        let message = of_day("A01", class, 1, &format!("{}\r{visit}", phone(class, "1")));
        for _ in 0..2 {
            let told = take(&mut sender, &message).await;
            assert!(told.contains("PV1-2"), "{class}: {told}");
        }
    }
    for event in sent(&channel, &["care.encounter."]).await {
        assert!(event.source.unwrap().warning.contains("PV1-2"));
    }
    let visit = "PV1|1|I|4E||||||||||||||||V-9";
    let told =
        take(&mut sender, of_day("A01", "9", 1, &format!("{}\r{visit}", phone("9", "1")))).await;
    assert_eq!(told, "");
}

#[tokio::test]
async fn a_batch_of_several_character_sets_is_answered_in_one_that_has_them_all() {
    let data = folder();
    let server = start(data.path());
    let mut sender = Sender::connect(&server).await;
    let one = of_day("A28", "1", 1, &phone("7", "1"));
    let other = of_day("A28", "2", 1, &phone("8", "1")).replace("|HIS|H|", "|HIS|東病院|");
    let other = other.replace("|P|2.5", "|P|2.5||||||UNICODE UTF-8");
    let answer = sender.send(format!("BHS|^~\\&|A|B\r{one}{other}BTS|2\r")).await;
    assert!(answer.contains("東病院") && answer.contains("BTS|2"), "{answer}");
}

#[tokio::test]
async fn a_batch_with_too_many_messages_is_refused_whole() {
    let data = folder();
    let settings = ["--mllp-listen", "127.0.0.1:0", "--mllp-batch-messages", "3"];
    let server = Server::start_with(data.path(), &settings);
    let mut sender = Sender::connect(&server).await;
    let answer = sender.send("MSH|n\r".repeat(4)).await;
    let (code, told) = code(&answer);
    assert!(code == "AR" && told.contains("mllp-batch-messages"), "{answer}");
    let channel = server.channel().await;
    assert_eq!(sent(&channel, &["care.system.message_quarantined."]).await.len(), 1);
    let good = of_day("A28", "1", 1, &phone("7", "1"));
    take(&mut sender, format!("BHS|^~\\&|A|B\r{good}")).await;
}
