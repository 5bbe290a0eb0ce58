//! Boards: what changed since somebody looked, after a restart, and made again from the log.

use tsunagi_proto::v1;
use tsunagi_proto::v1::boards_client::BoardsClient;

use crate::desks::{place, register};
use crate::stories::{CARE_MANAGER, LIAISON, NURSE, Story, deed, person, signed};
use crate::support::{Server, folder, id, run, stdout};

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
    std::fs::remove_dir_all(data.path().join("rows-3.sled")).unwrap();
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
