//! Publishers who go on until the server is gone, and what must be found when it is back:
//! everything that was acknowledged, once, and of what was not, whole batches or nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use prost::Message as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;
use tokio::task::JoinSet;
use tonic::Status;
use tonic::transport::Channel;
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_bus_client::CareBusClient;
use tsunagi_proto::v1::subscribe_response::Frame;
use tsunagi_proto::v1::timeline_client::TimelineClient;
use uuid::Uuid;

use crate::desks::registration;
use crate::support::{Server, id, liaison};

const PUBLISHERS: u128 = 8;
/// Visits in the longest batch, and bytes of what is said of one at most: a segment of the
/// smallest size holds some dozen batches.
const VISITS_MAX: u128 = 4;
const SUMMARY_BYTES_MAX: usize = 3000;

/// Settings with which a log goes through many segments in a short time.
pub(crate) const SMALL_SEGMENTS: [&str; 2] = ["--segment-bytes", "65536"];

/// Events that are published together.
type Batch = Vec<v1::Event>;

/// The patients' rows by their ids.
type Rows = BTreeMap<String, v1::PatientSummary>;

/// What was published to one data folder, through all its crashes.
pub(crate) struct Traffic {
    publishers: Vec<Publisher>,
}

/// One who publishes batch after batch about a patient, and sends again what was not answered.
struct Publisher {
    patient: u128,
    random: Pcg64,
    acknowledged: Vec<Batch>,
    /// Sent, and not known to be stored.
    unanswered: Option<Batch>,
}

/// Ends a server with `kill -9` when so many receipts were given.
pub(crate) struct Killer {
    server: Mutex<Option<Server>>,
    at: u64,
}

impl Killer {
    pub(crate) fn new(server: Server, at: u64) -> Arc<Self> {
        Arc::new(Self { server: Mutex::new(Some(server)), at })
    }

    pub(crate) fn goes_on(&self, receipts: u64) -> bool {
        if receipts == self.at {
            self.server.lock().unwrap().take().unwrap().kill();
        }
        true
    }
}

/// A number that is another each time, told where a failed test tells what it did.
pub(crate) fn seed() -> u64 {
    let (_, seed) = Uuid::now_v7().as_u64_pair();
    eprintln!("seed {seed}");
    seed
}

pub(crate) fn random(seed: u64) -> Pcg64 {
    Pcg64::seed_from_u64(seed)
}

impl Traffic {
    pub(crate) fn new(seed: u64) -> Self {
        let publisher = |patient| Publisher {
            patient,
            random: random(seed + u64::try_from(patient).unwrap()),
            acknowledged: Vec::new(),
            unanswered: None,
        };
        Self { publishers: (0..PUBLISHERS).map(publisher).collect() }
    }

    /// Publishes until every publisher was told something else than a receipt: returns that.
    /// Or until `goes_on`, which is asked with the number of receipts until then, says no.
    pub(crate) async fn publish(
        &mut self,
        channel: &Channel,
        goes_on: impl Fn(u64) -> bool + Clone + Send + Sync + 'static,
    ) -> Vec<Status> {
        let receipts = Arc::new(AtomicU64::new(0));
        let mut running = JoinSet::new();
        for mut publisher in self.publishers.drain(..) {
            let (channel, receipts) = (channel.clone(), Arc::clone(&receipts));
            let goes_on = goes_on.clone();
            running.spawn(async move {
                let told = publisher
                    .run(channel, || goes_on(receipts.fetch_add(1, Ordering::SeqCst) + 1))
                    .await;
                (publisher, told)
            });
        }
        let ended = running.join_all().await;
        let (publishers, told): (_, Vec<_>) = ended.into_iter().unzip();
        self.publishers = publishers;
        told.into_iter().flatten().collect()
    }

    pub(crate) fn acknowledged(&self) -> usize {
        self.publishers.iter().map(|publisher| publisher.acknowledged.len()).sum()
    }

    /// Reads everything in every way.
    pub(crate) async fn check(&self, channel: &Channel) {
        let (patients, cursor) = self.check_log(channel).await;
        assert_eq!(rows(channel, cursor).await, patients);
    }

    /// Reads everything but the patients' rows: returns these as the log has them, and the
    /// cursor that has seen as much.
    pub(crate) async fn check_log(&self, channel: &Channel) -> (Rows, String) {
        let (stored, cursor) = read_all(channel).await;
        let mut rows = BTreeMap::new();
        for publisher in &self.publishers {
            let patient = id(publisher.patient);
            let events = stored.get(&patient).map_or(&[][..], Vec::as_slice);
            publisher.check(events);
            if !events.is_empty() {
                let (entries, row) = read_patient(channel, &patient).await;
                assert_eq!(entries, events.len());
                rows.insert(patient, row);
            }
        }
        (rows, cursor)
    }
}

impl Publisher {
    async fn run(&mut self, channel: Channel, goes_on: impl Fn() -> bool) -> Option<Status> {
        let mut bus = CareBusClient::new(channel);
        loop {
            let batch = self.unanswered.take().unwrap_or_else(|| self.next_batch());
            self.unanswered = Some(batch.clone());
            let request = v1::PublishRequest { events: batch, expected_version: None };
            match bus.publish(liaison(request)).await {
                Ok(_) => self.acknowledged.extend(self.unanswered.take()),
                Err(status) => return Some(status),
            }
            if !goes_on() {
                return None;
            }
        }
    }

    fn next_batch(&mut self) -> Batch {
        let batches = u128::try_from(self.acknowledged.len()).unwrap();
        let first = (self.patient << 64) + (batches << 8);
        if batches == 0 {
            let payload = registration(&self.patient.to_string()).encode_to_vec();
            return vec![self.event(first, "care.patient.registered.v1", payload)];
        }
        let visits = self.random.random_range(1..=VISITS_MAX);
        let mut visit = |number| {
            let summary = "x".repeat(self.random.random_range(0..SUMMARY_BYTES_MAX));
            let kind = v1::VisitKind::Nursing.into();
            let payload = v1::VisitCompleted { kind, summary, ..Default::default() };
            (number, payload.encode_to_vec())
        };
        let visits: Vec<_> = (first..first + visits).map(&mut visit).collect();
        let event = |(number, payload)| self.event(number, "care.home.visit_completed.v1", payload);
        visits.into_iter().map(event).collect()
    }

    fn event(&self, number: u128, event_type: &str, payload: Vec<u8>) -> v1::Event {
        v1::Event {
            event_id: id(0x1_0000 + number),
            r#type: event_type.to_owned(),
            patient_id: id(self.patient),
            occurred_at: "2026-05-01T10:00:00+09:00".to_owned(),
            payload,
            ..v1::Event::default()
        }
    }

    /// The patient's events are those of the batches that were acknowledged, in their order,
    /// and behind them may be the one that was not answered.
    fn check(&self, stored: &[v1::StoredEvent]) {
        let mut events = (1..).zip(stored);
        let unanswered = self.unanswered.as_ref().filter(|batch| is_stored(batch, stored));
        for batch in self.acknowledged.iter().chain(unanswered) {
            for sent in batch {
                let (version, found) = events.next().expect("an acknowledged event is missing");
                assert_eq!(found.version, version);
                let found = found.event.as_ref().unwrap();
                assert_eq!(found.event_id, sent.event_id);
                assert_eq!((&found.r#type, &found.payload), (&sent.r#type, &sent.payload));
            }
        }
        assert!(events.next().is_none(), "more is stored than was sent, or half a batch");
    }
}

fn is_stored(batch: &[v1::Event], stored: &[v1::StoredEvent]) -> bool {
    let ids = stored.iter().filter_map(|stored| stored.event.as_ref()).map(|event| &event.event_id);
    ids.into_iter().any(|id| *id == batch[0].event_id)
}

/// All events by patient in the order of the feed, and the cursor behind them.
async fn read_all(channel: &Channel) -> (BTreeMap<String, Vec<v1::StoredEvent>>, String) {
    let mut bus = CareBusClient::new(channel.clone());
    let request = v1::SubscribeRequest::default();
    let mut frames = bus.subscribe(liaison(request)).await.unwrap().into_inner();
    let mut stored = BTreeMap::<_, Vec<_>>::new();
    loop {
        let frame = frames.message().await.unwrap().unwrap();
        match frame.frame.unwrap() {
            Frame::Event(event) => {
                let patient = event.event.as_ref().unwrap().patient_id.clone();
                stored.entry(patient).or_default().push(event);
            }
            Frame::CaughtUp(_) => return (stored, frame.cursor),
            Frame::Heartbeat(_) => {}
            Frame::Unreadable(_) => panic!("an event cannot be read"),
        }
    }
}

/// The patients' rows, as they are kept.
async fn rows(channel: &Channel, at_least_cursor: String) -> Rows {
    let mut client = TimelineClient::new(channel.clone());
    let request = v1::ListPatientsRequest { at_least_cursor, ..Default::default() };
    let page = client.list_patients(liaison(request)).await.unwrap().into_inner();
    page.patients.into_iter().map(|row| (row.patient_id.clone(), row)).collect()
}

/// How many entries a patient's timeline has, and the patient's row as the log has it.
async fn read_patient(channel: &Channel, patient: &str) -> (usize, v1::PatientSummary) {
    let mut client = TimelineClient::new(channel.clone());
    let patient_id = patient.to_owned();
    let mut request = v1::ReadTimelineRequest { patient_id, page_size: 1000, ..Default::default() };
    let mut entries = 0;
    loop {
        let page = client.read_timeline(liaison(request.clone())).await.unwrap().into_inner();
        entries += page.entries.len();
        if page.next_page_token.is_empty() {
            return (entries, page.patient.unwrap());
        }
        request.page_token = page.next_page_token;
    }
}
