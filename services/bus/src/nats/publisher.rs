//! Publishing on JetStream, so that an answer is always true: what became of a message whose
//! acknowledgement was lost, or that met another, is read from the stream's leader.

use std::error::Error as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::jetstream::context::{PublishError as SendError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::{self, ErrorCode};
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tsunagi_chassis::Config;
use tsunagi_chassis::config::Ack;

use super::headers::{self, What, message_id};
use super::streams::{Streams, StreamsError};
use super::{batch, layout};
use crate::port::{Expected, Log, Placed, Publication, PublishError, ReadError, Stored};
use crate::stream::{Position, Slot, StreamId};

/// Events of one publication: JetStream holds a batch open in memory until it is whole. One more than
/// a caller may move to another patient: that they were moved is told with them.
pub(crate) const EVENTS_MAX: usize = 101;
/// Before the first new attempt; each further one waits twice as long.
const RETRY_AFTER: Duration = Duration::from_millis(5);
const RETRY_AFTER_MAX: Duration = Duration::from_millis(500);
/// Between two lines in the log that a stream is full.
const FULL_TOLD_EVERY: Duration = Duration::from_mins(1);

/// Publishes events of the region.
pub struct Publisher {
    pub(crate) streams: Streams,
    log: Arc<dyn Log>,
    window: Semaphore,
    place_wait: Duration,
    publish_wait: Duration,
    receipt_wait: Duration,
    ack: Ack,
    /// Bytes that an event store can take in at once.
    bytes_max: usize,
    /// When the log was last told that a stream is full.
    told_full: Mutex<Option<Instant>>,
}

/// How an attempt ended.
pub(crate) enum Sent {
    Acknowledged(PublishAck),
    /// Not stored: the stream has no room, as JetStream says.
    NoRoom(String),
    /// Not stored: the servers take no message of this size.
    TooLarge,
    /// It is not known, or something else came first: look.
    Unclear,
}

/// What the stream says about a publication.
enum Found {
    /// Its last event lies at this sequence.
    At(u64),
    /// Its events are stored already.
    Stored(Vec<Stored>),
    /// It does not lie there. Send it, expecting this of the subject.
    NotYet(Option<u64>),
}

impl Publisher {
    pub fn new(streams: Streams, log: Arc<dyn Log>, config: &Config) -> Self {
        Self {
            streams,
            log,
            window: Semaphore::new(config.nats_window),
            place_wait: Duration::from_millis(config.append_wait_ms),
            publish_wait: Duration::from_millis(config.publish_wait_ms),
            receipt_wait: Duration::from_millis(config.receipt_wait_ms),
            ack: config.ack,
            // A segment has a header, and each event one of less than so many bytes.
            bytes_max: usize::try_from(config.segment_bytes).unwrap_or(usize::MAX) - 16_384,
            told_full: Mutex::new(None),
        }
    }

    /// Takes events; answers when they are in the stream and, unless it was configured
    /// otherwise, flushed in an event store.
    pub async fn publish(&self, publication: Publication) -> Result<Vec<Placed>, PublishError> {
        let bytes: usize = publication.drafts.iter().map(|draft| draft.record.len()).sum();
        if publication.drafts.len() > EVENTS_MAX {
            return Err(PublishError::TooMany { limit: EVENTS_MAX });
        }
        if bytes > self.bytes_max {
            return Err(PublishError::TooLarge { limit: self.bytes_max });
        }
        let place = tokio::time::timeout(self.place_wait, self.window.acquire()).await;
        let Ok(Ok(_place)) = place else { return Err(PublishError::Full) };
        self.connected().await?;
        let published = tokio::time::timeout(self.publish_wait, self.attempts(&publication)).await;
        published.unwrap_or_else(|_elapsed| Err(unknown(&"NATS did not answer in time")))
    }

    async fn attempts(&self, publication: &Publication) -> Result<Vec<Placed>, PublishError> {
        let stored = self.stored(publication).await?;
        if !stored.is_empty() {
            return Err(PublishError::Repeated { stored });
        }
        let mut expected = self.expected_sequence(publication).await?;
        let mut pause = RETRY_AFTER;
        let mut is_first = true;
        loop {
            let slot = publication.stream.slot(self.streams.slots);
            let sent = match self.streams.see_region(slot).await {
                Ok(()) => self.send(publication, expected).await,
                // The connection may be a new one, to a server that falls silent as well.
                Err(StreamsError::Ask { .. }) => Sent::Unclear,
                Err(error) => return Err(unknown(&error)),
            };
            match sent {
                Sent::Acknowledged(ack) if !ack.duplicate => {
                    return self.settle(publication, ack.sequence).await;
                }
                // JetStream knows the id again; by that alone it is not the same event.
                Sent::Acknowledged(ack) => {
                    return self.settle_found(publication, ack.sequence, is_first).await;
                }
                Sent::NoRoom(told) => return Err(self.no_room(slot, &told)),
                Sent::TooLarge => return Err(self.too_large()),
                Sent::Unclear => {}
            }
            match self.look(publication, expected).await {
                Ok(Found::At(sequence)) => {
                    return self.settle_found(publication, sequence, false).await;
                }
                Ok(Found::Stored(stored)) => return compare(publication, stored, is_first),
                Ok(Found::NotYet(now)) => expected = now,
                Err(LookError::Streams(error)) => tracing::debug!(%error, "looking again"),
                Err(LookError::Publish(error)) => return Err(error),
            }
            is_first = false;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_AFTER_MAX);
        }
    }

    async fn send(&self, publication: &Publication, expected: Option<u64>) -> Sent {
        let trace = headers::trace();
        let sent = match publication.drafts.as_slice() {
            [draft] => {
                let stream = publication.stream;
                let slot = stream.slot(self.streams.slots);
                let headers = headers::of_event(slot, stream, draft, &trace);
                let message = PublishMessage::build().payload(draft.record.clone());
                let mut message = message.headers(headers);
                if let Some(expected) = expected {
                    message = message.expected_last_subject_sequence(expected);
                }
                let subject = layout::subject(slot, stream);
                match self.streams.nats.context.send_publish(subject, message).await {
                    Ok(ack) => ack.await,
                    Err(error) => Err(error),
                }
            }
            _ => batch::send(&self.streams, publication, expected, &trace).await,
        };
        match sent {
            Ok(ack) => Sent::Acknowledged(ack),
            Err(error) => failure(&error),
        }
    }

    /// The sequence that the subject's last message must have, if the publication depends on
    /// the events before it.
    async fn expected_sequence(
        &self,
        publication: &Publication,
    ) -> Result<Option<u64>, PublishError> {
        let Expected::Version(version) = publication.expected else { return Ok(None) };
        let stream = publication.stream;
        let mut last = self.event_at(stream, version).await?;
        if last.is_none() && version > 0 {
            // It may be in the stream, and not be stored yet: `--ack bus` allows that.
            let kept = self.streams.last_of(stream).await.map_err(|error| unknown(&error))?;
            let slot = stream.slot(self.streams.slots);
            if let Some(kept) = kept {
                self.taken_in(slot, kept.sequence).await?;
            }
            last = self.event_at(stream, version).await?;
        }
        if version == 0 {
            return Ok(Some(0));
        }
        let actual = version.saturating_sub(1);
        let last = last.ok_or(PublishError::Conflict { version: actual })?;
        let run = self.log.run(last.slot);
        if let Some(sequence) = run.and_then(|run| run.sequence_of(last.n)) {
            return Ok(Some(sequence));
        }
        // It is older than the stream, which has it in another place, and perhaps others behind.
        let kept = self.streams.last_of(stream).await.map_err(|error| unknown(&error))?;
        let behind = "the stream on NATS is behind the log, and is being mended";
        let kept = kept.ok_or_else(|| unknown(&behind))?;
        self.taken_in(last.slot, kept.sequence).await?;
        match self.version_after(stream, version).await? {
            actual if actual == version => Ok(Some(kept.sequence)),
            version => Err(PublishError::Conflict { version }),
        }
    }

    /// Where the stream's event with a version lies, which must be its last.
    async fn event_at(
        &self,
        stream: StreamId,
        version: u64,
    ) -> Result<Option<Position>, PublishError> {
        let from = version.saturating_sub(1);
        let events = self.log.read(stream, from).await.map_err(|error| unknown(&error))?;
        match events.last() {
            Some(last) if last.placed.version > version => {
                Err(PublishError::Conflict { version: last.placed.version })
            }
            Some(last) => Ok(Some(last.placed.position)),
            None => Ok(None),
        }
    }

    /// Finds out what became of a publication.
    async fn look(
        &self,
        publication: &Publication,
        expected: Option<u64>,
    ) -> Result<Found, LookError> {
        let stream = publication.stream;
        let own = publication.drafts.last().map(|draft| message_id(stream, draft.event));
        let kept = self.streams.last_of(stream).await?;
        let last = kept.as_ref().map_or(0, |kept| kept.sequence);
        if kept.is_some_and(|kept| kept.message_id == own) {
            return Ok(Found::At(last));
        }
        if expected == Some(last) || last == 0 && expected.is_none() {
            // Another write on the subject may be under way; nothing has come of it yet.
            return Ok(Found::NotYet(expected));
        }
        if expected.is_some_and(|expected| expected > last) {
            let behind = "the stream on NATS has lost messages, and is being mended";
            return Err(LookError::Publish(unknown(&behind)));
        }
        // Others wrote, perhaps behind this one. The store knows when it has seen it all.
        let slot = stream.slot(self.streams.slots);
        self.taken_in(slot, last).await?;
        let stored = self.stored(publication).await?;
        if !stored.is_empty() {
            return Ok(Found::Stored(stored));
        }
        let Expected::Version(version) = publication.expected else {
            return Ok(Found::NotYet(None));
        };
        let actual = self.version_after(stream, version).await?;
        if actual != version {
            return Err(LookError::Publish(PublishError::Conflict { version: actual }));
        }
        // The last message was a repeat, and added nothing.
        Ok(Found::NotYet(Some(last)))
    }

    /// How many events the stream has, which are so many at least.
    async fn version_after(&self, stream: StreamId, least: u64) -> Result<u64, PublishError> {
        let mut version = least;
        loop {
            let events = self.log.read(stream, version).await.map_err(|error| unknown(&error))?;
            let Some(last) = events.last() else { return Ok(version) };
            version = last.placed.version;
        }
    }

    /// The answer to a publication that the stream has taken, its last event at `sequence`.
    async fn settle(
        &self,
        publication: &Publication,
        sequence: u64,
    ) -> Result<Vec<Placed>, PublishError> {
        match self.ack {
            Ack::Bus => Ok(self.places(publication, sequence).collect()),
            Ack::Store => self.settle_stored(publication, sequence, false).await,
        }
    }

    /// The answer to a publication of whose last event's id a message lies at `sequence`: this
    /// one, or another's under the same id.
    async fn settle_found(
        &self,
        publication: &Publication,
        sequence: u64,
        is_repeat: bool,
    ) -> Result<Vec<Placed>, PublishError> {
        match self.ack {
            Ack::Bus => {
                let found = self.found_at(publication, sequence).await;
                compare(publication, found.map_err(|error| unknown(&error))?, is_repeat)
            }
            Ack::Store => self.settle_stored(publication, sequence, is_repeat).await,
        }
    }

    async fn settle_stored(
        &self,
        publication: &Publication,
        sequence: u64,
        is_repeat: bool,
    ) -> Result<Vec<Placed>, PublishError> {
        let slot = publication.stream.slot(self.streams.slots);
        self.taken_in(slot, sequence).await?;
        let stored = self.stored(publication).await?;
        if stored.len() < publication.drafts.len() {
            return Err(unknown(&"the event is in the stream, and not in the log"));
        }
        let last = stored.last().map(|stored| stored.placed.position.n);
        let run = self.log.run(slot);
        let is_there = run.and_then(|run| run.n_of(sequence)) == last;
        compare(publication, stored, is_repeat || !is_there)
    }

    /// What the stream has of a publication whose last event would lie at `sequence`, and the
    /// others before it.
    async fn found_at(
        &self,
        publication: &Publication,
        sequence: u64,
    ) -> Result<Vec<Stored>, StreamsError> {
        let slot = publication.stream.slot(self.streams.slots);
        let count = u64::try_from(publication.drafts.len()).unwrap_or(u64::MAX);
        let first = (sequence + 1).saturating_sub(count);
        let mut found = Vec::new();
        for ((at, draft), placed) in
            (first..).zip(&publication.drafts).zip(self.places(publication, sequence))
        {
            // The first message of a stream has 1.
            let kept = if at == 0 { None } else { self.streams.at(slot, at).await? };
            let Some(kept) = kept else { continue };
            if let What::Event { stream, event, record } = kept.what
                && (stream, event) == (publication.stream, draft.event)
            {
                found.push(Stored { stream, placed, event, record });
            }
        }
        Ok(found)
    }

    /// What is known of the places of events of which the last lies at `sequence` in the stream,
    /// and that are perhaps not in a store: not their versions, unless the events before them
    /// were counted.
    fn places(
        &self,
        publication: &Publication,
        sequence: u64,
    ) -> impl Iterator<Item = Placed> + use<> {
        let slot = publication.stream.slot(self.streams.slots);
        let count = u64::try_from(publication.drafts.len()).unwrap_or(u64::MAX);
        let first = (sequence + 1).saturating_sub(count);
        let run = self.log.run(slot).unwrap_or(crate::port::Run::WHOLE);
        let before = match publication.expected {
            Expected::Version(version) => Some(version),
            Expected::Any => None,
        };
        (0..count).map(move |index| Placed {
            position: Position { slot, n: run.n_of(first + index).unwrap_or(0) },
            version: before.map_or(0, |before| before + 1 + index),
            recorded_at: Timestamp::now(),
        })
    }

    async fn taken_in(&self, slot: Slot, sequence: u64) -> Result<(), PublishError> {
        let taken_in = self.log.taken_in(slot, sequence);
        match tokio::time::timeout(self.receipt_wait, taken_in).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(unknown(&error)),
            Err(_elapsed) => Err(unknown(&"no event store has it yet")),
        }
    }

    /// Those of the events that are stored, in their order.
    async fn stored(&self, publication: &Publication) -> Result<Vec<Stored>, PublishError> {
        let mut stored = Vec::new();
        for draft in &publication.drafts {
            let found = self.log.find(publication.stream, draft.event).await;
            stored.extend(found.map_err(|error| unknown(&error))?);
        }
        Ok(stored)
    }

    /// The stream of a slot is full. The log is told of it now and then.
    fn no_room(&self, slot: Slot, told: &str) -> PublishError {
        let name = layout::stream_name(slot);
        let mut last = self.told_full.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= FULL_TOLD_EVERY) {
            *last = Some(Instant::now());
            tracing::error!(
                stream = name,
                told,
                "a stream on NATS is full, and nothing more is taken: give it more with `nats stream edit --max-bytes`, or the NATS account more storage"
            );
        }
        PublishError::NoRoom(format!("the stream {name} on NATS has no room ({told})"))
    }

    /// Waits until a NATS server is connected: without one, nothing becomes of a publication.
    async fn connected(&self) -> Result<(), PublishError> {
        let mut link = self.streams.nats.link.clone();
        let connected = tokio::time::timeout(self.place_wait, link.wait_for(|link| *link)).await;
        if matches!(connected, Ok(Ok(_))) {
            return Ok(());
        }
        Err(unknown(&"no NATS server is connected"))
    }

    fn too_large(&self) -> PublishError {
        let limit = self.streams.nats.client.server_info().max_payload;
        PublishError::TooLarge { limit: limit.min(self.bytes_max) }
    }
}

/// Events that are stored: these, or others with their ids.
fn compare(
    publication: &Publication,
    stored: Vec<Stored>,
    is_repeat: bool,
) -> Result<Vec<Placed>, PublishError> {
    let drafts = publication.drafts.iter();
    let is_same = stored.len() == publication.drafts.len()
        && drafts.zip(&stored).all(|(draft, stored)| draft.record == stored.record);
    if is_same && !is_repeat {
        Ok(stored.iter().map(|stored| stored.placed).collect())
    } else {
        Err(PublishError::Repeated { stored })
    }
}

/// Why a look came to nothing.
enum LookError {
    /// Look again.
    Streams(StreamsError),
    Publish(PublishError),
}

impl From<StreamsError> for LookError {
    fn from(error: StreamsError) -> Self {
        Self::Streams(error)
    }
}

impl From<PublishError> for LookError {
    fn from(error: PublishError) -> Self {
        Self::Publish(error)
    }
}

fn failure(error: &SendError) -> Sent {
    match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => Sent::TooLarge,
        PublishErrorKind::StreamNotFound
        | PublishErrorKind::WrongLastMessageId
        | PublishErrorKind::WrongLastSequence
        | PublishErrorKind::TimedOut
        | PublishErrorKind::BrokenPipe
        | PublishErrorKind::MaxAckPending => Sent::Unclear,
        PublishErrorKind::Other => match code(error) {
            Some(ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM) => Sent::TooLarge,
            // Also said of a batch that is stopped half way; then nothing of it was stored.
            Some(
                ErrorCode::STREAM_STORE_FAILED
                | ErrorCode::INSUFFICIENT_RESOURCES
                | ErrorCode::STORAGE_RESOURCES_EXCEEDED
                | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED,
            ) => Sent::NoRoom(told_by(error)),
            Some(_) | None => {
                tracing::debug!(%error, "a publication failed");
                Sent::Unclear
            }
        },
    }
}

/// Whether something else came first: JetStream says so in two ways.
pub(crate) fn is_conflict(error: &SendError) -> bool {
    error.kind() == PublishErrorKind::WrongLastSequence
        || code(error) == Some(ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT)
}

/// JetStream's own words of an error.
fn told_by(error: &SendError) -> String {
    let source = error.source().and_then(|source| source.downcast_ref::<jetstream::Error>());
    source.map(ToString::to_string).unwrap_or_default()
}

/// JetStream's own code of an error.
fn code(error: &SendError) -> Option<ErrorCode> {
    let source = error.source()?.downcast_ref::<jetstream::Error>()?;
    Some(source.error_code())
}

fn unknown(told: &dyn std::fmt::Display) -> PublishError {
    PublishError::OutcomeUnknown(told.to_string())
}

impl From<ReadError> for LookError {
    fn from(error: ReadError) -> Self {
        Self::Publish(unknown(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other(code: u64) -> SendError {
        let text = format!(r#"{{"code":400,"err_code":{code},"description":"told"}}"#);
        let error: jetstream::Error = serde_json::from_str(&text).unwrap();
        SendError::with_source(PublishErrorKind::Other, error)
    }

    #[test]
    fn both_codes_of_a_conflict_are_one() {
        assert!(is_conflict(&SendError::new(PublishErrorKind::WrongLastSequence)));
        assert!(is_conflict(&other(10164)));
        assert!(!is_conflict(&other(10163)), "this one may pass");
    }

    #[test]
    fn a_full_stream_is_told_from_one_that_does_not_answer() {
        assert!(matches!(failure(&other(10077)), Sent::NoRoom(told) if told.contains("told")));
        assert!(matches!(failure(&other(10054)), Sent::TooLarge));
        for unclear in [10163, 10164, 10201, 10008] {
            assert!(matches!(failure(&other(unclear)), Sent::Unclear), "{unclear}");
        }
    }
}
