//! What stands at the edges of the streams: the caller's trace on a message, a stream that is
//! full, organisations that are told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use futures_util::StreamExt as _;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;
use tsunagi_bus::cursor::CursorError;
use tsunagi_bus::nats::Nats;
use tsunagi_bus::nats::notify::Notifier;
use tsunagi_bus::{Bus, Cursor, Expected, Handler, Position, PublishError, RemoteStore, Shard};
use tsunagi_chassis::{Config, Trace, trace};
use tsunagi_event_store::notices::Notices;
use tsunagi_event_store::service::EventStoreService;
use tsunagi_event_store::troubles::Trouble;
use tsunagi_event_store::{Records, Store, replicas};
use tsunagi_proto::v1::event_store_server::EventStoreServer;

use crate::conformance::{Opened, nats_config, publish, saying};
use crate::nats_history::everything;
use crate::nats_servers::NatsServer;
use crate::support::{
    IN_RECORD, admitted, care_event, config, damage, discharged, event, folder, handed, one,
    registered, stream, visited,
};

const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn handler(opened: &Opened, config: &Config) -> Arc<Handler> {
    Arc::new(Handler::new(Arc::clone(&opened.bus), config))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_caller_s_trace_is_on_the_message_and_else_a_new_one() {
    let (data, servers) = (folder(), folder());
    let nats = NatsServer::start(servers.path());
    let opened = Opened::on_nats(&data, &nats.url(), 1).await;
    let handler = handler(&opened, &nats_config(&data, 1));
    let register = handler.submit(one(care_event(0, 1, 1, &registered(&["1"]))));
    trace::within(Trace::parse(GIVEN), register).await.unwrap();
    let context = jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let slot = stream(0).slot(4).0;
    let trace_of_last = async || {
        let of_slot = context.get_stream(format!("CARE-{slot:02}")).await.unwrap();
        let subject = format!("care.evt.{slot:02}.{}", stream(0));
        let last = of_slot.get_last_raw_message_by_subject(&subject).await.unwrap();
        last.headers.get("traceparent").unwrap().to_string()
    };
    assert_eq!(trace_of_last().await, GIVEN);
    handler.submit(one(care_event(0, 2, 2, &admitted("4E")))).await.unwrap();
    let new = trace_of_last().await;
    assert!(Trace::parse(&new).is_some() && new != GIVEN, "{new}");
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_stream_takes_nothing_more_until_it_has_room_again() {
    let (data, servers) = (folder(), folder());
    let nats = NatsServer::start(servers.path());
    let config = Config { nats_stream_bytes: 1 << 20, ..nats_config(&data, 1) };
    let opened = Opened::of_store(Store::open(&config).unwrap(), &nats.url(), &config).await;
    let bus = opened.bus.as_ref();
    let large = "x".repeat(20_000);
    let mut taken = BTreeSet::new();
    let refused = loop {
        let draft = saying(u128::try_from(taken.len()).unwrap(), &large);
        let event = draft.event;
        match publish(bus, 0, Expected::Any, vec![draft]).await {
            Ok(_) => assert!(taken.insert(event)),
            Err(refused) => break refused,
        }
        assert!(taken.len() < 100, "it is never full");
    };
    assert!(matches!(refused, PublishError::NoRoom(_)), "{refused}");
    // Several at once are refused as a whole.
    let drafts = vec![saying(500, &large), saying(501, &large)];
    let refused = publish(bus, 0, Expected::Any, drafts).await.unwrap_err();
    assert!(matches!(refused, PublishError::NoRoom(_)), "{refused}");
    let context = jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let name = format!("CARE-{:02}", stream(0).slot(4).0);
    let settings = context.get_stream(&name).await.unwrap().cached_info().config.clone();
    let roomy = jetstream::stream::Config { max_bytes: 4 << 20, ..settings };
    context.update_stream(roomy).await.unwrap();
    let draft = saying(u128::try_from(taken.len()).unwrap(), &large);
    taken.insert(draft.event);
    publish(bus, 0, Expected::Any, vec![draft]).await.unwrap();
    let stored: Vec<_> = everything(bus).await.into_iter().map(|stored| stored.event).collect();
    assert_eq!(stored.len(), taken.len(), "what was refused is not there, and the rest once");
    assert_eq!(stored.into_iter().collect::<BTreeSet<_>>(), taken);
    opened.close().await;
}

/// Tells organisations as the server does, until it is stopped.
struct Telling {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Telling {
    async fn start(opened: &Opened, data: &TempDir, url: &str) -> Self {
        let config = nats_config(data, 1);
        let to = ["acute".to_owned(), "station".to_owned()];
        let nats = Nats::connect(url, &config).await.unwrap();
        let notifier = Notifier::open(nats, &to, 1).await.unwrap();
        let log = Arc::new(opened.store.clone());
        let records = Records::new(opened.store.clone(), log, &config);
        let notices = Notices::open(records, notifier, &to, data.path()).unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(notices.run(stop.clone()));
        Self { stop, task }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// The next notice to the hospital: its subject and what it says.
async fn next_notice(context: &jetstream::Context) -> (String, String) {
    let of_acute: jetstream::consumer::PullConsumer =
        context.get_consumer_from_stream("acute", "NOTIFY").await.unwrap();
    let mut messages = of_acute.fetch().max_messages(1).messages().await.unwrap();
    loop {
        if let Some(message) = messages.next().await {
            let message = message.unwrap();
            message.double_ack().await.unwrap();
            let text = std::str::from_utf8(&message.payload).unwrap();
            assert!(!text.contains('髙') && !text.contains("4E"), "ids alone: {text}");
            return (message.subject.to_string(), text.to_owned());
        }
        messages = of_acute.fetch().max_messages(1).messages().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_an_event_concerns_is_told_its_ids_also_after_a_restart() {
    let (data, servers) = (folder(), folder());
    let mut nats = NatsServer::start(servers.path());
    let url = nats.url();
    let opened = Opened::on_nats(&data, &url, 1).await;
    let handler = handler(&opened, &nats_config(&data, 1));
    let patient = "00000000-0000-0000-0000-000000000001";
    // What was recorded before anybody was to be told is told to nobody.
    handler.submit(one(care_event(0, 1, 1, &registered(&["1"])))).await.unwrap();
    handler.submit(one(care_event(0, 2, 2, &admitted("4E")))).await.unwrap();
    let telling = Telling::start(&opened, &data, &url).await;
    handler.submit(one(care_event(0, 3, 3, &visited()))).await.unwrap();
    let context = jetstream::new(async_nats::connect(&url).await.unwrap());
    let (subject, notice) = next_notice(&context).await;
    assert_eq!(subject, "care.notify.acute.home");
    let expected = format!(
        r#"{{"specversion":"1.0","id":"{}","source":"/tsunagi","type":"care.notice.home.v1","subject":"{patient}","time":""#,
        event(3)
    );
    assert!(notice.starts_with(&expected) && notice.len() < expected.len() + 40, "{notice}");
    // NATS is away for a while, and then whoever tells is.
    nats.kill();
    nats.resume();
    telling.stop().await;
    handler.submit(one(care_event(0, 4, 4, &discharged()))).await.unwrap();
    handler.submit(one(care_event(0, 5, 5, &visited()))).await.unwrap();
    let telling = Telling::start(&opened, &data, &url).await;
    // A server that is killed may not know any more what was acknowledged.
    let (subject, notice) = loop {
        let next = next_notice(&context).await;
        if next.1 != notice {
            break next;
        }
    };
    assert_eq!(subject, "care.notify.acute.encounter", "whom it concerned until then");
    assert!(notice.contains(&event(4).to_string()), "{notice}");
    telling.stop().await;
    let mut stream = context.get_stream("NOTIFY").await.unwrap();
    let told = stream.info().await.unwrap().state.messages;
    assert_eq!(told, 2, "the hospital has no more to do with the patient, the station never had");
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn organisations_are_told_past_what_is_damaged() {
    let (data, servers) = (folder(), folder());
    let nats = NatsServer::start(servers.path());
    let url = nats.url();
    let opened = Opened::on_nats(&data, &url, 1).await;
    let handler = handler(&opened, &nats_config(&data, 1));
    for patient in [0, 1] {
        let number = patient.to_string();
        let said = [registered(&[&number]), admitted("4E"), visited()];
        for (payload, n) in said.iter().zip(100 + 10 * patient..) {
            handler.submit(one(care_event(patient, n, 1, payload))).await.unwrap();
        }
    }
    // Of the first patient, the registration.
    damage(&data, 100, IN_RECORD, 1);
    let telling = Telling::start(&opened, &data, &url).await;
    let context = jetstream::new(async_nats::connect(&url).await.unwrap());
    let mut found = Vec::new();
    for (patient, n) in [(0, 104), (1, 114), (0, 105)] {
        handler.submit(one(care_event(patient, n, 2, &visited()))).await.unwrap();
        let (subject, notice) = next_notice(&context).await;
        assert_eq!(subject, "care.notify.acute.home");
        assert!(notice.contains(&event(n).to_string()), "{notice}");
        found.push(opened.store.damage_found());
    }
    assert_eq!(found, [0, 0, 0], "no notice counts it: who follows the whole log does");
    let (_, unreadable) = handed(&mut opened.store.follow(Cursor::start())).await;
    assert_eq!((unreadable, opened.store.damage_found()), (vec![Some(event(100))], 1));
    telling.stop().await;
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_events_than_are_taken_at_once_are_told_from_more_bytes() {
    let (data, servers) = (folder(), folder());
    let nats = NatsServer::start(servers.path());
    let opened = Opened::on_nats(&data, &nats.url(), 1).await;
    let many = (0..102).map(|number| saying(number, "x")).collect();
    let refused = publish(opened.bus.as_ref(), 0, Expected::Any, many).await;
    assert!(matches!(refused, Err(PublishError::TooMany { limit: 101 })), "{refused:?}");
    let large = vec![saying(0, &"x".repeat(60_000))];
    let refused = publish(opened.bus.as_ref(), 0, Expected::Any, large).await;
    assert!(matches!(refused, Err(PublishError::TooLarge { .. })), "{refused:?}");
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_that_is_ahead_is_waited_for_on_nats_alone() {
    const LONG: Duration = Duration::from_mins(1);
    let (data, embedded, servers) = (folder(), folder(), folder());
    let opened = Opened::embedded(&embedded);
    let slot = stream(0).slot(4);
    let ahead = Cursor::at(Position { slot, n: 1 });
    assert_eq!(opened.bus.reach(&ahead, LONG).await, Err(CursorError::Ahead));
    opened.close().await;
    let nats = NatsServer::start(servers.path());
    let opened = Opened::on_nats(&data, &nats.url(), 1).await;
    for bus in [opened.bus.as_ref(), &opened.store] {
        let reached = bus.reach(&ahead, Duration::from_millis(50)).await;
        assert_eq!(reached, Err(CursorError::NotReached));
    }
    let both = async {
        opened.bus.reach(&ahead, LONG).await?;
        Bus::reach(&opened.store, &ahead, LONG).await
    };
    let publish = publish(opened.bus.as_ref(), 0, Expected::Any, vec![saying(1, "one")]);
    let (reached, published) = tokio::join!(both, publish);
    published.unwrap();
    assert_eq!(reached, Ok(()));
    opened.close().await;
}

/// Serves a store's log to others, at a port that may be 0. Where that is, and how to stop it.
async fn serve_log(store: &Store, config: &Config, port: u16) -> (u16, CancellationToken) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let stop = CancellationToken::new();
    let service = EventStoreService::new(store.clone(), config, stop.clone());
    let served = tonic::transport::Server::builder()
        .add_service(EventStoreServer::new(service))
        .serve_with_incoming_shutdown(TcpIncoming::from(listener), stop.clone().cancelled_owned());
    tokio::spawn(served);
    (port, stop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_history_of_the_same_slot_is_a_trouble_until_it_is_over() {
    let (ours, theirs) = (folder(), folder());
    let store = Store::open(&config(ours.path())).unwrap();
    std::fs::copy(ours.path().join("region.toml"), theirs.path().join("region.toml")).unwrap();
    std::fs::create_dir(theirs.path().join("log")).unwrap();
    let other = Store::open(&config(theirs.path())).unwrap();
    publish(&store, 0, Expected::Any, vec![saying(1, "one")]).await.unwrap();
    publish(&other, 0, Expected::Any, vec![saying(1, "another")]).await.unwrap();
    let (port, stop) = serve_log(&other, &config(theirs.path()), 0).await;
    let url = format!("http://127.0.0.1:{port}");
    let remote =
        RemoteStore::new(&url, Shard { index: 1, count: 1 }, store.region(), &config(ours.path()))
            .unwrap();
    let every = Duration::from_millis(20);
    let comparing = tokio::spawn(replicas::watch(store.clone(), remote, url.clone(), every));
    let mut troubles = store.troubles().watch();
    let found = troubles.wait_for(|troubles| !troubles.is_empty()).await.unwrap().clone();
    assert_eq!(found, BTreeSet::from([Trouble::Differs(url)]));
    // Whoever was wrong is made anew, and has the same.
    stop.cancel();
    while TcpListener::bind(("127.0.0.1", port)).await.is_err() {}
    let (_, stop) = serve_log(&store, &config(ours.path()), port).await;
    troubles.wait_for(BTreeSet::is_empty).await.unwrap();
    stop.cancel();
    comparing.abort();
}
