//! An event store in another process, read over gRPC.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};
use tsunagi_chassis::Config;
use tsunagi_chassis::answers::STOPS;
use tsunagi_chassis::refused::reason;
use tsunagi_domain::EventId;
use tsunagi_proto::v1;
use tsunagi_proto::v1::event_store_client::EventStoreClient;

use crate::cursor::Cursor;
use crate::port::{Delivery, Feed, Log, ReadError, Run, Stored};
use crate::region::Region;
use crate::stored_record::{cursor, from_wire, positions};
use crate::stream::{Position, Slot, StreamId};

/// A page of events, and one more that is as large as an event may be.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Before the positions are asked for again; each further time it is twice as long.
const RETRY_AFTER: Duration = Duration::from_millis(100);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(2);
/// How long a connection may take to be made.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// How often it is asked whether another process is still there, and how long that may take:
/// one that is gone without a word would be waited for by whoever follows it.
const ALIVE_EVERY: Duration = Duration::from_secs(10);
const ALIVE_WAIT: Duration = Duration::from_secs(10);

/// The address is not one.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no address of an event store: give one such as http://127.0.0.1:7400")]
pub struct NoAddress(pub String);

/// The way to another server of the region. It need not answer yet: a call that it does not
/// begin to answer in time fails.
pub fn endpoint(url: &str, config: &Config) -> Result<Endpoint, NoAddress> {
    let endpoint = Endpoint::from_shared(url.to_owned()).or(Err(NoAddress(url.to_owned())))?;
    Ok(endpoint
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_WAIT)
        .timeout(Duration::from_millis(config.stores_answer_ms))
        .http2_keep_alive_interval(ALIVE_EVERY)
        .keep_alive_timeout(ALIVE_WAIT)
        .keep_alive_while_idle(true))
}

/// How far a store is, as it told last.
#[derive(Debug, Clone, Default)]
struct Told {
    end: Cursor,
    /// By slot; none for those that it does not have.
    runs: Vec<Option<Run>>,
    /// Whether it has told anything.
    is_known: bool,
}

/// A store in another process. Clones share it.
#[derive(Clone)]
pub struct RemoteStore {
    region: Region,
    client: EventStoreClient<Channel>,
    told: watch::Receiver<Told>,
    _watching: Arc<DropGuard>,
}

impl RemoteStore {
    /// The store at `url`. It need not answer yet.
    pub fn new(url: &str, region: &Region, config: &Config) -> Result<Self, NoAddress> {
        let channel = endpoint(url, config)?.connect_lazy();
        let client = EventStoreClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let (tell, told) = watch::channel(Told::default());
        let stop = CancellationToken::new();
        let watching = watch_positions(client.clone(), region.clone(), url.to_owned(), tell);
        tokio::spawn(stop.clone().run_until_cancelled_owned(watching));
        let region = region.clone();
        Ok(Self { region, client, told, _watching: Arc::new(stop.drop_guard()) })
    }

    /// The roots of its trees at these positions.
    pub async fn roots(&self, at: &Cursor) -> Result<Vec<v1::SlotRoot>, ReadError> {
        let request = v1::ReadRootsRequest { positions: positions(at) };
        let roots = self.client.clone().read_roots(request).await.map_err(|told| unread(&told))?;
        Ok(roots.into_inner().roots)
    }
}

#[async_trait]
impl Log for RemoteStore {
    fn region(&self) -> &Region {
        &self.region
    }

    async fn read(&self, stream: StreamId, after: u64) -> Result<Vec<Stored>, ReadError> {
        let request = v1::ReadStreamRequest { stream: stream.to_string(), after };
        let mut client = self.client.clone();
        let answer = client.read_stream(request).await.map_err(|told| unread(&told))?;
        answer.into_inner().records.into_iter().map(from_wire).collect()
    }

    async fn find(&self, stream: StreamId, event: EventId) -> Result<Option<Stored>, ReadError> {
        let (stream, event_id) = (stream.to_string(), event.to_string());
        let mut client = self.client.clone();
        let answer = client.find_event(v1::FindEventRequest { stream, event_id }).await;
        let answer = answer.map_err(|told| unread(&told))?;
        answer.into_inner().record.map(from_wire).transpose()
    }

    fn end(&self) -> Cursor {
        self.told.borrow().end.clone()
    }

    async fn reach(&self, wanted: &Cursor) -> Result<(), ReadError> {
        let mut told = self.told.clone();
        let reached = told.wait_for(|told| told.end.covers(wanted)).await;
        reached.map(drop).map_err(|_closed| not_watched())
    }

    fn follow(&self, from: Cursor) -> Box<dyn Feed> {
        Box::new(RemoteFeed { client: self.client.clone(), from, frames: None })
    }

    fn run(&self, slot: Slot) -> Option<Run> {
        self.told.borrow().runs.get(usize::from(slot.0)).copied().flatten()
    }

    async fn taken_in(&self, slot: Slot, sequence: u64) -> Result<(), ReadError> {
        let mut told = self.told.clone();
        let is_stored = |told: &Told| {
            let run = told.runs.get(usize::from(slot.0)).copied().flatten();
            let stored = told.end.seen(slot);
            run.is_some_and(|run| run.n_of(sequence).is_none_or(|n| n <= stored))
        };
        let reached = told.wait_for(is_stored).await;
        reached.map(drop).map_err(|_closed| not_watched())
    }
}

impl RemoteStore {
    /// Waits until it has told how far it is.
    pub async fn is_known(&self) {
        let mut told = self.told.clone();
        // If nobody watches it any more, this process ends.
        drop(told.wait_for(|told| told.is_known).await);
    }
}

/// Follows what a store tells of its positions, for ever.
async fn watch_positions(
    client: EventStoreClient<Channel>,
    region: Region,
    url: String,
    tell: watch::Sender<Told>,
) {
    let mut pause = RETRY_AFTER;
    loop {
        let ended = follow_positions(client.clone(), &region, &tell, &mut pause).await;
        if let Err(error) = ended {
            tracing::warn!(url, %error, "an event store does not tell how far it is");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_AFTER_MAX);
    }
}

async fn follow_positions(
    mut client: EventStoreClient<Channel>,
    region: &Region,
    tell: &watch::Sender<Told>,
    pause: &mut Duration,
) -> Result<(), ReadError> {
    let watched = client.watch_positions(v1::WatchPositionsRequest {}).await;
    let mut watched = watched.map_err(|told| unread(&told))?.into_inner();
    while let Some(told) = watched.message().await.map_err(|told| unread(&told))? {
        if told.region_id != region.id.to_string() || told.slots != u32::from(region.slots) {
            return Err(ReadError::Log("it is of another region".to_owned()));
        }
        *pause = RETRY_AFTER;
        tell.send_replace(read_told(&told.positions, region.slots));
    }
    Ok(())
}

fn read_told(told: &[v1::SlotPosition], slots: u16) -> Told {
    let mut runs = vec![None; usize::from(slots)];
    for position in told {
        let run = Run { n: position.run_n, sequence: position.run_sequence };
        let place = usize::try_from(position.slot).ok().and_then(|slot| runs.get_mut(slot));
        if let (Some(place), true) = (place, run.n > 0) {
            *place = Some(run);
        }
    }
    Told { end: cursor(told), runs, is_known: true }
}

/// A reader of a store in another process.
struct RemoteFeed {
    client: EventStoreClient<Channel>,
    from: Cursor,
    frames: Option<Streaming<v1::FollowLogResponse>>,
}

#[async_trait]
impl Feed for RemoteFeed {
    async fn next(&mut self) -> Result<Delivery, ReadError> {
        let frames = if let Some(frames) = &mut self.frames {
            frames
        } else {
            let request = v1::FollowLogRequest { seen: positions(&self.from) };
            let frames = self.client.follow_log(request).await.map_err(|told| unread(&told))?;
            self.frames.insert(frames.into_inner())
        };
        let frame = frames.message().await.map_err(|told| unread(&told))?;
        let frame = frame.ok_or_else(|| away("it stops"))?;
        if frame.records.is_empty() {
            return Ok(Delivery::CaughtUp);
        }
        let events: Vec<Stored> =
            frame.records.into_iter().map(from_wire).collect::<Result<_, _>>()?;
        for stored in &events {
            let Position { slot, n } = stored.placed.position;
            self.from.advance(Position { slot, n });
        }
        Ok(Delivery::Events(events))
    }
}

/// What another store told, or that it told nothing.
fn unread(told: &Status) -> ReadError {
    match reason(told).as_deref() {
        None | Some(STOPS) => away(told.message()),
        Some(_) => ReadError::Log(format!("another event store answers: {}", told.message())),
    }
}

fn away(told: &str) -> ReadError {
    ReadError::Away { shard: String::new(), told: told.to_owned() }
}

fn not_watched() -> ReadError {
    ReadError::Log("the store is not watched".to_owned())
}
