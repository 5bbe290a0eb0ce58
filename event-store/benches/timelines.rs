//! What it costs to make everything again that is made of the log:
//! `cargo bench -p tsunagi-event-store --bench timelines [PATIENTS]`.
//!
//! Each patient (20,000 unless said) is registered and has 49 visits, spread over the log as
//! they come in life. Beside the rebuild, in the same run, the same log is only read.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that fails is of no use"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::join_all;
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tsunagi_bus::{Bus as _, Cursor, Delivery, Draft, Expected, Publication, StreamId};
use tsunagi_chassis::Config;
use tsunagi_chassis::config::Values;
use tsunagi_domain::{EventId, PatientId};
use tsunagi_event_store::{Patients, Records, Store};
use tsunagi_proto::v1;
use uuid::Uuid;

const EVENTS_OF_A_PATIENT: u32 = 50;

#[tokio::main]
async fn main() {
    let argument = std::env::args().skip(1).find(|argument| argument != "--bench");
    let patients = argument.map_or(20_000, |count| count.parse().unwrap());
    let folder = tempfile::tempdir_in(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")).unwrap();
    let data = folder.path().join("data");
    let store = Store::open(&config(&data)).unwrap();
    load(&store, patients).await;
    let events = f64::from(patients * EVENTS_OF_A_PATIENT);
    let began = Instant::now();
    read(&store).await;
    let only_read = began.elapsed().as_secs_f64();
    let began = Instant::now();
    make_rows(&store, &data).await;
    let made = began.elapsed().as_secs_f64();
    println!("| what | events/s | log only read, events/s | ratio |\n|---|---|---|---|");
    println!(
        "| rows of {patients} patients of {events} events | {:.0} | {:.0} | {:.2} |",
        events / made,
        events / only_read,
        only_read / made
    );
}

fn config(data: &Path) -> Config {
    let flags = BTreeMap::from([("data", data.to_str().unwrap().to_owned())]);
    Config::new(&Values::gather(&flags, None).unwrap()).unwrap()
}

async fn load(store: &Store, patients: u32) {
    const TOGETHER: u32 = 1000;
    for round in 0..EVENTS_OF_A_PATIENT {
        for first in (0..patients).step_by(usize::try_from(TOGETHER).unwrap()) {
            let several = first..patients.min(first + TOGETHER);
            let published = several.map(|patient| store.publish(publication(patient, round)));
            for outcome in join_all(published).await {
                outcome.unwrap();
            }
        }
    }
}

fn publication(number: u32, round: u32) -> Publication {
    let patient = PatientId::new(Uuid::new_v5(&Uuid::NAMESPACE_OID, &number.to_be_bytes()));
    let event = EventId::new(Uuid::new_v5(&patient.uuid(), &round.to_be_bytes()));
    let visit = || v1::VisitCompleted {
        kind: v1::VisitKind::Nursing.into(),
        summary: "x".repeat(130),
        ..Default::default()
    };
    let (event_type, payload) = if round == 0 {
        let registered = v1::PatientRegistered {
            demographics: Some(v1::Demographics::default()),
            ..Default::default()
        };
        ("care.patient.registered.v1", registered.encode_to_vec())
    } else {
        ("care.home.visit_completed.v1", visit().encode_to_vec())
    };
    let actor = v1::Actor {
        organisation: "bench".into(),
        role: "bench".into(),
        person: "bench".into(),
        on_behalf_of: String::new(),
    };
    let record = v1::Event {
        event_id: event.to_string(),
        r#type: event_type.to_owned(),
        patient_id: patient.to_string(),
        occurred_at: "2026-05-01T09:00:00+09:00".into(),
        actor: Some(actor),
        payload,
        ..Default::default()
    };
    let draft = Draft { event, record: Bytes::from(record.encode_to_vec()) };
    let (stream, expected) = (StreamId::Patient(patient), Expected::Version(round.into()));
    Publication { stream, expected, drafts: vec![draft] }
}

async fn read(store: &Store) {
    let mut feed = store.follow(Cursor::start());
    while let Delivery::Events(_) = feed.next().await.unwrap() {}
}

async fn make_rows(store: &Store, data: &Path) {
    let rows = Patients::open(Records::of_one_store(store.clone(), &config(data)), data).unwrap();
    let stop = CancellationToken::new();
    let making = tokio::spawn({
        let (rows, stop) = (rows.clone(), stop.clone());
        async move { rows.run(stop).await }
    });
    let end = store.end();
    rows.watch().wait_for(|made| made.covers(&end)).await.unwrap();
    stop.cancel();
    making.await.unwrap().unwrap();
}
