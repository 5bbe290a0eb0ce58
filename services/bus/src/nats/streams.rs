//! The streams of the slots as they are on the servers: created or checked at start, looked at
//! afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamError};
use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use async_nats::jetstream::stream::{
    Config as StreamConfig, RawMessageError, RawMessageErrorKind, Stream,
};
use async_nats::jetstream::{self, ErrorCode};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::watch;
use tokio::time::Instant;
use tsunagi_chassis::Config;

use super::consumer::{ReaderError, SlotReader};
use super::headers::{self, Raw, What};
use super::layout::{self, Difference};
use super::{Nats, RETRY_AFTER};
use crate::port::Stored;
use crate::region::Region;
use crate::stream::{Position, Slot, StreamId};

/// Streams that are set up at once.
const SET_UP_AT_ONCE: usize = 8;

/// Why the streams cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StreamsError {
    #[error(
        "the stream {name} on NATS would not keep what is promised: {}. Change it with the `nats` tool, or give the region a NATS account of its own",
        join(.differences)
    )]
    Different { name: String, differences: Vec<Difference> },
    #[error(
        "the stream {name} on NATS is of another region ({found}) than the data folder ({own}): give the folder the region.toml of that region before it has a log, or use another NATS account"
    )]
    OtherRegion { name: String, found: String, own: String },
    #[error(
        "the NATS account has the stream {0}, and the region has fewer slots: its data folder is not of the region that lies there"
    )]
    MoreSlots(String),
    #[error(
        "NATS has none of the region's streams, of which the log was made: if it is the wrong server, say which is right with --nats; if it lost its data, start tsunagi with --accept-lost once, and they are made anew from the log"
    )]
    Gone,
    #[error("the stream {name} cannot be created: {told}")]
    Create { name: String, told: String },
    /// Try again: NATS does not answer.
    #[error("the stream {name} cannot be asked: {told}")]
    Ask { name: String, told: String },
}

fn join(differences: &[Difference]) -> String {
    differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Which stream it is: another one of the same name differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// When the stream was created, in nanoseconds since 1970.
    pub created_ns: i64,
    pub epoch: String,
}

/// A stream at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamState {
    pub identity: Identity,
    /// The sequence of the first message that it has, or of the one that comes next.
    pub first: u64,
    /// The sequence of the last message; 0 if there was none ever.
    pub last: u64,
    /// How many messages are missing between these.
    pub missing: u64,
}

/// A message as the leader has it.
#[derive(Debug, Clone)]
pub struct Kept {
    pub sequence: u64,
    /// When the stream took it, in nanoseconds since 1970.
    pub taken_at_ns: i64,
    /// By which JetStream knows it again.
    pub message_id: Option<String>,
    /// What it says.
    pub what: What,
    /// The whole message, for comparing.
    pub raw: Bytes,
}

/// All streams of the region.
#[derive(Clone)]
pub struct Streams {
    pub(crate) nats: Nats,
    pub(crate) slots: u16,
    /// What the streams of the slots must be like.
    needed: Arc<[StreamConfig]>,
    pub(crate) partings: Arc<StreamConfig>,
    pub(crate) start_wait: Duration,
    /// In which connection it was seen last whose streams they are.
    seen: Arc<AtomicU64>,
}

impl Streams {
    /// Whether NATS has any of the region's streams. A cluster that has just started may not
    /// answer for a while.
    pub async fn has_any(nats: &Nats, slots: u16, config: &Config) -> Result<bool, StreamsError> {
        let until = Instant::now() + Duration::from_millis(config.nats_start_ms);
        for slot in (0..slots).map(Slot) {
            if find(nats, &layout::stream_name(slot), until).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Creates the streams of the region that are not there, and checks those that are.
    pub async fn open(nats: Nats, region: &Region, config: &Config) -> Result<Self, StreamsError> {
        let (replicas, bytes) = (config.nats_replicas, config.nats_stream_bytes);
        let start_wait = Duration::from_millis(config.nats_start_ms);
        let until = Instant::now() + start_wait;
        let needed =
            (0..region.slots).map(|slot| layout::slot_stream(Slot(slot), region, replicas, bytes));
        let (needed, seen) = (needed.collect(), Arc::new(AtomicU64::new(nats.connection())));
        let (slots, partings) = (region.slots, Arc::new(layout::partings(replicas)));
        let streams = Self { nats, slots, needed, partings, start_wait, seen };
        let mut set_up = futures_util::stream::iter(streams.needed.to_vec())
            .map(|needed| streams.create_or_check(needed, until))
            .buffer_unordered(SET_UP_AT_ONCE);
        while let Some(done) = set_up.next().await {
            done?;
        }
        drop(set_up);
        let beyond = layout::stream_name(Slot(region.slots));
        if streams.find(&beyond, until).await?.is_some() {
            return Err(StreamsError::MoreSlots(beyond));
        }
        for other in [&layout::dead_letters(replicas), streams.partings.as_ref()] {
            if streams.find(&other.name, until).await?.is_none() {
                streams.create(other, until).await?;
            }
        }
        Ok(streams)
    }

    async fn create_or_check(
        &self,
        needed: StreamConfig,
        until: Instant,
    ) -> Result<(), StreamsError> {
        let found = match self.find(&needed.name, until).await? {
            Some(found) => found,
            None => self.create(&needed, until).await?,
        };
        check_region(&found, &needed)?;
        check_promises(&found, &needed, |_difference| true)
    }

    /// Makes sure, once for each connection, that the streams are still those of the region:
    /// where one NATS server was, there may be another.
    pub(crate) async fn see_region(&self, slot: Slot) -> Result<(), StreamsError> {
        let connection = self.nats.connection();
        if self.seen.load(Ordering::Acquire) != connection {
            self.state(slot).await?;
            self.seen.store(connection, Ordering::Release);
        }
        Ok(())
    }

    /// Creates a stream, or finds the one that somebody else created meanwhile. A cluster that
    /// has just started may not be able to for a while.
    pub(crate) async fn create(
        &self,
        needed: &StreamConfig,
        until: Instant,
    ) -> Result<StreamConfig, StreamsError> {
        loop {
            let told = match self.nats.context.create_stream(needed.clone()).await {
                Ok(created) => return Ok(created.cached_info().config.clone()),
                Err(error) => error,
            };
            if let Some(found) = self.find(&needed.name, until).await? {
                return Ok(found);
            }
            let is_final = |kind| match kind {
                CreateStreamErrorKind::JetStream(error) => !is_passing(error.error_code()),
                CreateStreamErrorKind::EmptyStreamName
                | CreateStreamErrorKind::InvalidStreamName
                | CreateStreamErrorKind::DomainAndExternalSet
                | CreateStreamErrorKind::JetStreamUnavailable
                | CreateStreamErrorKind::TimedOut
                | CreateStreamErrorKind::Response
                | CreateStreamErrorKind::NotFound
                | CreateStreamErrorKind::ResponseParse => false,
            };
            if is_final(told.kind()) || Instant::now() + RETRY_AFTER > until {
                let (name, told) = (needed.name.clone(), told.to_string());
                return Err(StreamsError::Create { name, told });
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    async fn find(&self, name: &str, until: Instant) -> Result<Option<StreamConfig>, StreamsError> {
        find(&self.nats, name, until).await
    }

    /// Tells whenever the connection was made anew.
    pub fn watch_connected(&self) -> watch::Receiver<u64> {
        self.nats.connected.clone()
    }

    /// Whether a server is connected, as that changes.
    pub fn watch_link(&self) -> watch::Receiver<bool> {
        self.nats.link.clone()
    }

    /// The stream of a slot as it is now; made again if somebody deleted it. Refused if it is of
    /// another region, or would break a promise now.
    pub async fn state(&self, slot: Slot) -> Result<StreamState, StreamsError> {
        let name = layout::stream_name(slot);
        let needed = self.needed.get(usize::from(slot.0));
        let found = match (self.nats.context.get_stream(&name).await, needed) {
            (Err(error), Some(needed)) if is_not_found(&error) => {
                if !self.has_others(slot).await {
                    return Err(StreamsError::Gone);
                }
                tracing::error!(stream = name, "the stream is gone, and is made again");
                self.create(needed, Instant::now() + self.start_wait).await?;
                self.nats.context.get_stream(&name).await
            }
            (found, _) => found,
        };
        let stream = found.map_err(|error| ask(&name, &error))?;
        let info = stream.cached_info();
        if let Some(needed) = needed {
            check_region(&info.config, needed)?;
            // More replicas may be asked for while it runs.
            check_promises(&info.config, needed, |of| of.setting != "num_replicas")?;
        }
        let created_ns = nanoseconds(info.created.unix_timestamp_nanos());
        let identity = Identity { created_ns, epoch: layout::epoch(&info.config) };
        let (first, last) = (info.state.first_sequence.max(1), info.state.last_sequence);
        let missing = (last + 1).saturating_sub(first).saturating_sub(info.state.messages);
        Ok(StreamState { identity, first, last, missing })
    }

    /// Whether NATS has another stream of the region: then it is the server that it was.
    async fn has_others(&self, slot: Slot) -> bool {
        let slot = usize::from(slot.0);
        for (_, other) in self.needed.iter().enumerate().filter(|(place, _)| *place != slot) {
            if let Ok(found) = self.nats.context.get_stream(&other.name).await {
                return check_region(&found.cached_info().config, other).is_ok();
            }
        }
        false
    }

    /// The message with a sequence, from the leader.
    pub async fn at(&self, slot: Slot, sequence: u64) -> Result<Option<Kept>, StreamsError> {
        let found = self.stream(slot).await?.get_raw_message(sequence).await;
        self.kept(slot, found)
    }

    /// The last message on the subject of one of our streams, from the leader.
    pub async fn last_of(&self, stream: StreamId) -> Result<Option<Kept>, StreamsError> {
        let slot = stream.slot(self.slots);
        let subject = layout::subject(slot, stream);
        // Not `direct_get`: any replica answers that, and one may lag behind.
        let found = self.stream(slot).await?.get_last_raw_message_by_subject(&subject).await;
        self.kept(slot, found)
    }

    fn kept(
        &self,
        slot: Slot,
        found: Result<StreamMessage, RawMessageError>,
    ) -> Result<Option<Kept>, StreamsError> {
        match found {
            Ok(message) => {
                let StreamMessage { subject, headers, payload: body, .. } = &message;
                let raw = Raw { subject: subject.as_str(), headers: Some(headers), body };
                Ok(Some(Kept {
                    sequence: message.sequence,
                    taken_at_ns: nanoseconds(message.time.unix_timestamp_nanos()),
                    message_id: raw.message_id().map(str::to_owned),
                    what: headers::read(&raw, slot, self.slots),
                    raw: raw.to_bytes(),
                }))
            }
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(ask(&layout::stream_name(slot), &error)),
        }
    }

    async fn stream(&self, slot: Slot) -> Result<Stream<()>, StreamsError> {
        let name = layout::stream_name(slot);
        let stream = self.nats.context.get_stream_no_info(&name).await;
        stream.map_err(|error| ask(&name, &error))
    }

    /// Reads a slot's stream from a sequence on.
    pub async fn read(&self, slot: Slot, from: u64) -> Result<SlotReader, ReaderError> {
        SlotReader::open(self, slot, from).await
    }

    /// Sends a stored event to the stream again. `Republished` tells what became of it.
    pub async fn publish_again(
        &self,
        stored: &Stored,
        place: Place,
    ) -> Result<Republished, StreamsError> {
        let Position { slot, n } = stored.placed.position;
        let draft = crate::port::Draft { event: stored.event, record: stored.record.clone() };
        let mut headers = headers::of_event(slot, stored.stream, &draft, &headers::new_trace());
        headers::put_recorded_at(&mut headers, stored.placed.recorded_at);
        if let Some(sequence) = place.in_front_of {
            headers::put_position(&mut headers, n, sequence);
        }
        let mut message = PublishMessage::build().payload(draft.record).headers(headers);
        if let Some(last) = place.behind {
            message = message.expected_last_sequence(last);
        }
        let subject = layout::subject(slot, stored.stream);
        let sent = self.nats.context.send_publish(subject, message).await;
        let ack = sent.map_err(|error| ask(&layout::stream_name(slot), &error))?;
        Ok(Republished { slot, ack })
    }

    /// Tells those who operate NATS of a message that could not be read. Quarantine has it, too.
    pub async fn tell_dead_letter(&self, slot: Slot, sequence: u64, reason: &str, raw: Bytes) {
        let mut headers = HeaderMap::new();
        headers.insert("tsunagi-reason", reason);
        headers.insert("tsunagi-stream", layout::stream_name(slot).as_str());
        headers.insert("tsunagi-sequence", sequence.to_string().as_str());
        let id = format!("{}-{sequence}-{}", layout::stream_name(slot), raw.len());
        let message = PublishMessage::build().payload(raw).headers(headers).message_id(id);
        let subject = layout::dead_letter_subject(slot);
        let told = match self.nats.context.send_publish(subject, message).await {
            Ok(ack) => ack.await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = told {
            tracing::warn!(slot = slot.0, sequence, %error, "a dead letter could not be told of");
        }
    }
}

/// A time since 1970; it fits until the year 2262.
fn nanoseconds(since_1970: i128) -> i64 {
    i64::try_from(since_1970).unwrap_or(i64::MAX)
}

/// Where an event that is published again belongs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// It comes right behind the stream's message with this sequence, or not at all.
    pub behind: Option<u64>,
    /// Though it comes behind it, the log has it in front of the message with this sequence, at
    /// which it parted from the stream: stores that are made of the stream put it there, too.
    pub in_front_of: Option<u64>,
}

/// An event that is being published again.
pub struct Republished {
    slot: Slot,
    ack: jetstream::context::PublishAckFuture,
}

impl Republished {
    /// The sequence at which it lies. None if another message came there first.
    pub async fn sequence(self) -> Result<Option<u64>, StreamsError> {
        match self.ack.await {
            Ok(ack) => Ok(Some(ack.sequence)),
            Err(error) if super::publisher::is_conflict(&error) => Ok(None),
            Err(error) => Err(ask(&layout::stream_name(self.slot), &error)),
        }
    }
}

/// Asks for a stream. A cluster that has just started may not answer for a while.
async fn find(
    nats: &Nats,
    name: &str,
    until: Instant,
) -> Result<Option<StreamConfig>, StreamsError> {
    use jetstream::context::GetStreamErrorKind as Kind;
    loop {
        let error = match nats.context.get_stream(name).await {
            Ok(stream) => return Ok(Some(stream.cached_info().config.clone())),
            Err(error) => error,
        };
        if is_not_found(&error) {
            return Ok(None);
        }
        let may_pass = match error.kind() {
            Kind::JetStream(told) => is_passing(told.error_code()),
            Kind::Request => true,
            Kind::EmptyName | Kind::InvalidStreamName => false,
        };
        if !may_pass || Instant::now() + RETRY_AFTER > until {
            return Err(ask(name, &error));
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

/// Whether JetStream may answer otherwise in a while.
fn is_passing(code: ErrorCode) -> bool {
    [
        ErrorCode::CLUSTER_NOT_AVAILABLE,
        ErrorCode::CLUSTER_NO_PEERS,
        ErrorCode::CLUSTER_NOT_LEADER,
        ErrorCode::CLUSTER_NOT_ASSIGNED,
        ErrorCode::CLUSTER_INCOMPLETE,
        ErrorCode::INSUFFICIENT_RESOURCES,
    ]
    .contains(&code)
}

pub(crate) fn ask(name: &str, told: &dyn std::fmt::Display) -> StreamsError {
    StreamsError::Ask { name: name.to_owned(), told: told.to_string() }
}

fn check_region(found: &StreamConfig, needed: &StreamConfig) -> Result<(), StreamsError> {
    match layout::other_region(found, needed) {
        Some((found, own)) => {
            Err(StreamsError::OtherRegion { name: needed.name.clone(), found, own })
        }
        None => Ok(()),
    }
}

fn check_promises(
    found: &StreamConfig,
    needed: &StreamConfig,
    counts: impl Fn(&Difference) -> bool,
) -> Result<(), StreamsError> {
    let differences: Vec<_> = layout::differences(found, needed);
    let differences: Vec<_> = differences.into_iter().filter(counts).collect();
    if differences.is_empty() {
        return Ok(());
    }
    Err(StreamsError::Different { name: needed.name.clone(), differences })
}

fn is_not_found(error: &GetStreamError) -> bool {
    use jetstream::context::GetStreamErrorKind as Kind;
    matches!(error.kind(), Kind::JetStream(told) if told.error_code() == ErrorCode::STREAM_NOT_FOUND)
}
