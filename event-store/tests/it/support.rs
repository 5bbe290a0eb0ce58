//! What the tests share: a store in a folder of its own, and events to put into it.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;
use tonic::Request;
use tsunagi_bus::{
    Bus, Delivery, Draft, Expected, Feed, Handler, Placed, Publication, PublishError, Stored,
    StreamId, Submission,
};
use tsunagi_chassis::Config;
use tsunagi_chassis::config::Values;
use tsunagi_domain::{EventId, PatientId};
use tsunagi_event_store::log::frame::HEADER_BYTES;
use tsunagi_event_store::{Records, Store};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;
use uuid::Uuid;

/// Settings for a store in `folder`: small segments, few slots.
pub(crate) fn config(folder: &Path) -> Config {
    let flags = [
        ("data", folder.to_str().unwrap()),
        ("slots", "4"),
        ("segment-bytes", "65536"),
        ("cached-patients", "8"),
    ];
    let flags: BTreeMap<_, _> = flags.map(|(name, value)| (name, value.to_owned())).into();
    Config::new(&Values::gather(&flags, None).unwrap()).unwrap()
}

/// The records of a store that has them all.
pub(crate) fn records(store: &Store, folder: &Path) -> Records {
    Records::of_one_store(store.clone(), &config(folder))
}

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Copies a data folder: opening a folder writes to it.
pub(crate) fn copy_of(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_of(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

pub(crate) fn open(folder: &TempDir) -> Store {
    Store::open(&config(folder.path())).unwrap()
}

/// What a follower was handed until it was caught up: the events, and of those that cannot be read
/// the ids, where these can be.
pub(crate) async fn handed(feed: &mut Box<dyn Feed>) -> (Vec<Stored>, Vec<Option<EventId>>) {
    let (mut events, mut unreadable) = (Vec::new(), Vec::new());
    loop {
        match feed.next().await.unwrap() {
            Delivery::Events(more) => events.extend(more),
            Delivery::Unreadable(of) => unreadable.push(of.map(|of| of.event)),
            Delivery::CaughtUp => return (events, unreadable),
        }
    }
}

/// Publishes events of seven patients, of a size that makes them go over several segments.
pub(crate) async fn sixty_events(store: &Store) {
    for number in 0..60 {
        publish(store, number % 7, vec![draft(number, &"x".repeat(5000))]).await.unwrap();
    }
}

pub(crate) fn handler(store: &Store, folder: &TempDir) -> Arc<Handler> {
    Arc::new(Handler::new(Arc::new(store.clone()), &config(folder.path())))
}

/// Tells when a future that was polled wants to be polled again.
#[derive(Default)]
struct Woken(tokio::sync::Notify);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// Polls `future` as often as it wants, at most `polls` times. True if it came to its end.
pub(crate) async fn poll_some(future: impl Future, polls: usize) -> bool {
    let woken = Arc::new(Woken::default());
    let waker = std::task::Waker::from(Arc::clone(&woken));
    let mut future = std::pin::pin!(future);
    for polled in 1..=polls {
        let mut context = std::task::Context::from_waker(&waker);
        if future.as_mut().poll(&mut context).is_ready() {
            return true;
        }
        if polled < polls {
            woken.0.notified().await;
        }
    }
    false
}

pub(crate) fn stream(number: u128) -> StreamId {
    StreamId::Patient(PatientId::new(Uuid::from_u128(number + 1)))
}

pub(crate) fn event(number: u128) -> EventId {
    EventId::new(Uuid::from_u128(number + 1))
}

pub(crate) fn draft(number: u128, record: &str) -> Draft {
    Draft { event: event(number), record: Bytes::from(record.to_owned()) }
}

pub(crate) async fn publish(
    store: &Store,
    to: u128,
    drafts: Vec<Draft>,
) -> Result<Vec<Placed>, PublishError> {
    store.publish(Publication { stream: stream(to), expected: Expected::Any, drafts }).await
}

pub(crate) const ENCOUNTER: &str = "00000000-0000-4000-8000-0000000000e1";

/// An event about patient `patient`, at the `day`th of May 2026.
pub(crate) fn care_event(patient: u128, number: u128, day: u8, payload: &Payload) -> v1::Event {
    v1::Event {
        event_id: event(number).to_string(),
        r#type: payload.event_type().to_owned(),
        patient_id: PatientId::new(Uuid::from_u128(patient + 1)).to_string(),
        occurred_at: format!("2026-05-{day:02}T09:00:00+09:00"),
        actor: Some(v1::Actor {
            organisation: "acute".into(),
            role: "liaison-nurse".into(),
            person: "n-1".into(),
            on_behalf_of: String::new(),
        }),
        payload: payload.encode_to_vec(),
        ..v1::Event::default()
    }
}

pub(crate) fn registered(numbers: &[&str]) -> Payload {
    let identifier =
        |value: &&str| v1::Identifier { system: "urn:oid:1.2.3".into(), value: (*value).into() };
    let name =
        v1::HumanName { family: "髙橋".into(), given: "ハナ".into(), ..Default::default() };
    Payload::PatientRegistered(v1::PatientRegistered {
        identifiers: numbers.iter().map(identifier).collect(),
        demographics: Some(v1::Demographics { names: vec![name], ..Default::default() }),
    })
}

pub(crate) fn linked(number: &str) -> Payload {
    let identifier = v1::Identifier { system: "urn:oid:1.2.3".into(), value: number.into() };
    Payload::IdentifierLinked(v1::IdentifierLinked { identifier: Some(identifier) })
}

pub(crate) fn admitted(ward: &str) -> Payload {
    Payload::Admitted(v1::Admitted {
        encounter_id: ENCOUNTER.into(),
        place: Some(v1::Place {
            facility: Some(v1::Organisation { id: "acute".into(), name: "中央病院".into() }),
            ward: ward.into(),
            ..Default::default()
        }),
        ..Default::default()
    })
}

pub(crate) fn discharged() -> Payload {
    Payload::Discharged(v1::Discharged { encounter_id: ENCOUNTER.into(), ..Default::default() })
}

pub(crate) fn visited() -> Payload {
    Payload::VisitCompleted(v1::VisitCompleted {
        kind: v1::VisitKind::Nursing.into(),
        ..Default::default()
    })
}

/// A submission of one event.
pub(crate) fn one(event: v1::Event) -> Submission {
    Submission { events: vec![event], expected_version: None }
}

/// A request in the name of the acute hospital's liaison nurse.
pub(crate) fn liaison<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert("tsunagi-organisation", "acute".parse().unwrap());
    metadata.insert("tsunagi-role", "liaison-nurse".parse().unwrap());
    metadata.insert("tsunagi-person", "n-1".parse().unwrap());
    request
}

pub(crate) fn segment(folder: &TempDir, number: u32) -> PathBuf {
    folder.path().join(format!("log/{number:010}.seg"))
}

/// Where the frame of an event begins, and in which file.
fn place_of(folder: &TempDir, number: u128) -> (PathBuf, u64) {
    let id = event(number).uuid().into_bytes();
    for path in (1..).map(|number| segment(folder, number)).take_while(|path| path.exists()) {
        let bytes = std::fs::read(&path).unwrap();
        // A frame's header ends with the id; the file's own, before the first, may look like one.
        let mut ends = bytes.windows(16).enumerate().skip(64 + HEADER_BYTES - 16);
        if let Some((at, _)) = ends.find(|(_, window)| *window == id) {
            return (path, u64::try_from(at + 16 - HEADER_BYTES).unwrap());
        }
    }
    panic!("event {number} is not there");
}

/// Writes over a part of an event's frame, as a disk that fails would.
pub(crate) fn damage(folder: &TempDir, number: u128, place: u64, bytes: usize) {
    let (path, at) = place_of(folder, number);
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&vec![0x5a; bytes], at + place).unwrap();
}

pub(crate) const IN_HEADER: u64 = 20;
pub(crate) const IN_RECORD: u64 = 100;
