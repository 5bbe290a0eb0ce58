//! Events that were told of the wrong patient: what was told while two were merged who are not one
//! person, and whatever else.

use std::collections::BTreeSet;

use tokio::sync::mpsc;
use tonic::Status;
use tonic::transport::Channel;
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_team_client::CareTeamClient;
use tsunagi_proto::v1::discharge_desk_client::DischargeDeskClient;
use tsunagi_proto::v1::home_care_client::HomeCareClient;
use tsunagi_proto::v1::timeline_client::TimelineClient;

use crate::desks::{place, register};
use crate::support::{Server, by, context, folder, id, liaison, reason, run, stdout, timeline};

/// The two patients.
const ONE: u128 = 1;
const OTHER: u128 = 2;
/// What is told while they are merged.
const ADMITTED: u128 = 0x11;
const DISCHARGED: u128 = 0x12;
const VISITED: u128 = 0x13;
const MERGED: u128 = 0x21;
const UNMERGED: u128 = 0x22;

async fn visit(channel: &Channel, patient: u128, event: u128, at: &str) {
    let visited =
        v1::VisitCompleted { kind: v1::VisitKind::Nursing.into(), ..v1::VisitCompleted::default() };
    let sensitivity = vec![v1::Sensitivity::Psychiatry.into()];
    let context = v1::CommandContext { sensitivity, ..context(&id(patient), &id(event), at) };
    let request = v1::RecordVisitRequest { context: Some(context), event: Some(visited) };
    let mut home = HomeCareClient::new(channel.clone());
    home.record_visit(by("nurses", "visiting-nurse", request)).await.unwrap();
}

async fn stay(channel: &Channel, patient: u128) {
    let mut desk = DischargeDeskClient::new(channel.clone());
    let encounter_id = id(0x31);
    let admitted = v1::Admitted {
        encounter_id: encounter_id.clone(),
        place: Some(place("acute", "4E")),
        ..v1::Admitted::default()
    };
    let request = v1::AdmitRequest {
        context: Some(context(&id(patient), &id(ADMITTED), "2026-05-02T09:00:00+09:00")),
        event: Some(admitted),
    };
    desk.admit(by("acute", "liaison-nurse", request)).await.unwrap();
    let request = v1::DischargeRequest {
        context: Some(context(&id(patient), &id(DISCHARGED), "2026-05-04T09:00:00+09:00")),
        event: Some(v1::Discharged { encounter_id, ..v1::Discharged::default() }),
    };
    desk.discharge(by("acute", "liaison-nurse", request)).await.unwrap();
}

async fn merge(channel: &Channel) {
    merge_at(channel, MERGED, "2026-05-01T12:00:00+09:00").await;
}

async fn merge_at(channel: &Channel, event: u128, at: &str) {
    let merged =
        v1::PatientsMerged { retired_patient_id: id(OTHER), ..v1::PatientsMerged::default() };
    let request = v1::MergePatientsRequest {
        context: Some(context(&id(ONE), &id(event), at)),
        event: Some(merged),
    };
    CareTeamClient::new(channel.clone()).merge_patients(liaison(request)).await.unwrap();
}

async fn unmerge(channel: &Channel) -> v1::Receipt {
    let unmerged =
        v1::PatientsUnmerged { retired_patient_id: id(OTHER), ..v1::PatientsUnmerged::default() };
    let request = v1::UnmergePatientsRequest {
        context: Some(context(&id(ONE), &id(UNMERGED), "2026-05-06T12:00:00+09:00")),
        event: Some(unmerged),
    };
    let mut team = CareTeamClient::new(channel.clone());
    team.unmerge_patients(liaison(request)).await.unwrap().into_inner()
}

/// Moves events from the one patient to the other.
async fn move_events(
    channel: &Channel,
    organisation: &str,
    act: u128,
    events: &[u128],
) -> Result<v1::MoveEventsResponse, Status> {
    let request = v1::MoveEventsRequest {
        context: Some(context(&id(ONE), &id(act), "2026-05-07T12:00:00+09:00")),
        to_patient_id: id(OTHER),
        event_ids: events.iter().map(|event| id(*event)).collect(),
        note: String::new(),
    };
    let mut team = CareTeamClient::new(channel.clone());
    let moved = team.move_events(by(organisation, "liaison-nurse", request)).await;
    moved.map(tonic::Response::into_inner)
}

/// What a timeline lists as told while two records were merged: the ids that are left, and all.
async fn listed(channel: &Channel, patient: u128) -> (Vec<String>, u32) {
    let request =
        v1::ReadTimelineRequest { patient_id: id(patient), ..v1::ReadTimelineRequest::default() };
    let mut reader = TimelineClient::new(channel.clone());
    let page = reader.read_timeline(liaison(request)).await.unwrap().into_inner();
    let [told] = page.told_while_merged.as_slice() else { panic!("{:?}", page.told_while_merged) };
    assert_eq!((&told.survivor_patient_id, &told.retired_patient_id), (&id(ONE), &id(OTHER)));
    let left = told.events.iter().filter(|event| event.entered_in_error_by_event_id.is_empty());
    (left.map(|event| event.event_id.clone()).collect(), told.count)
}

/// The types of what holds in a record, in the order in which it happened.
async fn holds(channel: &Channel, patient: u128) -> Vec<String> {
    let entries = timeline(channel, &id(patient)).await.into_iter();
    let holds = entries.filter(|entry| entry.entered_in_error_by_event_id.is_empty());
    let told = holds.filter(|entry| !entry.r#type.starts_with("care.patient."));
    let told = told.filter(|entry| !entry.r#type.starts_with("care.record."));
    told.map(|entry| entry.r#type).collect()
}

const STAY: [&str; 2] = ["care.encounter.admitted.v1", "care.encounter.discharged.v1"];
const VISIT: [&str; 1] = ["care.home.visit_completed.v1"];

/// Two patients who were merged by mistake, and of whom things were told meanwhile.
async fn told_while_merged(channel: &Channel) -> v1::Receipt {
    register(channel, &id(ONE), "a").await;
    register(channel, &id(OTHER), "b").await;
    visit(channel, ONE, 0x10, "2026-05-01T10:00:00+09:00").await;
    merge(channel).await;
    stay(channel, ONE).await;
    visit(channel, ONE, VISITED, "2026-05-05T10:00:00+09:00").await;
    unmerge(channel).await
}

#[tokio::test]
async fn what_was_told_while_two_were_merged_is_listed_and_moved_to_whose_it_is() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let receipt = told_while_merged(&channel).await;
    let told = receipt.told_while_merged.clone().unwrap();
    let of = |told: &v1::ToldEvent| {
        let by = told.actor.clone().unwrap().organisation;
        (told.event_id.clone(), told.r#type.clone(), told.occurred_at.clone(), by)
    };
    let all = [id(ADMITTED), id(DISCHARGED), id(VISITED)];
    assert_eq!(told.events.iter().map(|of| of.event_id.clone()).collect::<Vec<_>>(), all);
    let nurses =
        (id(VISITED), VISIT[0].into(), "2026-05-05T10:00:00+09:00".into(), "nurses".into());
    assert_eq!(told.events.last().map(of), Some(nurses));
    let labels: Vec<_> = told.events.iter().map(|of| of.sensitivity.clone()).collect();
    let psychiatry = i32::from(v1::Sensitivity::Psychiatry);
    assert_eq!(labels, [vec![], vec![], vec![psychiatry]]);
    assert_eq!(unmerge(&channel).await, v1::Receipt { repeated: true, ..receipt });
    for patient in [ONE, OTHER] {
        assert_eq!(listed(&channel, patient).await, (all.to_vec(), 3));
        let shown =
            stdout(&run(&["timeline", &id(patient), "--lang", "en", "--server", &server.url]));
        assert!(shown.contains(&format!("3 events were told of {}", id(ONE))), "{shown}");
        assert!(shown.contains(&id(VISITED)), "{shown}");
    }
    let moved = move_events(&channel, "acute", 0x41, &[DISCHARGED, ADMITTED]).await.unwrap();
    assert_eq!((moved.taken_back.len(), moved.told_again.len()), (2, 2));
    assert_eq!(holds(&channel, ONE).await, [VISIT[0], VISIT[0]]);
    assert_eq!(holds(&channel, OTHER).await, STAY);
    for patient in [ONE, OTHER] {
        assert_eq!(listed(&channel, patient).await, (vec![id(VISITED)], 3));
    }
    let again = move_events(&channel, "acute", 0x41, &[ADMITTED, DISCHARGED]).await.unwrap();
    assert!(again.taken_back.iter().chain(&again.told_again).all(|receipt| receipt.repeated));
    let versions = |of: &v1::MoveEventsResponse| {
        let receipts = of.taken_back.iter().chain(&of.told_again);
        receipts.map(|of| (of.event_id.clone(), of.version)).collect::<Vec<_>>()
    };
    assert_eq!(versions(&again), versions(&moved));
    assert_eq!(holds(&channel, OTHER).await, STAY, "once");
}

#[tokio::test]
async fn what_was_told_while_merged_is_on_the_first_page_and_on_none_once_merged_again() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    told_while_merged(&channel).await;
    let mut reader = TimelineClient::new(channel.clone());
    let mut listed = async |patient: u128| {
        let patient_id = id(patient);
        let mut request =
            v1::ReadTimelineRequest { patient_id, page_size: 1, ..Default::default() };
        let mut listed = Vec::new();
        loop {
            let page = reader.read_timeline(liaison(request.clone())).await.unwrap().into_inner();
            listed.push(page.told_while_merged.len());
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return listed;
            }
        }
    };
    for patient in [ONE, OTHER] {
        let pages = listed(patient).await;
        assert!(pages.len() > 1, "{pages:?}");
        assert_eq!(pages.first(), Some(&1));
        assert_eq!(pages.iter().sum::<usize>(), 1, "{pages:?}");
    }
    merge_at(&channel, 0x23, "2026-05-06T15:00:00+09:00").await;
    for patient in [ONE, OTHER] {
        assert_eq!(listed(patient).await.iter().sum::<usize>(), 0);
    }
}

#[tokio::test]
async fn what_is_not_moved_whole_changes_neither_record() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    told_while_merged(&channel).await;
    let refused = async |organisation: &str, events: &[u128]| {
        let refused = move_events(&channel, organisation, 0x41, events).await.unwrap_err();
        reason(&refused)
    };
    assert_eq!(refused("nurses", &[ADMITTED]).await, "NOT_THE_AUTHOR");
    assert_eq!(refused("acute", &[ADMITTED]).await, "LATER_EVENT_DEPENDS");
    assert_eq!(refused("acute", &[DISCHARGED]).await, "NOT_ADMITTED");
    assert_eq!(refused("acute", &[0x77]).await, "EVENT_UNKNOWN");
    assert_eq!(refused("acute", &[MERGED]).await, "NOT_CORRECTABLE");
    assert_eq!(refused("acute", &[]).await, "FIELDS_INVALID");
    assert_eq!(holds(&channel, ONE).await, [VISIT[0], STAY[0], STAY[1], VISIT[0]]);
    assert!(holds(&channel, OTHER).await.is_empty());
    move_events(&channel, "nurses", 0x41, &[VISITED]).await.unwrap();
    assert_eq!(refused("nurses", &[0x10]).await, "EVENT_ID_REUSED", "and nothing is undone");
    let twice = move_events(&channel, "nurses", 0x42, &[VISITED]).await.unwrap_err();
    assert_eq!(reason(&twice), "ALREADY_IN_ERROR");
    assert_eq!(holds(&channel, OTHER).await, VISIT);
}

#[tokio::test]
async fn what_was_corrected_is_moved_as_it_was_corrected() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    told_while_merged(&channel).await;
    let corrected = v1::TimeCorrected {
        corrects_event_id: id(VISITED),
        occurred_at: "2026-05-05T15:00:00+09:00".to_owned(),
        ..v1::TimeCorrected::default()
    };
    let request = v1::CorrectTimeRequest {
        context: Some(context(&id(ONE), &id(0x51), "2026-05-06T13:00:00+09:00")),
        event: Some(corrected),
    };
    let mut team = CareTeamClient::new(channel.clone());
    team.correct_time(by("nurses", "visiting-nurse", request)).await.unwrap();
    move_events(&channel, "nurses", 0x41, &[VISITED]).await.unwrap();
    let entries = timeline(&channel, &id(OTHER)).await;
    let visit = entries.iter().find(|entry| entry.r#type == VISIT[0]).unwrap();
    assert_eq!(visit.occurred_at, "2026-05-05T15:00:00+09:00");
}

#[tokio::test]
async fn what_was_moved_is_neither_taken_back_nor_corrected_where_it_was() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    told_while_merged(&channel).await;
    let moved = move_events(&channel, "nurses", 0x41, &[VISITED]).await.unwrap();
    let [error, again] = [&moved.taken_back, &moved.told_again].map(|of| of[0].event_id.clone());
    let mut team = CareTeamClient::new(channel.clone());
    // Whenever that is said to have been done.
    for at in ["2026-05-05T11:00:00+09:00", "2026-05-07T12:00:00+09:00", "2026-05-08"] {
        let context = || Some(context(&id(ONE), &id(0x51), at));
        let back = v1::EnteredInError { corrects_event_id: error.clone(), ..Default::default() };
        let request = v1::MarkEnteredInErrorRequest { context: context(), event: Some(back) };
        let refused = team.mark_entered_in_error(by("nurses", "visiting-nurse", request)).await;
        assert_eq!(reason(&refused.unwrap_err()), "NOT_CORRECTABLE", "{at}");
        let time = v1::TimeCorrected {
            corrects_event_id: id(VISITED),
            occurred_at: "2026-05-05T15:00:00+09:00".to_owned(),
            ..v1::TimeCorrected::default()
        };
        let request = v1::CorrectTimeRequest { context: context(), event: Some(time) };
        let refused = team.correct_time(by("nurses", "visiting-nurse", request)).await;
        assert_eq!(reason(&refused.unwrap_err()), "ALREADY_IN_ERROR", "{at}");
    }
    // It is moved back.
    let request = v1::MoveEventsRequest {
        context: Some(context(&id(OTHER), &id(0x42), "2026-05-08T12:00:00+09:00")),
        to_patient_id: id(ONE),
        event_ids: vec![again],
        note: String::new(),
    };
    team.move_events(by("nurses", "visiting-nurse", request)).await.unwrap();
    assert_eq!(holds(&channel, ONE).await, [VISIT[0], STAY[0], STAY[1], VISIT[0]]);
    assert!(holds(&channel, OTHER).await.is_empty());
}

/// A discharge that was cancelled, and an admission of which the time was corrected.
#[tokio::test]
async fn a_stay_is_moved_with_its_cancels_and_corrections() {
    const CANCELLED: u128 = 0x14;
    const CORRECTED: u128 = 0x15;
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    told_while_merged(&channel).await;
    let at = |event: u128, at: &str| Some(context(&id(ONE), &id(event), at));
    let cancelled = v1::EncounterCancellation {
        encounter_id: id(0x31),
        cancelled_event_id: id(DISCHARGED),
        ..v1::EncounterCancellation::default()
    };
    let mut desk = DischargeDeskClient::new(channel.clone());
    let request = v1::CancelDischargeRequest {
        context: at(CANCELLED, "2026-05-06T14:00:00+09:00"),
        event: Some(cancelled),
    };
    desk.cancel_discharge(by("acute", "liaison-nurse", request)).await.unwrap();
    let corrected = v1::TimeCorrected {
        corrects_event_id: id(ADMITTED),
        occurred_at: "2026-05-03T09:00:00+09:00".to_owned(),
        ..v1::TimeCorrected::default()
    };
    let request = v1::CorrectTimeRequest {
        context: at(CORRECTED, "2026-05-06T15:00:00+09:00"),
        event: Some(corrected),
    };
    let mut team = CareTeamClient::new(channel.clone());
    team.correct_time(by("acute", "liaison-nurse", request)).await.unwrap();

    let without = move_events(&channel, "acute", 0x41, &[DISCHARGED, ADMITTED]).await.unwrap_err();
    assert_eq!(reason(&without), "FIELDS_INVALID");
    assert!(without.message().contains(&id(CANCELLED)), "{}", without.message());
    let whole = [DISCHARGED, ADMITTED, CANCELLED, CORRECTED];
    let moved = move_events(&channel, "acute", 0x41, &whole).await.unwrap();
    let told: Vec<&str> = moved.told_again.iter().map(|told| told.event_id.as_str()).collect();
    let [admission, discharge, cancel, correction] = told.as_slice() else { panic!("{moved:?}") };
    let entries = timeline(&channel, &id(OTHER)).await;
    let entry = |id: &str| entries.iter().find(|entry| entry.event_id == id).unwrap();
    assert_eq!(entry(discharge).cancelled_by_event_id, *cancel);
    assert_eq!(entry(admission).occurred_at, "2026-05-03T09:00:00+09:00");
    assert_eq!(entry(admission).earlier[0].corrected_by_event_id, *correction);
    let mut reader = TimelineClient::new(channel.clone());
    let mut state = async |patient: u128| {
        let patient_id = id(patient);
        let request = v1::ReadTimelineRequest { patient_id, ..Default::default() };
        let page = reader.read_timeline(liaison(request)).await.unwrap().into_inner();
        page.patient.unwrap().state()
    };
    assert_eq!(state(OTHER).await, v1::PatientState::InHospital);
    assert_eq!(state(ONE).await, v1::PatientState::Unspecified);
    assert_eq!(holds(&channel, ONE).await, [VISIT[0], VISIT[0]]);
    assert_eq!(listed(&channel, OTHER).await, (vec![id(VISITED)], 3));
}

const EVENTS: u128 = 40;
const ROUNDS: u128 = 4;

/// Whatever the moment at which the server is killed, an event is in one record or in both, and in
/// one soon after the server has started again; sending the same again leaves it in the right one.
#[tokio::test]
async fn a_move_that_was_killed_half_way_loses_nothing_and_is_finished_by_itself() {
    let data = folder();
    let event = |round: u128, number: u128| 0x2000 + round * EVENTS + number;
    for round in 0..ROUNDS {
        let server = Server::start(data.path());
        let channel = server.channel().await;
        if round == 0 {
            register(&channel, &id(ONE), "a").await;
            register(&channel, &id(OTHER), "b").await;
        }
        for number in 0..EVENTS {
            visit(&channel, ONE, event(round, number), "2026-05-05T10:00:00+09:00").await;
        }
        let (answered, mut told) = mpsc::unbounded_channel();
        let sender = channel.clone();
        let sending = tokio::spawn(async move {
            for number in 0..EVENTS {
                let act = 0x8000 + event(round, number);
                let moved = move_events(&sender, "nurses", act, &[event(round, number)]).await;
                if moved.is_err() {
                    return;
                }
                answered.send(number).unwrap();
            }
        });
        for _ in 0..=(2 * round) {
            told.recv().await;
        }
        server.kill();
        sending.await.unwrap();
        let server = Server::start(data.path());
        let channel = server.channel().await;
        // Every event of the round is somewhere.
        let here = VISIT.len() * usize::try_from((round + 1) * EVENTS).unwrap();
        let both = holds(&channel, ONE).await.len() + holds(&channel, OTHER).await.len();
        assert!((here..=here + 1).contains(&both), "{both} of {here}");
        while holds(&channel, ONE).await.len() + holds(&channel, OTHER).await.len() > here {
            tokio::task::yield_now().await;
        }
        for number in 0..EVENTS {
            let act = 0x8000 + event(round, number);
            move_events(&channel, "nurses", act, &[event(round, number)]).await.unwrap();
        }
        assert!(holds(&channel, ONE).await.is_empty());
        let entries = timeline(&channel, &id(OTHER)).await;
        let ids: BTreeSet<&str> = entries.iter().map(|entry| entry.event_id.as_str()).collect();
        assert_eq!(ids.len(), entries.len());
        assert_eq!(holds(&channel, OTHER).await.len(), here, "each once");
        server.kill();
    }
}

/// Whoever asks for a record that was merged into another is told which one, by every read.
#[tokio::test]
async fn who_reads_a_merged_record_is_told_where_it_goes_on() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    register(&channel, &id(ONE), "a").await;
    register(&channel, &id(OTHER), "b").await;
    merge(&channel).await;
    let mut reader = TimelineClient::new(channel.clone());
    let request =
        v1::ReadTimelineRequest { patient_id: id(OTHER), ..v1::ReadTimelineRequest::default() };
    let page = reader.read_timeline(liaison(request)).await.unwrap().into_inner();
    assert_eq!(page.patient.unwrap().merged_into_patient_id, id(ONE));
    // From the end on, as somebody who watched before.
    let request = v1::WatchTimelineRequest { patient_id: id(OTHER), cursor: page.cursor };
    let mut frames = reader.watch_timeline(liaison(request)).await.unwrap().into_inner();
    let caught_up = frames.message().await.unwrap().unwrap();
    assert_eq!(caught_up.merged_into_patient_id, id(ONE));
    let request =
        v1::FindLookAlikesRequest { patient_id: id(OTHER), ..v1::FindLookAlikesRequest::default() };
    let refused = reader.find_look_alikes(liaison(request)).await.unwrap_err();
    assert_eq!(reason(&refused), "PATIENT_MERGED");
    assert!(refused.message().contains(&id(ONE)), "{}", refused.message());
    let shown = stdout(&run(&["timeline", &id(OTHER), "--server", &server.url]));
    assert!(shown.contains(&format!("tsunagi timeline {}", id(ONE))), "{shown}");
    let identifier = v1::Identifier {
        system: "urn:oid:1.2.392.100495.20.3.51.1".to_owned(),
        value: "b".to_owned(),
    };
    let request = v1::FindPatientRequest { identifier: Some(identifier), as_known_at: None };
    let found = reader.find_patient(liaison(request)).await.unwrap().into_inner();
    assert_eq!(found.patient.unwrap().patient_id, id(ONE));
}

#[tokio::test]
async fn a_number_that_was_entered_in_error_is_somebody_else_s_at_once() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    register(&channel, &id(ONE), "a").await;
    register(&channel, &id(OTHER), "b").await;
    let mut desk = DischargeDeskClient::new(channel.clone());
    let identifier = v1::Identifier { system: "urn:x".to_owned(), value: "77".to_owned() };
    let link = |patient: u128, event: u128| v1::LinkIdentifierRequest {
        context: Some(context(&id(patient), &id(event), "2026-05-01")),
        event: Some(v1::IdentifierLinked { identifier: Some(identifier.clone()) }),
    };
    desk.link_identifier(liaison(link(ONE, 0x61))).await.unwrap();
    let taken = desk.link_identifier(liaison(link(OTHER, 0x62))).await.unwrap_err();
    assert_eq!(reason(&taken), "IDENTIFIER_TAKEN");
    let wrong = |event: u128, of: u128| {
        let wrong = v1::EnteredInError { corrects_event_id: id(of), ..Default::default() };
        let context = context(&id(ONE), &id(event), "2026-05-02");
        liaison(v1::MarkEnteredInErrorRequest { context: Some(context), event: Some(wrong) })
    };
    let mut team = CareTeamClient::new(channel.clone());
    team.mark_entered_in_error(wrong(0x63, 0x61)).await.unwrap();
    // It was right, and then not, and so on, as long as nobody else has it.
    team.mark_entered_in_error(wrong(0x65, 0x63)).await.unwrap();
    let taken = desk.link_identifier(liaison(link(OTHER, 0x64))).await.unwrap_err();
    assert_eq!(reason(&taken), "IDENTIFIER_TAKEN");
    team.mark_entered_in_error(wrong(0x66, 0x65)).await.unwrap();
    desk.link_identifier(liaison(link(OTHER, 0x64))).await.unwrap();
    let taken = team.mark_entered_in_error(wrong(0x67, 0x66)).await.unwrap_err();
    assert_eq!(reason(&taken), "IDENTIFIER_TAKEN");
}
