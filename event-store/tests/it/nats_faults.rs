//! Faults while events are published: servers that die, wires that are cut, streams that lose
//! their end or all they had, messages that nobody can read. Nothing acknowledged is lost, and
//! nothing is there twice.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use async_nats::jetstream;
use prost::Message as _;
use tempfile::TempDir;
use tokio::sync::Notify;
use tsunagi_bus::nats::message_id;
use tsunagi_bus::{Expected, PublishError, Slot, StreamId};
use tsunagi_chassis::Config;
use tsunagi_chassis::config::Ack;
use tsunagi_event_store::Store;
use tsunagi_event_store::troubles::Trouble;
use tsunagi_proto::catalogue::Payload;

use crate::conformance::{Opened, nats_config, publish, read_all, saying};
use crate::nats_cluster::NatsCluster;
use crate::nats_history::{History, check_against_streams, everything};
use crate::nats_proxy::{Proxy, Wire};
use crate::nats_servers::NatsServer;
use crate::support::{IN_HEADER, config, damage, folder, stream};

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
async fn a_server_that_falls_silent_is_left_for_another() {
    let (data, servers) = (folder(), folder());
    let nats = NatsServer::start(servers.path());
    let proxies = [Proxy::before(nats.port).await, Proxy::before(nats.port).await];
    let urls = proxies.each_ref().map(Proxy::url).join(",");
    // Whoever does not leave it asks it again until the publication is given up.
    let config = Config { nats_ping_ms: 100, nats_ack_ms: 500, ..nats_config(&data, 1) };
    let opened = Opened::of_store(Store::open(&config).unwrap(), &urls, &config).await;
    // It is connected to either.
    for (number, silent) in (1..).zip(&proxies) {
        silent.set(Wire::Stalled);
        let drafts = vec![saying(number, "x")];
        publish(opened.bus.as_ref(), 0, Expected::Any, drafts).await.unwrap();
        silent.set(Wire::Whole);
    }
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_of_which_something_is_damaged_is_carried_so_far_and_the_others_whole() {
    let (data, servers) = (folder(), folder());
    let nats = NatsServer::start(servers.path());
    let (url, config) = (nats.url(), nats_config(&data, 1));
    let store = Store::open(&config).unwrap();
    let other = (1..100).find(|number| stream(*number).slot(4) != stream(0).slot(4)).unwrap();
    for number in [1, 3, 5] {
        for (of, number) in [(0, number), (other, number + 1)] {
            let told = vec![saying(number, "told")];
            publish(&store, of, Expected::Any, told).await.unwrap();
        }
    }
    damage(&data, 4, IN_HEADER, 1);
    let opened = Opened::of_store(store, &url, &config).await;
    assert_eq!(opened.carried(), 4, "three and one");
    let damaged = Trouble::Stopped(stream(other).slot(4));
    let mut troubles = opened.store.troubles().watch();
    let found = troubles.wait_for(|troubles| !troubles.is_empty()).await.unwrap().clone();
    assert_eq!(found, BTreeSet::from([damaged]));
    let context = jetstream::new(async_nats::connect(&url).await.unwrap());
    let messages = async |of: u128| {
        let name = format!("CARE-{:02}", stream(of).slot(4).0);
        context.get_stream(name).await.unwrap().cached_info().state.messages
    };
    assert_eq!((messages(0).await, messages(other).await), (3, 1), "up to what is damaged");
    let goes_on = vec![saying(7, "told")];
    publish(opened.bus.as_ref(), 0, Expected::Any, goes_on).await.unwrap();
    opened.close().await;
}

/// After a stream was mended: everything is in the log as it was told, and in the stream.
async fn stays_true(
    history: &History,
    opened: &Opened,
    told: Result<Vec<tsunagi_bus::Placed>, PublishError>,
) {
    if told.is_err() {
        // It may have come while the stream was being mended.
        while publish(opened.bus.as_ref(), 8, Expected::Any, vec![saying(7, "afterwards")])
            .await
            .is_err_and(|error| !matches!(error, PublishError::Repeated { .. }))
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

/// What another client puts onto a subject.
#[derive(Clone, Default)]
struct Injected {
    event: Option<String>,
    /// By which JetStream knows it again.
    message: Option<String>,
    recorded_at: Option<String>,
    body: Vec<u8>,
}

/// Lets nats-py publish these.
fn inject(url: &str, subject: &str, messages: &[Injected]) {
    use std::fmt::Write as _;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let lines = folder();
    let file = lines.path().join("messages");
    let line = |injected: &Injected| {
        let hex = injected.body.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        let Injected { event, message, recorded_at, .. } = injected;
        let told = [event, message, recorded_at].map(|it| it.as_deref().unwrap_or("-"));
        format!("{} {hex}\n", told.join(" "))
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
        let (event, message) = (Some(draft.event.to_string()), with_id.then_some(id));
        Injected { event, message, body: draft.record.to_vec(), ..Injected::default() }
    };
    let recorded = |number: u128, at: &str| Injected {
        recorded_at: Some(at.to_owned()),
        ..event(number, true)
    };
    let unreadable = |event: Option<String>, body: &[u8]| Injected {
        event,
        body: body.to_vec(),
        ..Injected::default()
    };
    let messages: Vec<_> = [
        // Out of order, repeated under JetStream's id, and repeated without one.
        vec![event(93, true), event(91, true), event(92, true), event(91, true)],
        vec![event(91, false), event(93, false), event(93, false)],
        // Nobody can read these.
        vec![unreadable(None, b"HL7|^~"), unreadable(Some("not-an-id".into()), &[0xff; 300])],
        vec![unreadable(Some(saying(1, "x").event.to_string()), &saying(2, "x").record)],
        // Recorded when nobody can have recorded anything: in the year 2100, and never.
        vec![recorded(94, "4102444800000000"), recorded(95, "9223372036854775807")],
        vec![recorded(96, "-5"), recorded(97, "soon")],
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
    let now = jiff::Timestamp::now();
    for stored in everything(opened.bus.as_ref()).await {
        assert!(stored.placed.recorded_at <= now, "nothing was recorded yet to come: {stored:?}");
    }
    for number in 91..=97 {
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

/// Publishes to a patient's subject as others might, so that JetStream knows it again or not.
async fn publish_raw(
    context: &jetstream::Context,
    to: u128,
    draft: &tsunagi_bus::Draft,
    with_id: bool,
) -> u64 {
    let subject = format!("care.evt.{:02}.{}", stream(to).slot(4).0, stream(to));
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("ce-id", draft.event.to_string().as_str());
    if with_id {
        headers.insert("Nats-Msg-Id", message_id(stream(to), draft.event).as_str());
    }
    let sent = context.publish_with_headers(subject, headers, draft.record.clone()).await;
    sent.unwrap().await.unwrap().sequence
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_put_back_twice_has_all_again_and_is_taken_in() {
    // Few, or more than the stream had lost.
    for strangers in [1, 60] {
        let (data, servers) = (folder(), folder());
        let mut nats = NatsServer::start(servers.path());
        let (url, lies_at) = (nats.url(), servers.path().join("alone"));
        let copies = [servers.path().join("older"), servers.path().join("newer")];
        let mut opened = Opened::on_nats(&data, &url, 1).await;
        let mut history = History::default();
        for copy in &copies {
            history.write(&opened.bus, 5, async {}).await;
            nats.kill();
            copy_folder(&lies_at, copy);
            nats.resume();
        }
        history.write(&opened.bus, 5, async {}).await;
        let before = everything(opened.bus.as_ref()).await;
        let mut event = 900;
        for copy in copies.iter().rev() {
            opened.close().await;
            nats.kill();
            std::fs::remove_dir_all(&lies_at).unwrap();
            copy_folder(copy, &lies_at);
            nats.resume();
            // Others publish before the log's events are there again.
            let context = jetstream::new(async_nats::connect(&url).await.unwrap());
            for _ in 0..strangers {
                publish_raw(&context, 0, &saying(event, "from elsewhere"), true).await;
                event += 1;
            }
            opened = Opened::on_nats(&data, &url, 1).await;
            for number in 900..event {
                let found = opened.bus.find(stream(0), saying(number, "x").event).await.unwrap();
                assert!(found.is_some(), "event {number} is not taken in");
            }
            opened.until_the_streams_have_all().await;
        }
        history.write(&opened.bus, 2, async {}).await;
        history.check(opened.bus.as_ref()).await;
        check_against_streams(&opened).await;
        let now = everything(opened.bus.as_ref()).await;
        for stored in &before {
            assert!(now.contains(stored), "what was stored stays where it was");
        }
        equals_a_rebuild(&opened, &data, &url, 1).await;
        opened.close().await;
        // Where the log's source is noted is lost: it is found out again.
        std::fs::remove_file(data.path().join("streams.toml")).unwrap();
        let opened = Opened::on_nats(&data, &url, 1).await;
        assert_eq!(everything(opened.bus.as_ref()).await, now, "nothing is taken in twice");
        opened.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_put_back_behind_where_it_parted_has_all_again() {
    let (data, servers) = (folder(), folder());
    let mut nats = NatsServer::start(servers.path());
    let (url, lies_at) = (nats.url(), servers.path().join("alone"));
    let copies = [servers.path().join("older"), servers.path().join("newer")];
    let put_back = |nats: &mut NatsServer, copy: &Path| {
        nats.kill();
        std::fs::remove_dir_all(&lies_at).unwrap();
        copy_folder(copy, &lies_at);
        nats.resume();
    };
    let opened = Opened::on_nats(&data, &url, 1).await;
    for number in 1..=2 {
        let drafts = vec![saying(number, "kept")];
        publish(opened.bus.as_ref(), 0, Expected::Any, drafts).await.unwrap();
    }
    nats.kill();
    copy_folder(&lies_at, &copies[0]);
    nats.resume();
    for number in 3..=6 {
        let drafts = vec![saying(number, "lost")];
        while publish(opened.bus.as_ref(), 0, Expected::Any, drafts.clone())
            .await
            .is_err_and(|error| !matches!(error, PublishError::Repeated { .. }))
        {}
    }
    opened.close().await;
    put_back(&mut nats, &copies[0]);
    let context = jetstream::new(async_nats::connect(&url).await.unwrap());
    for number in 900..903 {
        publish_raw(&context, 0, &saying(number, "from elsewhere"), true).await;
    }
    // The disk is copied when the strangers' messages lie there, and not what was lost.
    nats.kill();
    copy_folder(&lies_at, &copies[1]);
    nats.resume();
    let opened = Opened::on_nats(&data, &url, 1).await;
    opened.until_the_streams_have_all().await;
    equals_a_rebuild(&opened, &data, &url, 1).await;
    opened.close().await;
    put_back(&mut nats, &copies[1]);
    let opened = Opened::on_nats(&data, &url, 1).await;
    opened.until_the_streams_have_all().await;
    let drafts = vec![saying(7, "afterwards")];
    publish(opened.bus.as_ref(), 0, Expected::Any, drafts).await.unwrap();
    equals_a_rebuild(&opened, &data, &url, 1).await;
    let events = read_all(opened.bus.as_ref(), stream(0)).await;
    let events: Vec<_> = events.into_iter().map(|stored| stored.event).collect();
    let order = [1, 2, 3, 4, 5, 6, 900, 901, 902, 7].map(|number| saying(number, "x").event);
    assert_eq!(events, order);
    opened.close().await;
}

/// Lets a stream forget all that it has.
async fn forget_all(context: &jetstream::Context, name: &str) {
    let kept = context.get_stream(name).await.unwrap().cached_info().config.clone();
    let shortly = std::time::Duration::from_millis(100);
    let forgetful =
        jetstream::stream::Config { max_age: shortly, duplicate_window: shortly, ..kept.clone() };
    context.update_stream(forgetful).await.unwrap();
    while context.get_stream(name).await.unwrap().cached_info().state.messages > 0 {
        tokio::task::yield_now().await;
    }
    context.update_stream(kept).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_whose_stream_lost_what_the_log_never_had_waits_until_that_is_accepted() {
    let (data, servers) = (folder(), folder());
    let nats = NatsServer::start(servers.path());
    let (slot, url) = (stream(0).slot(4), nats.url());
    let opened = Opened::on_nats(&data, &url, 1).await;
    publish(opened.bus.as_ref(), 0, Expected::Any, vec![saying(1, "x")]).await.unwrap();
    opened.close().await;
    let context = jetstream::new(async_nats::connect(&url).await.unwrap());
    publish_raw(&context, 0, &saying(2, "never stored"), true).await;
    forget_all(&context, &format!("CARE-{:02}", slot.0)).await;
    publish_raw(&context, 0, &saying(3, "behind it"), true).await;
    let config = Config { nats_start_ms: 2000, ..nats_config(&data, 1) };
    let opened = Opened::of_store(Store::open(&config).unwrap(), &url, &config).await;
    let mut troubles = opened.store.troubles().watch();
    let found = troubles.wait_for(|troubles| !troubles.is_empty()).await.unwrap().clone();
    assert_eq!(found, BTreeSet::from([Trouble::Stopped(slot)]));
    let other = (0..100).find(|number| stream(*number).slot(4) != slot).unwrap();
    let drafts = vec![saying(4, "another slot")];
    publish(opened.bus.as_ref(), other, Expected::Any, drafts).await.unwrap();
    opened.close().await;
    let config = Config { accept_lost: true, ..config };
    let opened = Opened::of_store(Store::open(&config).unwrap(), &url, &config).await;
    publish(opened.bus.as_ref(), 0, Expected::Any, vec![saying(5, "x")]).await.unwrap();
    opened.close().await;
    // Once is enough.
    let opened = Opened::on_nats(&data, &url, 1).await;
    publish(opened.bus.as_ref(), 0, Expected::Any, vec![saying(6, "x")]).await.unwrap();
    let events = read_all(opened.bus.as_ref(), stream(0)).await;
    let events: Vec<_> = events.into_iter().map(|stored| stored.event).collect();
    assert_eq!(events, [1, 3, 5, 6].map(|number| saying(number, "x").event));
    assert!(opened.store.troubles().watch().borrow().is_empty());
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_forgot_what_the_log_has_goes_on() {
    let (data, servers) = (folder(), folder());
    let nats = NatsServer::start(servers.path());
    let (slot, url) = (stream(0).slot(4), nats.url());
    let opened = Opened::on_nats(&data, &url, 1).await;
    publish(opened.bus.as_ref(), 0, Expected::Any, vec![saying(1, "x")]).await.unwrap();
    opened.close().await;
    let context = jetstream::new(async_nats::connect(&url).await.unwrap());
    forget_all(&context, &format!("CARE-{:02}", slot.0)).await;
    let opened = Opened::on_nats(&data, &url, 1).await;
    for number in 2..=3 {
        let drafts = vec![saying(number, "x")];
        publish(opened.bus.as_ref(), 0, Expected::Any, drafts).await.unwrap();
    }
    assert_eq!(opened.run(slot), tsunagi_bus::Run::WHOLE);
    assert_eq!(read_all(opened.bus.as_ref(), stream(0)).await.len(), 3);
    opened.close().await;
}

/// What quarantine has of a note, if it is of that kind.
fn quarantined(note: &tsunagi_bus::Stored) -> Option<tsunagi_proto::v1::MessageQuarantined> {
    let event = tsunagi_proto::v1::Event::decode(note.record.clone()).unwrap();
    let payload = Payload::decode(&event.r#type, &event.payload).unwrap();
    if let Payload::MessageQuarantined(kept) = payload { Some(kept) } else { None }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_larger_than_a_file_is_quarantined_once_and_as_it_came() {
    let (data, servers) = (folder(), folder());
    let nats = NatsServer::start(servers.path());
    let opened = Opened::on_nats(&data, &nats.url(), 1).await;
    let context = jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let slot = stream(0).slot(4);
    let large = saying(1, &"x".repeat(70_000));
    let sequence = publish_raw(&context, 0, &large, true).await;
    opened.reaches(slot, sequence).await;
    opened.close().await;
    // It is the slot's last message, with which the log is compared.
    let opened = Opened::on_nats(&data, &nats.url(), 1).await;
    assert_eq!(opened.run(slot), tsunagi_bus::Run::WHOLE);
    let notes = read_all(opened.bus.as_ref(), StreamId::Slot(slot)).await;
    assert_eq!(notes.len(), 1);
    let kept = quarantined(&notes[0]).unwrap();
    assert!(kept.raw.starts_with(b"care.evt."), "its subject and headers, too");
    equals_a_rebuild(&opened, &data, &nats.url(), 1).await;
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_content_under_an_id_that_is_taken_goes_to_quarantine() {
    let (data, servers) = (folder(), folder());
    let nats = NatsServer::start(servers.path());
    let opened = Opened::on_nats(&data, &nats.url(), 1).await;
    let slot = stream(0).slot(4);
    publish(opened.bus.as_ref(), 0, Expected::Any, vec![saying(1, "first")]).await.unwrap();
    opened.close().await;
    // These are taken in together.
    let context = jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    for (number, text) in [(1, "other"), (2, "second"), (2, "yet another"), (2, "second")] {
        publish_raw(&context, 0, &saying(number, text), false).await;
    }
    let opened = Opened::on_nats(&data, &nats.url(), 1).await;
    let notes = read_all(opened.bus.as_ref(), StreamId::Slot(slot)).await;
    let kept: Vec<_> = notes.iter().map(quarantined).collect();
    assert_eq!(kept.len(), 3);
    for (kept, draft) in kept.iter().zip([saying(1, "other"), saying(2, "yet another")]) {
        let kept = kept.as_ref().unwrap();
        assert!(kept.raw.starts_with(b"care.evt.") && kept.raw.ends_with(&draft.record));
    }
    assert_eq!(kept[2], None, "the same again is a repeat");
    let stored = read_all(opened.bus.as_ref(), stream(0)).await;
    let records: Vec<_> = stored.into_iter().map(|stored| stored.record).collect();
    assert_eq!(records, [saying(1, "first").record, saying(2, "second").record]);
    equals_a_rebuild(&opened, &data, &nats.url(), 1).await;
    opened.close().await;
    let opened = Opened::on_nats(&data, &nats.url(), 1).await;
    assert_eq!(opened.run(slot), tsunagi_bus::Run::WHOLE);
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_ack_bus_other_content_under_one_id_is_not_taken() {
    let (data, other, servers) = (folder(), folder(), folder());
    let nats = NatsServer::start(servers.path());
    let config = Config { ack: Ack::Bus, receipt_wait_ms: 500, ..nats_config(&data, 1) };
    let mut behind = Opened::of_store(Store::open(&config).unwrap(), &nats.url(), &config).await;
    std::fs::copy(data.path().join("region.toml"), other.path().join("region.toml")).unwrap();
    let first = Opened::on_nats(&other, &nats.url(), 1).await;
    behind.stop_taking_in().await;
    let sent = publish(first.bus.as_ref(), 0, Expected::Version(0), vec![saying(1, "first")]);
    sent.await.unwrap();
    let sent = publish(first.bus.as_ref(), 1, Expected::Version(0), vec![saying(3, "alone")]);
    sent.await.unwrap();
    let bus = behind.bus.as_ref();
    // JetStream says that something came first, or that it has the id.
    for expected in [Expected::Version(0), Expected::Any] {
        let told = publish(bus, 0, expected, vec![saying(1, "other")]).await;
        let Err(PublishError::Repeated { stored }) = told else { panic!("{told:?}") };
        assert_eq!(stored[0].record, saying(1, "first").record, "what came first");
    }
    publish(bus, 0, Expected::Version(0), vec![saying(1, "first")]).await.unwrap();
    // Of several, only the last is there: none of these was taken.
    let several = vec![saying(2, "before it"), saying(3, "alone")];
    let told = publish(bus, 1, Expected::Version(0), several).await;
    assert!(matches!(told, Err(PublishError::Repeated { .. })), "{told:?}");
    behind.close().await;
    first.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_whose_messages_never_come_is_a_trouble() {
    let (data, servers) = (folder(), folder());
    let slot = stream(0).slot(4);
    // The store may look at the stream, and is never sent what it asks for.
    let users = format!(
        "authorization {{ users: [\n\
           {{ user: store, password: x, permissions: {{ publish: {{ deny: [\"$JS.API.CONSUMER.MSG.NEXT.CARE-{:02}.>\"] }} }} }}\n\
           {{ user: other, password: x }}\n] }}\n",
        slot.0
    );
    let mut nats = NatsServer::prepare(servers.path(), "guarded", &users);
    nats.resume();
    let url = |user: &str| format!("nats://{user}:x@127.0.0.1:{}", nats.port);
    let opened = Opened::on_nats(&data, &url("store"), 1).await;
    let mut troubles = opened.store.troubles().watch();
    let options = async_nats::ConnectOptions::with_user_and_password("other".into(), "x".into());
    let other = options.connect(nats.url()).await.unwrap();
    publish_raw(&jetstream::new(other), 0, &saying(1, "never comes"), true).await;
    let found = troubles.wait_for(|troubles| !troubles.is_empty()).await.unwrap().clone();
    assert_eq!(found, BTreeSet::from([Trouble::Stopped(slot)]));
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
    let is_repeat = matches!(again, Err(PublishError::Repeated { .. }));
    assert!(is_repeat, "{again:?}");
    // The version is as the store knows it.
    opened.reaches(stream(0).slot(4), 6).await;
    let conflict = publish(bus, 0, Expected::Version(2), vec![saying(10, "x")]).await;
    assert!(matches!(conflict, Err(PublishError::Conflict { version: 6 })));
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
