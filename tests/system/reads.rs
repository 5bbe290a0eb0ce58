//! Every rpc that is no desk's: it answers what can be answered, the same when it is asked again,
//! and refuses with a reason what cannot be. Whoever adds an rpc adds it here.

use std::collections::BTreeSet;

use prost::Message;
use prost::bytes::Bytes;
use prost_reflect::DescriptorPool;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_bus_client::CareBusClient;
use tsunagi_proto::v1::directory_client::DirectoryClient;
use tsunagi_proto::v1::timeline_client::TimelineClient;

use crate::bus::{release, unreadable};
use crate::desks::{place, register, registration};
use crate::directory::salon;
use crate::nats::on_nats;
use crate::nats_servers::NatsServer;
use crate::partner_meetings::{record, with};
use crate::rpcs::{DESKS, Raw};
use crate::support::{FAR_AHEAD, Server, folder, id, liaison, reason};

/// What is asked of an rpc that can be answered, and what cannot, with the reason.
#[derive(Clone)]
struct Asked {
    rpc: &'static str,
    good: Vec<u8>,
    /// None: nothing that is asked of it is refused.
    bad: Option<(Vec<u8>, &'static str)>,
}

fn asked(
    rpc: &'static str,
    good: &impl Message,
    bad: &impl Message,
    reason: &'static str,
) -> Asked {
    Asked { rpc, good: good.encode_to_vec(), bad: Some((bad.encode_to_vec(), reason)) }
}

/// The first thing that is answered. What is asked in one message looks the same on the wire as the
/// first of a stream, and so do answers.
async fn ask(channel: &Channel, rpc: &str, request: Request<Bytes>) -> Result<Bytes, Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let path = format!("/care.v1.{rpc}").parse().unwrap();
    let request = request.map(tokio_stream::once);
    let answers = grpc.streaming(request, path, Raw).await?;
    answers.into_inner().message().await.map(Option::unwrap_or_default)
}

/// The reason of a refusal, which a session answers instead of ending.
fn refused(answer: Result<Bytes, Status>, rpc: &str) -> String {
    match answer {
        Err(status) => reason(&status),
        Ok(bytes) => match v1::PublishSessionResponse::decode(bytes).unwrap().outcome {
            Some(v1::publish_session_response::Outcome::Refused(refused)) => refused.reason,
            other => panic!("{rpc}: {other:?}"),
        },
    }
}

fn visit(event: u128) -> v1::PublishRequest {
    let visit = v1::VisitCompleted { kind: v1::VisitKind::Nursing.into(), ..Default::default() };
    let event = v1::Event {
        event_id: id(event),
        r#type: "care.home.visit_completed.v1".into(),
        patient_id: id(1),
        occurred_at: "2026-05-02T10:00:00+09:00".into(),
        payload: visit.encode_to_vec(),
        ..v1::Event::default()
    };
    v1::PublishRequest { events: vec![event], ..Default::default() }
}

/// What an unreadable message is kept as.
async fn kept(channel: &Channel) -> String {
    let request = liaison(unreadable("a test", b"MSH").encode_to_vec().into());
    let receipt = ask(channel, "CareBus/Quarantine", request).await.unwrap();
    v1::Receipt::decode(receipt).unwrap().event_id
}

fn of_bus(kept: &str) -> Vec<Asked> {
    let released = |event: &str| release(event, v1::Release::Dismissed, "a test");
    let session =
        |tag: u64, publish: Option<v1::PublishRequest>| v1::PublishSessionRequest { tag, publish };
    let empty = v1::QuarantineRequest::default();
    let read = |event: &str| v1::ReadQuarantinedRequest { event_id: event.to_owned() };
    let list = |page_token: &str| v1::ListQuarantineRequest {
        include_released: true,
        page_token: page_token.to_owned(),
        ..Default::default()
    };
    let from =
        |cursor: &str| v1::SubscribeRequest { cursor: cursor.to_owned(), ..Default::default() };
    vec![
        asked("CareBus/Publish", &visit(0x51), &v1::PublishRequest::default(), "FIELDS_INVALID"),
        asked(
            "CareBus/PublishSession",
            &session(1, Some(visit(0x52))),
            &session(1, None),
            "FIELDS_INVALID",
        ),
        asked("CareBus/Subscribe", &from(""), &from("x"), "CURSOR_MALFORMED"),
        asked("CareBus/Quarantine", &unreadable("a test", b"MSH"), &empty, "FIELDS_INVALID"),
        asked("CareBus/ListQuarantine", &list(""), &list("x"), "PAGE_TOKEN_MALFORMED"),
        asked("CareBus/ReadQuarantined", &read(kept), &read(&id(9)), "EVENT_UNKNOWN"),
        asked("CareBus/ReleaseQuarantined", &released(kept), &released(&id(9)), "EVENT_UNKNOWN"),
    ]
}

fn of_timeline() -> Vec<Asked> {
    let read =
        |number: u128| v1::ReadTimelineRequest { patient_id: id(number), ..Default::default() };
    let watch =
        |number: u128| v1::WatchTimelineRequest { patient_id: id(number), ..Default::default() };
    let alike =
        |number: u128| v1::FindLookAlikesRequest { patient_id: id(number), ..Default::default() };
    let list = |page_token: &str| v1::ListPatientsRequest {
        page_token: page_token.to_owned(),
        ..Default::default()
    };
    let find = |number: &str| v1::FindPatientRequest {
        identifier: registration(number).identifiers.pop(),
        ..Default::default()
    };
    vec![
        asked("Timeline/ReadTimeline", &read(1), &read(2), "PATIENT_UNKNOWN"),
        asked("Timeline/WatchTimeline", &watch(1), &watch(2), "PATIENT_UNKNOWN"),
        asked("Timeline/FindPatient", &find("00123"), &find("9"), "IDENTIFIER_UNKNOWN"),
        asked("Timeline/ListPatients", &list(""), &list("x"), "PAGE_TOKEN_MALFORMED"),
        asked("Timeline/FindLookAlikes", &alike(1), &alike(2), "PATIENT_UNKNOWN"),
    ]
}

fn of_boards() -> Vec<Asked> {
    let liaison = |at_least: &str| v1::ReadLiaisonBoardRequest {
        on_day: "2026-05-02".into(),
        at_least_cursor: at_least.to_owned(),
        ..Default::default()
    };
    let team = |since: &str| v1::ReadTeamBoardRequest {
        since_cursor: since.to_owned(),
        ..Default::default()
    };
    let caseload = |on_day: &str| v1::ReadCaseloadBoardRequest {
        on_day: on_day.to_owned(),
        ..Default::default()
    };
    let watch =
        |cursor: &str| v1::WatchBoardRequest { cursor: cursor.to_owned(), ..Default::default() };
    vec![
        asked("Boards/ReadLiaisonBoard", &liaison(""), &liaison(FAR_AHEAD), "CURSOR_NOT_REACHED"),
        asked("Boards/ReadTeamBoard", &team(""), &team("x"), "CURSOR_MALFORMED"),
        asked(
            "Boards/ReadCaseloadBoard",
            &caseload("2026-05-02"),
            &caseload("soon"),
            "FIELDS_INVALID",
        ),
        asked("Boards/WatchBoard", &watch(""), &watch("x"), "CURSOR_MALFORMED"),
    ]
}

fn of_directory() -> Vec<Asked> {
    let read = |number: u128| v1::ReadResourceRequest {
        resource_id: id(number),
        on_day: "2026-05-02".into(),
        ..Default::default()
    };
    let find = |page_token: &str| v1::FindResourcesRequest {
        on_day: "2026-05-02".into(),
        page_token: page_token.to_owned(),
        ..Default::default()
    };
    let list = |year: &str| v1::ListPartnerMeetingsRequest {
        year_from_on: year.to_owned(),
        ..Default::default()
    };
    vec![
        asked("Directory/ReadResource", &read(0x4e5), &read(9), "RESOURCE_UNKNOWN"),
        asked("Directory/FindResources", &find(""), &find("x"), "PAGE_TOKEN_MALFORMED"),
        asked("Directory/ListPartnerMeetings", &list("2026-04-01"), &list(""), "FIELDS_INVALID"),
    ]
}

/// The name of the patient's stream.
fn of_patient() -> String {
    format!("p-{}", id(1).replace('-', ""))
}

/// What the region's other processes ask a store.
fn of_store() -> Vec<Asked> {
    let stream = |name: &str| v1::ReadStreamRequest { stream: name.to_owned(), after: 0 };
    let find =
        |event: &str| v1::FindEventRequest { stream: of_patient(), event_id: event.to_owned() };
    let too_many = vec![v1::SlotPosition::default(); 65_537];
    let seen = |seen: Vec<v1::SlotPosition>| v1::FollowLogRequest { seen };
    let roots = |positions: Vec<v1::SlotPosition>| v1::ReadRootsRequest { positions };
    vec![
        asked("EventStore/ReadStream", &stream(&of_patient()), &stream("x"), "FIELDS_INVALID"),
        asked("EventStore/FindEvent", &find(&id(0x1000)), &find("x"), "FIELDS_INVALID"),
        asked("EventStore/FollowLog", &seen(Vec::new()), &seen(too_many), "FIELDS_INVALID"),
        asked(
            "EventStore/ReadRoots",
            &roots(
                (0..4).map(|slot| v1::SlotPosition { slot, n: 1, ..Default::default() }).collect(),
            ),
            &roots(Vec::new()),
            "FIELDS_INVALID",
        ),
        Asked { rpc: "EventStore/WatchPositions", good: Vec::new(), bad: None },
    ]
}

/// A patient in hospital, another who looks like the same, two resources and a meeting.
async fn prepare(channel: &Channel) {
    register(channel, &id(1), "00123").await;
    register(channel, &id(3), "00456").await;
    let admit = v1::AdmitRequest {
        context: Some(crate::support::context(&id(1), &id(0x50), "2026-05-01T09:00:00+09:00")),
        event: Some(v1::Admitted {
            encounter_id: id(0xa),
            place: Some(place("acute", "4E")),
            ..v1::Admitted::default()
        }),
    };
    let publish = v1::PublishResourceRequest {
        context: Some(v1::ResourceContext {
            event_id: id(0x60),
            resource_id: id(0x4e5),
            occurred_at: "2026-04-01".into(),
            ..v1::ResourceContext::default()
        }),
        event: Some(salon("体操サロン")),
    };
    let another = v1::PublishResourceRequest {
        context: publish.context.clone().map(|context| v1::ResourceContext {
            event_id: id(0x62),
            resource_id: id(0x4e6),
            ..context
        }),
        event: Some(salon("園芸サロン")),
    };
    let meeting = record(0x61, "2026-06-01", with(&["rehab"]));
    for (rpc, request) in [
        ("DischargeDesk/Admit", admit.encode_to_vec()),
        ("LinkWorker/PublishResource", publish.encode_to_vec()),
        ("LinkWorker/PublishResource", another.encode_to_vec()),
        ("DischargeDesk/RecordPartnerMeeting", meeting.encode_to_vec()),
    ] {
        ask(channel, rpc, liaison(request.into())).await.unwrap();
    }
}

/// Asks everything: what is refused first, then what is answered.
async fn all_answer(channel: &Channel, all: Vec<Asked>) {
    for Asked { rpc, good, bad } in all {
        if let Some((bad, why)) = bad {
            let answer = ask(channel, rpc, liaison(bad.into())).await;
            assert_eq!(refused(answer, rpc), why, "{rpc}");
        }
        if !rpc.starts_with("EventStore/") {
            let unsigned = ask(channel, rpc, Request::new(good.clone().into())).await;
            assert_eq!(reason(&unsigned.unwrap_err()), "ACTOR_MISSING", "{rpc}");
        }
        let good = || liaison(Bytes::from(good.clone()));
        let first = ask(channel, rpc, good()).await;
        let first = first.unwrap_or_else(|status| panic!("{rpc}: {status}"));
        assert!(!first.is_empty(), "{rpc} answers nothing");
        let again = ask(channel, rpc, good()).await.unwrap();
        assert_eq!(said(rpc, first), said(rpc, again), "{rpc}");
    }
}

#[tokio::test]
async fn every_rpc_answers_the_same_again_and_refuses_with_a_reason() {
    let data = folder();
    let server = Server::start_with(data.path(), &["--read-wait-ms", "50"]);
    let channel = server.channel().await;
    prepare(&channel).await;
    let kept = kept(&channel).await;
    let mut all = [of_timeline(), of_boards(), of_directory(), of_bus(&kept)].concat();
    all_answer(&channel, all.clone()).await;
    // All that there are.
    let pool = DescriptorPool::decode(tsunagi_proto::DESCRIPTOR).unwrap();
    let mut named = BTreeSet::new();
    for service in pool.services().filter(|service| !DESKS.contains(&service.name())) {
        named.extend(service.methods().map(|rpc| format!("{}/{}", service.name(), rpc.name())));
    }
    all.extend(of_store());
    assert_eq!(named, all.iter().map(|asked| asked.rpc.to_owned()).collect());
}

#[tokio::test]
async fn a_store_answers_the_region_s_other_processes() {
    let servers = folder();
    let nats = NatsServer::start(servers.path());
    let data = folder();
    let server = Server::start_with(data.path(), &on_nats(&nats.url(), &[]));
    let channel = server.channel().await;
    prepare(&channel).await;
    all_answer(&channel, of_store()).await;
}

/// An answer, but for what says that it was given before.
fn said(rpc: &str, answer: Bytes) -> Vec<u8> {
    let not_repeated = |receipt: v1::Receipt| v1::Receipt { repeated: false, ..receipt };
    match rpc {
        "CareBus/Publish" => {
            let mut answer = v1::PublishResponse::decode(answer).unwrap();
            answer.receipts = answer.receipts.into_iter().map(not_repeated).collect();
            answer.encode_to_vec()
        }
        "CareBus/PublishSession" => {
            use v1::publish_session_response::Outcome;
            let answer = v1::PublishSessionResponse::decode(answer).unwrap();
            let Some(Outcome::Published(published)) = answer.outcome else { panic!("{answer:?}") };
            published
                .receipts
                .into_iter()
                .map(not_repeated)
                .map(|of| of.version)
                .flat_map(u64::to_be_bytes)
                .collect()
        }
        "CareBus/Quarantine" | "CareBus/ReleaseQuarantined" => {
            not_repeated(v1::Receipt::decode(answer).unwrap()).encode_to_vec()
        }
        _ => answer.to_vec(),
    }
}

/// The token of the first page of something, and what is said when it is sent with other fields.
macro_rules! with_other_fields {
    ($client:expr, $rpc:ident, $asked:expr, $change:expr) => {{
        let asked = $asked;
        let first = $client.$rpc(liaison(asked.clone())).await.unwrap().into_inner();
        assert_ne!(first.next_page_token, "", stringify!($rpc));
        let mut second = asked;
        second.page_token = first.next_page_token;
        // How many are on a page may change.
        second.page_size = 2;
        $client.$rpc(liaison(second.clone())).await.unwrap();
        $change(&mut second);
        let refused = $client.$rpc(liaison(second)).await.unwrap_err();
        assert_eq!(reason(&refused), "PAGE_TOKEN_OF_OTHER_REQUEST", stringify!($rpc));
    }};
}

#[tokio::test]
async fn a_page_token_goes_with_the_fields_that_it_was_given_for() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    prepare(&channel).await;
    for meeting in [0x71, 0x72] {
        let meeting = record(meeting, "2026-06-02", with(&["rehab"])).encode_to_vec();
        let rpc = "DischargeDesk/RecordPartnerMeeting";
        ask(&channel, rpc, liaison(meeting.into())).await.unwrap();
    }
    for origin in ["a", "b"] {
        let message = unreadable(origin, origin.as_bytes()).encode_to_vec();
        ask(&channel, "CareBus/Quarantine", liaison(message.into())).await.unwrap();
    }
    let page_size = 1;
    let mut timeline = TimelineClient::new(channel.clone());
    let asked = v1::ReadTimelineRequest { patient_id: id(1), page_size, ..Default::default() };
    with_other_fields!(timeline, read_timeline, asked, |of: &mut v1::ReadTimelineRequest| {
        of.set_order(v1::Order::OldestFirst);
    });
    let asked = v1::ListPatientsRequest { page_size, ..Default::default() };
    with_other_fields!(timeline, list_patients, asked, |of: &mut v1::ListPatientsRequest| {
        of.set_state(v1::PatientState::InHospital);
    });
    let mut directory = DirectoryClient::new(channel.clone());
    let asked = v1::FindResourcesRequest { page_size, ..Default::default() };
    with_other_fields!(directory, find_resources, asked, |of: &mut v1::FindResourcesRequest| {
        of.text = "体操".into();
    });
    let year_from_on = "2026-04-01".to_owned();
    let asked = v1::ListPartnerMeetingsRequest { year_from_on, page_size, ..Default::default() };
    with_other_fields!(
        directory,
        list_partner_meetings,
        asked,
        |of: &mut v1::ListPartnerMeetingsRequest| {
            of.year_from_on = "2026".into();
        }
    );
    let mut bus = CareBusClient::new(channel);
    let asked = v1::ListQuarantineRequest { page_size, ..Default::default() };
    with_other_fields!(bus, list_quarantine, asked, |of: &mut v1::ListQuarantineRequest| {
        of.include_released = true;
    });
}
