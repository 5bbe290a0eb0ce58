//! What the store costs in one process, beside what the disk and the files themselves cost in
//! the same run: `cargo bench -p tsunagi-event-store --bench engine [EVENTS]`.
//!
//! Appends and loads go through the store as publishers use it. `EVENTS` (5,000,000 unless said)
//! are of 350 bytes for 100,000 patients. Caches are dropped where that is allowed (root).

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a measurement that fails is of no use"
)]

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Semaphore;
use tsunagi_bus::{Bus as _, Cursor, Delivery, Draft, Expected, Publication, StreamId};
use tsunagi_chassis::Config;
use tsunagi_chassis::config::Values;
use tsunagi_domain::{EventId, PatientId};
use tsunagi_event_store::Store;
use tsunagi_event_store::log::file::Patience;
use uuid::Uuid;

const RECORD_BYTES: usize = 350;
const PATIENTS: u64 = 100_000;
const REPLAYS: usize = 20_000;
/// Events for one patient that are loaded together.
const LOADED_TOGETHER: usize = 10;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let [mode, folder] = arguments.as_slice() {
        return open_once(mode, Path::new(folder));
    }
    let events = arguments.first().and_then(|events| events.parse().ok()).unwrap_or(5_000_000);
    let folder = tempfile::tempdir_in(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")).unwrap();
    println!("| what | measured | limit or peer, same run | ratio |\n|---|---|---|---|");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(durable_appends(folder.path()));
    let data = folder.path().join("data");
    runtime.block_on(load(&data, events));
    drop(runtime);
    disk(&data, events);
    openings(&data);
    scans(&data, events);
}

fn config(data: &Path) -> Config {
    let flags = BTreeMap::from([("data", data.to_str().unwrap().to_owned())]);
    Config::new(&Values::gather(&flags, None).unwrap()).unwrap()
}

/// Numbers that are spread evenly (`SplitMix64`).
fn spread(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

fn patient(number: u64) -> StreamId {
    let bytes = u128::from(spread(number)) << 64 | u128::from(spread(number + (1 << 40)));
    StreamId::Patient(PatientId::new(Uuid::from_u128(bytes)))
}

fn drafts(first: u64, count: usize) -> Vec<Draft> {
    let draft = |number: u64| {
        let mut record = vec![0; RECORD_BYTES];
        for (index, word) in record.chunks_mut(8).enumerate() {
            let random = spread(number ^ (u64::try_from(index).unwrap() << 40)).to_be_bytes();
            word.copy_from_slice(&random[..word.len()]);
        }
        let id = u128::from(number) << 64 | u128::from(spread(number));
        Draft { event: EventId::new(Uuid::from_u128(id)), record: Bytes::from(record) }
    };
    (first..).take(count).map(draft).collect()
}

fn number(count: u64) -> f64 {
    u32::try_from(count)
        .map_or_else(|_| f64::from(u32::try_from(count >> 10).unwrap()) * 1024.0, f64::from)
}

fn percentile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e6
}

/// The store's appends and bare writes of as many bytes take turns, so that both meet the same
/// disk.
async fn durable_appends(folder: &Path) {
    const ROUNDS: u64 = 2_000;
    let store = Store::open(&config(&folder.join("appends"))).unwrap();
    let raw = folder.join("raw");
    std::fs::write(&raw, vec![0; 256 << 20]).unwrap();
    let raw = OpenOptions::new().write(true).open(&raw).unwrap();
    raw.sync_all().unwrap();
    let (mut next, mut offset) = (0, 0);
    for batch in [1, 16, 64, 256] {
        let bytes = vec![7; batch * (RECORD_BYTES + 66)];
        let rounds = ROUNDS / u64::try_from(batch).unwrap().max(4) * 4;
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let began = Instant::now();
            raw.write_all_at(&bytes, offset % (200 << 20)).unwrap();
            raw.sync_data().unwrap();
            bare.push(began.elapsed());
            offset += u64::try_from(bytes.len()).unwrap();
            let publication = Publication {
                stream: patient(round % PATIENTS),
                expected: Expected::Any,
                drafts: drafts(next, batch),
            };
            next += u64::try_from(batch).unwrap();
            let began = Instant::now();
            store.publish(publication).await.unwrap();
            ours.push(began.elapsed());
        }
        let (p50, p99) = (percentile(&mut ours, 50), percentile(&mut ours, 99));
        let (raw50, raw99) = (percentile(&mut bare, 50), percentile(&mut bare, 99));
        println!(
            "| durable append of {batch}, p50/p99 µs | {p50:.0}/{p99:.0} | pwrite + fdatasync {raw50:.0}/{raw99:.0} | {:.2} |",
            p50 / raw50
        );
    }
}

async fn load(data: &Path, events: u64) {
    let store = Store::open(&config(data)).unwrap();
    let in_flight = Arc::new(Semaphore::new(1024));
    let publications = events / u64::try_from(LOADED_TOGETHER).unwrap();
    let loaders = 2;
    let began = Instant::now();
    let tasks: Vec<_> = (0..loaders)
        .map(|loader| {
            let (store, in_flight) = (store.clone(), Arc::clone(&in_flight));
            tokio::spawn(async move {
                for number in (loader..publications).step_by(usize::try_from(loaders).unwrap()) {
                    let publication = Publication {
                        stream: patient(spread(number) % PATIENTS),
                        expected: Expected::Any,
                        drafts: drafts(
                            number * u64::try_from(LOADED_TOGETHER).unwrap(),
                            LOADED_TOGETHER,
                        ),
                    };
                    let room = Arc::clone(&in_flight).acquire_owned().await.unwrap();
                    let store = store.clone();
                    tokio::spawn(async move {
                        store.publish(publication).await.unwrap();
                        drop(room);
                    });
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    drop(in_flight.acquire_many(1024).await.unwrap());
    let took = began.elapsed();
    let began = Instant::now();
    tokio::task::spawn_blocking(move || store.close().unwrap()).await.unwrap();
    let closing = began.elapsed().as_secs_f64();
    let rate = number(events) / took.as_secs_f64() / 1e3;
    let rss = memory("VmHWM");
    println!(
        "| load of {events} events, {LOADED_TOGETHER} together, k/s | {rate:.0} | | closing {closing:.1} s, peak RSS {rss} MB |"
    );
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn disk(data: &Path, events: u64) {
    let per_event = |extension: &str| {
        let of_kind =
            files(data).into_iter().filter(|f| f.extension().is_some_and(|e| e == extension));
        let bytes: u64 = of_kind.map(|file| file.metadata().unwrap().len()).sum();
        number(bytes) / number(events)
    };
    let (log, index, spare) = (per_event("seg"), per_event("idx"), per_event("tmp"));
    let all: u64 = files(data).iter().map(|file| file.metadata().unwrap().len()).sum();
    println!(
        "| disk, bytes an event | {:.1} | record {RECORD_BYTES} | log {log:.1}, index {index:.1}, spare segment {spare:.1} |",
        number(all) / number(events)
    );
}

fn drop_caches() -> bool {
    let synced = Command::new("sync").status().is_ok_and(|status| status.success());
    synced && std::fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}

fn memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let found = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
    found.unwrap().trim().split(' ').next().unwrap().parse::<u64>().unwrap() / 1024
}

/// Each opening is in a process of its own.
fn openings(data: &Path) {
    for (mode, name) in [
        ("close", "open to first read after a clean stop"),
        ("leave", "(left open, as after a kill)"),
        ("close", "open to first read after a kill"),
    ] {
        let cache = if drop_caches() { "cold" } else { "warm" };
        let program = std::env::current_exe().unwrap();
        let opened = Command::new(program).arg(mode).arg(data).output().unwrap();
        assert!(opened.status.success(), "{}", String::from_utf8_lossy(&opened.stderr));
        println!("| {name}, {cache} | {} | | |", String::from_utf8(opened.stdout).unwrap().trim());
    }
}

fn open_once(mode: &str, data: &Path) {
    let began = Instant::now();
    let store = Store::open(&config(data)).unwrap();
    let read = store.read_all(patient(1), Patience::Wait).unwrap();
    let took = began.elapsed().as_secs_f64();
    println!("{took:.3} s, {} events, RSS {} MB", read.len(), memory("VmRSS"));
    if mode == "leave" {
        std::process::exit(0);
    }
    store.close().unwrap();
}

fn scans(data: &Path, events: u64) {
    let segments: Vec<_> = files(data)
        .into_iter()
        .filter(|file| file.extension().is_some_and(|e| e == "seg"))
        .collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let store = Store::open(&config(data)).unwrap();
    for cold in [true, false] {
        let name = if cold { "cold" } else { "warm" };
        if cold && !drop_caches() {
            continue;
        }
        let began = Instant::now();
        let mut buffer = vec![0; 1 << 20];
        for segment in &segments {
            let file = File::open(segment).unwrap();
            let mut offset = 0;
            while let Ok(read @ 1..) = file.read_at(&mut buffer, offset) {
                offset += u64::try_from(read).unwrap();
            }
        }
        let flat = began.elapsed().as_secs_f64();
        if cold {
            drop_caches();
        }
        let began = Instant::now();
        let mut scanned = 0;
        runtime.block_on(async {
            let mut feed = store.follow(Cursor::start());
            while let Delivery::Events(events) = feed.next().await.unwrap() {
                scanned += u64::try_from(events.len()).unwrap();
            }
        });
        let ours = began.elapsed().as_secs_f64();
        assert_eq!(scanned, events);
        println!(
            "| full scan {name}, M events/s | {:.2} | flat files {:.2} | {:.2} |",
            number(events) / ours / 1e6,
            number(events) / flat / 1e6,
            flat / ours
        );
    }
    let mut times = Vec::new();
    let mut read = 0;
    for number in 0..u64::try_from(REPLAYS).unwrap() {
        let stream = patient(spread(number + 77) % PATIENTS);
        let began = Instant::now();
        read += store.read_all(stream, Patience::Wait).unwrap().len();
        times.push(began.elapsed());
    }
    let (p50, p99) = (percentile(&mut times, 50), percentile(&mut times, 99));
    println!(
        "| replay of one patient, mean {} events, warm, p50/p99 µs | {p50:.0}/{p99:.0} | | |",
        read / REPLAYS
    );
    println!("| RSS after all of it, MB | {} | | |", memory("VmRSS"));
}
