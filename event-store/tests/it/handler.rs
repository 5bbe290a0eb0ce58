//! The one way in which commands become events: repeats, conflicts, identifiers, races.

use std::sync::Arc;

use tsunagi_bus::claims::Occasion;
use tsunagi_bus::handler::SubmitError;
use tsunagi_bus::{Handler, StreamId, Submission, quarantine};
use tsunagi_domain::identity::Identifier;
use tsunagi_domain::{Actor, OrganisationId, PatientId, Refusal};
use tsunagi_event_store::Store;
use tsunagi_proto::v1;
use uuid::Uuid;

use tsunagi_event_store::log::file::Patience;

use crate::support::{
    admitted, care_event, config, discharged, folder, handler, linked, one, open, poll_some,
    registered, visited,
};

fn patient(number: u128) -> PatientId {
    PatientId::new(Uuid::from_u128(number + 1))
}

fn events_of(store: &Store, number: u128) -> usize {
    store.read_all(StreamId::Patient(patient(number)), Patience::Wait).unwrap().len()
}

async fn owner(handler: &Handler, value: &str) -> Option<PatientId> {
    let identifier = Identifier { system: "urn:oid:1.2.3".into(), value: value.into() };
    handler.claims().owner(&identifier).await.unwrap()
}

/// On which somebody claims an identifier for patient `number`.
fn occasion(number: u128) -> Occasion {
    let organisation = OrganisationId::parse("acute").unwrap();
    let actor = Actor::new(organisation, "liaison-nurse", "n-1").unwrap();
    Occasion { patient: patient(number), actor, occurred_at: "2026-05-01".into() }
}

fn reason(error: SubmitError) -> &'static str {
    tsunagi_chassis::Refused::from(error).reason
}

#[tokio::test]
async fn the_same_event_twice_is_one_event() {
    let folder = folder();
    let store = open(&folder);
    let handler = handler(&store, &folder);
    let register = || one(care_event(0, 0, 1, &registered(&["1"])));
    let admit = || one(care_event(0, 1, 2, &admitted("4E")));
    let visit = || one(care_event(0, 2, 3, &visited()));
    for submission in [register(), admit(), visit()] {
        let first = handler.submit(submission.clone()).await.unwrap();
        let again = handler.submit(submission).await.unwrap();
        assert!(!first[0].repeated && again[0].repeated);
        assert_eq!(first[0].version, again[0].version);
        assert_eq!(first[0].cursor, again[0].cursor);
    }
    assert_eq!(events_of(&store, 0), 3);
}

#[tokio::test]
async fn a_repeat_is_known_after_a_restart_and_after_the_state_went_on() {
    let folder = folder();
    let store = open(&folder);
    let submissions = [
        one(care_event(0, 0, 1, &registered(&["1"]))),
        one(care_event(0, 1, 2, &admitted("4E"))),
        one(care_event(0, 2, 3, &discharged())),
    ];
    for submission in &submissions {
        handler(&store, &folder).submit(submission.clone()).await.unwrap();
    }
    drop(store);
    let store = open(&folder);
    let handler = handler(&store, &folder);
    for submission in submissions {
        assert!(handler.submit(submission).await.unwrap()[0].repeated);
    }
    assert_eq!(events_of(&store, 0), 3);
}

#[tokio::test]
async fn the_same_id_with_other_content_is_refused() {
    let folder = folder();
    let store = open(&folder);
    let handler = handler(&store, &folder);
    handler.submit(one(care_event(0, 0, 1, &registered(&[])))).await.unwrap();
    handler.submit(one(care_event(0, 1, 2, &admitted("4E")))).await.unwrap();
    for other in [care_event(0, 1, 2, &admitted("5W")), care_event(0, 1, 3, &admitted("4E"))] {
        assert_eq!(reason(handler.submit(one(other)).await.unwrap_err()), "EVENT_ID_REUSED");
    }
    assert_eq!(events_of(&store, 0), 2);
}

#[tokio::test]
async fn the_door_does_not_make_it_another_event() {
    let folder = folder();
    let store = open(&folder);
    let handler = handler(&store, &folder);
    let through = |door: &str| {
        let source = Some(v1::Source { door: door.into(), ..Default::default() });
        one(v1::Event { source, ..care_event(0, 0, 1, &registered(&[])) })
    };
    assert!(!handler.submit(through("home-care")).await.unwrap()[0].repeated);
    assert!(handler.submit(through("care-bus")).await.unwrap()[0].repeated);
}

#[tokio::test]
async fn ids_in_other_letters_are_the_same_ids() {
    let folder = folder();
    let store = open(&folder);
    let handler = handler(&store, &folder);
    let event = care_event(0xabc, 0xdef, 1, &registered(&[]));
    let mut shouted = event.clone();
    shouted.event_id.make_ascii_uppercase();
    shouted.patient_id.make_ascii_uppercase();
    assert!(!handler.submit(one(shouted)).await.unwrap()[0].repeated);
    assert!(handler.submit(one(event)).await.unwrap()[0].repeated);
}

#[tokio::test]
async fn several_events_are_taken_together_or_not_at_all() {
    let folder = folder();
    let store = open(&folder);
    let handler = handler(&store, &folder);
    let register = care_event(0, 0, 1, &registered(&["1"]));
    let admit = care_event(0, 1, 2, &admitted("4E"));
    let discharge = care_event(0, 2, 3, &discharged());
    let together = |events: &[&v1::Event]| Submission {
        events: events.iter().map(|event| (*event).clone()).collect(),
        expected_version: None,
    };
    let wrong = handler.submit(together(&[&register, &discharge])).await;
    assert_eq!(reason(wrong.unwrap_err()), "NOT_ADMITTED");
    assert_eq!(events_of(&store, 0), 0);
    assert_eq!(owner(&handler, "1").await, None, "nothing was claimed");
    let receipts = handler.submit(together(&[&register, &admit, &discharge])).await.unwrap();
    let versions: Vec<u64> = receipts.iter().map(|receipt| receipt.version).collect();
    assert_eq!(versions, [1, 2, 3]);
    let again = handler.submit(together(&[&register, &admit, &discharge])).await.unwrap();
    assert!(again.iter().all(|receipt| receipt.repeated));
    // Some known, some new: that is not the submission that was taken.
    let new = care_event(0, 9, 4, &visited());
    let mixed = handler.submit(together(&[&discharge, &new])).await;
    assert_eq!(reason(mixed.unwrap_err()), "EVENT_ID_REUSED");
    let mixed = handler.submit(together(&[&new, &care_event(0, 9, 4, &visited())])).await;
    assert_eq!(reason(mixed.unwrap_err()), "EVENT_ID_REUSED");
    assert_eq!(events_of(&store, 0), 3);
}

#[tokio::test]
async fn an_expected_version_is_kept_to() {
    let folder = folder();
    let store = open(&folder);
    let handler = handler(&store, &folder);
    let at = |version, event| Submission { events: vec![event], expected_version: Some(version) };
    let register = at(0, care_event(0, 0, 1, &registered(&[])));
    handler.submit(register.clone()).await.unwrap();
    let late = handler.submit(at(0, care_event(0, 1, 2, &visited()))).await.unwrap_err();
    let late = tsunagi_chassis::Refused::from(late);
    assert_eq!(late.reason, "VERSION_CONFLICT");
    assert_eq!(late.metadata, [("expected_version", "0".into()), ("actual_version", "1".into())]);
    handler.submit(at(1, care_event(0, 1, 2, &visited()))).await.unwrap();
    assert!(handler.submit(register).await.unwrap()[0].repeated, "a repeat is no conflict");
}

#[tokio::test]
async fn an_identifier_belongs_to_one_patient() {
    let folder = folder();
    let store = open(&folder);
    let handler = handler(&store, &folder);
    handler.submit(one(care_event(0, 0, 1, &registered(&["1"])))).await.unwrap();
    let error = handler.submit(one(care_event(1, 1, 1, &registered(&["2", "1"])))).await;
    let refused = tsunagi_chassis::Refused::from(error.unwrap_err());
    assert_eq!(refused.reason, "IDENTIFIER_TAKEN");
    assert_eq!(refused.metadata, [("patient_id", patient(0).to_string())]);
    assert_eq!(events_of(&store, 1), 0);
    assert_eq!(owner(&handler, "2").await, None, "what was claimed on the way is given back");
    handler.submit(one(care_event(2, 2, 1, &registered(&["2"])))).await.unwrap();
    assert_eq!(owner(&handler, "2").await, Some(patient(2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_first_messages_about_a_person_one_makes_the_patient() {
    let folder = folder();
    let store = open(&folder);
    let handler = handler(&store, &folder);
    let tries = (0..24u128).map(|number| {
        let handler = Arc::clone(&handler);
        tokio::spawn(async move {
            let register = care_event(number, number, 1, &registered(&["1", "2", "3"]));
            handler.submit(one(register)).await.is_ok()
        })
    });
    let mut registrations = 0;
    for attempt in tries.collect::<Vec<_>>() {
        registrations += usize::from(attempt.await.unwrap());
    }
    assert!(registrations <= 1, "two patients were made of one person");
    let owners = [owner(&handler, "1").await, owner(&handler, "2").await];
    if registrations == 1 {
        assert_eq!(owners[0], owners[1]);
    }
    // Those who lost leave nothing behind that would be in the way.
    let winner = (0..24).filter(|number| events_of(&store, *number) > 0).count();
    assert_eq!(winner, registrations);
    if registrations == 0 {
        handler.submit(one(care_event(90, 90, 1, &registered(&["1", "2", "3"])))).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_admissions_one_is_taken() {
    let folder = folder();
    let store = open(&folder);
    let handler = handler(&store, &folder);
    handler.submit(one(care_event(0, 1000, 1, &registered(&[])))).await.unwrap();
    let tries = (0..24u128).map(|number| {
        let handler = Arc::clone(&handler);
        tokio::spawn(async move {
            handler.submit(one(care_event(0, number, 2, &admitted("4E")))).await.is_ok()
        })
    });
    let mut taken = 0;
    for attempt in tries.collect::<Vec<_>>() {
        taken += usize::from(attempt.await.unwrap());
    }
    assert_eq!(taken, 1);
    assert_eq!(events_of(&store, 0), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_that_decide_at_once_do_not_both_win() {
    let folder = folder();
    let store = open(&folder);
    // Two handlers know nothing of each other's memory, as in two processes.
    let handlers = [handler(&store, &folder), handler(&store, &folder)];
    handlers[0].submit(one(care_event(0, 1000, 1, &registered(&[])))).await.unwrap();
    handlers[1].submit(one(care_event(0, 1001, 1, &visited()))).await.unwrap();
    let tries = (0..24u128).map(|number| {
        let handler = Arc::clone(&handlers[usize::try_from(number % 2).unwrap()]);
        tokio::spawn(async move {
            handler.submit(one(care_event(0, number, 2, &admitted("4E")))).await.is_ok()
        })
    });
    let mut taken = 0;
    for attempt in tries.collect::<Vec<_>>() {
        taken += usize::from(attempt.await.unwrap());
    }
    assert_eq!(taken, 1);
    assert_eq!(events_of(&store, 0), 3);
}

#[tokio::test]
async fn a_caller_who_goes_away_leaves_no_wrong_memory() {
    for polls in 1.. {
        let folder = folder();
        let store = open(&folder);
        let handler = handler(&store, &folder);
        handler.submit(one(care_event(0, 0, 1, &registered(&[])))).await.unwrap();
        let link = || one(care_event(0, 1, 2, &linked("1")));
        let was_done = poll_some(handler.submit(link()), polls).await;
        // It may have been dropped before it was sent: then the repeat stores it.
        handler.submit(link()).await.unwrap();
        assert_eq!(owner(&handler, "1").await, Some(patient(0)));
        // What comes next is decided on what is stored, not on what was remembered.
        handler.submit(one(care_event(0, 2, 3, &admitted("4E")))).await.unwrap();
        assert_eq!(events_of(&store, 0), 3);
        if was_done {
            break;
        }
    }
}

#[tokio::test]
async fn a_claim_whose_registration_never_came_can_be_taken_up() {
    let folder = folder();
    let store = open(&folder);
    let handler = handler(&store, &folder);
    // The process died between the claim and the registration.
    let identifier = Identifier { system: "urn:oid:1.2.3".into(), value: "1".into() };
    handler.claims().claim(&identifier, &occasion(7)).await.unwrap();
    let error = handler.submit(one(care_event(0, 0, 1, &registered(&["1"])))).await;
    let refused = tsunagi_chassis::Refused::from(error.unwrap_err());
    assert_eq!(refused.metadata, [("patient_id", patient(7).to_string())]);
    assert_eq!(owner(&handler, "1").await, None, "no record holds it");
    handler.submit(one(care_event(7, 1, 1, &registered(&["1"])))).await.unwrap();
    assert_eq!(owner(&handler, "1").await, Some(patient(7)));
}

#[tokio::test]
async fn a_claim_whose_registration_never_came_is_taken_over_in_the_end() {
    let folder = folder();
    let store = open(&folder);
    let config = tsunagi_chassis::Config { claim_wait_ms: 0, ..config(folder.path()) };
    let handler = Arc::new(Handler::new(Arc::new(store.clone()), &config));
    let identifier = Identifier { system: "urn:oid:1.2.3".into(), value: "1".into() };
    handler.claims().claim(&identifier, &occasion(7)).await.unwrap();
    handler.submit(one(care_event(0, 0, 1, &registered(&["1"])))).await.unwrap();
    assert_eq!(owner(&handler, "1").await, Some(patient(0)));
    // One that is held by a record is not, however old.
    let refused = handler.submit(one(care_event(1, 1, 1, &registered(&["1"])))).await;
    assert_eq!(reason(refused.unwrap_err()), "IDENTIFIER_TAKEN");
}

#[tokio::test]
async fn who_is_outrun_as_often_as_may_be_is_told_to_send_again() {
    let folder = folder();
    let store = open(&folder);
    let config = tsunagi_chassis::Config { decide_attempts: 1, ..config(folder.path()) };
    let slow = Arc::new(Handler::new(Arc::new(store.clone()), &config));
    slow.submit(one(care_event(0, 0, 1, &registered(&[])))).await.unwrap();
    // Another process writes what this one has not seen.
    handler(&store, &folder).submit(one(care_event(0, 1, 2, &admitted("4E")))).await.unwrap();
    let move_on = || one(care_event(0, 2, 3, &discharged()));
    assert_eq!(reason(slow.submit(move_on()).await.unwrap_err()), "CONTENDED");
    slow.submit(move_on()).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_decided_on_is_refused_at_the_door() {
    let folder = folder();
    let store = open(&folder);
    let handler = handler(&store, &folder);
    let good = care_event(0, 0, 1, &registered(&[]));
    let bad: [(&str, v1::Event); 8] = [
        ("TYPE_UNKNOWN", v1::Event { r#type: "care.moon.landed.v1".into(), ..good.clone() }),
        (
            "TYPE_OF_THE_SYSTEM",
            v1::Event {
                r#type: "care.identifier.claimed.v1".into(),
                payload: v1::IdentifierClaimed { patient_id: patient(0).to_string() }.encode(),
                ..good.clone()
            },
        ),
        ("PAYLOAD_UNREADABLE", v1::Event { payload: vec![0xff], ..good.clone() }),
        ("KEY_UNKNOWN", v1::Event { key_id: "k1".into(), ..good.clone() }),
        ("FIELDS_INVALID", v1::Event { event_id: "1".into(), ..good.clone() }),
        ("FIELDS_INVALID", v1::Event { actor: None, ..good.clone() }),
        ("FIELDS_INVALID", v1::Event { occurred_at: "soon".into(), ..good.clone() }),
        ("OCCURRED_AT_IN_FUTURE", v1::Event { occurred_at: "2299-01-01".into(), ..good.clone() }),
    ];
    for (expected, event) in bad {
        let error = handler.submit(one(event)).await.unwrap_err();
        assert_eq!(reason(error), expected);
    }
    let stranger = handler.submit(one(care_event(0, 5, 1, &visited()))).await.unwrap_err();
    assert!(matches!(stranger, SubmitError::Refused(Refusal::Identity(_))));
    let nobody = handler.submit(Submission { events: vec![], expected_version: None }).await;
    assert_eq!(reason(nobody.unwrap_err()), "FIELDS_INVALID");
    let two = vec![good.clone(), care_event(1, 1, 1, &registered(&[]))];
    let two = handler.submit(Submission { events: two, expected_version: None }).await;
    assert_eq!(reason(two.unwrap_err()), "SEVERAL_PATIENTS");
    assert_eq!(store.end(), tsunagi_bus::Cursor::start(), "the log is as empty as before");
}

#[tokio::test]
async fn what_is_quarantined_is_kept_or_refused_for_good() {
    let folder = folder();
    let store = open(&folder);
    let actor = occasion(0).actor;
    let message = |raw: Vec<u8>| v1::MessageQuarantined {
        origin: "a file".into(),
        reason: "it is empty".into(),
        part: 1,
        parts: 1,
        raw,
        ..v1::MessageQuarantined::default()
    };
    quarantine::keep_whole(&store, message(Vec::new()), &actor, "mllp").await.unwrap();
    let kept = store.read_all(StreamId::Quarantine, Patience::Wait).unwrap();
    assert_eq!(kept.len(), 1, "that nothing came is kept, too");
    // More than a file of the log takes: the same again is no use.
    let large = message(vec![0; 70_000]);
    let refused = quarantine::keep(&store, large, &actor, "care-bus").await.unwrap_err();
    assert_eq!(refused.reason, "EVENT_TOO_LARGE");
}

trait Encode {
    fn encode(&self) -> Vec<u8>;
}

impl<M: prost::Message> Encode for M {
    fn encode(&self) -> Vec<u8> {
        self.encode_to_vec()
    }
}
