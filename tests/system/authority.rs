//! Who may say what: a facility tells of its own stays, and a tool of AI drafts and nothing more.

use prost::Message as _;
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_bus_client::CareBusClient;

use crate::desks::{place, register};
use crate::stories::{LINK_WORKER, Who, code, desk, home, link, signed, team};
use crate::support::{Server, context, folder, id, reason, sentences};

const STRANGER: Who = Who("9999999999", "liaison-nurse", "x-1");
const ACUTE: Who = Who("acute", "liaison-nurse", "ln-1");
const TOOL: Who = Who("link", "ai-tool", "scribe-1");

#[expect(clippy::unnecessary_wraps, reason = "as fields take it")]
fn at(number: u128, day: &str) -> Option<v1::CommandContext> {
    Some(context(&id(1), &id(number), &format!("2026-05-{day}T10:00:00+09:00")))
}

fn on_behalf_of(facility: &str, context: Option<v1::CommandContext>) -> Option<v1::CommandContext> {
    context.map(|context| v1::CommandContext { on_behalf_of: facility.to_owned(), ..context })
}

fn admit(number: u128, stay: u128) -> v1::AdmitRequest {
    let place = Some(place("acute", "4E"));
    let event = v1::Admitted { encounter_id: id(stay), place, ..v1::Admitted::default() };
    v1::AdmitRequest { context: at(number, "01"), event: Some(event) }
}

fn discharge(number: u128, stay: u128) -> v1::DischargeRequest {
    let event = v1::Discharged { encounter_id: id(stay), ..v1::Discharged::default() };
    v1::DischargeRequest { context: at(number, "09"), event: Some(event) }
}

#[tokio::test]
async fn a_stay_is_told_of_by_its_facility_or_on_its_behalf() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    register(&channel, &id(1), "00123").await;
    let mut desk = desk(&channel);
    let admitted = desk.admit(signed(ACUTE, admit(2, 0xa))).await.unwrap().into_inner();
    let screening = || v1::RecordScreeningRequest {
        context: at(3, "02"),
        event: Some(v1::ScreeningCompleted {
            encounter_id: id(0xa),
            ..v1::ScreeningCompleted::default()
        }),
    };
    let cancel = v1::CancelAdmissionRequest {
        context: at(4, "02"),
        event: Some(v1::EncounterCancellation {
            encounter_id: id(0xa),
            cancelled_event_id: admitted.event_id,
            reason: String::new(),
        }),
    };
    for refused in [
        desk.discharge(signed(STRANGER, discharge(5, 0xa))).await,
        desk.cancel_admission(signed(STRANGER, cancel)).await,
        desk.record_screening(signed(STRANGER, screening())).await,
    ] {
        let refused = refused.unwrap_err();
        assert_eq!(reason(&refused), "NOT_THE_FACILITY");
        assert!(refused.message().contains("on_behalf_of"), "{}", refused.message());
    }
    desk.record_screening(signed(ACUTE, screening())).await.unwrap();
    let by_proxy =
        v1::DischargeRequest { context: on_behalf_of("acute", at(5, "09")), ..discharge(5, 0xa) };
    desk.discharge(signed(STRANGER, by_proxy)).await.unwrap();
    // Of a stay that somebody entered for a hospital without the system, others tell, too.
    let by_proxy =
        v1::AdmitRequest { context: on_behalf_of("acute", at(6, "10")), ..admit(6, 0xb) };
    desk.admit(signed(STRANGER, by_proxy)).await.unwrap();
    let home = v1::DischargeRequest { context: at(7, "12"), ..discharge(7, 0xb) };
    desk.discharge(signed(ACUTE, home)).await.unwrap();
}

#[tokio::test]
async fn a_tool_of_ai_drafts_and_says_nothing_else() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    register(&channel, &id(1), "00123").await;
    let before = sentences(&channel, &id(1)).await;
    let (mut desk, mut home) = (desk(&channel), home(&channel));
    let (mut team, mut link) = (team(&channel), link(&channel));
    let death = v1::RecordDeathRequest {
        context: at(2, "02"),
        event: Some(v1::PatientDeceased { deceased_at: "2026-05-02".into(), ..Default::default() }),
    };
    let wish = v1::RecordAcpPreferenceRequest {
        context: at(3, "02"),
        event: Some(v1::AcpPreferenceRecorded {
            preference_id: id(0xac),
            scope: code("general").into_iter().collect(),
            preference: "延命は希望しない".into(),
            ..v1::AcpPreferenceRecorded::default()
        }),
    };
    let order = v1::IssueOrderRequest {
        context: at(4, "02"),
        event: Some(v1::NursingOrder {
            order_id: id(0x0d),
            kind: code("nursing"),
            valid_from_on: "2026-05-02".into(),
            valid_to_on: "2026-05-31".into(),
            ..v1::NursingOrder::default()
        }),
    };
    let open = v1::OpenCaseRequest {
        context: at(5, "02"),
        event: Some(v1::CaseOpened {
            case_id: id(0xca),
            link_worker: Some(crate::stories::person(LINK_WORKER)),
            ..v1::CaseOpened::default()
        }),
    };
    for refused in [
        desk.record_death(signed(TOOL, death)).await,
        team.record_acp_preference(signed(TOOL, wish)).await,
        home.issue_order(signed(TOOL, order)).await,
        link.open_case(signed(TOOL, open)).await,
    ] {
        let refused = refused.unwrap_err();
        assert_eq!(reason(&refused), "PERSON_NEEDED", "{refused}");
        assert!(refused.message().contains("person"), "{}", refused.message());
    }
    // Nor in the name of a person, through the bus's own door.
    let published = v1::Event {
        event_id: id(6),
        r#type: "care.home.visit_completed.v1".into(),
        patient_id: id(1),
        occurred_at: "2026-05-02T10:00:00+09:00".into(),
        actor: Some(v1::Actor {
            organisation: "link".into(),
            role: "link-worker".into(),
            person: "lw-1".into(),
            ..v1::Actor::default()
        }),
        payload: v1::VisitCompleted { kind: 1, ..Default::default() }.encode_to_vec(),
        ..v1::Event::default()
    };
    let request = v1::PublishRequest { events: vec![published], expected_version: None };
    let refused = CareBusClient::new(channel.clone()).publish(signed(TOOL, request)).await;
    assert_eq!(reason(&refused.unwrap_err()), "PERSON_NEEDED");
    assert_eq!(sentences(&channel, &id(1)).await, before);
    let draft = v1::DraftInterviewRequest {
        context: at(7, "02"),
        event: Some(v1::InterviewRecord { interview_id: id(0x1e), ..Default::default() }),
    };
    link.draft_interview(signed(TOOL, draft)).await.unwrap();
}
