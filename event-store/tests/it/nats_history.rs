//! Publishers who write down what they tried and what they were told, and the check of that
//! against the log: nothing acknowledged is missing or there twice, no two writes succeeded on
//! the same version, none that was refused is there, and order is that of time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::JoinSet;
use tsunagi_bus::nats::{What, message_id};
use tsunagi_bus::{Bus, Cursor, Delivery, Expected, PublishError, Stored, StreamId};
use tsunagi_domain::EventId;

use crate::conformance::{Opened, publish, saying};
use crate::support::{event, stream};

/// Writers, and patients that several of them write about.
const WRITERS: u128 = 6;
const PATIENTS: u128 = 4;

/// One event that somebody tried to publish, until the answer was certain.
#[derive(Debug)]
struct Attempt {
    stream: StreamId,
    event: EventId,
    expected: Expected,
    /// Moments, by a clock that all writers share.
    begun: u64,
    ended: u64,
    /// The version that it has. None: it was refused for a conflict.
    version: Option<u64>,
}

/// What all writers tried and were told.
#[derive(Default)]
pub(crate) struct History {
    attempts: Vec<Attempt>,
    /// Counts on, so that no event id is used twice.
    rounds: u128,
}

struct Writer {
    bus: Arc<dyn Bus>,
    clock: Arc<AtomicU64>,
    number: u128,
    round: u128,
    versions: HashMap<u128, u64>,
    attempts: Vec<Attempt>,
}

impl History {
    /// Lets all writers publish so many events each, while `fault` happens. Whoever is told that
    /// the outcome is unknown sends again.
    pub(crate) async fn write(
        &mut self,
        bus: &Arc<dyn Bus>,
        events: u128,
        fault: impl Future<Output = ()>,
    ) {
        let clock =
            Arc::new(AtomicU64::new(self.attempts.iter().map(|a| a.ended).max().unwrap_or(0) + 1));
        self.rounds += 1;
        let mut writers = JoinSet::new();
        for number in 0..WRITERS {
            let writer = Writer {
                bus: Arc::clone(bus),
                clock: Arc::clone(&clock),
                number,
                round: self.rounds,
                versions: HashMap::new(),
                attempts: Vec::new(),
            };
            writers.spawn(writer.run(events));
        }
        let ((), attempts) = tokio::join!(fault, writers.join_all());
        self.attempts.extend(attempts.into_iter().flatten());
    }

    /// Checks a log against what was told.
    pub(crate) async fn check(&self, bus: &dyn Bus) {
        let log = everything(bus).await;
        let mut at = HashMap::new();
        let mut last_n = BTreeMap::new();
        let mut last_version = HashMap::new();
        for stored in &log {
            let before = at.insert((stored.stream, stored.event), stored.placed.version);
            assert_eq!(before, None, "an event is there twice: {stored:?}");
            let n = last_n.insert(stored.placed.position.slot, stored.placed.position.n);
            assert_eq!(stored.placed.position.n, n.unwrap_or(0) + 1, "a gap in a slot");
            let version = last_version.insert(stored.stream, stored.placed.version);
            assert_eq!(stored.placed.version, version.unwrap_or(0) + 1, "a gap in a stream");
        }
        let mut won = HashMap::new();
        for attempt in &self.attempts {
            let found = at.get(&(attempt.stream, attempt.event)).copied();
            assert_eq!(found, attempt.version, "told and stored differ: {attempt:?}");
            if let (Expected::Version(expected), Some(version)) = (attempt.expected, found) {
                assert_eq!(version, expected + 1, "{attempt:?}");
                let other = won.insert((attempt.stream, expected), attempt.event);
                assert_eq!(other, None, "two writes succeeded on one version: {attempt:?}");
            }
        }
        self.check_order();
    }

    /// Whoever was told of a version before another began has the lower one.
    fn check_order(&self) {
        let mut by_stream: BTreeMap<StreamId, Vec<&Attempt>> = BTreeMap::new();
        for attempt in self.attempts.iter().filter(|attempt| attempt.version.is_some()) {
            by_stream.entry(attempt.stream).or_default().push(attempt);
        }
        for attempts in by_stream.values_mut() {
            attempts.sort_unstable_by_key(|attempt| attempt.version);
            let mut latest_begin = 0;
            for attempt in attempts {
                assert!(attempt.ended > latest_begin, "time runs backwards: {attempt:?}");
                latest_begin = latest_begin.max(attempt.begun);
            }
        }
    }
}

impl Writer {
    async fn run(mut self, events: u128) -> Vec<Attempt> {
        for number in 0..events {
            let patient = (self.number + number) % PATIENTS;
            // Some observations depend on nothing; the rest is decided on a version.
            if number % 3 == 0 {
                self.publish(patient, number, 0, Expected::Any).await;
                continue;
            }
            for attempt in 0.. {
                let version = self.versions.get(&patient).copied().unwrap_or(0);
                let expected = Expected::Version(version);
                if self.publish(patient, number, attempt, expected).await {
                    break;
                }
            }
        }
        self.attempts
    }

    /// Publishes an event until the answer is certain. False if it was refused.
    async fn publish(
        &mut self,
        patient: u128,
        number: u128,
        attempt: u128,
        expected: Expected,
    ) -> bool {
        let id = 1 << 64 | self.round << 48 | self.number << 40 | number << 20 | attempt;
        let begun = self.clock.fetch_add(1, Ordering::SeqCst);
        let version = loop {
            let drafts = vec![saying(id, "x")];
            match publish(self.bus.as_ref(), patient, expected, drafts).await {
                Ok(placed) => break Some(placed[0].version),
                Err(PublishError::Repeated { stored }) => break Some(stored[0].placed.version),
                Err(PublishError::Conflict { version }) => {
                    self.versions.insert(patient, version);
                    break None;
                }
                Err(PublishError::OutcomeUnknown(_) | PublishError::Full) => {}
                Err(error) => panic!("{error}"),
            }
        };
        let ended = self.clock.fetch_add(1, Ordering::SeqCst);
        if let Some(version) = version {
            self.versions.insert(patient, version);
        }
        let (stream, event) = (stream(patient), event(id));
        self.attempts.push(Attempt { stream, event, expected, begun, ended, version });
        version.is_some()
    }
}

/// The whole log, slot by slot in its order.
pub(crate) async fn everything(bus: &dyn Bus) -> Vec<Stored> {
    let mut feed = bus.follow(Cursor::start());
    let mut all = Vec::new();
    while let Delivery::Events(events) = feed.next().await.unwrap() {
        all.extend(events);
    }
    all.sort_by_key(|stored| stored.placed.position);
    all
}

/// The log has each slot's events in the order of its stream, one position for each message.
pub(crate) async fn check_against_streams(opened: &Opened) {
    for stored in everything(opened.bus.as_ref()).await {
        let slot = stored.placed.position.slot;
        let sequence = opened.run(slot).sequence_of(stored.placed.position.n);
        let Some(sequence) = sequence else { continue };
        let kept = opened.streams().at(slot, sequence).await.unwrap();
        let kept = kept.unwrap_or_else(|| panic!("the stream lacks {stored:?}"));
        let is_note = matches!(stored.stream, StreamId::Slot(_));
        if !is_note {
            assert_eq!(kept.message_id, Some(message_id(stored.stream, stored.event)));
            assert!(matches!(kept.what, What::Event { record, .. } if record == stored.record));
        }
    }
}
