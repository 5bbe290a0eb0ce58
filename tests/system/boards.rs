//! Boards: what changed since somebody looked, after a restart, and made again from the log.

use prost::Message as _;
use tsunagi_proto::v1;
use tsunagi_proto::v1::boards_client::BoardsClient;
use tsunagi_proto::v1::care_bus_client::CareBusClient;
use tsunagi_proto::v1::link_worker_client::LinkWorkerClient;
use tsunagi_proto::v1::timeline_client::TimelineClient;
use tsunagi_proto::v1::watch_board_response::Frame;

use crate::desks::{place, register};
use crate::import::summary;
use crate::stories::{
    CARE_MANAGER, LIAISON, LINK_WORKER, NURSE, Story, Who, deed, organisation, person, signed,
};
use crate::support::{Server, context, folder, id, liaison, reason, run, stdout, timeline};

async fn send(story: &Story, server: &Server) {
    let channel = server.channel().await;
    for deed in story.parts.iter().flatten() {
        (deed.send)(&channel).await.unwrap_or_else(|status| panic!("{}: {status}", deed.rpc));
    }
}

async fn team_board(server: &Server, since: &str) -> v1::ReadTeamBoardResponse {
    let mut boards = BoardsClient::new(server.channel().await);
    let since_cursor = since.to_owned();
    let request = v1::ReadTeamBoardRequest { since_cursor, ..Default::default() };
    boards.read_team_board(signed(CARE_MANAGER, request)).await.unwrap().into_inner()
}

async fn liaison_board(server: &Server) -> v1::ReadLiaisonBoardResponse {
    let mut boards = BoardsClient::new(server.channel().await);
    let on_day = "2026-05-10".to_owned();
    let request = v1::ReadLiaisonBoardRequest { on_day, ..Default::default() };
    boards.read_liaison_board(signed(LIAISON, request)).await.unwrap().into_inner()
}

fn admitted() -> Story {
    let mut story = Story::new();
    deed!(story, LIAISON, "05-02T09:00", team.declare_care_manager(DeclareCareManagerRequest {
        v1::PrimaryCareManagerDeclared {
            care_manager: Some(person(CARE_MANAGER)),
            ..v1::PrimaryCareManagerDeclared::default()
        }
    }));
    deed!(story, LIAISON, "05-03T09:00", desk.admit(AdmitRequest {
        v1::Admitted {
            encounter_id: id(0xa),
            place: Some(place("acute", "4E")),
            ..v1::Admitted::default()
        }
    }));
    story
}

#[tokio::test]
async fn a_care_manager_sees_what_changed_since_they_last_looked() {
    let data = folder();
    let server = Server::start(data.path());
    register(&server.channel().await, &id(1), "00123").await;
    let mut story = admitted();
    send(&story, &server).await;
    let first = team_board(&server, "").await;
    assert_eq!(first.patients.len(), 1);
    assert!(first.patients[0].changes.is_empty());
    assert!(team_board(&server, &first.cursor).await.patients[0].changes.is_empty());
    story.parts.clear();
    story.then();
    deed!(story, NURSE, "05-04T10:00", home.record_visit(RecordVisitRequest {
        v1::VisitCompleted { kind: v1::VisitKind::Nursing.into(), ..Default::default() }
    }));
    send(&story, &server).await;
    let second = team_board(&server, &first.cursor).await;
    let changes = &second.patients[0].changes;
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].text.as_ref().unwrap().en, "nursing visit");
    assert!(team_board(&server, &second.cursor).await.patients[0].changes.is_empty());
    let path = data.path().to_str().unwrap();
    let shown = stdout(&run(&[
        "board",
        "team",
        "cm-office",
        "--since",
        &first.cursor,
        "--lang",
        "en",
        "--data",
        path,
    ]));
    assert!(shown.contains("2026-05-04 10:00  nursing visit"), "{shown}");
    let shown = stdout(&run(&["board", "liaison", "acute", "--lang", "en", "--data", path]));
    assert!(shown.contains("in hospital (1)") && shown.contains("acute 4E"), "{shown}");
    let codes = stdout(&run(&["codes", "jp.care-level"]));
    assert!(codes.contains("care-3  要介護3"), "{codes}");
}

#[tokio::test]
async fn what_a_system_sent_and_nobody_reads_is_no_change() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    register(&channel, &id(1), "00123").await;
    let mut story = admitted();
    send(&story, &server).await;
    let first = team_board(&server, "").await;
    let watch = v1::WatchTimelineRequest { patient_id: id(1), ..Default::default() };
    let mut timeline = TimelineClient::new(channel.clone());
    let mut frames = timeline.watch_timeline(liaison(watch)).await.unwrap().into_inner();
    let received = |json: &str| {
        let element = v1::ReceivedElement {
            name: "maritalStatus".to_owned(),
            json: json.to_owned(),
            ..v1::ReceivedElement::default()
        };
        let received = v1::ResourceReceived {
            resource_type: "Patient".to_owned(),
            resource_id: id(1),
            sent_as: "Patient/7".to_owned(),
            elements: vec![element],
            ..v1::ResourceReceived::default()
        };
        let event = v1::Event {
            event_id: id(0x77),
            r#type: "care.record.resource_received.v1".to_owned(),
            patient_id: id(1),
            occurred_at: "2026-05-03T10:00:00+09:00".to_owned(),
            payload: received.encode_to_vec(),
            ..v1::Event::default()
        };
        liaison(v1::PublishRequest { events: vec![event], expected_version: None })
    };
    let mut bus = CareBusClient::new(channel.clone());
    for wrong in [r#"{"text":"\u0031234 5678 9018"}"#, "{", "[1] 2", "", " "] {
        let refused = bus.publish(received(wrong)).await.unwrap_err();
        assert_eq!(reason(&refused), "FIELDS_INVALID", "{wrong}");
    }
    bus.publish(received(r#"{"text":"既婚"}"#)).await.unwrap();
    assert_eq!(team_board(&server, &first.cursor).await.patients, first.patients);
    story.parts.clear();
    story.then();
    deed!(story, NURSE, "05-04T10:00", home.record_visit(RecordVisitRequest {
        v1::VisitCompleted { kind: v1::VisitKind::Nursing.into(), ..Default::default() }
    }));
    send(&story, &server).await;
    let mut told = Vec::new();
    while told.last().is_none_or(|last: &String| last != "care.home.visit_completed.v1") {
        let frame = frames.message().await.unwrap().unwrap().frame;
        if let Some(v1::watch_timeline_response::Frame::Entry(entry)) = frame {
            told.push(entry.r#type);
        }
    }
    assert_eq!(told.len(), 4, "{told:?}");
}

#[tokio::test]
async fn boards_survive_a_restart_and_are_made_again_from_the_log() {
    let data = folder();
    let server = Server::start(data.path());
    register(&server.channel().await, &id(1), "00123").await;
    send(&admitted(), &server).await;
    let before = (team_board(&server, "").await, liaison_board(&server).await);
    assert_eq!(before.1.admitted.len(), 1);
    server.kill();
    let server = Server::start(data.path());
    assert_eq!((team_board(&server, "").await, liaison_board(&server).await), before);
    server.kill();
    std::fs::remove_dir_all(data.path().join("rows-7.sled")).unwrap();
    let server = Server::start(data.path());
    assert_eq!((team_board(&server, "").await, liaison_board(&server).await), before);
}

#[tokio::test]
async fn who_leaves_the_hospital_leaves_its_board() {
    let data = folder();
    let server = Server::start(data.path());
    register(&server.channel().await, &id(1), "00123").await;
    let mut story = admitted();
    deed!(story, LIAISON, "05-09T10:00", desk.discharge(DischargeRequest {
        v1::Discharged { encounter_id: id(0xa), ..v1::Discharged::default() }
    }));
    send(&story, &server).await;
    assert!(liaison_board(&server).await.admitted.is_empty());
    assert_eq!(team_board(&server, "").await.patients.len(), 1, "still on the team");
}

/// What comes after `admitted`.
fn discharged() -> Story {
    let mut story = admitted();
    story.parts = vec![Vec::new()];
    deed!(story, LIAISON, "05-09T10:00", desk.discharge(DischargeRequest {
        v1::Discharged { encounter_id: id(0xa), ..v1::Discharged::default() }
    }));
    story
}

#[tokio::test]
async fn boards_and_lists_are_read_as_they_were_known() {
    let data = folder();
    let server = Server::start_with(data.path(), &["--read-back-patients", "1"]);
    let channel = server.channel().await;
    register(&channel, &id(1), "00123").await;
    send(&admitted(), &server).await;
    let then = timeline(&channel, &id(1)).await.pop().unwrap().recorded_at;
    send(&discharged(), &server).await;
    assert!(liaison_board(&server).await.admitted.is_empty());
    let mut boards = BoardsClient::new(channel.clone());
    let as_known = v1::ReadLiaisonBoardRequest { as_known_at: then, ..Default::default() };
    let asked = || signed(LIAISON, as_known.clone());
    let board = boards.read_liaison_board(asked()).await.unwrap().into_inner();
    assert_eq!(board.admitted.len(), 1, "though the patient has left since");
    let first = team_board(&server, "").await.cursor;
    let team = v1::ReadTeamBoardRequest { as_known_at: then, ..Default::default() };
    let team = boards.read_team_board(signed(CARE_MANAGER, team)).await.unwrap().into_inner();
    assert_eq!(team.patients[0].state(), v1::PatientState::InHospital);
    let later =
        v1::ReadTeamBoardRequest { since_cursor: first, as_known_at: then, ..Default::default() };
    let later = boards.read_team_board(signed(CARE_MANAGER, later)).await.unwrap().into_inner();
    assert!(later.patients[0].changes.is_empty());

    // The list: one was registered later, and looked at with the others, one a page.
    register(&channel, &id(2), "00456").await;
    let mut timelines = TimelineClient::new(channel.clone());
    let mut list = v1::ListPatientsRequest { as_known_at: then, ..Default::default() };
    let (mut listed, mut pages) = (Vec::new(), 0);
    loop {
        let page = timelines.list_patients(liaison(list.clone())).await.unwrap().into_inner();
        listed.extend(page.patients.iter().map(|of| (of.patient_id.clone(), of.state())));
        pages += 1;
        if page.next_page_token.is_empty() {
            break;
        }
        list.page_token = page.next_page_token;
    }
    assert_eq!((listed, pages), (vec![(id(1), v1::PatientState::InHospital)], 2));

    // Two patients are more than may be read back at once here: the second was registered by the
    // same hospital.
    let many = boards.read_liaison_board(asked()).await.unwrap_err();
    assert_eq!(reason(&many), "TOO_MANY_TO_READ_BACK");
}

#[tokio::test]
async fn whoever_watches_a_board_is_told_when_to_read_it_again() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    register(&channel, &id(1), "00123").await;
    let before = liaison_board(&server).await.cursor;
    let mut boards = BoardsClient::new(channel.clone());
    let watch = |organisation: &str| {
        let organisation_id = organisation.to_owned();
        signed(LIAISON, v1::WatchBoardRequest { organisation_id, cursor: before.clone() })
    };
    let mut ours = boards.watch_board(watch("")).await.unwrap().into_inner();
    let mut others = boards.watch_board(watch("elsewhere")).await.unwrap().into_inner();
    for frames in [&mut ours, &mut others] {
        let first = frames.message().await.unwrap().unwrap();
        assert_eq!(first.frame, Some(Frame::CaughtUp(v1::CaughtUp {})));
    }
    for (story, admitted) in [(admitted(), 1), (discharged(), 0)] {
        send(&story, &server).await;
        // Several things may be told of together, or one after the other.
        loop {
            let told = ours.message().await.unwrap().unwrap();
            let patient_ids = vec![id(1)];
            assert_eq!(told.frame, Some(Frame::Changed(v1::BoardChanged { patient_ids })));
            let at_least_cursor = told.cursor;
            let request = v1::ReadLiaisonBoardRequest { at_least_cursor, ..Default::default() };
            let board = boards.read_liaison_board(signed(LIAISON, request)).await.unwrap();
            if board.into_inner().admitted.len() == admitted {
                break;
            }
        }
    }
    drop(ours);
    // Nobody elsewhere is told of it.
    server.terminate().await;
    let end = others.message().await.unwrap_err();
    assert_eq!(end.code(), tonic::Code::Unavailable);
}

/// What a board shows in the terminal.
fn shown(data: &std::path::Path, more: &[&str]) -> String {
    let all = [&["board"], more, &["--lang", "en", "--data", data.to_str().unwrap()]].concat();
    stdout(&run(&all))
}

#[tokio::test]
async fn a_board_in_the_terminal_says_who_has_to_act_and_by_when() {
    let data = folder();
    let server = Server::start(data.path());
    register(&server.channel().await, &id(1), "00123").await;
    let mut story = admitted();
    deed!(story, LIAISON, "05-04T09:00", desk.request_transfer(RequestTransferRequest {
        v1::TransferRequested {
            transfer_request_id: id(0xb1),
            encounter_id: id(0xa),
            facility: organisation("rehab"),
            ..v1::TransferRequested::default()
        }
    }));
    deed!(story, LIAISON, "05-04T10:00", desk.plan_discharge(PlanDischargeRequest {
        v1::DischargePlanned {
            encounter_id: id(0xa),
            planned_at: "2026-05-20".into(),
            ..v1::DischargePlanned::default()
        }
    }));
    deed!(story, NURSE, "05-05T09:00", team.ask_question(AskQuestionRequest {
        v1::QuestionAsked {
            question_id: id(0x9),
            question: "入浴はいつからですか。".to_owned(),
            owner_role: "home-doctor".to_owned(),
            answer_by_on: "2026-05-07".to_owned(),
            ..v1::QuestionAsked::default()
        }
    }));
    deed!(story, NURSE, "05-05T10:00", team.raise_alert(RaiseAlertRequest {
        v1::AlertRaised {
            alert_id: id(0x8),
            severity: v1::Severity::Urgent.into(),
            what: "動きがない".to_owned(),
            owner_role: "visiting-nurse".to_owned(),
            next_action: "電話する".to_owned(),
            ..v1::AlertRaised::default()
        }
    }));
    deed!(story, LINK_WORKER, "05-06T10:00", link.open_case(OpenCaseRequest {
        v1::CaseOpened {
            case_id: id(0xca),
            link_worker: Some(person(LINK_WORKER)),
            ..v1::CaseOpened::default()
        }
    }));
    send(&story, &server).await;
    let team = shown(data.path(), &["team", "cm-office"]);
    for part in [
        "in hospital  acute 4E  discharge planned for 2026-05-20\n",
        "? question  2026-05-05 09:00  → home doctor  by 2026-05-07\n",
        "! urgent  2026-05-05 10:00  → visiting nurse  電話する\n",
    ] {
        assert!(team.contains(part), "{part}: {team}");
    }
    let asked = shown(data.path(), &["liaison", "acute"]);
    assert!(asked.contains("acute → rehab  ") && !asked.contains("ours to answer"), "{asked}");
    let asked = shown(data.path(), &["liaison", "rehab"]);
    assert!(asked.contains("acute → rehab  ") && asked.contains("ours to answer"), "{asked}");
    let cases = shown(data.path(), &["caseload", "link", "--on", "2026-06-20"]);
    assert!(cases.contains("  since 2026-05-06 10:00  due  silent\n"), "{cases}");
    // The texts themselves are for those who read the timeline.
    let id = id(1);
    let told = ["timeline", &id, "--details", "--data", data.path().to_str().unwrap()];
    let told = stdout(&run(&told));
    assert!(told.contains("質問 「入浴はいつからですか。」"), "{told}");
}

/// Sixty cases of two link workers: every tenth was never reached, the others once, on 10 June.
async fn open_sixty_cases(server: &Server) {
    let channel = server.channel().await;
    let mut link = LinkWorkerClient::new(channel.clone());
    for number in 0..60_u128 {
        let patient = id(0x100 + number);
        register(&channel, &patient, &format!("{number:05}")).await;
        let worker = if number % 2 == 0 { "lw-1" } else { "lw-2" };
        let opened = v1::OpenCaseRequest {
            context: Some(context(&patient, &id(0x200 + number), "2026-05-01T10:00:00+09:00")),
            event: Some(v1::CaseOpened {
                case_id: id(0x300 + number),
                link_worker: Some(person(Who("link", "link-worker", worker))),
                ..v1::CaseOpened::default()
            }),
        };
        link.open_case(signed(LINK_WORKER, opened)).await.unwrap();
        if number % 10 == 0 {
            continue;
        }
        let held = v1::RecordContactRequest {
            context: Some(context(&patient, &id(0x400 + number), "2026-06-10T10:00:00+09:00")),
            event: Some(v1::ContactHeld {
                case_id: id(0x300 + number),
                means: v1::Means::Telephone.into(),
                next_contact_on: format!("2026-06-{:02}", 11 + number % 19),
                ..v1::ContactHeld::default()
            }),
        };
        link.record_contact(signed(LINK_WORKER, held)).await.unwrap();
    }
}

async fn caseload(server: &Server, person: &str) -> v1::ReadCaseloadBoardResponse {
    let mut boards = BoardsClient::new(server.channel().await);
    let request = v1::ReadCaseloadBoardRequest {
        person: person.to_owned(),
        on_day: "2026-06-20".to_owned(),
        ..v1::ReadCaseloadBoardRequest::default()
    };
    boards.read_caseload_board(signed(LINK_WORKER, request)).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_link_worker_s_sixty_cases_stand_in_the_order_in_which_they_are_due() {
    let data = folder();
    let server = Server::start(data.path());
    open_sixty_cases(&server).await;
    let board = caseload(&server, "").await;
    assert_eq!((board.cases.len(), board.is_cut), (60, false));
    let due: Vec<&str> =
        board.cases.iter().map(|row| row.case.as_ref().unwrap().next_contact_on.as_str()).collect();
    assert!(due.is_sorted() && due[..6] == [""; 6] && !due[6].is_empty(), "{due:?}");
    for (row, next) in board.cases.iter().zip(due) {
        assert_eq!(row.is_due, next <= "2026-06-20", "{next}");
        assert_eq!(row.is_silent, next.is_empty(), "not reached for more than 28 days");
    }
    let own = caseload(&server, "lw-2").await;
    assert_eq!(own.cases.len(), 30);
    assert!(own.cases.iter().all(|row| !row.is_silent), "every tenth is the other's");
    server.kill();
    let server = Server::start(data.path());
    assert_eq!((caseload(&server, "").await, caseload(&server, "lw-2").await), (board, own));
}

#[tokio::test]
async fn an_admission_that_was_cancelled_leaves_neither_requests_nor_a_team() {
    let data = folder();
    let server = Server::start(data.path());
    register(&server.channel().await, &id(1), "00123").await;
    let mut story = Story::new();
    let admission = deed!(story, LIAISON, "05-03T09:00", desk.admit(AdmitRequest {
        v1::Admitted {
            encounter_id: id(0xa),
            place: Some(place("acute", "4E")),
            ..v1::Admitted::default()
        }
    }));
    deed!(story, LIAISON, "05-03T10:00", team.join_team(JoinTeamRequest {
        v1::TeamMemberJoined {
            members: vec![person(NURSE)],
            encounter_id: id(0xa),
        }
    }));
    deed!(story, LIAISON, "05-04T09:00", desk.request_transfer(RequestTransferRequest {
        v1::TransferRequested {
            transfer_request_id: id(0xb),
            encounter_id: id(0xa),
            facility: Some(v1::Organisation { id: "rehab".into(), name: String::new() }),
            ..v1::TransferRequested::default()
        }
    }));
    send(&story, &server).await;
    let channel = server.channel().await;
    let before = summary(&channel, &id(1)).await;
    assert_eq!((before.team.len(), before.transfer_requests.len()), (1, 1));
    assert_eq!(liaison_board(&server).await.transfers_waiting.len(), 1);
    story.parts = vec![Vec::new()];
    deed!(story, LIAISON, "05-05T09:00", desk.cancel_admission(CancelAdmissionRequest {
        v1::EncounterCancellation {
            encounter_id: id(0xa),
            cancelled_event_id: admission,
            ..v1::EncounterCancellation::default()
        }
    }));
    send(&story, &server).await;
    let after = summary(&channel, &id(1)).await;
    assert_eq!((after.team.len(), after.transfer_requests.len()), (0, 0));
    assert!(liaison_board(&server).await.transfers_waiting.is_empty());
}
