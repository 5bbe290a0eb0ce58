//! `tsunagi simulate` and `demo`: the same stories for the same seed, through the real desks.

use std::collections::BTreeSet;

use prost_reflect::{DescriptorPool, Kind};
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_bus_client::CareBusClient;
use tsunagi_proto::v1::subscribe_response::Frame;

use crate::rpcs::DESKS;
use crate::support::{Server, folder, liaison, run, stderr, stdout, timelines};

fn simulate(server: &Server, arguments: &[&str]) -> std::process::Output {
    let mut all = vec!["simulate", "--server", &server.url];
    all.extend(arguments);
    run(&all)
}

#[tokio::test]
async fn the_same_seed_tells_the_same_stories() {
    let (one, other) = (folder(), folder());
    let (one, other) = (Server::start(one.path()), Server::start(other.path()));
    for server in [&one, &other] {
        let told = simulate(server, &["--patients", "30", "--days", "120"]);
        assert!(told.status.success(), "{}", stderr(&told));
    }
    let told = timelines(&one.channel().await).await;
    assert_eq!(told.len(), 32, "two of the thirty have a namesake");
    assert_eq!(told, timelines(&other.channel().await).await);
    // Told again, nothing is added.
    let again = simulate(&one, &["--patients", "30", "--days", "120"]);
    assert!(again.status.success(), "{}", stderr(&again));
    assert_eq!(told, timelines(&one.channel().await).await);
}

#[tokio::test]
async fn another_seed_tells_other_stories() {
    let data = folder();
    let server = Server::start(data.path());
    assert!(simulate(&server, &["--patients", "5"]).status.success());
    assert!(simulate(&server, &["--patients", "5", "--seed", "2"]).status.success());
    assert_eq!(timelines(&server.channel().await).await.len(), 10);
}

#[tokio::test]
async fn every_kind_of_story_is_told() {
    let data = folder();
    let server = Server::start(data.path());
    assert!(
        simulate(&server, &["--patients", "18", "--days", "250", "--start", "2025-10-01"])
            .status
            .success()
    );
    let channel = server.channel().await;
    let mut told = String::new();
    for patient in timelines(&channel).await.into_keys() {
        told.push_str(&crate::support::sentences(&channel, &patient).await.join("\n"));
    }
    for words in [
        "admission planned for",
        "emergency visit at",
        "admission cancelled",
        "transfer declined",
        "offer accepted",
        "on leave",
        "pre-discharge conference held",
        "information at admission given to",
        "discharge information heard",
        "referred to",
        "attended",
        "measured UCLA",
        "social-prescribing case closed",
        "nursing visit",
        "died ",
        "another record of the same person was merged into this one",
        "proxy supporter",
        "taken to hospital in an emergency",
        "entered in error",
        "time corrected to",
        "alert [urgent]",
        "the merge with another record was taken back",
        "discharge cancelled",
        "content corrected",
        "goal met",
        "joined the care team",
        "care level",
    ] {
        assert!(told.contains(words), "{words}");
    }
}

/// The types of all events that are stored. Those about no patient come to who asks for them.
async fn types_told(server: &Server) -> BTreeSet<String> {
    let mut bus = CareBusClient::new(server.channel().await);
    let mut types = BTreeSet::new();
    for prefixes in [&[][..], &["care.resource.", "care.organisation."]] {
        let type_prefixes = prefixes.iter().map(|&prefix: &&str| prefix.to_owned()).collect();
        let asked = v1::SubscribeRequest { type_prefixes, ..Default::default() };
        let mut frames = bus.subscribe(liaison(asked)).await.unwrap().into_inner();
        loop {
            match frames.message().await.unwrap().unwrap().frame.unwrap() {
                Frame::Event(stored) => drop(types.insert(stored.event.unwrap().r#type)),
                Frame::CaughtUp(_) => break,
                Frame::Heartbeat(_) => {}
                Frame::Unreadable(_) => panic!("an event cannot be read"),
            }
        }
    }
    types
}

#[tokio::test]
async fn everything_that_can_be_said_at_a_desk_is_told() {
    let data = folder();
    let server = Server::start(data.path());
    let told = simulate(&server, &["--patients", "18", "--days", "250", "--start", "2025-10-01"]);
    assert!(told.status.success(), "{}", stderr(&told));
    let told = types_told(&server).await;
    let pool = DescriptorPool::decode(tsunagi_proto::DESCRIPTOR).unwrap();
    let of_event = pool.get_extension_by_name("care.v1.event").unwrap();
    let desks = pool.services().filter(|service| DESKS.contains(&service.name()));
    let mut untold = BTreeSet::new();
    for rpc in desks.flat_map(|desk| desk.methods().collect::<Vec<_>>()) {
        let Some(event) = rpc.input().get_field_by_name("event") else {
            // It tells again what others tell.
            assert_eq!(rpc.name(), "MoveEvents");
            continue;
        };
        let Kind::Message(event) = event.kind() else { panic!("{}", rpc.name()) };
        // One message may be the payload of several events.
        for kind in event.options().get_extension(&of_event).as_list().unwrap() {
            let kind = kind.as_message().unwrap().get_field_by_name("type").unwrap();
            let kind = kind.as_str().unwrap().to_owned();
            if !told.contains(&kind) {
                untold.insert(kind);
            }
        }
    }
    assert!(untold.is_empty(), "{untold:?}");

    let data = data.path().to_str().unwrap();
    let meetings = ["partner-meetings", "9908000011", "--year", "2025-04-01", "--data", data];
    let shown = stdout(&run(&meetings));
    assert!(shown.starts_with("会合 3件  連携機関 5  うち3回以上 5\n"), "{shown}");
    assert!(shown.contains("ビデオ") || shown.contains("オンライン"), "{shown}");
    let shown = stdout(&run(&[&meetings[..], &["--lang", "en"]].concat()));
    assert!(shown.starts_with("meetings 3  institutions 5  met 3 times or more 5\n"), "{shown}");
}

#[test]
fn stories_that_end_in_the_future_are_not_begun() {
    let data = folder();
    let path = data.path().to_str().unwrap();
    let refused = run(&["simulate", "--start", "2290-01-01", "--data", path]);
    assert!(!refused.status.success());
    assert!(stderr(&refused).contains("in the future"), "{}", stderr(&refused));
}

#[test]
fn a_simulation_without_a_server_tells_to_the_folder() {
    let data = folder();
    let path = data.path().to_str().unwrap();
    let told = run(&["simulate", "--patients", "3", "--data", path]);
    assert!(stdout(&told).contains("about 3 people"), "{}", stderr(&told));
    let list = stdout(&run(&["patients", "--data", path]));
    assert_eq!(list.lines().count(), 3, "{list}");
}
