//! What NATS costs: `cargo bench -p tsunagi-event-store --bench nats [EVENTS] [SECONDS]`, with
//! nats-server on the PATH or installed by tests/run.
//!
//! Beside each measurement, in the same run and on the same server (`sync_interval: always`),
//! stands the same done with the bare client: the same headers, subjects and streams, and none
//! of what makes it safe.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::panic,
    reason = "a measurement that fails is of no use"
)]

#[path = "../../tests/nats/servers.rs"]
mod nats_servers;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::{self, Context};
use bytes::Bytes;
use futures_util::StreamExt as _;
use prost::Message as _;
use tokio::task::JoinSet;
use tsunagi_bus::nats::{JetStreamBus, Nats, Publisher, Streams, message_id};
use tsunagi_bus::{Bus, Delivery, Draft, Expected, Log, Publication, StreamId};
use tsunagi_chassis::Config;
use tsunagi_chassis::config::{Ack, Values};
use tsunagi_domain::{EventId, PatientId};
use tsunagi_event_store::Store;
use tsunagi_event_store::ingest::Ingest;
use tsunagi_proto::v1;
use uuid::Uuid;

use nats_servers::NatsServer;

const SLOTS: u16 = 4;
/// Patients of each caller.
const PATIENTS: u128 = 50;
/// Publications that the bare client has under way while streams are filled.
const WINDOW: usize = 512;
/// Of the measurement of how late a reader is.
const EVENTS_PER_SECOND: u64 = 1000;

fn config(data: &Path, url: &str) -> Config {
    let flags = [
        ("data", data.to_str().unwrap().to_owned()),
        ("slots", SLOTS.to_string()),
        ("nats", url.to_owned()),
        ("nats-stream-bytes", (1u64 << 30).to_string()),
        ("nats-window", "512".to_owned()),
    ];
    Config::new(&Values::gather(&BTreeMap::from(flags), None).unwrap()).unwrap()
}

/// A store that takes in the streams, and a bus on it.
struct Running {
    bus: Arc<dyn Bus>,
    store: Store,
    ingest: Ingest,
}

async fn start(config: &Config) -> Running {
    let store = Store::open(config).unwrap();
    let nats = Nats::connect(config.nats.as_ref().unwrap(), config).await.unwrap();
    let streams = Streams::open(nats, store.region(), config).await.unwrap();
    let ingest = Ingest::start(&store, &streams, config).await.unwrap();
    let log: Arc<dyn Log> = Arc::new(store.clone());
    let publisher = Publisher::new(streams, Arc::clone(&log), config);
    Running { bus: Arc::new(JetStreamBus::new(publisher, log)), store, ingest }
}

impl Running {
    async fn stop(self) {
        self.ingest.stop().await;
        drop(self.bus);
        self.store.close().unwrap();
    }
}

fn patient(number: u128) -> StreamId {
    StreamId::Patient(PatientId::new(Uuid::from_u128(0x7000_0000_0000 + number)))
}

/// An event of some 350 bytes.
fn draft(to: StreamId) -> Draft {
    let event = EventId::new(Uuid::now_v7());
    let record = v1::Event {
        event_id: event.to_string(),
        r#type: "care.home.visit_completed.v1".into(),
        patient_id: to.patient().map(|patient| patient.to_string()).unwrap_or_default(),
        occurred_at: "2026-05-01T09:00:00+09:00".into(),
        payload: vec![b'x'; 200],
        ..Default::default()
    };
    Draft { event, record: Bytes::from(record.encode_to_vec()) }
}

/// As the product's own messages are.
fn message(to: StreamId, draft: &Draft) -> (String, HeaderMap) {
    let slot = to.slot(SLOTS).0;
    let mut headers = HeaderMap::new();
    let mut put = |name: &'static str, value: String| headers.insert(name, value.as_str());
    put("Nats-Msg-Id", message_id(to, draft.event));
    put("Nats-Expected-Stream", format!("CARE-{slot:02}"));
    put("ce-specversion", "1.0".into());
    put("ce-id", draft.event.to_string());
    put("ce-type", "care.home.visit_completed.v1".into());
    put("ce-source", "/tsunagi//".into());
    put("ce-subject", to.to_string());
    put("ce-time", "2026-05-01T09:00:00+09:00".into());
    put("content-type", "application/protobuf".into());
    put("traceparent", format!("00-{}-0000000000000001-01", Uuid::now_v7().as_simple()));
    (format!("care.evt.{slot:02}.{to}"), headers)
}

async fn publish_bare(context: Context, to: StreamId) {
    let draft = draft(to);
    let (subject, headers) = message(to, &draft);
    context.publish_with_headers(subject, headers, draft.record).await.unwrap().await.unwrap();
}

async fn publish(bus: Arc<dyn Bus>, to: StreamId) {
    let publication = Publication { stream: to, expected: Expected::Any, drafts: vec![draft(to)] };
    bus.publish(publication).await.unwrap();
}

/// Callers in a closed loop: events a second, and the median of how long one took.
async fn closed_loop<F: Future<Output = ()> + Send + 'static>(
    callers: u128,
    length: Duration,
    one: impl Fn(StreamId) -> F + Clone + Send + Sync + 'static,
) -> (f64, Duration) {
    let mut running = JoinSet::new();
    let begun = Instant::now();
    for caller in 0..callers {
        let one = one.clone();
        running.spawn(async move {
            let mut times = Vec::new();
            for number in 0.. {
                let sent = Instant::now();
                one(patient(caller * PATIENTS + number % PATIENTS)).await;
                times.push(sent.elapsed());
                if begun.elapsed() >= length {
                    break;
                }
            }
            times
        });
    }
    let mut times: Vec<Duration> = running.join_all().await.into_iter().flatten().collect();
    let rate = f64::from(u32::try_from(times.len()).unwrap()) / begun.elapsed().as_secs_f64();
    (rate, percentile(&mut times, 50))
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times.get(times.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
}

async fn publishing(folder: &Path, url: &str, context: &Context, length: Duration) {
    println!("| callers | bare/s | `--ack bus`/s | ratio | `--ack store`/s | ratio | p50 µs |");
    println!("|---|---|---|---|---|---|---|");
    let mut measured = [Ack::Bus, Ack::Store].into_iter().map(|ack| {
        let data = folder.join(format!("{ack:?}"));
        std::fs::create_dir_all(&data).unwrap();
        let region = folder.join("region.toml");
        if region.exists() {
            std::fs::copy(region, data.join("region.toml")).unwrap();
        }
        Config { ack, ..config(&data, url) }
    });
    let (of_bus, of_store) = (measured.next().unwrap(), measured.next().unwrap());
    let on_bus = start(&of_bus).await;
    std::fs::copy(of_bus.data.join("region.toml"), folder.join("region.toml")).unwrap();
    std::fs::copy(of_bus.data.join("region.toml"), of_store.data.join("region.toml")).unwrap();
    let in_store = start(&of_store).await;
    for callers in [1, 16, 64, 256] {
        let bare = context.clone();
        let (bare, _) =
            closed_loop(callers, length, move |to| publish_bare(bare.clone(), to)).await;
        let bus = Arc::clone(&on_bus.bus);
        let (acked, _) =
            closed_loop(callers, length, move |to| publish(Arc::clone(&bus), to)).await;
        let bus = Arc::clone(&in_store.bus);
        let (stored, p50) =
            closed_loop(callers, length, move |to| publish(Arc::clone(&bus), to)).await;
        println!(
            "| {callers} | {bare:.0} | {acked:.0} | {:.2} | {stored:.0} | {:.2} | {} |",
            acked / bare,
            stored / bare,
            p50.as_micros()
        );
    }
    on_bus.stop().await;
    in_store.stop().await;
}

/// How late a reader is that follows: of the store, and of the bare stream.
async fn delivery(folder: &Path, url: &str, context: &Context, length: Duration) {
    let config = config(&folder.join("Store"), url);
    let running = start(&config).await;
    let mut feed = running.bus.follow(running.bus.end());
    let mut bare = readers(context, DeliverPolicy::New).await;
    let period = Duration::from_secs(1) / u32::try_from(EVENTS_PER_SECOND).unwrap();
    let count = EVENTS_PER_SECOND * length.as_secs();
    let publisher = context.clone();
    let publishing = tokio::spawn(async move {
        let mut tick = tokio::time::interval(period);
        for number in 0..count {
            tick.tick().await;
            tokio::spawn(publish_bare(publisher.clone(), patient(number.into())));
        }
    });
    // An event id has the time at which it was made.
    let lateness = |event: EventId| {
        let (seconds, nanos) = event.uuid().get_timestamp().unwrap().to_unix();
        let made = std::time::UNIX_EPOCH + Duration::new(seconds, nanos);
        made.elapsed().unwrap_or_default()
    };
    let of_store = async {
        let mut late = Vec::new();
        while late.len() < usize::try_from(count).unwrap() {
            if let Delivery::Events(events) = feed.next().await.unwrap() {
                late.extend(events.iter().map(|stored| lateness(stored.event)));
            }
        }
        late
    };
    let of_stream = async {
        let mut late = Vec::new();
        while late.len() < usize::try_from(count).unwrap() {
            let message = bare.next().await.unwrap();
            let id = message.headers.as_ref().and_then(|headers| headers.get("ce-id")).unwrap();
            late.push(lateness(EventId::parse(id.as_str()).unwrap()));
        }
        late
    };
    let (mut ours, mut theirs) = tokio::join!(of_store, of_stream);
    publishing.await.unwrap();
    println!("\n| seen after, ms (to 1 ms) | p50 | p99 |\n|---|---|---|");
    for (what, late) in [("follower of the store", &mut ours), ("bare consumer", &mut theirs)] {
        let (p50, p99) = (percentile(late, 50), percentile(late, 99));
        println!("| {what} | {} | {} |", p50.as_millis(), p99.as_millis());
    }
    running.stop().await;
}

/// All slots' messages as they come to the bare client.
async fn readers(
    context: &Context,
    from: DeliverPolicy,
) -> impl futures_util::Stream<Item = jetstream::Message> + Unpin + use<> {
    let mut all = Vec::new();
    for slot in 0..SLOTS {
        let config = pull::OrderedConfig { deliver_policy: from, ..Default::default() };
        let name = format!("CARE-{slot:02}");
        let consumer = context.create_consumer_on_stream(config, name).await.unwrap();
        all.push(consumer.messages().await.unwrap().map(Result::unwrap));
    }
    futures_util::stream::select_all(all)
}

async fn messages(context: &Context) -> u64 {
    let mut count = 0;
    for slot in 0..SLOTS {
        let stream = context.get_stream(format!("CARE-{slot:02}")).await.unwrap();
        count += stream.cached_info().state.messages;
    }
    count
}

/// A new store takes in everything, beside the bare client that reads it; and two that have half
/// of the slots each.
async fn catching_up(folder: &Path, url: &str, context: &Context, events: u64) {
    let mut under_way = JoinSet::new();
    for number in messages(context).await..events {
        under_way.spawn(publish_bare(context.clone(), patient(u128::from(number % 20_000))));
        if under_way.len() >= WINDOW {
            under_way.join_next().await.unwrap().unwrap();
        }
    }
    under_way.join_all().await;
    let events = messages(context).await;
    let rate =
        |begun: Instant| f64::from(u32::try_from(events).unwrap()) / begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let mut bare = readers(context, DeliverPolicy::All).await;
    for _ in 0..events {
        bare.next().await.unwrap();
    }
    let bare = rate(begun);
    println!("\n| catching up {events} events | events/s | ratio to bare |\n|---|---|---|");
    println!("| bare consumer | {bare:.0} | 1 |");
    for shards in [1u16, 2] {
        let mut stores = JoinSet::new();
        let begun = Instant::now();
        for index in 1..=shards {
            let data = folder.join(format!("shard-{index}-{shards}"));
            std::fs::create_dir_all(&data).unwrap();
            std::fs::copy(folder.join("region.toml"), data.join("region.toml")).unwrap();
            let config = Config { shard: (index, shards), ..config(&data, url) };
            stores.spawn(async move { start(&config).await });
        }
        let running = stores.join_all().await;
        let ours = rate(begun);
        println!("| {shards} store(s), all slots together | {ours:.0} | {:.2} |", ours / bare);
        for one in running {
            one.stop().await;
        }
    }
}

#[tokio::main]
async fn main() {
    let numbers: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let events = numbers.first().copied().unwrap_or(1_000_000);
    let length = Duration::from_secs(numbers.get(1).copied().unwrap_or(3));
    let target = concat!(env!("CARGO_MANIFEST_DIR"), "/../target");
    let folder = tempfile::tempdir_in(target).unwrap();
    let server = NatsServer::start(folder.path());
    let context = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    publishing(folder.path(), &server.url(), &context, length).await;
    delivery(folder.path(), &server.url(), &context, length).await;
    catching_up(folder.path(), &server.url(), &context, events).await;
}
