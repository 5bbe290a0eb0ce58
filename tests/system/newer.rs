//! What a newer program wrote, an older one keeps and passes on as it is (I7).

use prost::Message as _;
use tsunagi_bus::{Bus as _, Draft, Expected, Publication, StreamId};
use tsunagi_chassis::Config;
use tsunagi_chassis::config::Values;
use tsunagi_domain::{EventId, PatientId};
use tsunagi_event_store::Store;
use tsunagi_event_store::log::file::Patience;
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_bus_client::CareBusClient;
use tsunagi_proto::v1::subscribe_response::Frame;

use crate::desks::register;
use crate::support::{Server, folder, id, liaison, sentences, timeline};

/// A field that this version does not know: number 900, two bytes.
const UNKNOWN_FIELD: [u8; 5] = [0xa2, 0x38, 0x02, 0x68, 0x69];

fn event(number: u128, event_type: &str, payload: Vec<u8>) -> v1::Event {
    v1::Event {
        event_id: id(number),
        r#type: event_type.to_owned(),
        patient_id: id(1),
        occurred_at: "2026-05-02T10:00:00+09:00".to_owned(),
        actor: Some(v1::Actor {
            organisation: "acute".to_owned(),
            role: "liaison-nurse".to_owned(),
            person: "n-1".to_owned(),
            ..v1::Actor::default()
        }),
        payload,
        ..v1::Event::default()
    }
}

/// The folder's store, as another program opens it.
fn open(data: &std::path::Path) -> Store {
    let small = [("data", data.to_str().unwrap()), ("slots", "4")];
    let given = small.map(|(name, value)| (name, value.to_owned())).into();
    let config = Config::new(&Values::gather(&given, None).unwrap()).unwrap();
    Store::open(&config).unwrap()
}

#[tokio::test]
async fn what_a_newer_program_wrote_survives_an_older_one_unchanged() {
    let data = folder();
    let server = Server::start(data.path());
    register(&server.channel().await, &id(1), "00123").await;
    server.terminate().await;

    // The newer program: a type of its own, a field of its own in a known message, and one in the
    // envelope.
    let visit = v1::VisitCompleted { kind: 1, ..v1::VisitCompleted::default() };
    let with_more = |mut bytes: Vec<u8>| {
        bytes.extend(UNKNOWN_FIELD);
        bytes
    };
    let moon = event(1, "care.moon.landed.v1", b"\xff\x00 nobody reads this".to_vec());
    let known = event(2, "care.home.visit_completed.v1", with_more(visit.encode_to_vec()));
    let envelope = event(3, "care.home.visit_completed.v1", visit.encode_to_vec());
    let records =
        [moon.encode_to_vec(), known.encode_to_vec(), with_more(envelope.encode_to_vec())];
    let patient = PatientId::parse(&id(1)).unwrap();
    let stream = StreamId::Patient(patient);
    let newer = open(data.path());
    for (number, record) in (1..).zip(&records) {
        let draft =
            Draft { event: EventId::parse(&id(number)).unwrap(), record: record.clone().into() };
        let publication = Publication { stream, expected: Expected::Any, drafts: vec![draft] };
        newer.publish(publication).await.unwrap();
    }
    newer.close().unwrap();
    drop(newer);

    // The older one shows what it can, passes on what it cannot read, and writes after it.
    let older = Server::start(data.path());
    let channel = older.channel().await;
    let told = sentences(&channel, &id(1)).await;
    assert_eq!(told[1], "unknown entry of type care.moon.landed.v1");
    assert_eq!(told[2..], ["nursing visit", "nursing visit"]);
    let detail = timeline(&channel, &id(1)).await[2].detail.clone().unwrap();
    assert_eq!(detail.value, known.payload);
    let mut bus = CareBusClient::new(channel.clone());
    let all = v1::SubscribeRequest::default();
    let mut frames = bus.subscribe(liaison(all)).await.unwrap().into_inner();
    let mut sent = Vec::new();
    while sent.len() < 4 {
        let frame = frames.message().await.unwrap().unwrap().frame.unwrap();
        if let Frame::Event(stored) = frame {
            sent.push(stored.event.unwrap());
        }
    }
    assert_eq!((&sent[1], &sent[2]), (&moon, &known));
    drop(frames);
    let late = v1::RegisterPatientRequest {
        context: Some(crate::support::context(&id(2), &id(0x2000), "2026-04-02")),
        event: Some(crate::desks::registration("00456")),
    };
    let mut desk = v1::discharge_desk_client::DischargeDeskClient::new(channel);
    desk.register_patient(liaison(late)).await.unwrap();
    drop(desk);
    drop(bus);
    older.terminate().await;

    let newer = open(data.path());
    let kept = newer.read_all(stream, Patience::Wait).unwrap();
    let kept: Vec<&[u8]> = kept.iter().skip(1).map(|stored| &*stored.record).collect();
    assert_eq!(kept, records.iter().map(Vec::as_slice).collect::<Vec<_>>());
}
