//! Merges and their end, killed between the two records that have to know: whoever meets one that
//! is half done settles it, and two who do so at once come to the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use async_trait::async_trait;
use tempfile::TempDir;
use tsunagi_bus::{Handler, PublishError, Stored, StreamId, Submission};
use tsunagi_domain::{EventId, PatientId};
use tsunagi_event_store::Store;
use tsunagi_event_store::log::file::Patience;
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;
use uuid::Uuid;

use crate::interposed::{Before, process};
use crate::support::{care_event, event, folder, handler, linked, one, open, registered, visited};

const A: u128 = 0;
const B: u128 = 1;
const C: u128 = 2;

/// So many publications more are taken; then the process is dead, as far as anybody sees.
struct Dying {
    left: AtomicI64,
}

#[async_trait]
impl Before for Dying {
    async fn publication(&self) -> Result<(), PublishError> {
        if self.left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return Err(PublishError::OutcomeUnknown("killed".to_owned()));
        }
        Ok(())
    }
}

/// A process that is killed after so many publications.
pub(crate) fn killed_after(publications: i64, store: &Store, folder: &TempDir) -> Arc<Handler> {
    process(store, folder, &Arc::new(Dying { left: AtomicI64::new(publications) }))
}

fn patient(number: u128) -> PatientId {
    PatientId::new(Uuid::from_u128(number + 1))
}

fn merge(survivor: u128, retired: u128, number: u128) -> Submission {
    let retired_patient_id = patient(retired).to_string();
    let merged = v1::PatientsMerged { retired_patient_id, note: String::new() };
    one(care_event(survivor, number, 4, &Payload::PatientsMerged(merged)))
}

fn unmerge(survivor: u128, retired: u128, number: u128) -> Submission {
    let retired_patient_id = patient(retired).to_string();
    let unmerged = v1::PatientsUnmerged { retired_patient_id, note: String::new() };
    one(care_event(survivor, number, 5, &Payload::PatientsUnmerged(unmerged)))
}

/// A store with three patients, and the first process on it.
async fn three_patients() -> (TempDir, Store) {
    let folder = folder();
    let store = open(&folder);
    let first = handler(&store, &folder);
    for number in [A, B, C] {
        first.submit(one(care_event(number, number, 1, &registered(&[])))).await.unwrap();
    }
    (folder, store)
}

/// The types of a patient's events, short.
fn told(store: &Store, number: u128) -> Vec<String> {
    let events = store.read_all(StreamId::Patient(patient(number)), Patience::Wait).unwrap();
    let short = |stored: &Stored| {
        let event: v1::Event = prost::Message::decode(stored.record.clone()).unwrap();
        event.r#type.split('.').nth(2).unwrap().to_owned()
    };
    events.iter().map(short).collect()
}

async fn refusal(handler: &Arc<Handler>, submission: Submission) -> &'static str {
    let refused = handler.submit(submission).await.unwrap_err();
    tsunagi_chassis::Refused::from(refused).reason
}

#[tokio::test]
async fn a_merge_that_was_killed_half_way_is_finished_by_any_later_call() {
    let visit = |number| one(care_event(B, number, 6, &visited()));
    let calls: [(Submission, &str); 4] = [
        (visit(21), "PATIENT_MERGED"),
        (merge(A, B, 22), "ALREADY_MERGED"),
        (merge(C, B, 23), "PATIENT_MERGED"),
        (unmerge(A, B, 24), ""),
    ];
    for (call, expected) in calls {
        let (folder, store) = three_patients().await;
        let killed = killed_after(1, &store, &folder);
        assert_eq!(refusal(&killed, merge(A, B, 10)).await, "OUTCOME_UNKNOWN");
        assert_eq!((told(&store, A).len(), told(&store, B).len()), (1, 2), "half of it is there");
        let next = handler(&store, &folder);
        if expected.is_empty() {
            next.submit(call).await.unwrap();
            assert_eq!(told(&store, A), ["registered", "merged", "unmerged"]);
            assert_eq!(told(&store, B), ["registered", "retired", "restored"]);
            next.submit(visit(30)).await.unwrap();
        } else {
            assert_eq!(refusal(&next, call).await, expected);
            assert_eq!(told(&store, A), ["registered", "merged"]);
            assert_eq!(told(&store, B), ["registered", "retired"]);
        }
        // Who was not told what became of it sends it again.
        assert!(next.submit(merge(A, B, 10)).await.unwrap()[0].repeated);
    }
}

#[tokio::test]
async fn an_unmerge_that_was_killed_half_way_is_finished_by_any_later_call() {
    let visit = |number| one(care_event(B, number, 6, &visited()));
    let calls: [(Submission, &str); 4] = [
        (visit(21), ""),
        (merge(A, B, 22), ""),
        (unmerge(A, B, 23), "NOT_MERGED"),
        (unmerge(A, B, 11), ""),
    ];
    for (call, expected) in calls {
        let (folder, store) = three_patients().await;
        handler(&store, &folder).submit(merge(A, B, 10)).await.unwrap();
        let killed = killed_after(1, &store, &folder);
        assert_eq!(refusal(&killed, unmerge(A, B, 11)).await, "OUTCOME_UNKNOWN");
        assert_eq!((told(&store, A).len(), told(&store, B).len()), (3, 2), "half of it is there");
        let next = handler(&store, &folder);
        if expected.is_empty() {
            next.submit(call).await.unwrap();
        } else {
            assert_eq!(refusal(&next, call).await, expected);
        }
        assert_eq!(told(&store, B)[..3], ["registered", "retired", "restored"]);
        assert!(next.submit(unmerge(A, B, 11)).await.unwrap()[0].repeated);
        let is_merged_anew = told(&store, A).len() > 3;
        assert_eq!(next.submit(visit(30)).await.is_err(), is_merged_anew);
    }
}

#[tokio::test]
async fn a_half_merge_into_a_record_that_was_merged_on_is_undone_for_good() {
    let (folder, store) = three_patients().await;
    let killed = killed_after(1, &store, &folder);
    assert_eq!(refusal(&killed, merge(A, B, 10)).await, "OUTCOME_UNKNOWN");
    let next = handler(&store, &folder);
    next.submit(merge(C, A, 11)).await.unwrap();
    next.submit(one(care_event(B, 12, 6, &visited()))).await.unwrap();
    assert_eq!(told(&store, A), ["registered", "retired", "merge_abandoned"]);
    assert_eq!(told(&store, B), ["registered", "retired", "restored", "visit_completed"]);
    // Also when the record that was to survive is its own again, and the first process goes on.
    next.submit(unmerge(C, A, 13)).await.unwrap();
    assert_eq!(refusal(&handler(&store, &folder), merge(A, B, 10)).await, "EVENT_ID_REUSED");
    assert_eq!(told(&store, B).len(), 4);
    next.submit(merge(A, B, 14)).await.unwrap();
    assert_eq!(told(&store, B).last().unwrap(), "retired");
    assert!(next.submit(one(care_event(B, 15, 6, &visited()))).await.is_err());
}

#[tokio::test]
async fn an_undoing_that_was_killed_half_way_is_finished_too() {
    let (folder, store) = three_patients().await;
    let killed = killed_after(1, &store, &folder);
    assert_eq!(refusal(&killed, merge(A, B, 10)).await, "OUTCOME_UNKNOWN");
    handler(&store, &folder).submit(merge(C, A, 11)).await.unwrap();
    let undoing = killed_after(1, &store, &folder);
    assert!(undoing.settle(patient(B)).await.is_err());
    assert_eq!(told(&store, A).last().unwrap(), "merge_abandoned");
    let next = handler(&store, &folder);
    assert!(next.settle(patient(B)).await.unwrap());
    assert!(!next.settle(patient(B)).await.unwrap(), "nothing is left to do");
    assert_eq!(told(&store, B), ["registered", "retired", "restored"]);
}

#[tokio::test]
async fn what_was_asked_of_one_version_is_not_finished_on_another() {
    let (folder, store) = three_patients().await;
    let killed = killed_after(1, &store, &folder);
    let of_version = Submission { expected_version: Some(1), ..merge(A, B, 10) };
    assert_eq!(refusal(&killed, of_version).await, "OUTCOME_UNKNOWN");
    assert!(handler(&store, &folder).settle(patient(B)).await.unwrap());
    assert_eq!(told(&store, A), ["registered", "merge_abandoned"]);
    assert_eq!(told(&store, B), ["registered", "retired", "restored"]);
}

/// Two processes that merge, and others that settle meanwhile whatever they see.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_records_come_to_the_same_however_many_settle_at_once() {
    for round in 0..12_u128 {
        let (folder, store) = three_patients().await;
        let asked = [merge(A, B, 10), merge(C, B, 11), merge(C, A, 12), merge(B, C, 13)];
        let merges = asked.map(|asked| {
            let process = handler(&store, &folder);
            tokio::spawn(async move {
                let _taken_or_refused = process.submit(asked).await;
            })
        });
        let settling = [A, B, C].map(|number| {
            let process = handler(&store, &folder);
            tokio::spawn(async move {
                for _ in 0..round {
                    let _settled = process.settle(patient(number)).await;
                }
            })
        });
        for task in merges.into_iter().chain(settling) {
            task.await.unwrap();
        }
        let last = handler(&store, &folder);
        for number in [A, B, C] {
            last.settle(patient(number)).await.unwrap();
        }
        assert_whole(&store).await;
    }
}

/// The first publication of each process waits for that of the other.
struct Meeting {
    others: Arc<tokio::sync::Barrier>,
    has_met: AtomicBool,
}

#[async_trait]
impl Before for Meeting {
    async fn publication(&self) -> Result<(), PublishError> {
        if !self.has_met.swap(true, Ordering::SeqCst) {
            self.others.wait().await;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_who_merge_two_records_into_one_another_at_once_one_does() {
    for _ in 0..20 {
        let (folder, store) = three_patients().await;
        let others = Arc::new(tokio::sync::Barrier::new(2));
        let meeting = || {
            let others = Arc::clone(&others);
            process(&store, &folder, &Arc::new(Meeting { others, has_met: AtomicBool::new(false) }))
        };
        let (one, other) = (meeting(), meeting());
        let (one, other) = tokio::join!(one.submit(merge(A, B, 10)), other.submit(merge(B, A, 11)));
        let (refused, taken): (Vec<_>, Vec<_>) = [one, other].into_iter().partition(Result::is_err);
        assert_eq!(taken.len(), 1, "{refused:?}");
        let refused =
            refused.into_iter().filter_map(Result::err).map(tsunagi_chassis::Refused::from);
        assert!(refused.map(|refused| refused.reason).eq(["PATIENT_MERGED"]));
        assert_whole(&store).await;
    }
}

fn in_error(told_of: u128, number: u128, day: u8, of: EventId) -> Submission {
    let corrects_event_id = of.to_string();
    let wrong = v1::EnteredInError { corrects_event_id, ..Default::default() };
    one(care_event(told_of, number, day, &Payload::EnteredInError(wrong)))
}

/// A number of the retired record is taken back while the two are one, and that carried over when
/// they are taken apart: then they are one again, and that was an error, of which two tell.
#[tokio::test]
async fn a_later_word_about_a_correction_that_was_carried_over_is_carried_over_too() {
    let carried = EventId::new(Uuid::new_v5(&event(12).uuid(), patient(B).uuid().as_bytes()));
    let words = [vec![event(12), carried], vec![carried], vec![event(12)]];
    for (later, goes_on) in
        words.into_iter().flat_map(|later| [(later.clone(), false), (later, true)])
    {
        let (folder, store) = three_patients().await;
        let handler = handler(&store, &folder);
        let link_again =
            async |number| refusal(&handler, one(care_event(B, number, 9, &linked("789")))).await;
        handler.submit(one(care_event(B, 10, 2, &linked("789")))).await.unwrap();
        handler.submit(merge(A, B, 11)).await.unwrap();
        handler.submit(in_error(A, 12, 4, event(10))).await.unwrap();
        handler.submit(unmerge(A, B, 13)).await.unwrap();
        assert!(told(&store, B).ends_with(&["restored".to_owned(), "entered_in_error".to_owned()]));
        handler.submit(merge(A, B, 14)).await.unwrap();
        for (of, number) in later.iter().zip(20..) {
            handler.submit(in_error(A, number, 6, *of)).await.unwrap();
        }
        handler.submit(unmerge(A, B, 15)).await.unwrap();
        assert_eq!(link_again(30).await, "IDENTIFIER_LINKED", "{later:?}");
        if goes_on {
            // And that was no error after all.
            handler.submit(merge(A, B, 16)).await.unwrap();
            for (last, number) in (20..).zip(40..).take(later.len()) {
                handler.submit(in_error(A, number, 7, event(last))).await.unwrap();
            }
            handler.submit(unmerge(A, B, 17)).await.unwrap();
            handler.submit(one(care_event(C, 50, 9, &linked("789")))).await.unwrap();
        }
    }
}

/// Each record that says it is merged into another, the other says so too, and the other way round.
async fn assert_whole(store: &Store) {
    let (mut retired, mut merged) = (BTreeMap::new(), BTreeMap::new());
    for number in [A, B, C] {
        let mut loaded = tsunagi_bus::patients::Loaded::default();
        loaded.catch_up(store, patient(number)).await.unwrap();
        let of = loaded.record.patient();
        retired.extend(of.retirement().map(|into| (patient(number), (into.survivor, into.merge))));
        merged.extend(of.merged().map(|(other, by)| (other, (patient(number), by))));
    }
    assert_eq!(retired, merged);
}
