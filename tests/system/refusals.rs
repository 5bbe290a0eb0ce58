//! Bad input: each kind has its own refusal, with code, reason and a sentence, and none changes
//! the log.

use prost::Message as _;
use tonic::{Code, Request, Status};
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_bus_client::CareBusClient;
use tsunagi_proto::v1::discharge_desk_client::DischargeDeskClient;
use tsunagi_proto::v1::home_care_client::HomeCareClient;
use tsunagi_proto::v1::subscribe_response::Frame;
use tsunagi_proto::v1::timeline_client::TimelineClient;

use crate::desks::{place, register, registration};
use crate::support::{FAR_AHEAD, Server, context, folder, id, liaison, reason};

/// The end of the log: the cursor with which a subscriber is caught up.
async fn end(bus: &mut CareBusClient<tonic::transport::Channel>) -> String {
    let request = v1::SubscribeRequest {
        type_prefixes: vec!["care.identifier.".into(), "care.".into()],
        ..v1::SubscribeRequest::default()
    };
    let mut frames = bus.subscribe(liaison(request)).await.unwrap().into_inner();
    loop {
        let frame = frames.message().await.unwrap().unwrap();
        if let Some(Frame::CaughtUp(_)) = frame.frame {
            return frame.cursor;
        }
    }
}

fn refusal<T: std::fmt::Debug>(
    answer: Result<tonic::Response<T>, Status>,
    code: Code,
    expected: &str,
) -> Status {
    let status = answer.unwrap_err();
    assert_eq!(status.code(), code, "{status}");
    assert_eq!(reason(&status), expected);
    assert!(status.message().len() > 20, "a sentence: {}", status.message());
    status
}

fn admit(patient: &str, number: u128, day: &str, ward: &str) -> v1::AdmitRequest {
    v1::AdmitRequest {
        context: Some(context(patient, &id(number), day)),
        event: Some(v1::Admitted {
            encounter_id: id(0xa),
            place: Some(place("acute", ward)),
            ..v1::Admitted::default()
        }),
    }
}

fn discharge(patient: &str, number: u128, day: &str) -> v1::DischargeRequest {
    v1::DischargeRequest {
        context: Some(context(patient, &id(number), day)),
        event: Some(v1::Discharged { encounter_id: id(0xa), ..v1::Discharged::default() }),
    }
}

#[tokio::test]
async fn every_kind_of_bad_input_is_refused_in_its_own_way() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let mut desk = DischargeDeskClient::new(channel.clone());
    let mut bus = CareBusClient::new(channel.clone());
    let patient = id(1);
    register(&channel, &patient, "00123").await;
    desk.admit(liaison(admit(&patient, 1, "2026-05-02", "4E"))).await.unwrap();
    let before = end(&mut bus).await;

    // Unknown patient.
    let stranger = desk.admit(liaison(admit(&id(2), 2, "2026-05-02", "4E"))).await;
    refusal(stranger, Code::NotFound, "PATIENT_UNKNOWN");
    // Wrong state: another stay was never begun.
    let mut early = discharge(&patient, 3, "2026-05-03");
    early.event.as_mut().unwrap().encounter_id = id(0xbb);
    let early = desk.discharge(liaison(early)).await;
    refusal(early, Code::FailedPrecondition, "NOT_ADMITTED");
    // Discharge before admission.
    let early = desk.discharge(liaison(discharge(&patient, 3, "2026-05-01"))).await;
    refusal(early, Code::FailedPrecondition, "OUT_OF_ORDER");
    // Time in the future.
    let future = desk.discharge(liaison(discharge(&patient, 3, "2299-01-01"))).await;
    refusal(future, Code::InvalidArgument, "OCCURRED_AT_IN_FUTURE");
    // Missing actor.
    let nobody = desk.discharge(Request::new(discharge(&patient, 3, "2026-05-03"))).await;
    refusal(nobody, Code::Unauthenticated, "ACTOR_MISSING");
    // Malformed id.
    let malformed = desk.discharge(liaison(discharge("patient 1", 3, "2026-05-03"))).await;
    let status = refusal(malformed, Code::InvalidArgument, "FIELDS_INVALID");
    assert!(status.message().contains("`context.patient_id`"), "{}", status.message());
    // The same event id with other content.
    let reused = desk.admit(liaison(admit(&patient, 1, "2026-05-02", "5W"))).await;
    refusal(reused, Code::AlreadyExists, "EVENT_ID_REUSED");
    // Version conflict.
    let mut conflicting = discharge(&patient, 3, "2026-05-03");
    conflicting.context.as_mut().unwrap().expected_version = Some(7);
    let conflict = desk.discharge(liaison(conflicting)).await;
    refusal(conflict, Code::Aborted, "VERSION_CONFLICT");
    // An identifier that is somebody else's.
    let taken = v1::RegisterPatientRequest {
        context: Some(context(&id(3), &id(4), "2026-05-02")),
        event: Some(registration("00123")),
    };
    let taken = desk.register_patient(liaison(taken)).await;
    refusal(taken, Code::AlreadyExists, "IDENTIFIER_TAKEN");

    assert_eq!(end(&mut bus).await, before, "the log is as it was");
}

#[tokio::test]
async fn of_two_who_register_the_same_numbers_in_other_orders_one_gets_them() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    for round in 0..20_u128 {
        let register = |who: u128, numbers: [&str; 2]| {
            let numbers = numbers.map(|number| format!("{number}-{round}"));
            let mut event = registration(&numbers[0]);
            event.identifiers.extend(registration(&numbers[1]).identifiers);
            let context = context(&id(0x100 + 2 * round + who), &id(1), "2026-04-01");
            let request = v1::RegisterPatientRequest { context: Some(context), event: Some(event) };
            let mut desk = DischargeDeskClient::new(channel.clone());
            async move { desk.register_patient(liaison(request)).await }
        };
        let both = tokio::join!(register(0, ["a", "b"]), register(1, ["b", "a"]));
        let ((Ok(_), Err(refused)) | (Err(refused), Ok(_))) = both else { panic!("{both:?}") };
        assert_eq!(reason(&refused), "IDENTIFIER_TAKEN");
    }
}

#[tokio::test]
async fn a_visit_ends_after_it_begins_and_begins_after_birth() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    register(&channel, &id(1), "00123").await;
    let mut home = HomeCareClient::new(channel);
    let visit = |from: &str, until: &str| {
        let (kind, ended_at) = (v1::VisitKind::Nursing.into(), until.to_owned());
        liaison(v1::RecordVisitRequest {
            context: Some(context(&id(1), &id(9), from)),
            event: Some(v1::VisitCompleted { kind, ended_at, ..Default::default() }),
        })
    };
    let from = "2026-05-02T10:00:00+09:00";
    let status = home.record_visit(visit(from, "2026-05-02T09:00:00+09:00")).await;
    refusal(status, Code::InvalidArgument, "ENDS_BEFORE_IT_BEGINS");
    let status = home.record_visit(visit("1938-04-01", "")).await;
    refusal(status, Code::InvalidArgument, "BORN_AFTER_EVENT");
    home.record_visit(visit(from, "2026-05-02T11:00:00+09:00")).await.unwrap();
}

#[tokio::test]
async fn an_oversize_message_is_refused_with_a_reason() {
    let data = folder();
    let server =
        Server::start_with(data.path(), &["--message-bytes", "65536", "--record-bytes", "4096"]);
    let channel = server.channel().await;
    let mut home = HomeCareClient::new(channel.clone());
    register(&channel, &id(1), "00123").await;
    let visit = |bytes: usize| {
        let summary = "長".repeat(bytes / 3);
        let kind = v1::VisitKind::Nursing.into();
        liaison(v1::RecordVisitRequest {
            context: Some(context(&id(1), &id(9), "2026-05-02")),
            event: Some(v1::VisitCompleted { kind, summary, ..Default::default() }),
        })
    };
    let status = home.record_visit(visit(6000)).await;
    refusal(status, Code::InvalidArgument, "EVENT_TOO_LARGE");
    let status = home.record_visit(visit(30_000)).await;
    refusal(status, Code::InvalidArgument, "FIELDS_INVALID");
    let status = home.record_visit(visit(100_000)).await;
    refusal(status, Code::OutOfRange, "MESSAGE_TOO_LARGE");
    home.record_visit(visit(300)).await.unwrap();
}

#[tokio::test]
async fn a_flood_of_faulty_items_gets_a_short_answer() {
    use tonic_types::StatusExt as _;
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let mut home = HomeCareClient::new(channel.clone());
    let many = |items: usize| {
        liaison(v1::RecordObservationRequest {
            context: Some(context(&id(1), &id(9), "2026-05-02")),
            event: Some(v1::ObservationRecorded {
                observations: vec![v1::Observation::default(); items],
            }),
        })
    };
    for items in [50, 5_000] {
        let status = home.record_observation(many(items)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{items}");
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert!((2..=20).contains(&violations.len()), "{items}: {}", violations.len());
        assert!(status.message().len() < 4_000);
    }
    let mut bus = CareBusClient::new(channel);
    let publish =
        v1::PublishRequest { events: vec![v1::Event::default(); 5_000], ..Default::default() };
    let status = bus.publish(liaison(publish.clone())).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let request = v1::PublishSessionRequest { tag: 1, publish: Some(publish) };
    let answers = bus.publish_session(liaison(tokio_stream::once(request))).await.unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap();
    assert!(answer.encoded_len() < 8_000, "{}", answer.encoded_len());
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_a_reason() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let mut bus = CareBusClient::new(channel);
    let large = v1::PublishSessionRequest {
        tag: 1,
        publish: Some(v1::PublishRequest {
            events: vec![v1::Event { payload: vec![7; 2 << 20], ..Default::default() }],
            ..Default::default()
        }),
    };
    let answers = bus.publish_session(liaison(tokio_stream::once(large))).await.unwrap();
    let status = answers.into_inner().message().await;
    refusal(status.map(tonic::Response::new), Code::OutOfRange, "MESSAGE_TOO_LARGE");
}

#[tokio::test]
async fn all_fields_at_fault_are_named_at_once_and_no_value_is_repeated() {
    use tonic_types::StatusExt as _;
    let data = folder();
    let server = Server::start(data.path());
    let mut home = HomeCareClient::new(server.channel().await);
    let status = home
        .report_condition_change(liaison(v1::ReportConditionChangeRequest {
            context: Some(context(&id(1), "not an id", "yesterday")),
            event: Some(v1::ConditionChanged {
                change: "秘密".repeat(4000), ..Default::default()
            }),
        }))
        .await
        .unwrap_err();
    let fields = status.get_details_bad_request().unwrap().field_violations;
    let fields: Vec<String> = fields.into_iter().map(|violation| violation.field).collect();
    assert_eq!(
        fields,
        [
            "context.event_id",
            "context.occurred_at",
            "event.severity",
            "event.change",
            "event.owner_role",
            "event.next_action",
        ]
    );
    assert!(!status.message().contains("秘密"));
}

#[tokio::test]
async fn reads_refuse_what_they_did_not_give_out() {
    let data = folder();
    let server = Server::start_with(data.path(), &["--read-wait-ms", "50"]);
    let channel = server.channel().await;
    register(&channel, &id(1), "00123").await;
    let mut timeline = TimelineClient::new(channel.clone());
    let read = |change: fn(&mut v1::ReadTimelineRequest)| {
        let mut request =
            v1::ReadTimelineRequest { patient_id: id(1), ..v1::ReadTimelineRequest::default() };
        change(&mut request);
        liaison(request)
    };
    let token = timeline.read_timeline(read(|r| r.page_token = "x".into())).await;
    refusal(token, Code::InvalidArgument, "PAGE_TOKEN_MALFORMED");
    let cursor = timeline.read_timeline(read(|r| r.at_least_cursor = "x".into())).await;
    refusal(cursor, Code::InvalidArgument, "CURSOR_MALFORMED");
    let size = timeline.read_timeline(read(|r| r.page_size = 1001)).await;
    refusal(size, Code::InvalidArgument, "FIELDS_INVALID");
    let unknown = timeline.read_timeline(read(|r| r.patient_id = id(2))).await;
    refusal(unknown, Code::NotFound, "PATIENT_UNKNOWN");
    // What a reader waits for may still come.
    let ahead = timeline.read_timeline(read(|r| r.at_least_cursor = FAR_AHEAD.into())).await;
    refusal(ahead, Code::Unavailable, "CURSOR_NOT_REACHED");
    let mut bus = CareBusClient::new(channel);
    let request = v1::SubscribeRequest { cursor: "x".into(), ..Default::default() };
    let cursor = bus.subscribe(liaison(request)).await;
    refusal(cursor.map(|_| tonic::Response::new(())), Code::InvalidArgument, "CURSOR_MALFORMED");
}
