//! Faults while events are published: servers that die, wires that are cut, streams that lose
//! their end or all they had, messages that nobody can read. Nothing acknowledged is lost, and
//! nothing is there twice.

use std::path::Path;
use std::sync::Arc;

use async_nats::jetstream;
use tempfile::TempDir;
use tokio::sync::Notify;
use tsunagi_bus::nats::message_id;
use tsunagi_bus::{Expected, Slot, StreamId};
use tsunagi_chassis::Config;
use tsunagi_chassis::config::Ack;
use tsunagi_event_store::Store;

use crate::conformance::{Opened, nats_config, publish, read_all, saying};
use crate::nats_cluster::NatsCluster;
use crate::nats_history::{History, check_against_streams, everything};
use crate::nats_proxy::{Proxy, Wire};
use crate::nats_servers::NatsServer;
use crate::support::{config, folder, stream};

/// Waits until so many events more are stored, or nothing more comes.
async fn stored_more(store: &Store, events: u64) {
    let total = |store: &Store| store.end().positions().map(|position| position.n).sum::<u64>();
    let begun = total(store);
    while total(store) < begun + events {
        tokio::task::yield_now().await;
    }
}

/// A second store that takes in everything from the beginning finds the same, byte for byte.
async fn equals_a_rebuild(opened: &Opened, data: &TempDir, urls: &str, replicas: usize) {
    let other = folder();
    let region = "region.toml";
    std::fs::copy(data.path().join(region), other.path().join(region)).unwrap();
    let rebuilt = Opened::on_nats(&other, urls, replicas).await;
    let (ours, theirs) =
        (everything(opened.bus.as_ref()).await, everything(rebuilt.bus.as_ref()).await);
    assert_eq!(ours.len(), theirs.len());
    for (one, other) in ours.iter().zip(&theirs) {
        assert_eq!(one, other, "the same bytes at the same place at the same time");
    }
    rebuilt.close().await;
}

/// The server that leads the stream of the first slot.
async fn leader(urls: &str) -> String {
    let client = async_nats::connect(urls.split(',').collect::<Vec<_>>()).await.unwrap();
    let context = jetstream::new(client);
    loop {
        if let Ok(stream) = context.get_stream("CARE-00").await
            && let Some(leader) =
                stream.cached_info().cluster.as_ref().and_then(|c| c.leader.clone())
        {
            return leader;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_servers_of_the_cluster_die() {
    let data = folder();
    let mut cluster = NatsCluster::start();
    let urls = cluster.urls();
    let opened = Opened::on_nats(&data, &urls, 3).await;
    let (bus, store) = (Arc::clone(&opened.bus), opened.store.clone());
    let mut history = History::default();
    // Who leads the stream, and then one of those who follow.
    for follows in [false, true] {
        let leader = leader(&urls).await;
        let name = match leader.as_str() {
            "n0" if follows => "n1".to_owned(),
            _ if follows => "n0".to_owned(),
            _ => leader,
        };
        let fault = async {
            stored_more(&store, 20).await;
            cluster.named(&name).kill();
            stored_more(&store, 20).await;
            cluster.named(&name).resume();
        };
        history.write(&bus, 20, fault).await;
    }
    // All of them at once.
    let fault = async {
        stored_more(&store, 20).await;
        cluster.servers.iter_mut().for_each(NatsServer::kill);
        cluster.servers.iter_mut().for_each(NatsServer::resume);
    };
    history.write(&bus, 12, fault).await;
    drop((bus, store));
    history.check(opened.bus.as_ref()).await;
    check_against_streams(&opened).await;
    equals_a_rebuild(&opened, &data, &urls, 3).await;
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_wire_is_cut_or_stalls() {
    let (data, servers) = (folder(), folder());
    let nats = NatsServer::start(servers.path());
    let proxy = Proxy::before(nats.port).await;
    let config = Config { nats_ack_ms: 300, publish_wait_ms: 700, ..nats_config(&data, 1) };
    let opened = Opened::of_store(Store::open(&config).unwrap(), &proxy.url(), &config).await;
    let (bus, store) = (Arc::clone(&opened.bus), opened.store.clone());
    let mut history = History::default();
    let wires = [Wire::Cut, Wire::Stalled, Wire::Cut, Wire::Stalled];
    for (round, wire) in (0..).zip(wires) {
        let given_up = Arc::new(Notify::new());
        let fault = async {
            stored_more(&store, 10).await;
            proxy.set(wire);
            // Somebody is told that the outcome is not known; then it goes on.
            let draft = vec![saying(1000 + round, "probe")];
            let told = publish(bus.as_ref(), 9, Expected::Any, draft).await;
            assert!(told.is_err(), "{told:?}");
            proxy.set(Wire::Whole);
            given_up.notify_one();
        };
        history.write(&bus, 20, fault).await;
        given_up.notified().await;
    }
    drop((bus, store));
    history.check(opened.bus.as_ref()).await;
    check_against_streams(&opened).await;
    equals_a_rebuild(&opened, &data, &nats.url(), 1).await;
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_store_stops_while_others_publish() {
    let (data, other, servers) = (folder(), folder(), folder());
    let nats = NatsServer::start(servers.path());
    let first = Opened::on_nats(&data, &nats.url(), 1).await;
    std::fs::copy(data.path().join("region.toml"), other.path().join("region.toml")).unwrap();
    let second = Opened::on_nats(&other, &nats.url(), 1).await;
    let mut history = History::default();
    let (bus, store) = (Arc::clone(&second.bus), second.store.clone());
    let fault = async {
        stored_more(&store, 20).await;
        first.close().await;
        stored_more(&store, 40).await;
    };
    history.write(&bus, 20, fault).await;
    drop((bus, store));
    // It takes in what came meanwhile before it is used again.
    let first = Opened::on_nats(&data, &nats.url(), 1).await;
    history.check(first.bus.as_ref()).await;
    history.check(second.bus.as_ref()).await;
    let (ours, theirs) =
        (everything(first.bus.as_ref()).await, everything(second.bus.as_ref()).await);
    assert_eq!(ours, theirs);
    first.close().await;
    second.close().await;
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (from, to) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if from.is_dir() {
            copy_folder(&from, &to);
        } else {
            std::fs::copy(from, to).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_lost_its_end_gets_it_back_from_the_log() {
    let (data, servers) = (folder(), folder());
    let mut nats = NatsServer::start(servers.path());
    let (url, kept) = (nats.url(), servers.path().join("kept"));
    let opened = Opened::on_nats(&data, &url, 1).await;
    let (bus, store) = (Arc::clone(&opened.bus), opened.store.clone());
    let mut history = History::default();
    history.write(&bus, 10, async {}).await;
    nats.kill();
    copy_folder(&servers.path().join("alone"), &kept);
    nats.resume();
    history.write(&bus, 10, async {}).await;
    let before = everything(bus.as_ref()).await;
    // The server's disk is put back to what it was.
    nats.kill();
    std::fs::remove_dir_all(servers.path().join("alone")).unwrap();
    copy_folder(&kept, &servers.path().join("alone"));
    nats.resume();
    let after = publish(bus.as_ref(), 8, Expected::Any, vec![saying(7, "afterwards")]);
    stays_true(&history, &opened, after.await).await;
    drop((bus, store));
    let now = everything(opened.bus.as_ref()).await;
    for stored in &before {
        assert!(now.contains(stored), "what was stored stays where it was");
    }
    opened.close().await;
}

/// After a stream was mended: everything is in the log as it was told, and in the stream.
async fn stays_true(
    history: &History,
    opened: &Opened,
    told: Result<Vec<tsunagi_bus::Placed>, tsunagi_bus::PublishError>,
) {
    if told.is_err() {
        // It may have come while the stream was being mended.
        while publish(opened.bus.as_ref(), 8, Expected::Any, vec![saying(7, "afterwards")])
            .await
            .is_err_and(|error| !matches!(error, tsunagi_bus::PublishError::Repeated { .. }))
        {
            tokio::task::yield_now().await;
        }
    }
    opened.until_the_streams_have_all().await;
    history.check(opened.bus.as_ref()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_was_deleted_and_made_again_gets_all_back_from_the_log() {
    let (data, servers) = (folder(), folder());
    let nats = NatsServer::start(servers.path());
    let opened = Opened::on_nats(&data, &nats.url(), 1).await;
    let mut history = History::default();
    history.write(&opened.bus, 10, async {}).await;
    let before = everything(opened.bus.as_ref()).await;
    let context = jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    for slot in 0..4 {
        let name = format!("CARE-{slot:02}");
        let stream = context.get_stream(&name).await.unwrap();
        let mut again = stream.cached_info().config.clone();
        context.delete_stream(&name).await.unwrap();
        again.metadata.insert("tsunagi-epoch".into(), "another".into());
        context.create_stream(again).await.unwrap();
    }
    let told = publish(opened.bus.as_ref(), 8, Expected::Any, vec![saying(7, "afterwards")]).await;
    stays_true(&history, &opened, told).await;
    let now = everything(opened.bus.as_ref()).await;
    for stored in &before {
        assert!(now.contains(stored), "what was stored stays where it was");
    }
    history.write(&opened.bus, 5, async {}).await;
    history.check(opened.bus.as_ref()).await;
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_kept_and_holds_up_nobody() {
    let (data, servers) = (folder(), folder());
    let nats = NatsServer::start(servers.path());
    let opened = Opened::on_nats(&data, &nats.url(), 1).await;
    let placed = publish(opened.bus.as_ref(), 0, Expected::Version(0), vec![saying(1, "first")]);
    let slot = placed.await.unwrap()[0].position.slot;
    let client = async_nats::connect(nats.url()).await.unwrap();
    let context = jetstream::new(client.clone());
    let subject = format!("care.evt.{:02}.{}", slot.0, stream(0));
    let garbage = ["", "garbage", "\0\0\0\0"];
    for body in garbage {
        context.publish(subject.clone(), body.into()).await.unwrap().await.unwrap();
    }
    // The same event once more, as if it came long after JetStream forgot its id.
    let mut headers = async_nats::HeaderMap::new();
    let again = saying(1, "first");
    headers.insert("ce-id", again.event.to_string().as_str());
    let repeated = context.publish_with_headers(subject.clone(), headers, again.record);
    repeated.await.unwrap().await.unwrap();
    let placed = publish(opened.bus.as_ref(), 0, Expected::Version(1), vec![saying(2, "second")]);
    assert_eq!(placed.await.unwrap()[0].version, 2, "what is no event counts for nobody");
    let notes = read_all(opened.bus.as_ref(), StreamId::Slot(slot)).await;
    assert_eq!(notes.len(), garbage.len() + 1);
    for (note, body) in notes.iter().zip(garbage) {
        let is_in = note.record.windows(body.len().max(1)).any(|part| part == body.as_bytes());
        assert!(body.is_empty() || is_in, "the bytes are kept");
    }
    let repeat = String::from_utf8_lossy(&notes.last().unwrap().record).into_owned();
    assert!(repeat.contains("care.system.message_repeated.v1"), "{repeat}");
    let dead = context.get_stream("CARE-DLQ").await.unwrap().cached_info().state.messages;
    assert_eq!(dead, u64::try_from(garbage.len()).unwrap());
    check_against_streams(&opened).await;
    equals_a_rebuild(&opened, &data, &nats.url(), 1).await;
    opened.close().await;
    // What lies in the folder agrees with the streams, so it goes on where it was.
    let opened = Opened::on_nats(&data, &nats.url(), 1).await;
    assert_eq!(opened.run(Slot(slot.0)), tsunagi_bus::Run::WHOLE);
    opened.close().await;
}

/// Lets nats-py publish these: the event's id, JetStream's id and the body of each.
fn inject(url: &str, subject: &str, messages: &[(Option<String>, Option<String>, Vec<u8>)]) {
    use std::fmt::Write as _;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let lines = folder();
    let file = lines.path().join("messages");
    let line = |(event, message, body): &(Option<String>, Option<String>, Vec<u8>)| {
        let hex = body.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        let or_none = |id: &Option<String>| id.clone().unwrap_or_else(|| "-".to_owned());
        format!("{} {} {hex}\n", or_none(event), or_none(message))
    };
    std::fs::write(&file, messages.iter().map(line).collect::<String>()).unwrap();
    let python = root.join("target/tools/bin/python3");
    assert!(python.exists(), "there is no nats-py: run the tests with tests/run");
    let output = std::process::Command::new(python)
        .arg(root.join("tests/nats/inject.py"))
        .args([url, subject])
        .arg(file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_reordered_and_broken_messages_of_another_client_harm_nobody() {
    let (data, servers) = (folder(), folder());
    let nats = NatsServer::start(servers.path());
    let opened = Opened::on_nats(&data, &nats.url(), 1).await;
    let mut history = History::default();
    let slot = stream(0).slot(4);
    let subject = format!("care.evt.{:02}.{}", slot.0, stream(0));
    let event = |number: u128, with_id: bool| {
        let draft = saying(number, "from elsewhere");
        let id = message_id(stream(0), draft.event);
        (Some(draft.event.to_string()), with_id.then_some(id), draft.record.to_vec())
    };
    let messages: Vec<_> = [
        // Out of order, repeated under JetStream's id, and repeated without one.
        vec![event(93, true), event(91, true), event(92, true), event(91, true)],
        vec![event(91, false), event(93, false), event(93, false)],
        // Nobody can read these.
        vec![(None, None, b"HL7|^~".to_vec()), (Some("not-an-id".into()), None, vec![0xff; 300])],
        vec![(Some(saying(1, "x").event.to_string()), None, saying(2, "x").record.to_vec())],
    ]
    .concat();
    let (url, store) = (nats.url(), opened.store.clone());
    let fault = async {
        stored_more(&store, 20).await;
        let injected = tokio::task::spawn_blocking(move || inject(&url, &subject, &messages));
        injected.await.unwrap();
    };
    history.write(&opened.bus, 20, fault).await;
    drop(store);
    let last = opened.streams().state(slot).await.unwrap().last;
    opened.reaches(slot, last).await;
    history.check(opened.bus.as_ref()).await;
    check_against_streams(&opened).await;
    for number in [91, 92, 93] {
        let event = saying(number, "x").event;
        let found = opened.bus.find(stream(0), event).await.unwrap();
        assert!(found.is_some(), "an event is an event, whoever publishes it");
    }
    // 3 repeats and 3 that nobody can read; one repeat more was JetStream's to refuse.
    let notes = read_all(opened.bus.as_ref(), StreamId::Slot(slot)).await;
    let told: Vec<_> =
        notes.iter().map(|note| String::from_utf8_lossy(&note.record).into_owned()).collect();
    assert_eq!(notes.len(), 6, "{told:#?}");
    equals_a_rebuild(&opened, &data, &nats.url(), 1).await;
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_ack_bus_a_receipt_tells_what_is_known() {
    let (data, servers) = (folder(), folder());
    let nats = NatsServer::start(servers.path());
    let config = Config { ack: Ack::Bus, ..nats_config(&data, 1) };
    let opened = Opened::of_store(Store::open(&config).unwrap(), &nats.url(), &config).await;
    let bus = opened.bus.as_ref();
    for version in 0..5 {
        let drafts = vec![saying(u128::from(version), "x")];
        let placed = publish(bus, 0, Expected::Version(version), drafts).await.unwrap();
        assert_eq!(placed[0].version, version + 1);
    }
    let placed = publish(bus, 0, Expected::Any, vec![saying(9, "x")]).await.unwrap();
    assert_eq!(placed[0].version, 0, "nobody has counted yet");
    let again = publish(bus, 0, Expected::Any, vec![saying(9, "x")]).await;
    let is_repeat = matches!(again, Err(tsunagi_bus::PublishError::Repeated { .. }));
    assert!(is_repeat, "{again:?}");
    let conflict = publish(bus, 0, Expected::Version(2), vec![saying(10, "x")]).await;
    assert!(matches!(conflict, Err(tsunagi_bus::PublishError::Conflict { version: 6 })));
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_fed_by_nats_takes_nothing_from_elsewhere() {
    let (data, servers) = (folder(), folder());
    let nats = NatsServer::start(servers.path());
    let opened = Opened::on_nats(&data, &nats.url(), 1).await;
    let refused = publish(&opened.store, 0, Expected::Any, vec![saying(1, "x")]).await;
    assert!(refused.unwrap_err().to_string().contains("NATS"));
    opened.close().await;
    assert!(tsunagi_event_store::ingest::is_fed(&config(data.path()).data));
}
