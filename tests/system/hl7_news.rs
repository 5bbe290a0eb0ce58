//! What HL7 v2 messages say of who a patient is: which word holds, what of it cannot be read, and
//! what must not leave the record.

use std::path::Path;

use prost::Message as _;
use tonic::transport::Channel;
use tsunagi_gateway::hl7::Charset;
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_bus_client::CareBusClient;
use tsunagi_proto::v1::subscribe_response::Frame;

use crate::mllp::{Sender, code, find};
use crate::support::{Server, folder, liaison, run, stdout, timeline};

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
async fn sent(channel: &Channel, prefixes: &[&str]) -> Vec<v1::Event> {
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
            Some(Frame::Heartbeat(_)) | None => {}
        }
    }
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
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
