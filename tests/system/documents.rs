//! Documents by reference: one id, one document, and each receiver for itself. And who asks to be
//! called is seen until somebody does.

use tsunagi_proto::v1;
use tsunagi_proto::v1::boards_client::BoardsClient;

use crate::desks::register;
use crate::stories::{DOCTOR, LIAISON, LINK_WORKER, NURSE, Who, code, link, person, signed, team};
use crate::support::{Server, context, folder, id, reason};

const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

#[expect(clippy::unnecessary_wraps, reason = "as fields take it")]
fn at(number: u128, day: &str) -> Option<v1::CommandContext> {
    Some(context(&id(1), &id(number), &format!("2026-05-{day}T10:00:00+09:00")))
}

#[expect(clippy::unnecessary_wraps, reason = "as fields take it")]
fn document(sha256: &str) -> Option<v1::DocumentReference> {
    Some(v1::DocumentReference {
        document_id: id(0xd0c),
        kind: code("18842-5"),
        sha256: sha256.to_owned(),
        ..v1::DocumentReference::default()
    })
}

#[tokio::test]
async fn under_one_id_there_is_one_document_and_everybody_files_it() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    register(&channel, &id(1), "00123").await;
    let mut team = team(&channel);
    let publish = v1::PublishDocumentRequest { context: at(2, "01"), event: document(HASH) };
    team.publish_document(signed(LIAISON, publish)).await.unwrap();
    let receive = |number, day: &str, who: Who, sha256: &str| {
        let event = document(sha256);
        signed(who, v1::ReceiveDocumentRequest { context: at(number, day), event })
    };
    let file = |number, day: &str, who: Who| {
        let event = document(HASH);
        signed(who, v1::FileDocumentRequest { context: at(number, day), event })
    };
    let other = HASH.replace('9', "8");
    let refused = team.receive_document(receive(3, "02", NURSE, &other)).await.unwrap_err();
    assert_eq!(reason(&refused), "DOCUMENT_DIFFERS");
    team.receive_document(receive(3, "02", NURSE, &HASH.to_uppercase())).await.unwrap();
    team.file_document(file(4, "03", NURSE)).await.unwrap();
    team.receive_document(receive(5, "04", DOCTOR, HASH)).await.unwrap();
    team.file_document(file(6, "05", DOCTOR)).await.unwrap();
    let supersede = |by: u128| v1::SupersedeDocumentRequest {
        context: at(7, "06"),
        event: Some(v1::DocumentEnded {
            document_id: id(0xd0c),
            superseded_by_document_id: id(by),
            reason: String::new(),
        }),
    };
    let refused = team.supersede_document(signed(LIAISON, supersede(0xd0c))).await.unwrap_err();
    assert_eq!(reason(&refused), "FIELDS_INVALID");
    team.supersede_document(signed(LIAISON, supersede(0xd0d))).await.unwrap();
}

#[tokio::test]
async fn who_asks_to_be_called_is_on_the_board_until_somebody_does() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    register(&channel, &id(1), "00123").await;
    let mut link = link(&channel);
    let ask = v1::RequestSelfcheckContactRequest {
        context: at(2, "01"),
        event: Some(v1::SelfcheckContactRequested {
            receiver: crate::stories::organisation("link"),
            ..v1::SelfcheckContactRequested::default()
        }),
    };
    let app = Who("self-check", "system", "app-1");
    link.request_selfcheck_contact(signed(app, ask)).await.unwrap();
    let board = || async {
        let mut boards = BoardsClient::new(channel.clone());
        let request = v1::ReadCaseloadBoardRequest::default();
        let board = boards.read_caseload_board(signed(LINK_WORKER, request)).await.unwrap();
        board.into_inner().contacts_asked
    };
    let asked = board().await;
    assert_eq!(asked[0].asked.as_ref().unwrap().asked_at, "2026-05-01T10:00:00+09:00");
    let open = v1::OpenCaseRequest {
        context: at(3, "02"),
        event: Some(v1::CaseOpened {
            case_id: id(0xca),
            link_worker: Some(person(LINK_WORKER)),
            ..v1::CaseOpened::default()
        }),
    };
    link.open_case(signed(LINK_WORKER, open)).await.unwrap();
    assert!(board().await.is_empty());
}
