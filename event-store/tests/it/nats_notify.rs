//! What an outside organisation can do on NATS, tried with a client of its own.

use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use futures_util::StreamExt as _;
use tsunagi_bus::nats::Nats;
use tsunagi_bus::nats::notify::{Notice, Notifier, accounts};

use crate::conformance::nats_config;
use crate::nats_servers::NatsServer;
use crate::support::folder;

/// Long enough for an answer that comes at all, on a busy machine.
const ANSWER_WAIT: Duration = Duration::from_secs(2);

async fn client(server: &NatsServer, user: &str) -> Client {
    let options = ConnectOptions::with_user_and_password(user.to_owned(), "secret".to_owned());
    options.connect(server.url()).await.unwrap()
}

/// What comes for a request whose answer goes to `inbox`.
async fn ask(client: &Client, subject: &str, inbox: &str, body: &str) -> Option<String> {
    let mut answers = client.subscribe(inbox.to_owned()).await.unwrap();
    let sent =
        client.publish_with_reply(subject.to_owned(), inbox.to_owned(), body.to_owned().into());
    sent.await.unwrap();
    let answer = tokio::time::timeout(ANSWER_WAIT, answers.next()).await.ok()??;
    match answer.status {
        Some(_) => None,
        None => Some(String::from_utf8_lossy(&answer.payload).into_owned()),
    }
}

fn notice(organisation: &str, id: &str, body: &'static str) -> Notice {
    let (organisation, kind) = (organisation.to_owned(), "referral".to_owned());
    Notice { organisation, kind, id: id.to_owned(), body: body.into() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_organisation_takes_its_own_notifications_and_nothing_else() {
    let (data, servers) = (folder(), folder());
    let organisations = ["acute".to_owned(), "station".to_owned()];
    let text = accounts(&organisations).unwrap();
    let passwords = ["$CARE_PASSWORD", "$ORG_ACUTE_PASSWORD", "$ORG_STATION_PASSWORD"];
    let text = passwords.iter().fold(text, |text, name| text.replace(name, "secret"));
    let mut server = NatsServer::prepare(servers.path(), "accounts", &text);
    server.resume();
    let url = format!("nats://care:secret@127.0.0.1:{}", server.port);
    let nats = Nats::connect(&url, &nats_config(&data, 1)).await.unwrap();
    let notifier = Notifier::open(nats, &organisations, 1).await.unwrap();
    for _ in 0..2 {
        notifier.tell(notice("acute", "one-id", "for acute")).await.unwrap();
    }
    let acute = client(&server, "acute").await;
    let station = client(&server, "station").await;
    // Each gets its own. What came twice under one id came once.
    let next = |name: &str| format!("$JS.API.CONSUMER.MSG.NEXT.NOTIFY.{name}");
    let one = r#"{"batch":1,"no_wait":true}"#;
    assert_eq!(ask(&acute, &next("acute"), "inbox.a", one).await.as_deref(), Some("for acute"));
    assert_eq!(ask(&acute, &next("acute"), "inbox.b", one).await, None, "there was one");
    // The other's reader does not answer it.
    notifier.tell(notice("station", "another-id", "for station")).await.unwrap();
    assert_eq!(ask(&acute, &next("station"), "inbox.c", one).await, None);
    // An inbox of the other account gets nothing, whatever reply is asked for.
    let mut watched = station.subscribe("inbox.>").await.unwrap();
    station.flush().await.unwrap();
    notifier.tell(notice("acute", "third-id", "for acute, again")).await.unwrap();
    let sent = acute.publish_with_reply(next("acute"), "inbox.of.station", one.into());
    sent.await.unwrap();
    acute.flush().await.unwrap();
    assert!(tokio::time::timeout(ANSWER_WAIT, watched.next()).await.is_err());
    // It can neither make a reader nor look into the stream.
    let create = "$JS.API.CONSUMER.CREATE.NOTIFY.mine.care.notify.station.*";
    let config = r#"{"stream_name":"NOTIFY","config":{"name":"mine","filter_subject":"care.notify.station.*","ack_policy":"none"}}"#;
    for (subject, body) in [
        (create, config),
        ("$JS.API.STREAM.MSG.GET.NOTIFY", r#"{"seq":1}"#),
        ("$JS.API.DIRECT.GET.NOTIFY", r#"{"seq":1}"#),
        ("$JS.API.STREAM.NAMES", ""),
        // Acknowledgements of the other's that ask for its next, in both forms and as a mixture.
        ("$JS.ACK.NOTIFY.station.1.1.1.1.1", "+NXT"),
        ("$JS.ACK._.x.NOTIFY.station.1.1.1.1.1", "+NXT"),
        ("$JS.ACK.NOTIFY.station.NOTIFY.acute.1.1.1", "+NXT"),
    ] {
        // Nobody answers, or its own account does, which has no streams.
        let answer = ask(&acute, subject, "inbox.d", body).await;
        let is_refused = answer.as_ref().is_none_or(|answer| answer.contains("\"err_code\":10039"));
        assert!(is_refused, "{subject}: {answer:?}");
    }
    assert_eq!(
        ask(&station, &next("station"), "inbox.e", one).await.as_deref(),
        Some("for station"),
        "the other's own are still there"
    );
}
