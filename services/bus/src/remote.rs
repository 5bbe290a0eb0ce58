//! An event store in another process, read over gRPC.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::{Channel, Endpoint, Uri};
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
use crate::shards::Shard;
use crate::stored_record::{cursor, from_wire, positions, unreadable_from_wire};
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

/// The way to one of several servers of the region that are as good as each other, with `|`
/// between them: to the first that takes a connection, and when that is gone, to the next. None
/// need answer yet: a call that is not begun to be answered in time fails.
pub fn channel(urls: &str, config: &Config) -> Result<Channel, NoAddress> {
    let malformed = |url: &str| NoAddress(url.to_owned());
    let mut addresses = Vec::new();
    for url in urls.split('|').map(str::trim) {
        let uri: Uri = url.parse().map_err(|_malformed| malformed(url))?;
        let host = uri.host().filter(|_| uri.scheme_str() == Some("http"));
        let host = host.ok_or_else(|| malformed(url))?;
        addresses.push(format!("{host}:{}", uri.port_u16().unwrap_or(80)));
    }
    let first = urls.split('|').next().unwrap_or_default().trim().to_owned();
    let endpoint = Endpoint::from_shared(first).map_err(|_malformed| malformed(urls))?;
    let endpoint = endpoint
        .timeout(Duration::from_millis(config.stores_answer_ms))
        .http2_keep_alive_interval(ALIVE_EVERY)
        .keep_alive_timeout(ALIVE_WAIT)
        .keep_alive_while_idle(true);
    let (addresses, next) = (Arc::<[String]>::from(addresses), Arc::new(AtomicUsize::new(0)));
    Ok(endpoint.connect_with_connector_lazy(tower::service_fn(move |_uri: Uri| {
        connect(Arc::clone(&addresses), Arc::clone(&next))
    })))
}

/// Connects to the first address that takes it, from `next` on, which then is the one behind it:
/// a server that takes connections and answers nothing is not tried again first.
async fn connect(
    addresses: Arc<[String]>,
    next: Arc<AtomicUsize>,
) -> std::io::Result<TokioIo<TcpStream>> {
    let from = next.load(Ordering::Relaxed);
    let mut told = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    for place in (from..).take(addresses.len()) {
        let Some(address) = addresses.get(place % addresses.len()) else { continue };
        match tokio::time::timeout(CONNECT_WAIT, TcpStream::connect(address)).await {
            Ok(Ok(connection)) => {
                next.store(place + 1, Ordering::Relaxed);
                connection.set_nodelay(true)?;
                return Ok(TokioIo::new(connection));
            }
            Ok(Err(error)) => told = error,
            Err(elapsed) => told = elapsed.into(),
        }
    }
    Err(told)
}

/// How another store is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Link {
    /// It was not heard of yet.
    #[default]
    Unknown,
    /// It tells how far it is.
    Well,
    /// It did, and does not any more.
    Away,
    /// It is another one than it is taken for.
    Wrong(String),
}

/// How far a store is, as it told last.
#[derive(Debug, Clone, Default)]
struct Told {
    end: Cursor,
    /// By slot; none for those that it does not have.
    runs: Vec<Option<Run>>,
}

/// A store in another process. Clones share it.
#[derive(Clone)]
pub struct RemoteStore {
    region: Region,
    client: EventStoreClient<Channel>,
    told: watch::Receiver<Told>,
    link: watch::Receiver<Link>,
    _watching: Arc<DropGuard>,
}

impl RemoteStore {
    /// The store of a shard at `urls`, one of them with `|` between. None need answer yet.
    pub fn new(
        urls: &str,
        shard: Shard,
        region: &Region,
        config: &Config,
    ) -> Result<Self, NoAddress> {
        let channel = channel(urls, config)?;
        let client = EventStoreClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let (tell, told) = watch::channel(Told::default());
        let (tell_link, link) = watch::channel(Link::default());
        let stop = CancellationToken::new();
        let watching = Watching {
            client: client.clone(),
            region: region.clone(),
            shard,
            urls: urls.to_owned(),
            tell,
            tell_link,
        };
        tokio::spawn(stop.clone().run_until_cancelled_owned(watching.run()));
        let region = region.clone();
        Ok(Self { region, client, told, link, _watching: Arc::new(stop.drop_guard()) })
    }

    /// How it is known, as it changes.
    pub fn watch_link(&self) -> watch::Receiver<Link> {
        self.link.clone()
    }

    /// What is wrong about it, if anything is.
    fn right(&self) -> Result<(), ReadError> {
        match &*self.link.borrow() {
            Link::Wrong(told) => Err(away(told)),
            Link::Unknown | Link::Well | Link::Away => Ok(()),
        }
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
        self.right()?;
        let request = v1::ReadStreamRequest { stream: stream.to_string(), after };
        let mut client = self.client.clone();
        let answer = client.read_stream(request).await.map_err(|told| unread(&told))?;
        answer.into_inner().records.into_iter().map(from_wire).collect()
    }

    async fn find(&self, stream: StreamId, event: EventId) -> Result<Option<Stored>, ReadError> {
        self.right()?;
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
        Box::new(RemoteFeed { store: self.clone(), from, frames: None })
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
    /// Waits until it has told how far it is, or what is wrong about it.
    pub async fn is_known(&self) -> Link {
        let mut link = self.link.clone();
        let known = link.wait_for(|link| matches!(link, Link::Well | Link::Wrong(_))).await;
        // If nobody watches it any more, this process ends.
        known.map(|link| link.clone()).unwrap_or_default()
    }
}

/// Follows what a store tells of its positions.
struct Watching {
    client: EventStoreClient<Channel>,
    region: Region,
    shard: Shard,
    urls: String,
    tell: watch::Sender<Told>,
    tell_link: watch::Sender<Link>,
}

impl Watching {
    /// For ever.
    async fn run(mut self) {
        let mut pause = RETRY_AFTER;
        loop {
            if let Err(error) = self.follow(&mut pause).await {
                self.ended(&error);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_AFTER_MAX);
        }
    }

    /// The log is told once, until it is otherwise.
    fn ended(&self, error: &ReadError) {
        let link = match error {
            ReadError::Log(told) => Link::Wrong(told.clone()),
            ReadError::Away { .. } => Link::Away,
        };
        let url = &self.urls;
        if self.tell_link.send_if_modified(|known| std::mem::replace(known, link.clone()) != link) {
            tracing::warn!(url, shard = %self.shard, %error, "an event store does not tell how far it is");
        }
    }

    async fn follow(&mut self, pause: &mut Duration) -> Result<(), ReadError> {
        let watched = self.client.watch_positions(v1::WatchPositionsRequest {}).await;
        let mut watched = watched.map_err(|told| unread(&told))?.into_inner();
        while let Some(told) = watched.message().await.map_err(|told| unread(&told))? {
            self.check(&told)?;
            *pause = RETRY_AFTER;
            self.tell.send_replace(read_told(&told.positions, self.region.slots));
            let was = self.tell_link.send_replace(Link::Well);
            if matches!(was, Link::Away | Link::Wrong(_)) {
                tracing::info!(url = self.urls, shard = %self.shard, "an event store is there again");
            }
        }
        Ok(())
    }

    /// Whether it is the store that is meant.
    fn check(&self, told: &v1::WatchPositionsResponse) -> Result<(), ReadError> {
        let Region { id, slots, .. } = &self.region;
        if told.region_id != id.to_string() || told.slots != u32::from(*slots) {
            return Err(ReadError::Log("it is of another region".to_owned()));
        }
        let has = |slot: u16| told.positions.iter().any(|it| it.slot == u32::from(slot));
        if (0..*slots).filter(|slot| self.shard.has(Slot(*slot))).all(has) {
            return Ok(());
        }
        let shard = self.shard;
        Err(ReadError::Log(format!(
            "it does not have the slots of shard {shard}: --stores must name the servers of all shards, in their order"
        )))
    }
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
    Told { end: cursor(told), runs }
}

/// A reader of a store in another process.
struct RemoteFeed {
    store: RemoteStore,
    from: Cursor,
    frames: Option<Streaming<v1::FollowLogResponse>>,
}

#[async_trait]
impl Feed for RemoteFeed {
    async fn next(&mut self) -> Result<Delivery, ReadError> {
        let frames = if let Some(frames) = &mut self.frames {
            frames
        } else {
            self.store.right()?;
            let request = v1::FollowLogRequest { seen: positions(&self.from) };
            let mut client = self.store.client.clone();
            let frames = client.follow_log(request).await.map_err(|told| unread(&told))?;
            self.frames.insert(frames.into_inner())
        };
        let frame = frames.message().await.map_err(|told| unread(&told))?;
        let frame = frame.ok_or_else(|| away("it stops"))?;
        if let Some(unreadable) = frame.unreadable {
            let of = unreadable_from_wire(unreadable)?;
            if let Some(of) = of {
                self.from.advance(of.placed.position);
            }
            return Ok(Delivery::Unreadable(of));
        }
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
