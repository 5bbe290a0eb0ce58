//! What every bus must do, run unchanged against the embedded bus, one nats-server, and three.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use tempfile::TempDir;
use tsunagi_bus::nats::{JetStreamBus, Nats, Publisher, Streams, What};
use tsunagi_bus::{
    Bus, Cursor, Delivery, Draft, Expected, Feed, Log, Placed, Publication, PublishError, Run,
    Slot, Stored, StreamId,
};
use tsunagi_chassis::Config;
use tsunagi_event_store::Store;
use tsunagi_event_store::ingest::Ingest;
use tsunagi_proto::v1;

use crate::nats_cluster::NatsCluster;
use crate::nats_history::everything;
use crate::nats_servers::NatsServer;
use crate::support::{config, event, folder, stream};

/// A bus that runs, and can be stopped and opened again.
pub(crate) struct Opened {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) store: Store,
    ingest: Option<Ingest>,
    streams: Option<Streams>,
}

impl Opened {
    pub(crate) fn embedded(folder: &TempDir) -> Self {
        let store = Store::open(&config(folder.path())).unwrap();
        Self { bus: Arc::new(store.clone()), store, ingest: None, streams: None }
    }

    pub(crate) async fn on_nats(folder: &TempDir, urls: &str, replicas: usize) -> Self {
        let config = nats_config(folder, replicas);
        let store = Store::open(&config).unwrap();
        Self::of_store(store, urls, &config).await
    }

    pub(crate) async fn of_store(store: Store, urls: &str, config: &Config) -> Self {
        let nats = Nats::connect(urls, config).await.unwrap();
        let streams = Streams::open(nats, store.region(), config).await.unwrap();
        let ingest = Ingest::start(&store, &streams, config).await.unwrap();
        let log: Arc<dyn Log> = Arc::new(store.clone());
        let publisher = Publisher::new(streams.clone(), Arc::clone(&log), config);
        let bus = Arc::new(JetStreamBus::new(publisher, log));
        Self { bus, store, ingest: Some(ingest), streams: Some(streams) }
    }

    pub(crate) fn streams(&self) -> &Streams {
        self.streams.as_ref().unwrap()
    }

    pub(crate) fn run(&self, slot: Slot) -> Run {
        Log::run(&self.store, slot).unwrap()
    }

    /// How many events were carried into the streams before it was open.
    pub(crate) fn carried(&self) -> u64 {
        self.ingest.as_ref().unwrap().carried
    }

    /// Waits until a message of a slot's stream is stored.
    pub(crate) async fn reaches(&self, slot: Slot, sequence: u64) {
        self.store.taken_in(slot, sequence).await.unwrap();
    }

    /// Waits until every stored event lies in its slot's stream, wherever.
    pub(crate) async fn until_the_streams_have_all(&self) {
        for slot in (0..self.store.region().slots).map(Slot) {
            loop {
                let stored = everything(self.bus.as_ref()).await;
                let of_slot = stored.into_iter().filter(|s| s.placed.position.slot == slot);
                let events = of_slot.filter(|s| !matches!(s.stream, StreamId::Slot(_)));
                let mut lacking: BTreeSet<_> = events.map(|s| (s.stream, s.event)).collect();
                let last = self.streams().state(slot).await.map_or(0, |state| state.last);
                for sequence in 1..=last {
                    let kept = self.streams().at(slot, sequence).await.unwrap();
                    if let Some(What::Event { stream, event, .. }) = kept.map(|kept| kept.what) {
                        lacking.remove(&(stream, event));
                    }
                }
                if lacking.is_empty() {
                    break;
                }
            }
        }
    }

    /// Lets the store fall behind the streams.
    pub(crate) async fn stop_taking_in(&mut self) {
        if let Some(ingest) = self.ingest.take() {
            ingest.stop().await;
        }
    }

    pub(crate) async fn close(self) {
        if let Some(ingest) = self.ingest {
            ingest.stop().await;
        }
        drop(self.bus);
        self.store.close().unwrap();
    }
}

pub(crate) fn nats_config(folder: &TempDir, replicas: usize) -> Config {
    Config {
        nats: Some("as the test says".to_owned()),
        nats_replicas: replicas,
        nats_stream_bytes: 64 << 20,
        nats_check_ms: 200,
        nats_ack_ms: 2000,
        ..config(folder.path())
    }
}

/// An event that says little; `text` tells two with one id apart.
pub(crate) fn saying(number: u128, text: &str) -> Draft {
    let record = v1::Event {
        event_id: event(number).to_string(),
        r#type: "care.encounter.admitted.v1".into(),
        occurred_at: "2026-05-01T09:00:00+09:00".into(),
        payload: text.as_bytes().to_vec(),
        ..Default::default()
    };
    Draft { event: event(number), record: Bytes::from(record.encode_to_vec()) }
}

pub(crate) async fn publish(
    bus: &dyn Bus,
    to: u128,
    expected: Expected,
    drafts: Vec<Draft>,
) -> Result<Vec<Placed>, PublishError> {
    bus.publish(Publication { stream: stream(to), expected, drafts }).await
}

pub(crate) async fn read_all(bus: &dyn Bus, of: StreamId) -> Vec<Stored> {
    let mut events: Vec<Stored> = Vec::new();
    loop {
        let after = events.last().map_or(0, |last| last.placed.version);
        let page = bus.read(of, after).await.unwrap();
        if page.is_empty() {
            return events;
        }
        events.extend(page);
    }
}

async fn follow_to_the_end(feed: &mut Box<dyn Feed>) -> Vec<Stored> {
    let mut followed = Vec::new();
    while let Delivery::Events(events) = feed.next().await.unwrap() {
        followed.extend(events);
    }
    followed
}

/// The suite. `reopen` stops the bus and opens it again on the same data.
async fn conforms<R: AsyncFnMut(Opened) -> Opened>(opened: Opened, mut reopen: R) {
    let bus = opened.bus.as_ref();
    appends_have_versions_without_a_gap(bus).await;
    a_conflict_says_the_version(bus).await;
    a_repeat_is_one_event(bus).await;
    several_events_are_taken_together(bus).await;
    writers_at_once_are_put_in_one_order(&opened.bus).await;
    a_feed_begins_anywhere(bus).await;
    a_slow_reader_misses_nothing(&opened.bus).await;
    let (end, before) = (bus.end(), read_all(bus, stream(1)).await);
    let opened = reopen(opened).await;
    let bus = opened.bus.as_ref();
    assert!(bus.end().covers(&end), "what was there is there after a restart");
    assert_eq!(read_all(bus, stream(1)).await, before);
    let again = publish(bus, 1, Expected::Any, vec![saying(10, "first")]).await;
    assert!(matches!(again, Err(PublishError::Repeated { .. })), "{again:?}");
    let version = before.len().try_into().unwrap();
    let placed = publish(bus, 1, Expected::Version(version), vec![saying(15, "later")]).await;
    assert_eq!(placed.unwrap()[0].version, version + 1);
    opened.close().await;
}

async fn appends_have_versions_without_a_gap(bus: &dyn Bus) {
    let first = publish(bus, 1, Expected::Version(0), vec![saying(10, "first")]).await.unwrap();
    let second = publish(bus, 1, Expected::Version(1), vec![saying(11, "second")]).await.unwrap();
    let third = publish(bus, 1, Expected::Any, vec![saying(12, "third")]).await.unwrap();
    let placed = [first[0], second[0], third[0]];
    assert_eq!(placed.map(|placed| placed.version), [1, 2, 3]);
    let stored = read_all(bus, stream(1)).await;
    assert_eq!(stored.iter().map(|stored| stored.placed).collect::<Vec<_>>(), placed);
    assert_eq!(stored[1].record, saying(11, "second").record, "bytes in are the bytes out");
    let found = bus.find(stream(1), event(12)).await.unwrap().unwrap();
    assert_eq!(found, stored[2]);
    assert_eq!(bus.find(stream(2), event(12)).await.unwrap(), None);
    assert!(bus.end().has_seen(third[0].position), "a receipt's position is durable");
}

async fn a_conflict_says_the_version(bus: &dyn Bus) {
    for wrong in [0, 2, 4] {
        let drafts = vec![saying(13, "too late")];
        let refused = publish(bus, 1, Expected::Version(wrong), drafts).await.unwrap_err();
        let is_conflict = matches!(refused, PublishError::Conflict { version: 3 });
        assert!(is_conflict, "expected {wrong}: {refused:?}");
    }
    assert_eq!(read_all(bus, stream(1)).await.len(), 3, "nothing was added");
}

async fn a_repeat_is_one_event(bus: &dyn Bus) {
    for expected in [Expected::Any, Expected::Version(0), Expected::Version(3)] {
        for text in ["first", "other content under the same id"] {
            let again = publish(bus, 1, expected, vec![saying(10, text)]).await;
            let Err(PublishError::Repeated { stored }) = again else { panic!("{again:?}") };
            assert_eq!(stored[0].record, saying(10, "first").record, "as it was first told");
            assert_eq!(stored[0].placed.version, 1);
        }
    }
    assert_eq!(read_all(bus, stream(1)).await.len(), 3, "nothing was added");
    // The same id of another patient is another event.
    let other = publish(bus, 3, Expected::Version(0), vec![saying(10, "first")]).await.unwrap();
    assert_eq!(other[0].version, 1);
}

async fn several_events_are_taken_together(bus: &dyn Bus) {
    let drafts = || vec![saying(20, "one"), saying(21, "two"), saying(22, "three")];
    let placed = publish(bus, 4, Expected::Version(0), drafts()).await.unwrap();
    assert_eq!(placed.iter().map(|placed| placed.version).collect::<Vec<_>>(), [1, 2, 3]);
    let ns: Vec<u64> = placed.iter().map(|placed| placed.position.n).collect();
    assert_eq!((ns[1], ns[2]), (ns[0] + 1, ns[0] + 2), "nothing comes between them");
    let again = publish(bus, 4, Expected::Version(0), drafts()).await;
    let Err(PublishError::Repeated { stored }) = again else { panic!("{again:?}") };
    assert_eq!(stored.len(), 3);
    let mixed = vec![saying(23, "new"), saying(21, "two")];
    let refused = publish(bus, 4, Expected::Any, mixed).await;
    assert!(matches!(refused, Err(PublishError::Repeated { .. })), "{refused:?}");
    let refused = publish(bus, 4, Expected::Version(1), vec![saying(24, "a"), saying(25, "b")]);
    let refused = refused.await;
    assert!(matches!(refused, Err(PublishError::Conflict { version: 3 })), "{refused:?}");
    let more = publish(bus, 4, Expected::Any, vec![saying(26, "a"), saying(27, "b")]).await;
    assert_eq!(more.unwrap()[1].version, 5);
    assert_eq!(read_all(bus, stream(4)).await.len(), 5, "of those refused, nothing was added");
}

async fn writers_at_once_are_put_in_one_order(bus: &Arc<dyn Bus>) {
    const WRITERS: u128 = 6;
    const EACH: u128 = 8;
    let writer = |writer: u128, bus: Arc<dyn Bus>| async move {
        let mut won = Vec::new();
        let mut version = 0;
        for number in 0..EACH {
            let draft = saying(1000 + writer * 100 + number, "x");
            loop {
                let drafts = vec![draft.clone()];
                match publish(bus.as_ref(), 5, Expected::Version(version), drafts).await {
                    Ok(placed) => {
                        assert_eq!(placed[0].version, version + 1, "as it was expected");
                        version = placed[0].version;
                        won.push(version);
                        break;
                    }
                    Err(PublishError::Conflict { version: actual }) => version = actual,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        won
    };
    let writers: Vec<_> =
        (0..WRITERS).map(|number| tokio::spawn(writer(number, Arc::clone(bus)))).collect();
    let mut won = Vec::new();
    for writer in writers {
        won.extend(writer.await.unwrap());
    }
    won.sort_unstable();
    let all: Vec<u64> = (1..=u64::try_from(WRITERS * EACH).unwrap()).collect();
    assert_eq!(won, all, "each version was won once");
    assert_eq!(read_all(bus.as_ref(), stream(5)).await.len(), all.len());
}

async fn a_feed_begins_anywhere(bus: &dyn Bus) {
    let all = follow_to_the_end(&mut bus.follow(Cursor::start())).await;
    let mut last = std::collections::BTreeMap::new();
    for stored in &all {
        let position = stored.placed.position;
        let before = last.insert(position.slot, position.n).unwrap_or(0);
        assert_eq!(position.n, before + 1, "positions have no gap within a slot");
    }
    for seen in [1, all.len() / 3, all.len() - 1, all.len()] {
        let mut cursor = Cursor::start();
        for stored in &all[..seen] {
            cursor.advance(stored.placed.position);
        }
        let rest = follow_to_the_end(&mut bus.follow(cursor)).await;
        assert_eq!(rest, all[seen..], "from behind {seen} events");
    }
}

async fn a_slow_reader_misses_nothing(bus: &Arc<dyn Bus>) {
    const MANY: u128 = 300;
    let mut slow = bus.follow(bus.end());
    assert!(matches!(slow.next().await.unwrap(), Delivery::CaughtUp));
    let publish_one = |number: u128| async move {
        publish(bus.as_ref(), 6 + number % 5, Expected::Any, vec![saying(5000 + number, "x")]).await
    };
    let many = futures_util::future::join_all((0..MANY).map(publish_one)).await;
    for placed in many {
        placed.unwrap();
    }
    let mut read = Vec::new();
    while read.len() < usize::try_from(MANY).unwrap() {
        if let Delivery::Events(events) = slow.next().await.unwrap() {
            read.extend(events.iter().map(|stored| stored.event));
        }
    }
    read.sort_unstable();
    read.dedup();
    assert_eq!(read.len(), usize::try_from(MANY).unwrap(), "each once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_bus_conforms() {
    let folder = folder();
    let opened = Opened::embedded(&folder);
    conforms(opened, async |opened| {
        opened.close().await;
        Opened::embedded(&folder)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_nats_server_conforms() {
    let (data, servers) = (folder(), folder());
    let mut server = NatsServer::start(servers.path());
    let url = server.url();
    let opened = Opened::on_nats(&data, &url, 1).await;
    conforms(opened, async |opened| {
        opened.close().await;
        server.kill();
        server.resume();
        Opened::on_nats(&data, &url, 1).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nats_servers_conform() {
    let data = folder();
    let cluster = NatsCluster::start();
    let urls = cluster.urls();
    let opened = Opened::on_nats(&data, &urls, 3).await;
    conforms(opened, async |opened| {
        opened.close().await;
        Opened::on_nats(&data, &urls, 3).await
    })
    .await;
}
