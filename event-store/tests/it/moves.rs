//! Events that are moved to another patient, while other processes do the same, are killed at it, or
//! correct what is moved: whatever comes in between, each event holds in one record.

use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tempfile::TempDir;
use tsunagi_bus::handler::{Moved, Moving, SubmitError};
use tsunagi_bus::patients::Loaded;
use tsunagi_bus::{Bus, Handler, PublishError, Stored, StreamId};
use tsunagi_domain::{EventId, PatientId};
use tsunagi_event_store::Store;
use tsunagi_event_store::log::file::Patience;
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;

use crate::interposed::{Before, process};
use crate::merges::killed_after;
use crate::support::{
    ENCOUNTER, admitted, care_event, discharged, event, folder, handler, linked, one, open,
    registered, stream, visited,
};

/// The patient of whom it is told, and the one whose it is.
const WRONG: u128 = 0;
const RIGHT: u128 = 1;
const VISITED: u128 = 10;
const ADMITTED: u128 = 11;
const MOVE: u128 = 20;
const CORRECTED: u128 = 30;

type Other = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Something else is done whole before one of the calls.
struct Meanwhile {
    /// How many calls are made before.
    left: AtomicI64,
    other: Mutex<Option<Other>>,
}

impl Meanwhile {
    async fn step(&self) {
        if self.left.fetch_sub(1, Ordering::SeqCst) != 0 {
            return;
        }
        let other = self.other.lock().unwrap().take();
        if let Some(other) = other {
            other.await;
        }
    }
}

#[async_trait]
impl Before for Meanwhile {
    async fn publication(&self) -> Result<(), PublishError> {
        self.step().await;
        Ok(())
    }

    async fn read(&self) {
        self.step().await;
    }
}

/// A process in the midst of whose work, after so many calls of the bus, another does its own; and
/// what tells whether it came to that.
fn meanwhile(
    calls: i64,
    store: &Store,
    folder: &TempDir,
    other: Other,
) -> (Arc<Handler>, Arc<Meanwhile>) {
    let bus = Arc::new(Meanwhile { left: AtomicI64::new(calls), other: Mutex::new(Some(other)) });
    (process(store, folder, &bus), bus)
}

/// Two patients, and a visit that was told of the wrong one by a nurse of the same hospital.
async fn told_of_the_wrong_one() -> (TempDir, Store) {
    let folder = folder();
    let store = open(&folder);
    let first = handler(&store, &folder);
    for number in [WRONG, RIGHT] {
        first.submit(one(care_event(number, number, 1, &registered(&[])))).await.unwrap();
    }
    let visit = care_event(WRONG, VISITED, 3, &visited());
    let nurse = v1::Actor { person: "n-7".to_owned(), ..visit.actor.clone().unwrap() };
    first.submit(one(v1::Event { actor: Some(nurse), ..visit })).await.unwrap();
    (folder, store)
}

fn patient(number: u128) -> PatientId {
    let StreamId::Patient(patient) = stream(number) else { panic!("of no patient") };
    patient
}

fn moving(act: u128, events: &[u128]) -> Moving {
    let error = Payload::EnteredInError(v1::EnteredInError::default());
    Moving {
        act: event(act),
        from: patient(WRONG),
        to: patient(RIGHT),
        events: events.iter().map(|number| event(*number)).collect(),
        note: String::new(),
        said: care_event(WRONG, act, 8, &error),
        expected_version: None,
    }
}

async fn moved(handler: &Arc<Handler>, act: u128) -> Result<Moved, SubmitError> {
    handler.move_events(moving(act, &[VISITED])).await
}

fn refused(error: SubmitError) -> tsunagi_chassis::Refused {
    error.into()
}

fn in_error(of: u128, number: u128, day: u8, corrects: &str) -> v1::Event {
    let corrects_event_id = corrects.to_owned();
    let error = v1::EnteredInError { corrects_event_id, ..v1::EnteredInError::default() };
    care_event(of, number, day, &Payload::EnteredInError(error))
}

/// That the visit was on the next day.
fn corrected() -> v1::Event {
    let corrected = v1::TimeCorrected {
        corrects_event_id: event(VISITED).to_string(),
        occurred_at: LATER.to_owned(),
        ..v1::TimeCorrected::default()
    };
    care_event(WRONG, CORRECTED, 7, &Payload::TimeCorrected(corrected))
}

const LATER: &str = "2026-05-04T10:00:00+09:00";

async fn loaded(store: &Store, number: u128) -> Loaded {
    let mut loaded = Loaded::default();
    loaded.catch_up(store, patient(number)).await.unwrap();
    loaded
}

/// What holds in a record but its registration, and when it happened, in the order in which it was
/// told.
async fn holding(store: &Store, number: u128) -> Vec<(v1::Event, String)> {
    let loaded = loaded(store, number).await;
    let events = store.read_all(stream(number), Patience::Wait).unwrap();
    let read = |stored: &Stored| {
        let said: v1::Event = prost::Message::decode(stored.record.clone()).unwrap();
        let outcome = loaded.record.outcome(stored.event);
        let holds = outcome.error.is_none()
            && ["care.home.", "care.encounter."].iter().any(|of| said.r#type.starts_with(of));
        let at = match outcome.time {
            Some(_) => LATER.to_owned(),
            None => said.occurred_at.clone(),
        };
        holds.then_some((said, at))
    };
    events.iter().filter_map(read).collect()
}

/// In how many places the visit holds in the wrong and in the right record.
async fn visits(store: &Store) -> [usize; 2] {
    [holding(store, WRONG).await.len(), holding(store, RIGHT).await.len()]
}

#[tokio::test]
async fn a_move_that_is_asked_for_again_at_any_moment_is_one() {
    for is_interrupted_first in [false, true] {
        for calls in 0.. {
            let (folder, store) = told_of_the_wrong_one().await;
            if is_interrupted_first {
                let killed = killed_after(1, &store, &folder);
                moved(&killed, MOVE).await.unwrap_err();
                assert_eq!(visits(&store).await, [1, 1], "half of it is there");
            }
            let again = handler(&store, &folder);
            let again = Box::pin(async move {
                moved(&again, MOVE).await.unwrap();
            });
            let (first, bus) = meanwhile(calls, &store, &folder, again);
            moved(&first, MOVE).await.unwrap();
            assert_eq!(visits(&store).await, [0, 1], "after {calls} calls");
            if bus.left.load(Ordering::SeqCst) >= 0 {
                break;
            }
        }
    }
}

/// One call gives an interrupted move up, because it asks for another version of the record; the
/// other finishes it.
#[tokio::test]
async fn a_move_that_is_given_up_and_finished_at_once_is_one_of_both() {
    for calls in 0.. {
        let (folder, store) = told_of_the_wrong_one().await;
        moved(&killed_after(1, &store, &folder), MOVE).await.unwrap_err();
        let finishes = handler(&store, &folder);
        let finishes = Box::pin(async move {
            let _moved_or_refused = moved(&finishes, MOVE).await;
        });
        let (gives_up, bus) = meanwhile(calls, &store, &folder, finishes);
        let of_version = Moving { expected_version: Some(99), ..moving(MOVE, &[VISITED]) };
        let outcome = gives_up.move_events(of_version).await;
        let expected = match outcome {
            Ok(_) => [0, 1],
            Err(error) => {
                let reason = refused(error).reason;
                assert!(["VERSION_CONFLICT", "EVENT_ID_REUSED"].contains(&reason), "{reason}");
                [1, 0]
            }
        };
        assert_eq!(visits(&store).await, expected, "after {calls} calls");
        if bus.left.load(Ordering::SeqCst) >= 0 {
            break;
        }
    }
}

#[tokio::test]
async fn a_correction_at_any_moment_of_a_move_is_not_lost() {
    for calls in 0.. {
        let (folder, store) = told_of_the_wrong_one().await;
        let corrects = handler(&store, &folder);
        // Once it is moved, that it is corrected in the wrong record says nothing of the right one.
        let is_moved = store.clone();
        let corrects = Box::pin(async move {
            if visits(&is_moved).await[0] == 1 {
                corrects.submit(one(corrected())).await.unwrap();
            }
        });
        let (first, bus) = meanwhile(calls, &store, &folder, corrects);
        let outcome = moved(&first, MOVE).await;
        let is_corrected = store.find(stream(WRONG), event(CORRECTED)).await.unwrap().is_some();
        let at = if is_corrected { LATER } else { "2026-05-03T09:00:00+09:00" };
        let place = match outcome {
            Ok(_) => RIGHT,
            Err(error) => {
                assert_eq!(refused(error).reason, "CORRECTED_MEANWHILE");
                WRONG
            }
        };
        let there = holding(&store, place).await;
        assert_eq!(there.iter().map(|(_, at)| at.as_str()).collect::<Vec<_>>(), [at], "{calls}");
        assert_eq!(visits(&store).await.iter().sum::<usize>(), 1, "after {calls} calls");
        if bus.left.load(Ordering::SeqCst) >= 0 {
            break;
        }
    }
}

#[tokio::test]
async fn what_was_corrected_before_an_interrupted_move_is_asked_for_again_is_moved_by_another() {
    let (folder, store) = told_of_the_wrong_one().await;
    moved(&killed_after(1, &store, &folder), MOVE).await.unwrap_err();
    let next = handler(&store, &folder);
    next.submit(one(corrected())).await.unwrap();
    let refusal = refused(moved(&next, MOVE).await.unwrap_err());
    assert_eq!(refusal.reason, "CORRECTED_MEANWHILE");
    assert_eq!(visits(&store).await, [1, 0]);
    assert_eq!(refused(moved(&next, MOVE).await.unwrap_err()).reason, "EVENT_ID_REUSED");
    moved(&next, MOVE + 1).await.unwrap();
    assert_eq!(visits(&store).await, [0, 1]);
    assert_eq!(holding(&store, RIGHT).await[0].0.occurred_at, LATER);
}

#[tokio::test]
async fn a_move_that_cannot_come_about_is_undone_also_by_whoever_is_killed_at_it() {
    for publications in 0..=2 {
        let (folder, store) = told_of_the_wrong_one().await;
        moved(&killed_after(1, &store, &folder), MOVE).await.unwrap_err();
        let next = handler(&store, &folder);
        let visit = event(VISITED).to_string();
        next.submit(one(in_error(WRONG, 40, 7, &visit))).await.unwrap();
        let undoing = killed_after(publications, &store, &folder);
        let told = refused(moved(&undoing, MOVE).await.unwrap_err()).reason;
        let is_undone = publications == 2;
        assert_eq!(told, if is_undone { "ALREADY_IN_ERROR" } else { "OUTCOME_UNKNOWN" });
        assert_eq!(visits(&store).await, [0, usize::from(!is_undone)]);
        let again = refused(moved(&next, MOVE).await.unwrap_err()).reason;
        let is_given_up = publications > 0;
        assert_eq!(again, if is_given_up { "EVENT_ID_REUSED" } else { "ALREADY_IN_ERROR" });
        assert_eq!(visits(&store).await, [0, 0]);
    }
}

#[tokio::test]
async fn what_cannot_be_undone_is_named_until_somebody_else_has_undone_it() {
    let (folder, store) = told_of_the_wrong_one().await;
    let next = handler(&store, &folder);
    next.submit(one(care_event(WRONG, ADMITTED, 4, &admitted("4E")))).await.unwrap();
    let stay = || moving(MOVE, &[ADMITTED]);
    killed_after(1, &store, &folder).move_events(stay()).await.unwrap_err();
    let copy = holding(&store, RIGHT).await[0].0.event_id.clone();
    next.submit(one(care_event(RIGHT, 41, 5, &discharged()))).await.unwrap();
    let admission = event(ADMITTED).to_string();
    next.submit(one(in_error(WRONG, 42, 6, &admission))).await.unwrap();
    for reason in ["ALREADY_IN_ERROR", "EVENT_ID_REUSED"] {
        let refusal = refused(next.move_events(stay()).await.unwrap_err());
        assert_eq!(refusal.reason, reason);
        assert!(refusal.message.contains(&copy), "{}", refusal.message);
        assert_eq!(refusal.metadata.last(), Some(&("still_told", copy.clone())));
    }
    next.submit(one(in_error(RIGHT, 43, 8, &event(41).to_string()))).await.unwrap();
    next.submit(one(in_error(RIGHT, 44, 8, &copy))).await.unwrap();
    let refusal = refused(next.move_events(stay()).await.unwrap_err());
    assert!(!refusal.message.contains(&copy), "{}", refusal.message);
    assert!(holding(&store, RIGHT).await.is_empty());
}

#[tokio::test]
async fn what_somebody_took_back_of_an_interrupted_move_stays_where_it_was() {
    let (folder, store) = told_of_the_wrong_one().await;
    moved(&killed_after(1, &store, &folder), MOVE).await.unwrap_err();
    let copy = holding(&store, RIGHT).await[0].0.event_id.clone();
    let next = handler(&store, &folder);
    next.submit(one(in_error(RIGHT, 45, 7, &copy))).await.unwrap();
    assert_eq!(refused(moved(&next, MOVE).await.unwrap_err()).reason, "ALREADY_IN_ERROR");
    assert_eq!(visits(&store).await, [1, 0]);
    moved(&next, MOVE + 1).await.unwrap();
    assert_eq!(visits(&store).await, [0, 1]);
}

#[tokio::test]
async fn of_an_interrupted_move_not_a_part_is_finished() {
    let (folder, store) = told_of_the_wrong_one().await;
    let next = handler(&store, &folder);
    next.submit(one(care_event(WRONG, 46, 5, &visited()))).await.unwrap();
    let both = || moving(MOVE, &[VISITED, 46]);
    killed_after(1, &store, &folder).move_events(both()).await.unwrap_err();
    assert_eq!(refused(moved(&next, MOVE).await.unwrap_err()).reason, "EVENT_ID_REUSED");
    assert_eq!(visits(&store).await, [2, 2]);
    next.move_events(both()).await.unwrap();
    assert_eq!(visits(&store).await, [0, 2]);
}

#[tokio::test]
async fn what_is_moved_stays_the_word_of_who_said_it() {
    let (folder, store) = told_of_the_wrong_one().await;
    moved(&handler(&store, &folder), MOVE).await.unwrap();
    let there = holding(&store, RIGHT).await;
    let [(visit, _)] = there.as_slice() else { panic!("{there:?}") };
    assert_eq!(visit.actor.as_ref().unwrap().person, "n-7");
    assert_eq!(visit.causation_id, event(VISITED).to_string());
}

#[tokio::test]
async fn a_number_is_not_moved_and_the_refusal_says_what_to_do() {
    let (folder, store) = told_of_the_wrong_one().await;
    let next = handler(&store, &folder);
    next.submit(one(care_event(WRONG, 47, 4, &linked("77")))).await.unwrap();
    let refusal = refused(next.move_events(moving(MOVE, &[47, VISITED])).await.unwrap_err());
    assert_eq!(refusal.reason, "FIELDS_INVALID");
    assert_eq!(refusal.violations[0].field, "event_ids");
    for named in ["MarkEnteredInError", "LinkIdentifier", &event(47).to_string()] {
        assert!(refusal.message.contains(named), "{}", refusal.message);
    }
    assert_eq!(visits(&store).await, [1, 0]);
}

const CANCELLED: u128 = 48;

fn admission_cancelled(number: u128, cancels: u128) -> v1::Event {
    let cancelled = Payload::AdmitCancelled(v1::EncounterCancellation {
        encounter_id: ENCOUNTER.to_owned(),
        cancelled_event_id: event(cancels).to_string(),
        ..Default::default()
    });
    care_event(WRONG, number, 5, &cancelled)
}

/// What became of each event of a record, in the order in which they were told: the event's type,
/// and whether it counts as entered in error.
async fn outcomes(store: &Store, number: u128) -> Vec<(String, bool)> {
    let loaded = loaded(store, number).await;
    let events = store.read_all(stream(number), Patience::Wait).unwrap();
    let outcome = |stored: &Stored| {
        let said: v1::Event = prost::Message::decode(stored.record.clone()).unwrap();
        (said.r#type, loaded.record.outcome(stored.event).error.is_some())
    };
    events.iter().map(outcome).collect()
}

fn named_in(error: SubmitError) -> tsunagi_chassis::Refused {
    let refusal = refused(error);
    assert_eq!((refusal.reason, &*refusal.violations[0].field), ("FIELDS_INVALID", "event_ids"));
    refusal
}

#[tokio::test]
async fn what_was_cancelled_is_moved_with_its_cancel() {
    let (folder, store) = told_of_the_wrong_one().await;
    let next = handler(&store, &folder);
    next.submit(one(care_event(WRONG, ADMITTED, 4, &admitted("4E")))).await.unwrap();
    next.submit(one(admission_cancelled(CANCELLED, ADMITTED))).await.unwrap();
    for (alone, other) in [(ADMITTED, CANCELLED), (CANCELLED, ADMITTED)] {
        let refusal = named_in(next.move_events(moving(MOVE, &[alone])).await.unwrap_err());
        assert!(refusal.message.contains(&event(other).to_string()), "{}", refusal.message);
        assert_eq!(store.read_all(stream(RIGHT), Patience::Wait).unwrap().len(), 1);
    }
    let both = || moving(MOVE, &[CANCELLED, ADMITTED]);
    killed_after(1, &store, &folder).move_events(both()).await.unwrap_err();
    let moved = next.move_events(both()).await.unwrap();
    let again = next.move_events(both()).await.unwrap();
    assert!(again.told_again.iter().chain(&again.taken_back).all(|receipt| receipt.repeated));
    let [admission, cancel] = moved.told_again.as_slice() else { panic!("{moved:?}") };
    let there = holding(&store, RIGHT).await;
    let [(_, _), (told, _)] = there.as_slice() else { panic!("{there:?}") };
    assert_eq!(told.event_id, cancel.event_id);
    let Payload::AdmitCancelled(told) = Payload::decode(&told.r#type, &told.payload).unwrap()
    else {
        panic!("{told:?}")
    };
    assert_eq!(told.cancelled_event_id, admission.event_id);
    assert_eq!(holding(&store, WRONG).await.len(), 1, "the visit");
    let loaded = loaded(&store, RIGHT).await;
    assert!(loaded.record.whereabouts().is_none(), "nobody is in hospital");
}

#[tokio::test]
async fn what_was_corrected_is_moved_with_its_corrections_or_as_it_was_corrected() {
    let (folder, store) = told_of_the_wrong_one().await;
    let next = handler(&store, &folder);
    next.submit(one(corrected())).await.unwrap();
    let alone = next.move_events(moving(MOVE, &[CORRECTED])).await.unwrap_err();
    assert!(named_in(alone).message.contains(&event(VISITED).to_string()));
    let last = v1::Event { event_id: event(CORRECTED + 1).to_string(), ..corrected() };
    next.submit(one(last)).await.unwrap();
    let a_part = next.move_events(moving(MOVE, &[VISITED, CORRECTED])).await.unwrap_err();
    assert!(named_in(a_part).message.contains(&event(CORRECTED + 1).to_string()));
    let all = moving(MOVE, &[CORRECTED + 1, VISITED, CORRECTED]);
    let moved = next.move_events(all).await.unwrap();
    assert_eq!(visits(&store).await, [0, 1]);
    let there = holding(&store, RIGHT).await;
    let [(visit, at)] = there.as_slice() else { panic!("{there:?}") };
    assert_eq!((visit.occurred_at.as_str(), at.as_str()), ("2026-05-03T09:00:00+09:00", LATER));
    let visit = EventId::parse(&visit.event_id).unwrap();
    let trail = loaded(&store, RIGHT).await;
    let trail: Vec<String> = trail.record.corrections_of(visit).map(|by| by.to_string()).collect();
    let told = moved.told_again.iter().skip(1).map(|receipt| receipt.event_id.clone());
    assert!(told.eq(trail), "{moved:?}");
}

#[tokio::test]
async fn what_was_entered_in_error_is_moved_with_that() {
    let (folder, store) = told_of_the_wrong_one().await;
    let next = handler(&store, &folder);
    let visit = event(VISITED).to_string();
    next.submit(one(in_error(WRONG, 49, 7, &visit))).await.unwrap();
    let both = || moving(MOVE, &[VISITED, 49]);
    killed_after(1, &store, &folder).move_events(both()).await.unwrap_err();
    next.move_events(both()).await.unwrap();
    assert_eq!(visits(&store).await, [0, 0]);
    let is_in_error = |of: (String, bool)| of.1;
    let outcomes_of = async |number| {
        outcomes(&store, number).await.into_iter().map(is_in_error).collect::<Vec<_>>()
    };
    // The registration, the visit, the error; then both errors of the move, or that it is one.
    assert_eq!(outcomes_of(WRONG).await, [false, true, true, false, false]);
    assert_eq!(outcomes_of(RIGHT).await, [false, true, false, false]);
}

/// A move of an event and of what says that it was an error, which somebody made impossible.
#[tokio::test]
async fn what_was_moved_with_that_it_was_an_error_is_undone_whole() {
    let (folder, store) = told_of_the_wrong_one().await;
    let next = handler(&store, &folder);
    let visit = event(VISITED).to_string();
    next.submit(one(in_error(WRONG, 49, 7, &visit))).await.unwrap();
    let both = || moving(MOVE, &[VISITED, 49]);
    killed_after(1, &store, &folder).move_events(both()).await.unwrap_err();
    next.submit(one(in_error(WRONG, 50, 7, &event(49).to_string()))).await.unwrap();
    let refusal = refused(next.move_events(both()).await.unwrap_err());
    assert_eq!(refusal.reason, "ALREADY_IN_ERROR");
    assert_eq!(visits(&store).await, [1, 0]);
    let untold = outcomes(&store, RIGHT).await.into_iter().filter(|(_, is_error)| *is_error);
    assert_eq!(untold.count(), 2);
}

#[tokio::test]
async fn what_is_kept_as_a_system_sent_it_is_not_moved_and_the_refusal_says_what_to_do() {
    let (folder, store) = told_of_the_wrong_one().await;
    let next = handler(&store, &folder);
    let received = Payload::ResourceReceived(v1::ResourceReceived {
        resource_type: "Patient".to_owned(),
        resource_id: patient(WRONG).to_string(),
        sent_as: "Patient/1".to_owned(),
        ..Default::default()
    });
    next.submit(one(care_event(WRONG, 51, 4, &received))).await.unwrap();
    let refusal = named_in(next.move_events(moving(MOVE, &[51, VISITED])).await.unwrap_err());
    for named in ["send the resource again", &event(51).to_string()] {
        assert!(refusal.message.contains(named), "{}", refusal.message);
    }
    assert_eq!(visits(&store).await, [1, 0]);
}

#[tokio::test]
async fn an_interrupted_move_is_finished_without_being_sent_again() {
    let (folder, store) = told_of_the_wrong_one().await;
    moved(&killed_after(1, &store, &folder), MOVE).await.unwrap_err();
    assert_eq!(visits(&store).await, [1, 1]);
    let next = handler(&store, &folder);
    assert!(next.settle_moves(patient(RIGHT)).await.unwrap());
    assert_eq!(visits(&store).await, [0, 1]);
    assert!(!next.settle_moves(patient(RIGHT)).await.unwrap(), "once");
    let again = moved(&next, MOVE).await.unwrap();
    assert!(again.told_again.iter().chain(&again.taken_back).all(|receipt| receipt.repeated));
}

/// Whether it was corrected meanwhile, or is asked of another version; and also where whoever undoes
/// it is killed.
#[tokio::test]
async fn an_interrupted_move_that_cannot_come_about_is_undone_without_being_sent_again() {
    for publications in 0..=2 {
        let (folder, store) = told_of_the_wrong_one().await;
        let of_version = Moving { expected_version: Some(2), ..moving(MOVE, &[VISITED]) };
        killed_after(1, &store, &folder).move_events(of_version).await.unwrap_err();
        let next = handler(&store, &folder);
        next.submit(one(care_event(WRONG, 46, 5, &visited()))).await.unwrap();
        let killed = killed_after(publications, &store, &folder);
        let _undone_or_not = killed.settle_moves(patient(RIGHT)).await;
        assert_eq!(visits(&store).await, [2, usize::from(publications < 2)]);
        next.settle_moves(patient(RIGHT)).await.unwrap();
        assert_eq!(visits(&store).await, [2, 0]);
        assert!(!next.settle_moves(patient(RIGHT)).await.unwrap(), "it is over");
    }
}

/// Somebody whom it does not concern.
const THIRD: u128 = 2;

/// A record of its own for `THIRD`.
async fn with_a_third() -> (TempDir, Store, Arc<Handler>) {
    let (folder, store) = told_of_the_wrong_one().await;
    let first = handler(&store, &folder);
    first.submit(one(care_event(THIRD, 2, 1, &registered(&[])))).await.unwrap();
    (folder, store, first)
}

#[tokio::test]
async fn what_is_in_error_already_is_not_moved_whatever_time_the_act_says() {
    for is_moved in [true, false] {
        let (_folder, store, first) = with_a_third().await;
        let error = || in_error(WRONG, 21, 8, &event(VISITED).to_string());
        if is_moved {
            moved(&first, MOVE).await.unwrap();
        } else {
            first.submit(one(error())).await.unwrap();
        }
        for (act, day) in [(40, 7), (41, 8), (42, 9)] {
            let said = v1::Event { occurred_at: format!("2026-05-{day:02}"), ..error() };
            let elsewhere = Moving { to: patient(THIRD), said, ..moving(act, &[VISITED]) };
            let refusal = refused(first.move_events(elsewhere).await.unwrap_err());
            assert_eq!(refusal.reason, "ALREADY_IN_ERROR", "{act}");
            let again = in_error(WRONG, act + 10, day, &event(VISITED).to_string());
            let refusal = refused(first.submit(one(again)).await.unwrap_err());
            assert_eq!(refusal.reason, "ALREADY_IN_ERROR", "{act}");
        }
        assert!(holding(&store, THIRD).await.is_empty());
        assert_eq!(visits(&store).await, [0, usize::from(is_moved)]);
        if is_moved {
            let again = moved(&first, MOVE).await.unwrap();
            assert!(again.taken_back.iter().chain(&again.told_again).all(|of| of.repeated));
        } else {
            assert!(first.submit(one(error())).await.unwrap()[0].repeated);
        }
    }
}

#[tokio::test]
async fn only_a_move_says_that_an_event_was_moved() {
    let (_folder, store, first) = with_a_third().await;
    for to in [WRONG, RIGHT, 77] {
        let error = v1::EnteredInError {
            corrects_event_id: event(VISITED).to_string(),
            moved_to_patient_id: patient(to).to_string(),
            ..v1::EnteredInError::default()
        };
        let said = care_event(WRONG, 21, 8, &Payload::EnteredInError(error));
        let refusal = refused(first.submit(one(said)).await.unwrap_err());
        assert_eq!(refusal.reason, "FIELDS_INVALID");
        assert!(refusal.violations.iter().any(|of| of.problem.contains("MoveEvents")));
    }
    assert_eq!(visits(&store).await, [1, 0]);
}

#[tokio::test]
async fn an_event_of_a_record_that_is_merged_is_moved_once_that_is_its_own_again() {
    let (_folder, store, first) = with_a_third().await;
    let retired_patient_id = patient(WRONG).to_string();
    let merged =
        v1::PatientsMerged { retired_patient_id: retired_patient_id.clone(), ..Default::default() };
    let merged = care_event(THIRD, 50, 5, &Payload::PatientsMerged(merged));
    first.submit(one(merged)).await.unwrap();
    for from in [WRONG, THIRD] {
        let moving = Moving { from: patient(from), ..moving(MOVE, &[VISITED]) };
        let refusal = refused(first.move_events(moving).await.unwrap_err());
        assert_eq!(refusal.reason, "PATIENT_MERGED");
        let message = &refusal.message;
        assert!(message.contains(&retired_patient_id), "{message}");
        assert!(message.contains("UnmergePatients"), "{message}");
    }
    let unmerged = v1::PatientsUnmerged { retired_patient_id, ..Default::default() };
    let unmerged = care_event(THIRD, 51, 6, &Payload::PatientsUnmerged(unmerged));
    first.submit(one(unmerged)).await.unwrap();
    moved(&first, MOVE).await.unwrap();
    assert_eq!(visits(&store).await, [0, 1]);
}
