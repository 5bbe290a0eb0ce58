//! `CareBus`: sessions and subscriptions.

use prost::Message as _;
use tokio_stream::StreamExt as _;
use tonic::Code;
use tonic::transport::Channel;
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_bus_client::CareBusClient;
use tsunagi_proto::v1::publish_session_response::Outcome;
use tsunagi_proto::v1::subscribe_response::Frame;
use tsunagi_proto::v1::timeline_client::TimelineClient;

use crate::desks::{place, registration};
use crate::support::{FAR_AHEAD, Server, by, folder, id, liaison, reason, sentences};

fn event(patient: &str, number: u128, event_type: &str, payload: Vec<u8>) -> v1::Event {
    v1::Event {
        event_id: id(number),
        r#type: event_type.to_owned(),
        patient_id: patient.to_owned(),
        occurred_at: "2026-05-01T10:00:00+09:00".to_owned(),
        payload,
        ..v1::Event::default()
    }
}

fn registered(patient: &str, number: u128) -> v1::Event {
    let payload = registration(&number.to_string()).encode_to_vec();
    event(patient, number, "care.patient.registered.v1", payload)
}

fn admitted(patient: &str, number: u128) -> v1::Event {
    let payload = v1::Admitted {
        encounter_id: id(0xa),
        place: Some(place("acute", "4E")),
        ..v1::Admitted::default()
    };
    event(patient, number, "care.encounter.admitted.v1", payload.encode_to_vec())
}

fn visited(patient: &str, number: u128) -> v1::Event {
    let kind = v1::VisitKind::Nursing.into();
    let payload = v1::VisitCompleted { kind, ..Default::default() };
    event(patient, number, "care.home.visit_completed.v1", payload.encode_to_vec())
}

async fn publish(bus: &mut CareBusClient<Channel>, event: v1::Event) {
    let request = v1::PublishRequest { events: vec![event], expected_version: None };
    bus.publish(liaison(request)).await.unwrap();
}

#[tokio::test]
async fn a_session_answers_in_order_and_goes_on_after_a_refusal() {
    let data = folder();
    let server = Server::start_with(data.path(), &["--session-window", "16"]);
    let channel = server.channel().await;
    let mut bus = CareBusClient::new(channel.clone());
    // Each patient is registered, admitted and visited, far more than the window holds at once;
    // and one stranger in between.
    let mut events = Vec::new();
    for patient in 0..40u128 {
        events.push(registered(&id(patient), patient * 10));
        events.push(admitted(&id(patient), patient * 10 + 1));
        events.push(visited(&id(patient), patient * 10 + 2));
    }
    events.insert(60, visited(&id(999), 5000));
    let sent = events.len();
    let requests = events.into_iter().zip(0..).map(|(event, tag)| v1::PublishSessionRequest {
        tag,
        publish: Some(v1::PublishRequest { events: vec![event], expected_version: None }),
    });
    let requests: Vec<_> = requests.collect();
    let session = bus.publish_session(liaison(tokio_stream::iter(requests))).await.unwrap();
    let answers: Vec<_> = session.into_inner().collect().await;
    assert_eq!(answers.len(), sent);
    for (answer, tag) in answers.into_iter().zip(0..) {
        let answer = answer.unwrap();
        assert_eq!(answer.tag, tag);
        match answer.outcome.unwrap() {
            Outcome::Refused(refused) => {
                assert_eq!(tag, 60);
                assert_eq!(refused.reason, "PATIENT_UNKNOWN");
                assert_eq!(refused.code, 5);
            }
            Outcome::Published(published) => assert!(!published.receipts[0].repeated),
        }
    }
    let told = sentences(&channel, &id(7)).await;
    assert_eq!(told, ["registered as a patient", "admitted to acute 4E", "nursing visit"]);
}

/// The patients' events up to the frame that says that the reader is level, and its cursor.
async fn read_all(
    bus: &mut CareBusClient<Channel>,
    cursor: &str,
) -> (Vec<v1::StoredEvent>, String) {
    let request = v1::SubscribeRequest { cursor: cursor.to_owned(), ..Default::default() };
    let mut frames = bus.subscribe(liaison(request)).await.unwrap().into_inner();
    let mut events = Vec::new();
    loop {
        let frame = frames.message().await.unwrap().unwrap();
        match frame.frame.unwrap() {
            Frame::Event(event) => events.push(event),
            Frame::CaughtUp(_) => return (events, frame.cursor),
            Frame::Heartbeat(_) => {}
            Frame::Unreadable(_) => panic!("an event cannot be read"),
        }
    }
}

#[tokio::test]
async fn a_subscriber_goes_on_from_its_cursor_after_a_restart() {
    let data = folder();
    let server = Server::start(data.path());
    let mut bus = CareBusClient::new(server.channel().await);
    for patient in 0..20 {
        publish(&mut bus, registered(&id(patient), patient * 10)).await;
    }
    let (first, cursor) = read_all(&mut bus, "").await;
    assert_eq!(first.len(), 20);
    for patient in 0..20 {
        publish(&mut bus, visited(&id(patient), patient * 10 + 1)).await;
    }
    server.kill();
    let server = Server::start(data.path());
    let mut bus = CareBusClient::new(server.channel().await);
    let (second, _) = read_all(&mut bus, &cursor).await;
    assert_eq!(second.len(), 20, "what came since, and nothing twice");
    assert!(second.iter().all(|stored| stored.version == 2));
    let (all, _) = read_all(&mut bus, "").await;
    assert_eq!(all.len(), 40);
}

fn lives_at(patient: &str, number: u128, text: &str, confidential: bool) -> v1::Event {
    let mut said = registration(&number.to_string());
    let address = v1::Address { text: text.to_owned(), confidential, ..Default::default() };
    said.demographics.as_mut().unwrap().address = Some(address);
    event(patient, number, "care.patient.registered.v1", said.encode_to_vec())
}

fn moved_to(patient: &str, number: u128, text: &str, confidential: bool) -> v1::Event {
    let address = v1::Address { text: text.to_owned(), confidential, ..Default::default() };
    let demographics = Some(v1::Demographics { address: Some(address), ..Default::default() });
    let payload =
        v1::DemographicsUpdated { demographics, keeps: Vec::new(), withdraws: Vec::new() };
    event(patient, number, "care.patient.demographics_updated.v1", payload.encode_to_vec())
}

/// Whether the text stands anywhere in what was sent of an event.
fn says(stored: &v1::StoredEvent, text: &str) -> bool {
    String::from_utf8_lossy(&stored.encode_to_vec()).contains(text)
}

#[tokio::test]
async fn a_subscriber_is_not_sent_an_address_that_is_or_became_confidential() {
    let data = folder();
    let server = Server::start(data.path());
    let mut bus = CareBusClient::new(server.channel().await);
    publish(&mut bus, lives_at(&id(1), 10, "秘密町1", false)).await;
    publish(&mut bus, lives_at(&id(2), 20, "大通り2", false)).await;
    let (before, _) = read_all(&mut bus, "").await;
    assert!(says(&before[0], "秘密町"), "nobody has said that it is confidential");
    publish(&mut bus, moved_to(&id(1), 11, "秘密町1", true)).await;
    let (events, cursor) = read_all(&mut bus, "").await;
    assert!(!events.iter().any(|stored| says(stored, "秘密町")));
    assert!(events.iter().any(|stored| says(stored, "大通り")), "of others it is sent");
    let withheld = v1::Address { confidential: true, ..Default::default() };
    for stored in events {
        let event = stored.event.unwrap();
        if event.event_id == id(10) {
            let said = v1::PatientRegistered::decode(&*event.payload).unwrap();
            let demographics = said.demographics.unwrap();
            assert_eq!(demographics.address, Some(withheld.clone()));
            assert_eq!(demographics.names.len(), 2, "the rest is sent");
        }
    }
    publish(&mut bus, moved_to(&id(1), 12, "新町3", false)).await;
    let (after, _) = read_all(&mut bus, &cursor).await;
    assert!(says(&after[0], "新町"), "no longer confidential");
    let (all, _) = read_all(&mut bus, "").await;
    assert!(!all.iter().any(|stored| says(stored, "秘密町")), "what was, stays withheld");
}

#[tokio::test]
async fn a_cursor_that_is_ahead_or_of_another_region_is_refused() {
    let (here, elsewhere) = (folder(), folder());
    let server = Server::start(here.path());
    let mut bus = CareBusClient::new(server.channel().await);
    publish(&mut bus, registered(&id(1), 10)).await;
    let (_, seen) = read_all(&mut bus, "").await;
    let other = Server::start(elsewhere.path());
    let mut other = CareBusClient::new(other.channel().await);
    for _region_with_and_without_events in 0..2 {
        assert_eq!(refused(&mut other, &seen).await, "CURSOR_OF_OTHER_REGION");
        publish(&mut other, registered(&id(1), 10)).await;
        publish(&mut other, visited(&id(1), 11)).await;
    }
    assert_eq!(refused(&mut bus, FAR_AHEAD).await, "CURSOR_AHEAD");
    assert!(read_all(&mut bus, &seen).await.0.is_empty(), "and the own one is taken");
}

async fn refused(bus: &mut CareBusClient<Channel>, cursor: &str) -> String {
    let request = v1::SubscribeRequest { cursor: cursor.to_owned(), ..Default::default() };
    reason(&bus.subscribe(liaison(request)).await.unwrap_err())
}

#[tokio::test]
async fn a_subscriber_gets_what_it_asks_for_live_and_signs_of_life() {
    let data = folder();
    let server = Server::start_with(data.path(), &["--heartbeat-ms", "100"]);
    let channel = server.channel().await;
    let mut bus = CareBusClient::new(channel.clone());
    publish(&mut bus, registered(&id(1), 10)).await;
    publish(&mut bus, registered(&id(2), 20)).await;
    let request = v1::SubscribeRequest {
        patient_ids: vec![id(2)],
        type_prefixes: vec!["care.home.".to_owned()],
        ..v1::SubscribeRequest::default()
    };
    let mut frames = bus.subscribe(liaison(request)).await.unwrap().into_inner();
    let mut publisher = CareBusClient::new(channel);
    publish(&mut publisher, visited(&id(1), 11)).await;
    publish(&mut publisher, admitted(&id(2), 21)).await;
    publish(&mut publisher, visited(&id(2), 22)).await;
    let mut heartbeats = 0;
    let mut events = Vec::new();
    while events.is_empty() || heartbeats == 0 {
        match frames.message().await.unwrap().unwrap().frame.unwrap() {
            Frame::Event(stored) => events.push(stored.event.unwrap().event_id),
            Frame::Heartbeat(_) => heartbeats += 1,
            Frame::Unreadable(_) => panic!("an event cannot be read"),
            Frame::CaughtUp(_) => {}
        }
    }
    assert_eq!(events, [id(22)]);
}

#[tokio::test]
async fn a_subscriber_is_told_when_the_server_stops() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let mut bus = CareBusClient::new(channel.clone());
    let subscription = bus.subscribe(liaison(v1::SubscribeRequest::default())).await.unwrap();
    let mut frames = subscription.into_inner();
    assert!(matches!(frames.message().await.unwrap().unwrap().frame, Some(Frame::CaughtUp(_))));
    let (_requests, open) = tokio::sync::mpsc::channel(1);
    let open = tokio_stream::wrappers::ReceiverStream::new(open);
    let session = bus.publish_session(liaison(open)).await.unwrap();
    let mut answers = session.into_inner();
    let stopping = tokio::spawn(server.terminate());
    for status in [frames.message().await.unwrap_err(), answers.message().await.unwrap_err()] {
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(reason(&status), "SERVER_STOPS");
    }
    assert!(stopping.await.unwrap().success());
}

#[tokio::test]
async fn the_system_s_own_events_are_sent_if_they_are_asked_for() {
    let data = folder();
    let server = Server::start(data.path());
    let mut bus = CareBusClient::new(server.channel().await);
    publish(&mut bus, registered(&id(1), 10)).await;
    let (events, _) = read_all(&mut bus, "").await;
    assert_eq!(events.len(), 1);
    let request = v1::SubscribeRequest {
        type_prefixes: vec!["care.identifier.".to_owned()],
        ..v1::SubscribeRequest::default()
    };
    let mut frames = bus.subscribe(liaison(request)).await.unwrap().into_inner();
    let frame = frames.message().await.unwrap().unwrap().frame.unwrap();
    let Frame::Event(stored) = frame else { panic!("{frame:?}") };
    assert_eq!(stored.event.unwrap().r#type, "care.identifier.claimed.v1");
}

#[tokio::test]
async fn what_cannot_be_read_is_kept_once_byte_for_byte() {
    let data = folder();
    let server = Server::start(data.path());
    let mut bus = CareBusClient::new(server.channel().await);
    let raw = b"MSH|^~\\&|\xff\xfe broken".to_vec();
    let message = v1::MessageQuarantined {
        origin: "test:1".to_owned(),
        media_type: "application/hl7-v2".to_owned(),
        reason: "no separators".to_owned(),
        raw: raw.clone(),
        part: 1,
        parts: 1,
        ..v1::MessageQuarantined::default()
    };
    let request = v1::QuarantineRequest { message: Some(message) };
    let first = bus.quarantine(liaison(request.clone())).await.unwrap().into_inner();
    let again = bus.quarantine(liaison(request)).await.unwrap().into_inner();
    assert!(!first.repeated && again.repeated);
    assert_eq!(first.event_id, again.event_id);
    let data = data.path().to_str().unwrap();
    let list = crate::support::run(&["quarantine", "--data", data]);
    let list = crate::support::stdout(&list);
    assert_eq!(list.lines().count(), 1, "{list}");
    assert!(list.contains("no separators") && list.contains(&first.event_id));
    let shown = crate::support::run(&["quarantine", &first.event_id, "--data", data]);
    assert_eq!(shown.stdout, raw);
}

pub(crate) fn unreadable(origin: &str, raw: &[u8]) -> v1::QuarantineRequest {
    let message = v1::MessageQuarantined {
        origin: origin.to_owned(),
        media_type: "application/hl7-v2".to_owned(),
        reason: "no separators".to_owned(),
        raw: raw.to_owned(),
        part: 1,
        parts: 1,
        ..v1::MessageQuarantined::default()
    };
    v1::QuarantineRequest { message: Some(message) }
}

pub(crate) fn release(id: &str, how: v1::Release, note: &str) -> v1::ReleaseQuarantinedRequest {
    let release = v1::MessageReleased {
        quarantined_event_id: id.to_owned(),
        how: how.into(),
        note: note.to_owned(),
    };
    v1::ReleaseQuarantinedRequest { release: Some(release) }
}

async fn listed(
    bus: &mut CareBusClient<Channel>,
    mut request: v1::ListQuarantineRequest,
) -> Vec<v1::QuarantinedMessage> {
    let mut all = Vec::new();
    loop {
        let page = bus.list_quarantine(liaison(request.clone())).await.unwrap().into_inner();
        all.extend(page.messages);
        if page.next_page_token.is_empty() {
            return all;
        }
        request.page_token = page.next_page_token;
    }
}

/// What becomes of things in quarantine, whatever the bus.
pub(crate) async fn quarantine_is_worked_off(channel: Channel) {
    let mut bus = CareBusClient::new(channel);
    let mut ids = Vec::new();
    for (origin, raw) in [("ward: 1", b"a"), ("ward: 2", b"b"), ("desk: 3", b"c")] {
        let kept = bus.quarantine(liaison(unreadable(origin, raw))).await.unwrap();
        ids.push(kept.into_inner().event_id);
    }
    let everything = v1::ListQuarantineRequest::default();
    let by_one = v1::ListQuarantineRequest { page_size: 1, ..everything.clone() };
    assert_eq!(listed(&mut bus, by_one).await, listed(&mut bus, everything.clone()).await);
    let of = |messages: Vec<v1::QuarantinedMessage>| {
        messages.into_iter().map(|message| message.event_id).collect::<Vec<_>>()
    };
    let wards = v1::ListQuarantineRequest { origin: "ward:".to_owned(), ..everything.clone() };
    assert_eq!(of(listed(&mut bus, wards).await), ids[..2]);
    let none = [
        v1::ListQuarantineRequest { door: "mllp".to_owned(), ..everything.clone() },
        v1::ListQuarantineRequest { from_at: "2299".to_owned(), ..everything.clone() },
        v1::ListQuarantineRequest { to_at: "2020".to_owned(), ..everything.clone() },
    ];
    for request in none {
        assert_eq!(listed(&mut bus, request).await, [], "filtered");
    }
    // A program dismisses nothing, nor does anybody without a reason, nor what is not there.
    let program = by("acute", "system", release(&ids[0], v1::Release::Dismissed, "a test"));
    let refused = bus.release_quarantined(program).await.unwrap_err();
    assert_eq!(reason(&refused), "PERSON_NEEDED");
    let silent = liaison(release(&ids[0], v1::Release::Dismissed, ""));
    assert_eq!(reason(&bus.release_quarantined(silent).await.unwrap_err()), "FIELDS_INVALID");
    let unknown = liaison(release(&id(99), v1::Release::Dismissed, "a test"));
    assert_eq!(reason(&bus.release_quarantined(unknown).await.unwrap_err()), "EVENT_UNKNOWN");
    // The first word counts.
    for (note, is_repeat) in [("a test", false), ("a test", true), ("another word", true)] {
        let said = liaison(release(&ids[0], v1::Release::Dismissed, note));
        let receipt = bus.release_quarantined(said).await.unwrap().into_inner();
        assert_eq!(receipt.repeated, is_repeat);
    }
    let said = by("acute", "system", release(&ids[2], v1::Release::Replayed, ""));
    bus.release_quarantined(said).await.unwrap();
    // What a release is named by is no thing that is kept.
    assert_eq!(of(listed(&mut bus, everything.clone()).await), ids[1..2]);
    let all = v1::ListQuarantineRequest { include_released: true, ..everything };
    let all = listed(&mut bus, all).await;
    assert_eq!(of(all.clone()), ids);
    let release = all[0].released.clone().unwrap();
    assert_eq!((release.how(), release.note.as_str()), (v1::Release::Dismissed, "a test"));
    assert_eq!(all[0].released_by.clone().unwrap().role, "liaison-nurse");
    assert!(all[1].released.is_none());
    // It came in once, and stays released when it comes again.
    let again = bus.quarantine(liaison(unreadable("ward: 1", b"a"))).await.unwrap().into_inner();
    assert!(again.repeated);
}

#[tokio::test]
async fn what_was_looked_at_is_listed_no_more_and_stays() {
    let data = folder();
    let server = Server::start(data.path());
    quarantine_is_worked_off(server.channel().await).await;
    let path = data.path().to_str().unwrap();
    let list = || crate::support::stdout(&crate::support::run(&["quarantine", "--data", path]));
    let one = list();
    let id = one.split_whitespace().next().unwrap();
    let dismiss = ["quarantine", id, "--dismiss", "a test", "--by", "staff-12", "--data", path];
    let nobody = crate::support::stderr(&crate::support::run(&dismiss[..4]));
    assert!(nobody.contains("--by"), "{nobody}");
    assert_eq!(crate::support::run(&dismiss).status.code(), Some(0));
    assert_eq!(list(), "");
    let all =
        crate::support::stdout(&crate::support::run(&["quarantine", "--all", "--data", path]));
    assert!(all.contains("[dismissed by staff-12: a test]"), "{all}");
    assert_eq!(all.lines().count(), 3, "{all}");
}

#[tokio::test]
async fn no_more_streams_are_open_than_the_server_takes() {
    let data = folder();
    let server = Server::start_with(data.path(), &["--open-streams", "2"]);
    let channel = server.channel().await;
    crate::desks::register(&channel, &id(1), "00123").await;
    let mut bus = CareBusClient::new(channel.clone());
    let mut timeline = TimelineClient::new(channel);
    let everything = || liaison(v1::SubscribeRequest::default());
    let watch = || liaison(v1::WatchTimelineRequest { patient_id: id(1), ..Default::default() });
    let mut subscribed = Vec::new();
    let mut watched = Vec::new();
    for _ in 0..2 {
        subscribed.push(bus.subscribe(everything()).await.unwrap());
        watched.push(timeline.watch_timeline(watch()).await.unwrap());
    }
    let full = [
        bus.subscribe(everything()).await.unwrap_err(),
        timeline.watch_timeline(watch()).await.unwrap_err(),
    ];
    for status in full {
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(reason(&status), "SERVER_FULL");
    }
    // Who lets go of one makes room for another.
    subscribed.pop();
    watched.pop();
    while bus.subscribe(everything()).await.is_err() {}
    while timeline.watch_timeline(watch()).await.is_err() {}
}
