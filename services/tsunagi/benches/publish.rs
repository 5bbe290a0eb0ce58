//! What publishing costs over gRPC: `cargo bench -p tsunagi --bench publish [SECONDS] [SETTING ...]`.
//! The settings are given to the server: `--with-nats --nats-listen 127.0.0.1:0` measures on NATS.
//!
//! Callers in a closed loop publish events of some 350 bytes for patients of their own, chosen
//! at random, each with the version that it expects, and wait until they are durable. Beside
//! it, in the same run and in a process of its own too, a bare tonic server gives the same
//! answers out of its head. The load is that of the peers' programs, which are not part of
//! this project.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a measurement that fails is of no use"
)]

mod support;

use std::pin::Pin;
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use prost::Message as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status, Streaming};
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_bus_client::CareBusClient;
use tsunagi_proto::v1::care_bus_server::{CareBus, CareBusServer};
use tsunagi_proto::v1::publish_session_response::Outcome;
use tsunagi_proto::v1::subscribe_response::Frame;
use tsunagi_proto::v1::timeline_client::TimelineClient;
use uuid::Uuid;

use support::{TSUNAGI, connect, signed, start};

/// Patients of each caller that waits for its answers, and of one that does not: commands about
/// one patient are decided one after the other.
const PATIENTS: usize = 20;
const PATIENTS_OF_A_SESSION: usize = 5_000;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if arguments.first().is_some_and(|mode| mode == "bare") {
        return serve_bare().await;
    }
    let seconds = arguments.first().and_then(|seconds| seconds.parse().ok()).unwrap_or(3);
    let length = Duration::from_secs(seconds);
    let target = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target");
    let folder = tempfile::tempdir_in(target).unwrap();
    let mut server = start(
        Command::new(TSUNAGI)
            .args(["up", "--listen", "127.0.0.1:0", "--log", "warn", "--data"])
            .arg(folder.path().join("data"))
            .args(arguments.iter().filter(|argument| argument.parse::<u64>().is_err())),
    );
    let mut bare = start(Command::new(std::env::current_exe().unwrap()).arg("bare"));
    println!(
        "| what | events/s | p50 µs | p99 µs | bare tonic/s | ratio |\n|---|---|---|---|---|---|"
    );
    for callers in [1, 16, 64, 256] {
        let ours = unary(&server.url, callers, 1, length).await;
        let echo = unary(&bare.url, callers, 1, length).await;
        row(&format!("Publish, {callers} callers"), &ours, Some(&echo));
    }
    for (events, callers) in [(10, 16), (100, 16)] {
        let ours = unary(&server.url, callers, events, length).await;
        row(&format!("Publish of {events}, {callers} callers"), &ours, None);
    }
    for window in [1, 16, 256] {
        let ours = session(&server.url, window, length).await;
        let echo = session(&bare.url, window, length).await;
        row(&format!("PublishSession, window {window}"), &ours, Some(&echo));
    }
    delivery(&server.url, length).await;
    for events in [100, 1000] {
        reads(&server.url, events).await;
    }
    println!("server's memory, MB: {:.0}", server.resident_mb());
    server.child.kill().unwrap();
    bare.child.kill().unwrap();
}

/// How long each request took, and how many events all of them had.
struct Measured {
    times: Vec<Duration>,
    events: usize,
    took: Duration,
}

impl Measured {
    fn per_second(&self) -> f64 {
        f64::from(u32::try_from(self.events).unwrap()) / self.took.as_secs_f64()
    }

    fn percentile(&self, percent: usize) -> u128 {
        let mut times = self.times.clone();
        times.sort_unstable();
        times[(times.len() - 1) * percent / 100].as_micros()
    }
}

fn row(what: &str, ours: &Measured, bare: Option<&Measured>) {
    let (rate, p50, p99) = (ours.per_second(), ours.percentile(50), ours.percentile(99));
    let beside = bare.map_or("| ".to_owned(), |bare| {
        format!("{:.0} | {:.2}", bare.per_second(), rate / bare.per_second())
    });
    println!("| {what} | {rate:.0} | {p50} | {p99} | {beside} |");
}

/// A caller's patients, and how many events each has.
struct Caller {
    patients: Vec<(String, u64)>,
    rng: Pcg64Mcg,
}

impl Caller {
    /// Registers patients of its own.
    async fn new(channel: &Channel, seed: usize, count: usize) -> Self {
        let mut bus = CareBusClient::new(channel.clone());
        let mut patients = Vec::new();
        for _ in 0..count {
            let patient = Uuid::now_v7().to_string();
            let registered = v1::PatientRegistered {
                demographics: Some(v1::Demographics::default()),
                ..Default::default()
            };
            let payload = registered.encode_to_vec();
            let event = event(&patient, "care.patient.registered.v1", payload);
            let request = v1::PublishRequest { events: vec![event], expected_version: Some(0) };
            bus.publish(signed(request)).await.unwrap();
            patients.push((patient, 1));
        }
        let rng = Pcg64Mcg::seed_from_u64(u64::try_from(seed).unwrap());
        Self { patients, rng }
    }

    /// The next request, on the version that it leads to.
    fn next(&mut self, events: usize) -> v1::PublishRequest {
        let index = self.rng.random_range(0..self.patients.len());
        let (patient, version) = &mut self.patients[index];
        let expected_version = Some(*version);
        *version += u64::try_from(events).unwrap();
        let visit = v1::VisitCompleted {
            kind: v1::VisitKind::Nursing.into(),
            summary: "x".repeat(130),
            ..Default::default()
        };
        let payload = visit.encode_to_vec();
        let of_visit = || event(patient, "care.home.visit_completed.v1", payload.clone());
        let events = (0..events).map(|_| of_visit()).collect();
        v1::PublishRequest { events, expected_version }
    }
}

fn event(patient: &str, event_type: &str, payload: Vec<u8>) -> v1::Event {
    let actor = v1::Actor {
        organisation: "bench".into(),
        role: "bench".into(),
        person: "bench".into(),
        on_behalf_of: String::new(),
    };
    v1::Event {
        event_id: Uuid::now_v7().to_string(),
        r#type: event_type.to_owned(),
        patient_id: patient.to_owned(),
        occurred_at: "2026-05-01T09:00:00+09:00".into(),
        actor: Some(actor),
        payload,
        ..Default::default()
    }
}

/// Callers that each have one request under way, over a connection for every 64 of them.
async fn unary(url: &str, callers: usize, events: usize, length: Duration) -> Measured {
    let mut channels = Vec::new();
    for _ in 0..callers.div_ceil(64) {
        channels.push(connect(url).await);
    }
    let mut all = Vec::new();
    for number in 0..callers {
        let channel = channels[number % channels.len()].clone();
        all.push((Caller::new(&channel, number, PATIENTS).await, channel));
    }
    let began = Instant::now();
    let tasks = all.into_iter().map(|(mut caller, channel)| {
        tokio::spawn(async move {
            let mut bus = CareBusClient::new(channel);
            let mut times = Vec::new();
            while began.elapsed() < length {
                let request = caller.next(events);
                let sent = Instant::now();
                bus.publish(signed(request)).await.unwrap();
                times.push(sent.elapsed());
            }
            times
        })
    });
    let mut times = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        times.extend(task.await.unwrap());
    }
    let events = times.len() * events;
    Measured { times, events, took: began.elapsed() }
}

/// One caller with so many requests under way in one stream.
async fn session(url: &str, window: usize, length: Duration) -> Measured {
    let channel = connect(url).await;
    let mut caller = Caller::new(&channel, 0, PATIENTS_OF_A_SESSION).await;
    let mut bus = CareBusClient::new(channel);
    let (requests, stream) = mpsc::channel(window);
    let answers = bus.publish_session(signed(ReceiverStream::new(stream))).await.unwrap();
    let mut answers = answers.into_inner();
    let mut sent: Vec<Instant> = Vec::new();
    let mut times: Vec<Duration> = Vec::new();
    let began = Instant::now();
    loop {
        while sent.len() - times.len() < window && began.elapsed() < length {
            let tag = u64::try_from(sent.len()).unwrap();
            let publish = Some(caller.next(1));
            sent.push(Instant::now());
            requests.send(v1::PublishSessionRequest { tag, publish }).await.unwrap();
        }
        if sent.len() == times.len() {
            break;
        }
        let answer = answers.message().await.unwrap().unwrap();
        assert!(matches!(answer.outcome, Some(Outcome::Published(_))), "{answer:?}");
        times.push(sent[usize::try_from(answer.tag).unwrap()].elapsed());
    }
    let events = times.len();
    Measured { times, events, took: began.elapsed() }
}

/// From sending an event to having it from a subscription, at 1,000 events a second.
async fn delivery(url: &str, length: Duration) {
    let channel = connect(url).await;
    let mut caller = Caller::new(&channel, 0, PATIENTS).await;
    let mut bus = CareBusClient::new(channel.clone());
    let subscribe = signed(v1::SubscribeRequest::default());
    let mut frames = bus.subscribe(subscribe).await.unwrap().into_inner();
    while !matches!(frames.message().await.unwrap().unwrap().frame, Some(Frame::CaughtUp(_))) {}
    let (told, mut sent) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        let began = Instant::now();
        let mut answers = FuturesUnordered::new();
        while began.elapsed() < length {
            ticks.tick().await;
            // They may overtake each other on the way.
            let request = v1::PublishRequest { expected_version: None, ..caller.next(1) };
            if told.send((request.events[0].event_id.clone(), Instant::now())).is_err() {
                break;
            }
            let mut bus = bus.clone();
            answers.push(tokio::spawn(async move { bus.publish(signed(request)).await.unwrap() }));
        }
        while answers.next().await.is_some() {}
    });
    let mut times = Vec::new();
    let mut under_way = std::collections::HashMap::new();
    let mut arrived = std::collections::HashMap::new();
    let began = Instant::now();
    while began.elapsed() < length {
        let frame = frames.message().await.unwrap().unwrap();
        let Some(Frame::Event(stored)) = frame.frame else { continue };
        arrived.insert(stored.event.unwrap().event_id, Instant::now());
        while let Ok((id, at)) = sent.try_recv() {
            under_way.insert(id, at);
        }
        under_way.retain(|id, at| match arrived.remove(id) {
            Some(there) => {
                times.push(there.duration_since(*at));
                false
            }
            None => true,
        });
    }
    let events = times.len();
    let measured = Measured { times, events, took: began.elapsed() };
    row("publish to subscriber, 1,000/s", &measured, None);
}

/// The whole timeline of a patient who has so many events.
async fn reads(url: &str, events: usize) {
    let channel = connect(url).await;
    let mut caller = Caller::new(&channel, 0, PATIENTS).await;
    let mut bus = CareBusClient::new(channel.clone());
    caller.patients.truncate(1);
    for _ in 0..events / 100 {
        bus.publish(signed(caller.next(100))).await.unwrap();
    }
    let mut timeline = TimelineClient::new(channel);
    let began = Instant::now();
    let mut times = Vec::new();
    for _ in 0..300 {
        let request = v1::ReadTimelineRequest {
            patient_id: caller.patients[0].0.clone(),
            page_size: 1000,
            ..Default::default()
        };
        let sent = Instant::now();
        let page = timeline.read_timeline(signed(request)).await.unwrap().into_inner();
        times.push(sent.elapsed());
        assert!(page.entries.len() >= events);
    }
    let measured = Measured { events: times.len(), times, took: began.elapsed() };
    row(&format!("read a timeline of {events} events"), &measured, None);
}

/// Answers everything at once.
struct Bare;

fn receipts(request: &v1::PublishRequest) -> v1::PublishResponse {
    let receipt = |event: &v1::Event| v1::Receipt {
        event_id: event.event_id.clone(),
        patient_id: event.patient_id.clone(),
        version: 7,
        cursor: "AAECAwQFBgcICQ".into(),
        recorded_at: Some(prost_types::Timestamp::default()),
        ..v1::Receipt::default()
    };
    v1::PublishResponse { receipts: request.events.iter().map(receipt).collect() }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl CareBus for Bare {
    type PublishSessionStream = Answers<v1::PublishSessionResponse>;
    type SubscribeStream = Answers<v1::SubscribeResponse>;

    async fn publish(
        &self,
        request: Request<v1::PublishRequest>,
    ) -> Result<Response<v1::PublishResponse>, Status> {
        Ok(Response::new(receipts(request.get_ref())))
    }

    async fn publish_session(
        &self,
        request: Request<Streaming<v1::PublishSessionRequest>>,
    ) -> Result<Response<Self::PublishSessionStream>, Status> {
        let answers = request.into_inner().map(|request| {
            let request = request?;
            let published = receipts(&request.publish.unwrap_or_default());
            let outcome = Some(Outcome::Published(published));
            Ok(v1::PublishSessionResponse { tag: request.tag, outcome })
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn subscribe(
        &self,
        _request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        Err(Status::unimplemented("the bare server only answers publishers"))
    }

    async fn quarantine(
        &self,
        _request: Request<v1::QuarantineRequest>,
    ) -> Result<Response<v1::Receipt>, Status> {
        Err(Status::unimplemented("the bare server only answers publishers"))
    }

    async fn list_quarantine(
        &self,
        _request: Request<v1::ListQuarantineRequest>,
    ) -> Result<Response<v1::ListQuarantineResponse>, Status> {
        Err(Status::unimplemented("the bare server only answers publishers"))
    }

    async fn release_quarantined(
        &self,
        _request: Request<v1::ReleaseQuarantinedRequest>,
    ) -> Result<Response<v1::Receipt>, Status> {
        Err(Status::unimplemented("the bare server only answers publishers"))
    }

    async fn read_quarantined(
        &self,
        _request: Request<v1::ReadQuarantinedRequest>,
    ) -> Result<Response<v1::ReadQuarantinedResponse>, Status> {
        Err(Status::unimplemented("the bare server only answers publishers"))
    }
}

async fn serve_bare() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("gRPC  http://{}", listener.local_addr().unwrap());
    Server::builder()
        .tcp_nodelay(true)
        .add_service(CareBusServer::new(Bare))
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
        .await
        .unwrap();
}
