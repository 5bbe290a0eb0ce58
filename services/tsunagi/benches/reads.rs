//! What an import and a read cost: `cargo bench -p tsunagi --bench reads`.
//!
//! Imports a generated FHIR export through the real binary, then reads random timelines from
//! it, one after the other over one connection. Beside it, in the same run and in a process of
//! its own too, a bare tonic server answers the same calls with a page that it has in memory:
//! the ratio is what finding, checking, folding and wording a timeline cost.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a measurement that fails is of no use"
)]

#[path = "../../../tests/system/export.rs"]
mod export;
mod support;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};
use tsunagi_proto::v1;
use tsunagi_proto::v1::timeline_client::TimelineClient;
use tsunagi_proto::v1::timeline_server::{Timeline, TimelineServer};

use support::{TSUNAGI, connect, signed, start};

const PATIENTS: usize = 20_000;
const READS: usize = 20_000;

#[tokio::main]
async fn main() {
    if std::env::args().nth(1).as_deref() == Some("bare") {
        return serve_bare().await;
    }
    let folder = tempfile::tempdir().unwrap();
    let (exported, data) = (folder.path().join("export"), folder.path().join("data"));
    std::fs::create_dir(&exported).unwrap();
    export::Export { patients: PATIENTS }.write(&exported);
    let mut server = start(
        Command::new(TSUNAGI).args(["up", "--listen", "127.0.0.1:0"]).arg("--data").arg(&data),
    );
    let began = Instant::now();
    let import = Command::new(TSUNAGI)
        .args(["import", "fhir"])
        .arg(&exported)
        .args(["--server", &server.url])
        .output()
        .unwrap();
    let took = began.elapsed();
    assert!(import.status.success());
    let report = String::from_utf8(import.stdout).unwrap();
    let events = report.split(" events stored").next().unwrap().rsplit('\n').next().unwrap();
    let events: f64 = events.trim().parse().unwrap();
    println!("| import                          |            |");
    println!("|---------------------------------|------------|");
    println!("| events                          | {events:>10} |");
    println!("| events/s, reading files and all | {:>10.0} |", events / took.as_secs_f64());
    println!("| server's memory after, MB       | {:>10.0} |", server.resident_mb());
    println!("| log, bytes an event             | {:>10.0} |", log_bytes(&data) / events);
    println!();
    let channel = connect(&server.url).await;
    let patients = patients(&channel).await;
    let page = read(&channel, &patients[0]).await;
    println!("{READS} timelines of {} entries, one after the other", page.entries.len());
    println!();
    let real = measure(&channel, &patients).await;
    let mut bare = start(Command::new(std::env::current_exe().unwrap()).arg("bare"));
    let bare_channel = connect(&bare.url).await;
    let bare_times = measure(&bare_channel, &patients).await;
    println!("| read, µs      |   p50 |   p99 |");
    println!("|---------------|-------|-------|");
    row("tsunagi", &real);
    row("bare tonic", &bare_times);
    let ratio = |at: usize| real[at].as_secs_f64() / bare_times[at].as_secs_f64();
    println!("| ratio         | {:>5.1} | {:>5.1} |", ratio(p50()), ratio(p99()));
    server.child.kill().unwrap();
    bare.child.kill().unwrap();
}

fn p50() -> usize {
    READS / 2
}

fn p99() -> usize {
    READS * 99 / 100
}

fn row(name: &str, times: &[Duration]) {
    println!("| {name:<13} | {:>5} | {:>5} |", times[p50()].as_micros(), times[p99()].as_micros());
}

/// Bytes that are written of the log, without the zeros behind them.
fn log_bytes(data: &Path) -> f64 {
    let mut bytes = 0;
    for entry in std::fs::read_dir(data.join("log")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let log = std::fs::read(path).unwrap();
        bytes += log.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    }
    f64::from(u32::try_from(bytes).unwrap())
}

async fn patients(channel: &Channel) -> Vec<String> {
    let mut client = TimelineClient::new(channel.clone());
    let mut patients = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListPatientsRequest { page_size: 1000, page_token, ..Default::default() };
        let page = client.list_patients(signed(request)).await.unwrap().into_inner();
        patients.extend(page.patients.into_iter().map(|patient| patient.patient_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return patients;
        }
    }
}

async fn read(channel: &Channel, patient: &str) -> v1::ReadTimelineResponse {
    let request = v1::ReadTimelineRequest { patient_id: patient.to_owned(), ..Default::default() };
    let mut client = TimelineClient::new(channel.clone());
    client.read_timeline(signed(request)).await.unwrap().into_inner()
}

/// How long each of many reads of random patients takes, in order of size.
async fn measure(channel: &Channel, patients: &[String]) -> Vec<Duration> {
    let mut rng = Pcg64Mcg::seed_from_u64(1);
    let mut client = TimelineClient::new(channel.clone());
    let mut times = Vec::with_capacity(READS);
    for warm in [true, false] {
        for _ in 0..if warm { READS / 10 } else { READS } {
            let patient_id = patients[rng.random_range(0..patients.len())].clone();
            let request = v1::ReadTimelineRequest { patient_id, ..Default::default() };
            let began = Instant::now();
            let page = client.read_timeline(signed(request)).await.unwrap();
            let took = began.elapsed();
            assert!(!page.into_inner().entries.is_empty());
            if !warm {
                times.push(took);
            }
        }
    }
    times.sort_unstable();
    times
}

/// Answers every read with one page of five entries.
#[derive(Clone)]
struct Bare {
    page: v1::ReadTimelineResponse,
}

async fn serve_bare() {
    let text = |words: &str| words.to_owned();
    let entry = v1::TimelineEntry {
        event_id: text("0198c9a4-7e3b-7c10-9d4e-3f6a2b1c0d5e"),
        r#type: text("care.encounter.admitted.v1"),
        text: Some(v1::Words {
            ja: text("入院 つなぎ中央病院 内科 4E病棟 401-1 (救急外来より入院)"),
            en: text("admitted to つなぎ中央病院 内科 4E病棟 401-1 (救急外来より入院)"),
        }),
        occurred_at: text("2026-05-01T20:00:00+09:00"),
        encounter_id: text("0198c9a4-7e3b-7c10-9d4e-3f6a2b1c0d5e"),
        episode_id: text("0198c9a4-7e3b-7c10-9d4e-3f6a2b1c0d5e"),
        detail: Some(prost_types::Any {
            type_url: text("type.googleapis.com/care.v1.Admitted"),
            value: vec![7; 250],
        }),
        ..v1::TimelineEntry::default()
    };
    let page = v1::ReadTimelineResponse { entries: vec![entry; 5], ..Default::default() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("gRPC  http://{}", listener.local_addr().unwrap());
    Server::builder()
        .tcp_nodelay(true)
        .add_service(TimelineServer::new(Bare { page }))
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
        .await
        .unwrap();
}

#[tonic::async_trait]
impl Timeline for Bare {
    type WatchTimelineStream = tokio_stream::Empty<Result<v1::WatchTimelineResponse, Status>>;

    async fn read_timeline(
        &self,
        _request: Request<v1::ReadTimelineRequest>,
    ) -> Result<Response<v1::ReadTimelineResponse>, Status> {
        Ok(Response::new(self.page.clone()))
    }

    async fn watch_timeline(
        &self,
        _request: Request<v1::WatchTimelineRequest>,
    ) -> Result<Response<Self::WatchTimelineStream>, Status> {
        Ok(Response::new(tokio_stream::empty()))
    }

    async fn find_patient(
        &self,
        _request: Request<v1::FindPatientRequest>,
    ) -> Result<Response<v1::FindPatientResponse>, Status> {
        Ok(Response::new(v1::FindPatientResponse::default()))
    }

    async fn list_patients(
        &self,
        _request: Request<v1::ListPatientsRequest>,
    ) -> Result<Response<v1::ListPatientsResponse>, Status> {
        Ok(Response::new(v1::ListPatientsResponse::default()))
    }

    async fn find_look_alikes(
        &self,
        _request: Request<v1::FindLookAlikesRequest>,
    ) -> Result<Response<v1::FindLookAlikesResponse>, Status> {
        Ok(Response::new(v1::FindLookAlikesResponse::default()))
    }
}
