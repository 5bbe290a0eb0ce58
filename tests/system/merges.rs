//! Records of one person: merged and taken apart under `kill -9`.

use std::collections::BTreeSet;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tsunagi_proto::v1;
use tsunagi_proto::v1::boards_client::BoardsClient;
use tsunagi_proto::v1::care_team_client::CareTeamClient;
use tsunagi_proto::v1::discharge_desk_client::DischargeDeskClient;
use tsunagi_proto::v1::timeline_client::TimelineClient;

use crate::desks::{place, register};
use crate::shards::Shards;
use crate::support::{Server, by, context, folder, id, liaison, reason};

const PAIRS: u128 = 12;
const ROUNDS: u128 = 8;
const SENDERS: u128 = 4;

/// The records of a pair: the one that is to survive, and the other, who lies in a hospital.
fn pair(number: u128) -> (String, String) {
    (id(0x1000 + 2 * number), id(0x1001 + 2 * number))
}

/// What the second record's hospital is called.
fn hospital(number: u128) -> String {
    format!("hospital-{number}")
}

async fn prepare(channel: &Channel, number: u128) {
    let (survivor, other) = pair(number);
    register(channel, &survivor, &format!("a{number}")).await;
    register(channel, &other, &format!("b{number}")).await;
    let admitted = v1::Admitted {
        encounter_id: id(0x9_0000 + number),
        place: Some(place(&hospital(number), "4E")),
        ..v1::Admitted::default()
    };
    let request = v1::AdmitRequest {
        context: Some(context(&other, &id(0x8_0000 + number), "2026-05-01T09:00:00+09:00")),
        event: Some(admitted),
    };
    let mut desk = DischargeDeskClient::new(channel.clone());
    desk.admit(by(&hospital(number), "liaison-nurse", request)).await.unwrap();
}

/// Merges a pair; every second one is taken apart again. False if the server is gone.
async fn merge(channel: &Channel, number: u128) -> bool {
    let (survivor, other) = pair(number);
    let mut team = CareTeamClient::new(channel.clone());
    let context = |event: u128, at: &str| Some(context(&survivor, &id(event + number), at));
    let merged = v1::PatientsMerged { retired_patient_id: other.clone(), ..Default::default() };
    let request = v1::MergePatientsRequest {
        context: context(0x7_0000, "2026-05-02T09:00:00+09:00"),
        event: Some(merged),
    };
    if team.merge_patients(liaison(request)).await.is_err() {
        return false;
    }
    if number.is_multiple_of(2) {
        return true;
    }
    let unmerged = v1::PatientsUnmerged { retired_patient_id: other, ..Default::default() };
    let request = v1::UnmergePatientsRequest {
        context: context(0x6_0000, "2026-05-03T09:00:00+09:00"),
        event: Some(unmerged),
    };
    team.unmerge_patients(liaison(request)).await.is_ok()
}

/// Merges a round's pairs until the server is killed. Gives those that were acknowledged.
async fn merge_and_kill(server: Server, channel: &Channel, round: u128) -> BTreeSet<u128> {
    let (answered, mut told) = mpsc::unbounded_channel();
    let mut senders = JoinSet::new();
    for of in 0..SENDERS {
        let (channel, answered) = (channel.clone(), answered.clone());
        senders.spawn(async move {
            for number in (round * PAIRS..(round + 1) * PAIRS).filter(|n| n % SENDERS == of) {
                if !merge(&channel, number).await {
                    return;
                }
                answered.send(number).unwrap();
            }
        });
    }
    drop(answered);
    let mut acknowledged = BTreeSet::new();
    for _ in 0..=round {
        acknowledged.extend(told.recv().await);
    }
    server.kill();
    senders.join_all().await;
    while let Some(number) = told.recv().await {
        acknowledged.insert(number);
    }
    acknowledged
}

async fn read(channel: &Channel, patient_id: &str) -> v1::ReadTimelineResponse {
    let mut reader = TimelineClient::new(channel.clone());
    let request = v1::ReadTimelineRequest {
        patient_id: patient_id.to_owned(),
        ..v1::ReadTimelineRequest::default()
    };
    reader.read_timeline(liaison(request)).await.unwrap().into_inner()
}

/// Whether a pair is merged, as both say: awaited. With it, a cursor that has seen it.
async fn is_merged(channel: &Channel, number: u128) -> (bool, String) {
    let (survivor, other) = pair(number);
    loop {
        let (of_survivor, of_other) = (read(channel, &survivor).await, read(channel, &other).await);
        let has = of_survivor.patient.unwrap().merged_patient_ids.contains(&other);
        let is_retired = of_other.patient.unwrap().merged_into_patient_id == survivor;
        if has == is_retired {
            return (has, of_other.cursor);
        }
        tokio::task::yield_now().await;
    }
}

/// The patients of a pair's hospital.
async fn on_the_board(channel: &Channel, number: u128, cursor: String) -> Vec<String> {
    let request = v1::ReadLiaisonBoardRequest {
        facility_id: hospital(number),
        on_day: "2026-05-10".to_owned(),
        at_least_cursor: cursor,
        ..v1::ReadLiaisonBoardRequest::default()
    };
    let mut boards = BoardsClient::new(channel.clone());
    let board = boards.read_liaison_board(liaison(request)).await.unwrap().into_inner();
    board.admitted.into_iter().map(|row| row.patient.unwrap().patient_id).collect()
}

#[tokio::test]
async fn a_patient_whose_merge_was_killed_half_way_is_still_on_a_board() {
    let data = folder();
    for round in 0..ROUNDS {
        let server = Server::start(data.path());
        let channel = server.channel().await;
        for number in round * PAIRS..(round + 1) * PAIRS {
            prepare(&channel, number).await;
        }
        let acknowledged = merge_and_kill(server, &channel, round).await;
        let server = Server::start(data.path());
        let channel = server.channel().await;
        for number in round * PAIRS..(round + 1) * PAIRS {
            // Settled in the background, without anybody asking for it.
            let (merged, cursor) = is_merged(&channel, number).await;
            if acknowledged.contains(&number) {
                assert_eq!(merged, number.is_multiple_of(2), "pair {number}");
            }
            let (survivor, other) = pair(number);
            let at = if merged { survivor } else { other };
            assert_eq!(on_the_board(&channel, number, cursor).await, [at], "pair {number}");
            // Sent again, as by somebody who was not told what became of it.
            assert!(merge(&channel, number).await);
            assert_eq!(is_merged(&channel, number).await.0, number.is_multiple_of(2));
        }
    }
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let (survivor, other) = pair(0);
    let event = v1::PatientsMerged { retired_patient_id: other, ..Default::default() };
    let again = v1::MergePatientsRequest {
        context: Some(context(&survivor, &id(0x5_0000), "2026-05-04")),
        event: Some(event),
    };
    let refused = CareTeamClient::new(channel).merge_patients(liaison(again)).await.unwrap_err();
    assert_eq!(reason(&refused), "ALREADY_MERGED");
}

/// Two processes merge the same pairs in two shards at once; one is killed half way.
#[tokio::test]
async fn what_several_processes_merge_at_once_is_merged_once_though_one_is_killed() {
    let shards = Shards::new().await;
    let servers = [shards.start(0), shards.start(1)];
    let channel = servers[0].channel().await;
    for number in 0..PAIRS {
        prepare(&channel, number).await;
    }
    let [killed, other] = [shards.desk("home-care"), shards.desk("home-care")];
    let of_other = other.channel().await;
    let by_other = async {
        for number in 0..PAIRS {
            // It may meet what the killed one has half done.
            while !merge(&of_other, number).await {
                tokio::task::yield_now().await;
            }
        }
    };
    let at_killed = killed.channel().await;
    let (acknowledged, ()) = tokio::join!(merge_and_kill(killed, &at_killed, 0), by_other);
    assert!(!acknowledged.is_empty());
    for number in 0..PAIRS {
        let (merged, cursor) = is_merged(&channel, number).await;
        assert_eq!(merged, number.is_multiple_of(2), "pair {number}");
        let (survivor, other) = pair(number);
        let at = if merged { survivor } else { other };
        assert_eq!(on_the_board(&channel, number, cursor).await, [at], "pair {number}");
    }
}
