//! What a newer program wrote, an older one keeps and passes on as it is (I7).

use std::path::Path;

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, Value};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};
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
use crate::nats_servers::NatsServer;
use crate::support::{Server, folder, id, liaison, run, sentences, stderr, timeline};

/// The schema of a newer program: a field more in a visit and in the envelope, and a message for
/// a type of event that nobody knows yet.
fn newer_schema() -> DescriptorPool {
    let field = |name: &str| FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(900),
        label: Some(Label::Optional.into()),
        r#type: Some(Type::String.into()),
        ..FieldDescriptorProto::default()
    };
    let mut schema = FileDescriptorSet::decode(tsunagi_proto::DESCRIPTOR).unwrap();
    for file in schema.file.iter_mut().filter(|file| file.package() == "care.v1") {
        let extended = file.message_type.iter_mut();
        for message in extended.filter(|of| ["VisitCompleted", "Event"].contains(&of.name())) {
            message.field.push(field("weather"));
        }
        if file.name().ends_with("/home_care.proto") {
            let name = Some("MoonLanded".to_owned());
            let field = vec![field("weather")];
            file.message_type.push(DescriptorProto { name, field, ..DescriptorProto::default() });
        }
    }
    DescriptorPool::from_file_descriptor_set(schema).unwrap()
}

/// A message with the newer field, in the newer schema; `known` is what older programs know of it.
fn newer_bytes(schema: &DescriptorPool, name: &str, known: &[u8]) -> Vec<u8> {
    let message = schema.get_message_by_name(&format!("care.v1.{name}")).unwrap();
    let mut message = DynamicMessage::decode(message, known).unwrap();
    message.set_field_by_name("weather", Value::String("小雨".to_owned()));
    message.encode_to_vec()
}

/// What a newer program reads in its field.
fn weather(schema: &DescriptorPool, name: &str, bytes: &[u8]) -> Value {
    let message = schema.get_message_by_name(&format!("care.v1.{name}")).unwrap();
    let message = DynamicMessage::decode(message, bytes).unwrap();
    message.get_field_by_name("weather").unwrap().into_owned()
}

/// The records of the patient's events in a folder that no server has open.
fn records(data: &Path) -> Vec<Vec<u8>> {
    let stream = StreamId::Patient(PatientId::parse(&id(1)).unwrap());
    let stored = open(data).read_all(stream, Patience::Wait).unwrap();
    stored.into_iter().map(|stored| stored.record.to_vec()).collect()
}

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
fn open(data: &Path) -> Store {
    let small = [("data", data.to_str().unwrap()), ("slots", "4")];
    let given = small.map(|(name, value)| (name, value.to_owned())).into();
    let config = Config::new(&Values::gather(&given, None).unwrap()).unwrap();
    Store::open(&config).unwrap()
}

#[tokio::test]
async fn what_a_newer_program_wrote_survives_an_older_one_unchanged() {
    let schema = newer_schema();
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    register(&channel, &id(1), "00123").await;

    // The newer program sends the older one what it takes: a type that both know, with more in it.
    let visit = v1::VisitCompleted { kind: 1, ..v1::VisitCompleted::default() }.encode_to_vec();
    let payload = newer_bytes(&schema, "VisitCompleted", &visit);
    let known = event(1, "care.home.visit_completed.v1", payload);
    let mut bus = CareBusClient::new(channel.clone());
    let publish = |event: &v1::Event| {
        liaison(v1::PublishRequest { events: vec![event.clone()], expected_version: None })
    };
    bus.publish(publish(&known)).await.unwrap();
    let moon_landed = newer_bytes(&schema, "MoonLanded", &[]);
    let moon = event(2, "care.moon.landed.v1", moon_landed);
    let refused = bus.publish(publish(&moon)).await.unwrap_err();
    assert_eq!(crate::support::reason(&refused), "TYPE_UNKNOWN");
    drop((bus, channel));
    server.terminate().await;

    // It writes the log itself: a type of its own, and a field of its own in the envelope.
    let envelope = event(3, "care.home.visit_completed.v1", visit);
    let envelope_bytes = newer_bytes(&schema, "Event", &envelope.encode_to_vec());
    let stream = StreamId::Patient(PatientId::parse(&id(1)).unwrap());
    let newer = open(data.path());
    for (number, record) in [(2, moon.encode_to_vec()), (3, envelope_bytes.clone())] {
        let draft = Draft { event: EventId::parse(&id(number)).unwrap(), record: record.into() };
        let publication = Publication { stream, expected: Expected::Any, drafts: vec![draft] };
        newer.publish(publication).await.unwrap();
    }
    newer.close().unwrap();
    drop(newer);
    let written = records(data.path());
    assert_eq!(written[2..], [moon.encode_to_vec(), envelope_bytes]);
    assert_eq!(weather(&schema, "Event", &written[3]), Value::String("小雨".to_owned()));

    // The older one shows what it can, and passes on what it cannot read.
    let older = Server::start(data.path());
    let channel = older.channel().await;
    let told = sentences(&channel, &id(1)).await;
    let unknown = "unknown entry of type care.moon.landed.v1";
    assert_eq!(told[1..], ["nursing visit", unknown, "nursing visit"]);
    let detail = timeline(&channel, &id(1)).await[1].detail.clone().unwrap();
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
    assert_eq!((&sent[1].payload, &sent[2]), (&known.payload, &moon));
    let read = weather(&schema, "VisitCompleted", &sent[1].payload);
    assert_eq!(read, Value::String("小雨".to_owned()));
    drop((frames, bus));

    // It copies it, while it runs.
    let copies = folder();
    let (copy, restored) = (copies.path().join("copy.tar"), copies.path().join("restored"));
    let (copy, into) = (copy.to_str().unwrap(), restored.to_str().unwrap());
    let made = run(&["backup", copy, "--data", data.path().to_str().unwrap()]);
    assert!(made.status.success(), "{}", stderr(&made));
    let done = run(&["restore", copy, "--data", into]);
    assert!(done.status.success(), "{}", stderr(&done));
    assert_eq!(records(&restored), written);
    drop(channel);
    older.terminate().await;
    assert_eq!(records(data.path()), written);
}

#[tokio::test]
async fn what_a_newer_program_wrote_goes_over_nats_unchanged() {
    let schema = newer_schema();
    let (data, other, servers) = (folder(), folder(), folder());
    let server = Server::start(data.path());
    register(&server.channel().await, &id(1), "00123").await;
    server.terminate().await;
    let moon = event(2, "care.moon.landed.v1", newer_bytes(&schema, "MoonLanded", &[]));
    let record = newer_bytes(&schema, "Event", &moon.encode_to_vec());
    let newer = open(data.path());
    let draft = Draft { event: EventId::parse(&id(2)).unwrap(), record: record.clone().into() };
    let stream = StreamId::Patient(PatientId::parse(&id(1)).unwrap());
    let publication = Publication { stream, expected: Expected::Any, drafts: vec![draft] };
    newer.publish(publication).await.unwrap();
    newer.close().unwrap();
    drop(newer);

    // Two older stores: one carries its log to NATS, the other takes it in from there.
    let nats = NatsServer::start(servers.path());
    let url = nats.url();
    let settings = ["--nats", &url, "--nats-stream-bytes", "67108864"];
    let first = Server::start_with(data.path(), &settings);
    std::fs::copy(data.path().join("region.toml"), other.path().join("region.toml")).unwrap();
    let second = Server::start_with(other.path(), &settings);
    let channel = second.channel().await;
    let mut taken_in = 0;
    while taken_in < 2 {
        let mut bus = CareBusClient::new(channel.clone());
        let all = v1::SubscribeRequest::default();
        let mut frames = bus.subscribe(liaison(all)).await.unwrap().into_inner();
        taken_in = 0;
        while let Some(Frame::Event(_)) = frames.message().await.unwrap().unwrap().frame {
            taken_in += 1;
        }
    }
    drop(channel);
    first.terminate().await;
    second.terminate().await;
    assert_eq!(records(other.path())[1], record);
}
